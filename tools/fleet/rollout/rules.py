"""When a device takes a bundle, and what it scores with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from spade_edge.runtime import Provider
from spade_edge.runtime.network.provider import CPU
from spade_edge.tools.signing.keys import PublicKey

MOST_CHANGES = 0.02
RECENT = 100


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a bundle must keep to.

    Attributes:
        keys: it must be signed with one of these; none for any bundle.
        most_changes: the largest share of recent frames, among those that the bundle in force judges good, that it may
            reject.
        deadline_ms: milliseconds that half of the frames may take at most; None for any.
        even_so: take it although the device was taught images that it lacks.
    """

    keys: tuple[PublicKey, ...] = ()
    most_changes: float = MOST_CHANGES
    deadline_ms: float | None = None
    even_so: bool = False


@dataclass(frozen=True, kw_only=True)
class Device:
    """How the device scores, as `Scorer.open` takes it."""

    provider: Provider = field(default_factory=lambda: Provider(CPU))
    allow_fallback: bool = False
    threads: int | None = None
    even_so: bool = False


@dataclass(frozen=True, kw_only=True)
class Recent:
    """Which frames of the line a bundle is tried on.

    Attributes:
        folder: of the evidence that the line keeps.
        cameras: names; empty for all.
        recipe: name of the product; empty for frames that a generation of the bundle on this device has judged.
        most: number of frames, the newest.
    """

    folder: Path
    cameras: tuple[str, ...] = ()
    recipe: str = ""
    most: int = RECENT
