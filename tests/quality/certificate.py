"""What a false-reject rate is worth on real images: `python tests/quality/certificate.py --data SETS --model FILE`.

Every set is a folder in MVTec AD's layout. All its images, good and defective, become one bundle, so that the network
runs once. Then the good parts are split at random, many times: one half is the gallery, the other half are frames of
the line. What is promised for the first half is compared with what is found on the second, and on the defects.

    clean       the good images as they are
    repeats     four shots of each part: shifted by up to 5 %, turned by up to 3 degrees, 10 % lighter or darker, noisy
                (sigma up to 4), compressed (JPEG quality 60 to 95); the groups are those that the build finds
    as images   the same, each shot counted as a part, to see what that would promise
    defects     a tenth of the gallery are defects; before and after those that the ranking suggests are excluded
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries import BuildOptions, Views, build
from spade_edge.galleries.calibration import calibrated
from spade_edge.galleries.images import find_images, read_image
from spade_edge.galleries.leave_one_out import LeaveOneOut, leave_one_out
from spade_edge.galleries.untypical import untypical
from spade_edge.runtime import Scorer
from spade_edge.runtime.bundle.evidence import Evidence
from spade_edge.tools.datasets import images_at
from spade_edge.tools.remote import joined

SETS = ("mvtec_bottle", "mvtec_grid_448", "mvtec_transistor_448", "magnetic_tile", "aitex_fabric02")
SHOTS = 4
RATES = (None, 0.05, 0.1)  # None for the one that a build chooses
MIXED = 0.1  # of the gallery

Ints = NDArray[np.int_]
Bools = NDArray[np.bool_]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="DIR", help="folder or address that holds the sets")
    parser.add_argument("--sets", nargs="+", default=SETS, metavar="NAME", help=f"default: {' '.join(SETS)}")
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="what 'spade-edge export' wrote")
    parser.add_argument("--tiled", nargs="*", default=("aitex_fabric02",), metavar="NAME", help="sets of large frames")
    parser.add_argument("--splits", type=int, default=12, help="of the good parts, in halves (12)")
    parser.add_argument("--threads", type=int, metavar="N", help="default: one a core")
    chosen = parser.parse_args()
    for name in chosen.sets:
        views = Views(auto=True) if name in chosen.tiled else Views()
        options = BuildOptions(views=views, threads=chosen.threads)
        with tempfile.TemporaryDirectory() as scratch, images_at(joined(chosen.data, name)) as images:
            for row in rows(images.folder, Path(scratch), chosen.model, options, splits=chosen.splits):
                print(json.dumps({"set": name, **row}), flush=True)
    return 0


def rows(data: Path, scratch: Path, model: Path, options: BuildOptions, *, splits: int) -> Iterator[dict[str, Any]]:
    """One row for each split, condition and rate: promised, found of held-back good frames, missed of defects."""
    good = [path for part in ("train", "test") for path in find_images(data / part / "good")]
    bad = [path for path in find_images(data / "test") if path.parent.name != "good"]
    for number, path in enumerate(good):
        _link(path, scratch / "all" / f"good{number:04}{path.suffix}")
        for shot, image in enumerate(shots(read_image(path), seed=number)):
            place = scratch / "repeats" / f"good{number:04}_{shot}.png"
            place.parent.mkdir(exist_ok=True)
            cv2.imwrite(str(place), image)
    for number, path in enumerate(bad):
        _link(path, scratch / "all" / f"bad{number:04}{path.suffix}")
    gallery = Stored.of(scratch / "all", scratch / "all.spade", model, options)
    repeated = Stored.of(scratch / "repeats", scratch / "repeats.spade", model, options)
    for split in range(splits):
        rng = np.random.default_rng(split)
        yield from _clean_and_defects(gallery, rng, split)
        yield from _repeats(repeated, rng, split)


@dataclass(frozen=True)
class Stored:
    """A bundle of all images, from which any subset serves as the gallery.

    Attributes:
        scorer: of the bundle.
        names: of the images.
        groups: the parts that the build found.
        scratch: where maps may be kept.
    """

    scorer: Scorer
    names: tuple[str, ...]
    groups: Ints
    scratch: Path

    @classmethod
    def of(cls, images: Path, bundle: Path, model: Path, options: BuildOptions) -> Stored:
        built = build(images, model=model, output=bundle, options=options)
        groups = np.array([image.group for image in built.manifest.images])
        return cls(
            Scorer.open(bundle, threads=options.threads), built.manifest.names, groups, bundle.parent / "maps.npy"
        )

    def scored(self, included: Bools, groups: Ints) -> LeaveOneOut:
        """Included images against the other parts that are included; the others as frames of the line."""
        return leave_one_out(
            self.scorer.matcher,
            self.scorer.stitching,
            groups=tuple(groups.tolist()),
            included=included,
            scratch=self.scratch,
            progress=lambda items, label: items,
        )


def _clean_and_defects(stored: Stored, rng: np.random.Generator, split: int) -> Iterator[dict[str, Any]]:
    good = np.array([name.startswith("good") for name in stored.names])
    one, other = _halves(rng, stored.groups, good)
    defects = ~good
    yield from _rates("clean", split, stored, one, stored.groups, held=other, bad=defects)
    count = max(1, round(MIXED / (1 - MIXED) * int(one.sum())))
    mixed = one.copy()
    mixed[rng.choice(np.flatnonzero(defects), min(count, int(defects.sum()) // 2), replace=False)] = True
    rest = defects & ~mixed
    yield from _rates("defects", split, stored, mixed, stored.groups, held=other, bad=rest)
    found = untypical(
        stored.scored(mixed, stored.groups),
        groups=stored.groups.tolist(),
        included=mixed,
        canvas=stored.scorer.canvas,
        rescored=lambda kept: stored.scored(kept, stored.groups),
    )
    looked_at = mixed & ~(defects & np.array([image.value > 1 for image in found]))
    yield from _rates("defects, excluded", split, stored, looked_at, stored.groups, held=other, bad=rest)


def _repeats(stored: Stored, rng: np.random.Generator, split: int) -> Iterator[dict[str, Any]]:
    parts = np.array([int(name[4:8]) for name in stored.names])
    first = np.array([name.endswith("_0.png") for name in stored.names])
    one, other = _halves(rng, parts, np.ones(len(parts), bool))
    nothing = np.zeros(len(parts), bool)
    for kind, groups in (("repeats", stored.groups), ("repeats as images", np.arange(len(parts)))):
        yield from _rates(kind, split, stored, one, groups, held=other & first, bad=nothing)


def _rates(
    kind: str, split: int, stored: Stored, included: Bools, groups: Ints, *, held: Bools, bad: Bools
) -> Iterator[dict[str, Any]]:
    found = stored.scored(included, groups)
    scores = np.array(found.scores)
    evidence = Evidence(
        scores=tuple(scores[included].tolist()),
        groups=tuple(groups[included].tolist()),
        map_maxima=tuple(np.array(found.map_maxima)[included].tolist()),
    )
    for rate in RATES:
        if rate is not None and rate < 1 / (evidence.parts + 1):
            continue
        threshold = calibrated(evidence, rate=rate, area=0, now="")
        yield {
            "kind": kind,
            "split": split,
            "asked": rate,
            "promised": threshold.rate,
            "parts": threshold.parts,
            "rejected": int((scores[held] > threshold.score).sum()),
            "good": int(held.sum()),
            "missed": int((scores[bad] <= threshold.score).sum()),
            "defects": int(bad.sum()),
        }


def _halves(rng: np.random.Generator, parts: Ints, among: Bools) -> tuple[Bools, Bools]:
    """Two halves of the parts, as masks over the images."""
    numbers = rng.permutation(np.unique(parts[among]))
    first = among & np.isin(parts, numbers[: len(numbers) // 2])
    return first, among & ~first


def shots(image: NDArray[np.uint8], *, seed: int) -> list[NDArray[np.uint8]]:
    """Four shots of a part, each moved, turned, in another light, noisy and compressed; long strips are not turned."""
    rng = np.random.default_rng(seed)
    height, width = image.shape[:2]
    strip = max(height, width) > 4 * min(height, width)
    found = []
    for _ in range(SHOTS):
        turn = 0.0 if strip else rng.uniform(-3, 3)
        moved = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), turn, 1)
        moved[:, 2] += rng.uniform(-0.05, 0.05, 2) * (width, height)
        shot = cv2.warpAffine(image, moved, (width, height), borderMode=cv2.BORDER_REFLECT_101).astype(np.float64)
        shot = shot * rng.uniform(0.9, 1.1) + rng.normal(0, rng.uniform(0, 4), image.shape)
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 96))]
        _, packed = cv2.imencode(".jpg", np.clip(np.rint(shot), 0, 255).astype(np.uint8), quality)
        found.append(np.asarray(cv2.imdecode(packed, cv2.IMREAD_UNCHANGED), np.uint8))
    return found


def _link(path: Path, place: Path) -> None:
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(path.resolve())


if __name__ == "__main__":
    sys.exit(main())
