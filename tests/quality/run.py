"""Compare with a peer's scores on images with known defects: `python tests/quality/run.py --data SETS --peer DIR`.

Every set is a folder in MVTec AD's layout. A bundle is built from its good images with the product's defaults, its test
images are scored, and one table says for each set and for their mean how well, beside the peer's scores of the same
views that `peer.py` wrote, with a paired bootstrap over the test images. Figures of pixels are taken at the resolution
of the map; `figures.py` says how. Exit code 1 if `edge` is behind in any of them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from figures import FIGURES, Floats, Scores, Truth, draws, figures, interval, seen_mask, verdict
from numpy.typing import NDArray

from spade_edge.export import export_model
from spade_edge.galleries import BuildOptions, build
from spade_edge.galleries.images import find_images, read_image
from spade_edge.runtime import Scorer
from spade_edge.runtime.geometry.layout import WHOLE, Canvas
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.preprocessing.preprocessor import Preprocessor

SETS = ("mvtec_bottle", "mvtec_grid_448", "mvtec_transistor_448", "magnetic_tile", "aitex_fabric02")
EDGE, PAPER, PEER = "edge", "paper", "peer"
MEAN = "mean"
GOOD = "good/"  # the folder of test images without a defect


@dataclass(frozen=True)
class Row:
    """A figure of a set, or of the mean of all, for each draw of the test images.

    Attributes:
        name: of the set.
        figure: one of FIGURES.
        values: by method, (1 + draws,); the first is of the images as they are.
    """

    name: str
    figure: str
    values: dict[str, Floats]

    @property
    def difference(self) -> Floats | None:
        """Edge less peer, for each draw."""
        return self.values[EDGE] - self.values[PEER] if PEER in self.values else None

    def to_json(self) -> dict[str, object]:
        columns = dict(self.values)
        if self.difference is not None:
            columns["difference"] = self.difference
        found: dict[str, object] = {"set": self.name, "figure": self.figure}
        for name, values in columns.items():
            found[name] = {"value": float(values[0]), "interval": interval(values)}
        found["verdict"] = None if self.difference is None else verdict(self.difference)
        return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="holds the sets")
    parser.add_argument("--sets", nargs="+", default=SETS, metavar="NAME", help=f"default: {' '.join(SETS)}")
    parser.add_argument("--model", type=Path, metavar="FILE", help="what 'spade-edge export' wrote; default: exported")
    parser.add_argument("--weights", default="imagenet", metavar="imagenet|FILE", help="to be exported (imagenet)")
    parser.add_argument("--views", type=Path, metavar="DIR", help="write the views for peer.py there, and nothing else")
    parser.add_argument("--peer", type=Path, metavar="DIR", help="scores to compare with, from peer.py or --output")
    parser.add_argument("--paper", action="store_true", help="score profile paper too: 0.1 s a good image and frame")
    parser.add_argument("--output", type=Path, metavar="DIR", help="keep the scores, in a folder for each profile")
    parser.add_argument("--draws", type=int, default=1000, help="of the test images, for the intervals (1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument("--threads", type=int, metavar="N", help="default: one a core")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    chosen = parser.parse_args()
    if chosen.views:
        for name in chosen.sets:
            write_views(chosen.data / name, chosen.views / f"{name}.npz")
        return 0

    found: dict[str, dict[str, Floats]] = {}
    milliseconds: dict[str, dict[str, float]] = {}
    sizes = {}
    with tempfile.TemporaryDirectory() as scratch:
        model = chosen.model
        if model is None:
            model = Path(scratch, "model.onnx")
            export_model(model, backbone="wide_resnet50_2", weights=str(chosen.weights))
        for name in chosen.sets:
            scores: dict[str, Scores] = {}
            for profile in (EDGE, PAPER) if chosen.paper else (EDGE,):
                say(f"{name}: {profile}")
                scores[profile], names = scored(
                    chosen.data / name, model=model, profile=profile, threads=chosen.threads
                )
                if chosen.output:
                    keep(scores[profile], names, chosen.output / profile / f"{name}.npz")
            truth = truth_of(chosen.data / name, names, scores[EDGE].maps.shape[1:])
            if chosen.peer:
                scores[PEER] = kept(chosen.peer / f"{name}.npz", truth)
            counts = draws(truth.defective, times=chosen.draws, seed=[chosen.seed, *name.encode()])  # sets apart
            found[name] = {method: figures(truth, each, counts) for method, each in scores.items()}
            milliseconds[name] = {method: float(np.median(each.milliseconds)) for method, each in scores.items()}
            sizes[name] = (int((~truth.defective).sum()), int(truth.defective.sum()))
    rows = rows_of(found)
    if chosen.json:
        summary = {"rows": [row.to_json() for row in rows], "milliseconds": milliseconds, "images": sizes}
        print(json.dumps(summary | {"draws": chosen.draws, "seed": chosen.seed}))
    else:
        print("\n".join(table(rows, sizes)))
        for name, times in milliseconds.items():
            say(f"{name}: median of a frame, ms: {', '.join(f'{method} {time:.0f}' for method, time in times.items())}")
    return int(any(row.difference is not None and verdict(row.difference) == "behind" for row in rows))


def scored(folder: Path, *, model: Path, profile: str, threads: int | None) -> tuple[Scores, tuple[str, ...]]:
    """Build from the good images of a set and score its test images."""
    with tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch, f"{profile}.spade")
        build(
            folder / "train" / "good",
            model=model,
            output=bundle,
            options=BuildOptions(profile=profile, threads=threads),
        )
        return scored_with(Scorer.open(bundle, threads=threads), folder)


def scored_with(scorer: Scorer, folder: Path) -> tuple[Scores, tuple[str, ...]]:
    """Score the test images of a set."""
    paths = find_images(folder / "test")
    scorer(read_image(paths[0]))  # the first is slower
    results = [scorer(read_image(path)) for path in paths]
    scores = Scores(
        images=np.array([each.score for each in results]),
        maps=np.stack([each.heatmap for each in results]),
        milliseconds=np.array([each.milliseconds["total"] for each in results]),
    )
    return scores, names_of(paths, folder / "test")


def truth_of(folder: Path, names: tuple[str, ...], size: tuple[int, ...]) -> Truth:
    """Read the masks of a set's test images; what has none, in the folder `good`, has no defect.

    Raises:
        FileNotFoundError: a defective image has no mask.
    """
    masks = np.zeros((len(names), *size), bool)
    for mask, name in zip(masks, names, strict=True):
        if not name.startswith(GOOD):
            path = (folder / "ground_truth" / name).with_suffix("")
            path = path.with_name(f"{path.name}_mask.png")
            pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            if pixels is None:
                raise FileNotFoundError(path)
            mask[:] = seen_mask(pixels >= 128, (size[0], size[1]))
    return Truth(names=names, defective=np.array([not name.startswith(GOOD) for name in names]), masks=masks)


def write_views(folder: Path, path: Path) -> None:
    """Write the views of a set, as the network gets them, for `peer.py`: float32 BGR, 0 to 255, 224x224."""
    viewer = Preprocessor(Canvas(WHOLE, View()))
    arrays: dict[str, NDArray[np.generic]] = {}
    for part, place in (("train", folder / "train" / "good"), ("test", folder / "test")):
        paths = find_images(place)
        arrays[part] = np.concatenate([viewer(read_image(image)) for image in paths])
        arrays[f"{part}_names"] = np.array(names_of(paths, place))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)  # type: ignore[arg-type]
    say(f"{path}: {len(arrays['train'])} good images, {len(arrays['test'])} to test")


def keep(scores: Scores, names: Sequence[str], path: Path) -> None:
    """Write scores as `peer.py` does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path, names=np.array(names), scores=scores.images, maps=scores.maps, milliseconds=scores.milliseconds
    )


def kept(path: Path, truth: Truth) -> Scores:
    """Read scores of the same images.

    Raises:
        ValueError: they are of other images, or their maps have another resolution.
    """
    with np.load(path, allow_pickle=False) as file:
        scores = Scores(images=file["scores"].astype(np.float64), maps=file["maps"], milliseconds=file["milliseconds"])
        if tuple(file["names"]) != truth.names or scores.maps.shape != truth.masks.shape:
            raise ValueError(f"{path}: expected scores of the same test images at the same resolution, found others")
    return scores


def names_of(paths: Iterable[Path], folder: Path) -> tuple[str, ...]:
    return tuple(path.relative_to(folder).as_posix() for path in paths)


def rows_of(found: dict[str, dict[str, Floats]]) -> list[Row]:
    """A row for each figure of each set, and of their mean: a draw of the mean is a draw of every set."""
    if len(found) > 1:
        methods = next(iter(found.values()))
        mean = {method: np.mean([each[method] for each in found.values()], axis=0) for method in methods}
        found = found | {MEAN: mean}
    return [
        Row(name, figure, {method: values[i] for method, values in each.items()})
        for name, each in found.items()
        for i, figure in enumerate(FIGURES)
    ]


def table(rows: Sequence[Row], sizes: dict[str, tuple[int, int]]) -> Iterable[str]:
    """Lines of Markdown."""
    methods = list(rows[0].values)
    compared = ["edge − peer", "95 %", "edge is"] if PEER in methods else []
    yield f"| set (good + defective) | figure | {' | '.join(methods + compared)} |"
    yield "|" + "---|" * (2 + len(methods) + len(compared))
    shown: Callable[[float], str] = "{:.3f}".format
    for row in rows:
        name = row.name if row.name == MEAN else f"{row.name} ({sizes[row.name][0]} + {sizes[row.name][1]})"
        cells = [name, row.figure, *(shown(values[0]) for values in row.values.values())]
        if row.difference is not None:
            low, high = interval(row.difference)
            cells += [f"{row.difference[0]:+.3f}", f"{low:+.3f} to {high:+.3f}", verdict(row.difference)]
        yield f"| {' | '.join(cells)} |"


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
