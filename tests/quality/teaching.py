"""What a false-reject rate is worth after teaching: `python tests/quality/teaching.py --data SETS --model FILE`.

Every set is a folder in MVTec AD's layout. All its images, good and defective, become one bundle, so that the network
runs once, and every image is compared with every other. After that any gallery is a minimum over its images, so that
hundreds of splits take minutes. In each split the good parts are divided at random: some build the gallery, some are
frames that a person teaches from, and the rest are frames of the line, as the defects are. Each way to teach, and each
way to find the threshold afterwards, says what it promises and what is found:

    as built                  nothing is taught
    rejects                   the frames that are rejected; the evidence is that of the build, each image scored against
                              the others of the build. This is what `spade-edge gallery add` does
    rejects, four times       the same in four rounds, each with the gallery that the former one has left
    high frames               not the rejects, but the quarter of all frames with the highest scores
    near high images          the frames that are most like the good images with the highest scores, a fifth of these
    as they come              frames taken whatever they score; they are evidence, too
    three defects             the rejects, and three defects by mistake

    rejects, matched          the evidence is matched with what was taught as well
    near high images, matched
    rejects, counted          what was taught is evidence as well
    rejects, counted thrice   the same with two more shots of each part that look the same
    high images excluded      nothing is taught; the good images over the threshold are excluded

Those below the empty line are not what the product does: some break the promise, and some miss more defects.

A second table says, for the level over which an image is not taught in without `--even-so`, how many of the good frames
that are rejected it lets in, and how many of the defects that are rejected it stops.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries import BuildOptions, build
from spade_edge.galleries.calibration import usual_rate
from spade_edge.galleries.conformal import limit
from spade_edge.galleries.images import find_images
from spade_edge.galleries.leave_one_out import FEW
from spade_edge.galleries.promise import promise
from spade_edge.galleries.teaching import FAR_OUTSIDE
from spade_edge.galleries.untypical import spread_of
from spade_edge.runtime import Scorer
from spade_edge.runtime.bundle.evidence import Evidence
from spade_edge.runtime.matching.coding import Coder
from spade_edge.runtime.matching.gallery import CodedGallery
from spade_edge.runtime.network.pyramid import from_cells
from spade_edge.tools.datasets import images_at
from spade_edge.tools.remote import joined

SETS = ("mvtec_bottle", "mvtec_grid_448", "mvtec_transistor_448", "magnetic_tile")
WRONG = 3  # defects that are taught in by mistake
SHARES = (0.35, 0.35)  # of the good parts: the build, and the frames to teach from; the rest are frames of the line
CANDIDATES = 2  # cells of an image that each cell of another is compared with
Ints = NDArray[np.int_]
Floats = NDArray[np.float32]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="DIR", help="folder or address that holds the sets")
    parser.add_argument("--sets", nargs="+", default=SETS, metavar="NAME", help=f"default: {' '.join(SETS)}")
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="what 'spade-edge export' wrote")
    parser.add_argument("--rates", nargs="+", type=float, metavar="RATE", help="default: the one that a build chooses")
    parser.add_argument("--splits", type=int, default=200, help="of the good parts (200)")
    parser.add_argument("--threads", type=int, metavar="N", help="default: one a core")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a row for each split there, as JSON lines")
    chosen = parser.parse_args()
    print("| set | taught | promised | found | doubted | missed |\n|---|---|---|---|---|---|")
    levels: list[str] = []
    for name in chosen.sets:
        with tempfile.TemporaryDirectory() as scratch, images_at(joined(chosen.data, name)) as images:
            options = BuildOptions(threads=chosen.threads, even_so=True)
            table, parts, bad = compared(images.folder, Path(scratch), chosen.model, options)
            for rate in chosen.rates or [None]:
                found = list(rows(table, parts, bad, splits=chosen.splits, rate=rate))
                for line in summary(found):
                    print(f"| {name} {line}", flush=True)
                levels.append(f"| {name} | {level(table, parts, bad, splits=chosen.splits, rate=rate)}")
                if chosen.json:
                    with chosen.json.open("a", encoding="utf-8") as file:
                        file.writelines(json.dumps({"set": name, **row}) + "\n" for row in found)
    print("\n| set | rate | good frames let in | defects stopped |\n|---|---|---|---|")
    print("\n".join(levels))
    return 0


@dataclass(frozen=True)
class Table:
    """How far each image is from each other one.

    Attributes:
        distances: (N, N, places) float16, at every place of an image, the distance to the nearest of the other image;
            infinite for an image and itself.
        mapped: makes the anomaly map from the distances of a frame, (places,) float32.
        score: of a map.
    """

    distances: NDArray[np.float16]
    mapped: Callable[[Floats], Floats]
    score: Callable[[Floats], float]

    def maps(self, images: Sequence[int] | Ints, gallery: Ints) -> Floats:
        """The anomaly map of each image; an image of the gallery is matched with the others only."""
        bits = self.distances.view(np.int16)  # numbers over zero are ordered as their bits are, and compare faster so
        nearest = np.stack([bits[image, gallery].min(axis=0) for image in images]).view(np.float16)
        return np.stack([self.mapped(own.astype(np.float32)) for own in nearest])


def compared(data: Path, scratch: Path, model: Path, options: BuildOptions) -> tuple[Table, Ints, Ints]:
    """Build a bundle from all images of a set.

    Args:
        data: the set.
        scratch: a folder for the bundle.
        model: what `spade-edge export` wrote.
        options: of the build; its layout has one view.

    Returns:
        the table of all images, the good ones, one of each part that the build found, and the defects.
    """
    good = [path for part in ("train", "test") for path in find_images(data / part / "good")]
    bad = [path for path in find_images(data / "test") if path.parent.name != "good"]
    (scratch / "all").mkdir()
    for number, path in enumerate([*good, *bad]):
        (scratch / "all" / f"{number:05}{path.suffix}").symlink_to(path.resolve())
    built = build(scratch / "all", model=model, output=scratch / "all.spade", options=options)
    groups = [image.group for image in built.manifest.images]
    _, first = np.unique(groups[: len(good)], return_index=True)
    table = table_of(Scorer.open(scratch / "all.spade", threads=options.threads))
    return table, np.sort(first), np.arange(len(good), len(groups))


def table_of(scorer: Scorer) -> Table:
    """Compare every image of a bundle of one view with every other, cell by cell, where frames may match."""
    matcher, stitching = scorer.matcher, scorer.stitching
    gallery = matcher.gallery
    assert isinstance(gallery, CodedGallery)  # the default of a build
    count, each = len(gallery), gallery.cells_per_item
    near = _near_cells(gallery, matcher.matching.place)
    distances = np.full((count, count, each * gallery.side**2), np.inf, np.float16)
    for image in range(count):
        rest = np.flatnonzero(np.arange(count) != image)
        cells = np.tile(np.arange(image * each, (image + 1) * each), len(rest))
        found = matcher.distances_of_cells(cells, near(image)[:, rest].transpose(1, 0, 2).reshape(len(cells), -1))
        distances[image, rest] = found.reshape(len(rest), -1)

    def mapped(own: Floats) -> Floats:
        return stitching([from_cells(own.reshape(each, -1), gallery.side, gallery.grid)])

    return Table(distances, mapped, stitching.score)


def _near_cells(gallery: CodedGallery, reach: int | None) -> Callable[[int], Ints]:
    """For an image, the cells of every image with the nearest keys: (cells, N, CANDIDATES)."""
    coder = Coder(gallery.card, gallery.coding, threads=1)
    every = range(len(gallery))
    keys = np.stack([coder.with_keys(tuple(x[np.newaxis] for x in gallery.codes(i))).keys for i in every])
    known = keys.astype(np.float32)
    lengths = (known**2).sum(axis=2)
    rows, columns = np.divmod(np.arange(keys.shape[1]), gallery.grid[1] // gallery.side)
    far = np.maximum(np.abs(rows[:, np.newaxis] - rows), np.abs(columns[:, np.newaxis] - columns))
    beyond = np.zeros(far.shape, bool) if reach is None else far > reach

    def near(image: int) -> Ints:
        apart = lengths - 2 * np.tensordot(known[image], known, axes=(1, 2))  # (cells, N, cells)
        apart[np.broadcast_to(beyond[:, np.newaxis], apart.shape)] = np.inf
        cells = np.argpartition(apart, CANDIDATES - 1, axis=2)[:, :, :CANDIDATES]
        return cells + np.arange(len(known))[:, np.newaxis] * keys.shape[1]

    return near


@dataclass(frozen=True)
class State:
    """A gallery with its threshold.

    Attributes:
        gallery: the images that frames are matched with.
        evidence: scores of the images by which the threshold was found.
        threshold: scores above it are rejected.
        rate: the fraction of good frames that may be, as promised.
        baseline: of the maps.
    """

    gallery: Ints
    evidence: tuple[float, ...]
    threshold: float
    rate: float
    baseline: Floats

    @classmethod
    def of(cls, table: Table, evidence: Ints, gallery: Ints, *, rate: float | None) -> State:
        """The threshold from the scores of the evidence, each image matched with the rest of a gallery.

        An image that stands several times in the evidence was imaged as often, and its images match each other.
        """
        maps, parts = table.maps(evidence, gallery), len(evidence)
        images, times = np.unique(evidence, return_counts=True)
        maps[np.isin(evidence, images[times > 1])] = table.mapped(np.zeros(table.distances.shape[2], np.float32))
        total, fraction = maps.sum(axis=0), parts / (parts + FEW)
        scores = tuple(table.score(own - fraction * (total - own) / (parts - 1)) for own in maps)
        found = limit(Evidence(scores, tuple(range(parts)), scores), rate=usual_rate(parts) if rate is None else rate)
        return cls(gallery, scores, found.value, found.rate, fraction * total / parts)

    def scores(self, table: Table, images: Ints) -> NDArray[np.float64]:
        """What frames of the line score."""
        return np.array([table.score(own - self.baseline) for own in table.maps(images, self.gallery)])

    def rejected(self, table: Table, images: Ints) -> Ints:
        return images[self.scores(table, images) > self.threshold]

    def joined(self, images: Ints) -> State:
        """The same with more images to match with."""
        return replace(self, gallery=np.union1d(self.gallery, images))


def rows(
    table: Table, good: Ints, bad: Ints, *, splits: int, rate: float | None = None, seed: int = 0
) -> Iterator[dict[str, Any]]:
    """One row for each split and way to teach: promised, found of good frames, missed of the defects.

    Args:
        table: of all images.
        good: the good images, one of each part.
        bad: the defects.
        splits: of the good images, at random.
        rate: of the threshold; None for what a build chooses.
        seed: of the splits.
    """
    for split in range(splits):
        rng = np.random.default_rng([seed, split])
        build, seen, line = np.split(rng.permutation(good), (np.cumsum(SHARES) * len(good)).astype(int))
        wrong = rng.permutation(bad)[:WRONG]
        for taught, state in states(table, build, seen, wrong, rate=rate, rng=rng):
            rest = np.setdiff1d(bad, state.gallery)
            rejected, caught = len(state.rejected(table, line)), len(state.rejected(table, rest))
            yield {
                "taught": taught,
                "split": split,
                "promised": state.rate,
                "rejected": rejected,
                "good": len(line),
                "missed": len(rest) - caught,
                "defects": len(rest),
                "kept": promise(state.rate, rejected=rejected, parts=len(line)).kept,
            }


def states(
    table: Table, build: Ints, seen: Ints, wrong: Ints, *, rate: float | None, rng: np.random.Generator
) -> Iterator[tuple[str, State]]:
    """Every way to teach, with the gallery and the threshold that it leaves.

    Args:
        table: of all images.
        build: the good images of the build.
        seen: frames to teach from, all of good parts.
        wrong: defects that are taught in by mistake.
        rate: as for `rows`.
        rng: chooses what comes.
    """

    def certified(evidence: Ints, taught: Ints) -> State:
        return State.of(table, evidence, np.union1d(build, taught), rate=rate)

    built = State.of(table, build, build, rate=rate)
    scores, own = built.scores(table, seen), np.array(built.evidence)
    rejects = seen[scores > built.threshold]
    near = np.unique([_most_alike(table, image, seen) for image in build[np.argsort(own)[-len(own) // 5 :]]])
    yield "as built", built
    yield "rejects", built.joined(rejects)
    rounds = built
    for some in np.array_split(seen, 4):
        rounds = rounds.joined(rounds.rejected(table, some))
    yield "rejects, four times", rounds
    yield "high frames", built.joined(seen[np.argsort(scores)[-len(seen) // 4 :]])
    yield "near high images", built.joined(near)
    come = rng.choice(seen, max(1, len(rejects)), replace=False)
    yield "as they come", certified(np.concatenate([build, come]), come)
    yield "three defects", built.joined(np.concatenate([rejects, built.rejected(table, wrong)]))

    yield "rejects, matched", certified(build, rejects)
    yield "near high images, matched", certified(build, near)
    yield "rejects, counted", certified(np.concatenate([build, rejects]), rejects)
    yield "rejects, counted thrice", certified(np.concatenate([build, *[rejects] * 3]), rejects)
    low = build[own <= built.threshold]
    if len(low) < len(build):
        yield "high images excluded", State.of(table, low, low, rate=rate)


def _most_alike(table: Table, image: int, among: Ints) -> int:
    """The frame from which an image differs least."""
    return int(among[np.argmin([table.score(table.maps([image], np.array([frame]))[0]) for frame in among])])


def level(table: Table, good: Ints, bad: Ints, *, splits: int, rate: float | None = None, seed: int = 0) -> str:
    """A line of the second table; the arguments are those of `rows`."""
    let, rejects, stopped, defects = 0, 0, 0, 0
    promised = 0.0
    for split in range(splits):
        built, *others = np.split(np.random.default_rng([seed, split]).permutation(good), [int(SHARES[0] * len(good))])
        state = State.of(table, built, built, rate=rate)
        most = state.threshold + FAR_OUTSIDE * spread_of(np.array(state.evidence))
        own, wrong = state.scores(table, others[0]), state.scores(table, bad)
        rejects += int((own > state.threshold).sum())
        let += int(((own > state.threshold) & (own <= most)).sum())
        defects += int((wrong > state.threshold).sum())
        stopped += int((wrong > most).sum())
        promised = state.rate
    return f"{promised:.1%} | {let / max(1, rejects):.0%} of {rejects} | {stopped / max(1, defects):.0%} of {defects} |"


def summary(found: Iterable[dict[str, Any]]) -> list[str]:
    """A line of the table for each way to teach; after ± the standard error of the mean over the splits."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for row in found:
        kinds.setdefault(row["taught"], []).append(row)
    lines = []
    for kind, own in kinds.items():
        rates = np.array([row["rejected"] / row["good"] for row in own])
        error = rates.std(ddof=1) / np.sqrt(len(rates)) if len(rates) > 1 else 0.0
        promised = np.mean([row["promised"] for row in own])
        doubted = np.mean([not row["kept"] for row in own])
        missed = sum(row["missed"] for row in own) / max(1, sum(row["defects"] for row in own))
        lines.append(f"| {kind} | {promised:.1%} | {rates.mean():.1%} ± {error:.1%} | {doubted:.0%} | {missed:.1%} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
