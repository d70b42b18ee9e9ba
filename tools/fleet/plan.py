"""What a fleet build is to make: bundles, each of its own images, model and options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spade_edge.galleries import BuildOptions


@dataclass(frozen=True)
class BundlePlan:
    """A bundle that is to be there.

    Attributes:
        name: of the bundle; it lies in the output folder as NAME.spade.
        images: a folder, the address of one, or a dataset file.
        model: a file that `spade-edge export` wrote, or its address.
        options: of the build.
        shards: parts in which the features are extracted; 1 to build the bundle in one piece.
    """

    name: str
    images: str
    model: str
    options: BuildOptions = BuildOptions()  # noqa: RUF009  (frozen)
    shards: int = 1


@dataclass(frozen=True)
class FleetPlan:
    """All bundles of a fleet.

    Attributes:
        bundles: in the order of the file; their names differ.
        output: the folder in which they lie.
        cache: address or folder of what was made before.
    """

    bundles: tuple[BundlePlan, ...]
    output: Path
    cache: str
