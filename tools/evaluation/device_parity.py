"""Whether other machines, providers and precisions give the scores of a reference."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import DataError, Provider, Scorer, UsageError
from spade_edge.runtime.bundle.observation import Difference, difference
from spade_edge.runtime.network.provider import CPU

Opener = Callable[[Path, Provider], Scorer]


@dataclass(frozen=True)
class ParityStage:
    """One bundle on one provider, compared with the reference.

    Attributes:
        bundle: the bundle folder.
        precision: precision of its model, "fp32" or "fp16", or "int8 for cpu" and "int8 for tensorrt".
        provider: the onnxruntime execution provider that ran the network.
        differences: one per frame, relative to the reference.
    """

    bundle: str
    precision: str
    provider: str
    differences: tuple[Difference, ...]

    @classmethod
    def of(cls, scorer: Scorer, bundle: Path, differences: Sequence[Difference]) -> ParityStage:
        """The stage of a scorer.

        Args:
            scorer: opened from the bundle.
            bundle: the bundle folder, as the caller names it.
            differences: one per frame.
        """
        card = scorer.session.card
        precision = f"int8 for {card.quantization.get('target')}" if card.quantization else card.precision
        return cls(str(bundle), precision, scorer.session.provider, tuple(differences))

    @property
    def worst(self) -> dict[str, float]:
        """The largest fraction over all frames, by name."""
        parts = [difference.parts for difference in self.differences]
        return {name: max(part[name] for part in parts) for name in parts[0]}

    @property
    def flips(self) -> int:
        """Number of frames whose verdict differs from the reference's."""
        return sum(difference.found != difference.expected for difference in self.differences)

    def to_json(self) -> dict[str, Any]:
        """The fields that `spade-edge parity --json` prints."""
        return {
            "bundle": self.bundle,
            "precision": self.precision,
            "provider": self.provider,
            "worst": self.worst,
            "flips": self.flips,
            "frames": [asdict(difference) for difference in self.differences],
        }


@dataclass(frozen=True)
class Parity:
    """Several stages, compared with one reference on the same frames.

    Attributes:
        reference: what the stages are compared with, for people to read.
        frames: number of frames.
        stages: in the order of the bundles; each on the CPU first, then on the provider that was asked for.
    """

    reference: str
    frames: int
    stages: tuple[ParityStage, ...]


def parity(
    bundles: Sequence[Path],
    frames: Iterable[NDArray[np.uint8]],
    *,
    weights: str | Path | None = None,
    provider: Provider = Provider(),  # noqa: B008  (frozen)
    threads: int | None = None,
    open_scorer: Opener | None = None,
    announce: Callable[[str], None] = lambda text: None,
) -> Parity:
    """Compare bundles with the first of them on the CPU, or with the network in torch, on the same frames.

    Bundles of fp32, fp16 and int8 models, built from the same good images, show what each step costs.

    Args:
        bundles: bundle folders, one or more, built from the same images with the same options.
        frames: (H, W, 3) uint8 BGR or (H, W) uint8 grey, one or more.
        weights: "imagenet", or the file that the first bundle's model was exported from: the reference is then the
            network in torch, with the gallery of the first bundle. This needs the extra `export`.
        provider: what runs the network; each bundle also runs on the CPU.
        threads: threads for all work; None for one per core.
        open_scorer: opens a bundle with a provider; None for `Scorer.open`.
        announce: called with one line before each stage.

    Raises:
        UsageError: there is nothing to compare with, or the bundles differ in more than their models' precision.
        DataError: no frames, or other weights than those of the model.
        SpadeError: as for `Scorer.open`.
    """
    if not bundles:
        raise UsageError("expected one or more bundles to compare, found none")
    if len(bundles) == 1 and weights is None and provider.name == CPU:
        raise UsageError(
            "expected something to compare the bundle with, found one --bundle alone; add --weights, another --bundle "
            "or a --provider"
        )
    frames = list(frames)
    if not frames:
        raise DataError("expected at least one frame, found none")
    opened = open_scorer or partial(_open, threads=threads)
    first = opened(bundles[0], Provider())
    manifest = first.bundle.manifest
    reference, title = first, f"{bundles[0]}, {manifest.model.precision}, {first.session.provider}"
    if weights is not None:
        reference = _in_torch(first, weights, threads=threads)
        title = f"the network in torch, with the gallery of {bundles[0]}"
    announce(f"{len(frames)} frames with {title}")
    expected = [reference.observe(frame) for frame in frames]
    names, threshold = tuple(level.output for level in manifest.model.levels), manifest.threshold.score
    stages = []
    for bundle, scorer in _scorers(bundles, first, provider, opened):
        _check_alike(first, scorer)
        if scorer is reference:
            continue
        announce(f"{len(frames)} frames with {bundle} on {scorer.session.provider}")
        pairs = zip(expected, (scorer.observe(frame) for frame in frames), strict=True)
        stages.append(
            ParityStage.of(
                scorer, bundle, [difference(want, have, names=names, threshold=threshold) for want, have in pairs]
            )
        )
    return Parity(title, len(frames), tuple(stages))


def golden_parity(
    bundle: Path,
    *,
    provider: Provider = Provider(),  # noqa: B008  (frozen)
    threads: int | None = None,
    open_scorer: Opener | None = None,
) -> ParityStage:
    """Score a bundle's golden frames and compare with what the machine that built the bundle found.

    The differences are only measured; `Scorer.self_test` refuses a machine on which they are too large.

    Args:
        bundle: the bundle folder.
        provider: what runs the network.
        threads: threads for all work; None for one per core.
        open_scorer: opens a bundle with a provider; None for `Scorer.open`.

    Raises:
        BundleError: the bundle has no golden frames.
        SpadeError: as for `Scorer.open`.
    """
    scorer = (open_scorer or partial(_open, threads=threads))(bundle, provider)
    return ParityStage.of(scorer, bundle, scorer.golden_differences())


def _open(bundle: Path, provider: Provider, *, threads: int | None) -> Scorer:
    return Scorer.open(bundle, providers=provider, threads=threads)


def _in_torch(scorer: Scorer, weights: str | Path, *, threads: int | None) -> Scorer:
    """The scorer with its network in torch."""
    from spade_edge.export.torch_session import TorchSession

    network = TorchSession(scorer.bundle.manifest.model, weights=weights)
    return Scorer(scorer.bundle, network, scorer.matcher, threads=threads)


def _scorers(
    bundles: Sequence[Path], first: Scorer, provider: Provider, opened: Opener
) -> Iterator[tuple[Path, Scorer]]:
    """Each bundle on the CPU, and then on the provider that was asked for."""
    for bundle in bundles:
        yield bundle, first if bundle == bundles[0] else opened(bundle, Provider())
        if provider.name != CPU:
            yield bundle, opened(bundle, provider)


def _check_alike(first: Scorer, other: Scorer) -> None:
    """Refuse bundles whose features or maps cannot be compared."""
    a, b = first.bundle.manifest, other.bundle.manifest
    for what, want, have in (
        ("good images", a.names, b.names),
        ("views", a.layout, b.layout),
        ("levels", a.model.levels, b.model.levels),
        ("view", a.model.view, b.model.view),
    ):
        if want != have:
            raise UsageError(
                f"{other.bundle.path}: expected the same {what} as {first.bundle.path}, found others; "
                "build both from the same images with the same options"
            )
