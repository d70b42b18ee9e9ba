"""Measure on images with known defects: `python tests/quality/run.py --data SETS --peer DIR --options '--sigma 2'`.

Every set is a folder in MVTec AD's layout. A bundle is built from its good images, with the defaults of `spade-edge
build` or with the options of each `--options`, and its test images are scored. One table says for each set and for all
together how well, beside a peer's scores of the same views that `peer.py` or `--output` wrote, with a paired bootstrap
over the test images. Everything is compared with the peer, or, without one, with the first options. Figures of pixels
are taken at the resolution of the map, so those of tiles and of whole views are not of the same pixels; `figures.py`
says how. The rows of verdicts count what is rejected and missed at the threshold of the build, and at that of the
lowest false-reject rate that the good images certify; a frame that cannot be judged is a rejected one.

`--disturb N` also moves, turns, lights, blurs and roughens N good and N defective frames of each set, and counts the
verdicts in a second table; `disturbed.py` says how.

Exit code 1 if any options are behind in any figure.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import disturbed
import numpy as np
from figures import COUNTED, FIGURES, Floats, Scores, Truth, draws, figures, interval, seen_mask, verdict
from numpy.typing import NDArray
from recipes import Judged, Recipe, judged

from spade_edge.export import export_model
from spade_edge.galleries.images import find_images, read_image
from spade_edge.runtime import Scorer
from spade_edge.runtime.geometry.layout import WHOLE, Canvas
from spade_edge.runtime.geometry.view import View
from spade_edge.runtime.preprocessing.preprocessor import Preprocessor
from spade_edge.tools.datasets import images_at
from spade_edge.tools.remote import joined

SETS = ("mvtec_bottle", "mvtec_grid_448", "mvtec_transistor_448", "magnetic_tile", "aitex_fabric02")
PEER = "peer"
ALL = "all"
GOOD = "good/"  # the folder of test images without a defect


@dataclass(frozen=True)
class Row:
    """A figure of a set, or of all together, for each draw of the test images.

    Attributes:
        name: of the set.
        figure: one of FIGURES.
        values: by method, (1 + draws,); the first is of the images as they are. NaN for what a method does not have.
        images: how many good and defective ones there are.
    """

    name: str
    figure: str
    values: dict[str, Floats]
    images: tuple[int, int]

    @property
    def counted(self) -> int:
        """How many images a figure of COUNTED is a fraction of; 0 for the others."""
        return self.images[COUNTED.index(self.figure) % 2] if self.figure in COUNTED else 0

    @property
    def differences(self) -> dict[str, Floats]:
        """Each method less the one that it is compared with, for each draw."""
        methods = list(self.values)
        base = PEER if PEER in methods else methods[0]
        return {method: self.values[method] - self.values[base] for method in methods if method != base}

    @property
    def verdicts(self) -> dict[str, str]:
        return {method: verdict(self.figure, values) for method, values in self.differences.items()}

    def cell(self, value: float) -> str:
        """A value for people: counted figures as counts."""
        if np.isnan(value):
            return "–"
        return f"{round(value * self.counted)} of {self.counted}" if self.counted else f"{value:.3f}"

    def to_json(self) -> dict[str, object]:
        return {
            "set": self.name,
            "figure": self.figure,
            "images": self.images,
            "values": {method: _summary(values) for method, values in self.values.items()},
            "differences": {
                method: _summary(values) | {"verdict": self.verdicts[method]}
                for method, values in self.differences.items()
                if self.verdicts[method]
            },
        }


def _summary(values: Floats) -> dict[str, Any]:
    return {} if np.isnan(values[0]) else {"value": float(values[0]), "interval": interval(values)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="DIR", help="folder or address that holds the sets")
    parser.add_argument("--sets", nargs="+", default=SETS, metavar="NAME", help=f"default: {' '.join(SETS)}")
    parser.add_argument("--model", type=Path, metavar="FILE", help="what 'spade-edge export' wrote; default: exported")
    parser.add_argument("--weights", default="imagenet", metavar="imagenet|FILE", help="to be exported (imagenet)")
    parser.add_argument(
        "--options",
        action="append",
        metavar="OPTIONS",
        help="of 'spade-edge build', in one argument; may be given several times; '' for the defaults, as without it",
    )
    parser.add_argument("--views", type=Path, metavar="DIR", help="write the views for peer.py there, and nothing else")
    parser.add_argument("--peer", type=Path, metavar="DIR", help="scores to compare with, from peer.py or --output")
    parser.add_argument("--disturb", type=int, metavar="N", help="disturb N good and N defective frames of each set")
    parser.add_argument("--output", type=Path, metavar="DIR", help="keep the scores, in a folder for each --options")
    parser.add_argument("--draws", type=int, default=1000, help="of the test images, for the intervals (1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument("--threads", type=int, metavar="N", help="default: one a core")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there too, as one JSON object")
    chosen = parser.parse_args()
    if chosen.views:
        for name in chosen.sets:
            with images_at(joined(chosen.data, name)) as images:
                write_views(images.folder, chosen.views / f"{name}.npz")
        return 0

    recipes = [Recipe(options) for options in chosen.options or [""]]
    rows: dict[str, list[Row]] = {}
    details: dict[str, dict[str, dict[str, Any]]] = {}
    moved: dict[tuple[str, str], dict[str, disturbed.Verdicts]] = {}
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as places:
        model = chosen.model
        if model is None:
            model = Path(scratch, "model.onnx")
            export_model(model, backbone="wide_resnet50_2", weights=str(chosen.weights))
        for name in chosen.sets:
            data = places.enter_context(images_at(joined(chosen.data, name))).folder
            methods: dict[str, tuple[Truth, Scores]] = {}
            details[name] = {}
            for number, recipe in enumerate(recipes):
                say(f"{name}: {recipe.name}")
                bundle = Path(scratch, f"{name}-{number}.spade")
                recipe.build(data / "train" / "good", model=model, output=bundle, threads=chosen.threads)
                scorer = Scorer.open(bundle, threads=chosen.threads)
                found = judged(scorer, data / "test")
                scores = scores_of(found)
                methods[recipe.name] = truth_of(data, found.names, scores.maps.shape[1:]), scores
                if chosen.output:
                    keep(scores, found.names, chosen.output / recipe.folder / f"{name}.npz")
                if chosen.disturb:
                    moved[name, recipe.name] = disturbed.verdicts(scorer, data / "test", most=chosen.disturb)
                    say("\n".join(disturbed.table({(name, recipe.name): moved[name, recipe.name]})))  # takes long
                details[name][recipe.name] = {"promised": found.promised, "milliseconds": median(scores)}
                say(f"{name}: {recipe.name}: {details[name][recipe.name]}")
            if chosen.peer:
                methods[PEER] = kept(chosen.peer / f"{name}.npz", data, found.names)
                details[name][PEER] = {"milliseconds": median(methods[PEER][1])}
            rows[name] = rows_of(name, methods, times=chosen.draws, seed=[chosen.seed, *name.encode()])  # sets apart
    every = [row for each in rows.values() for row in each] + (of_all(list(rows.values())) if len(rows) > 1 else [])
    print("\n".join(table(every)))
    if moved:
        print("\n".join(["", *disturbed.table(moved)]))
    if chosen.json:
        summary: dict[str, Any] = {"rows": [row.to_json() for row in every], "details": details}
        summary["disturbed"] = [
            {"set": name, "recipe": recipe, "frames": way, **each.to_json()}
            for (name, recipe), ways in moved.items()
            for way, each in ways.items()
        ]
        chosen.json.write_text(json.dumps(summary | {"draws": chosen.draws, "seed": chosen.seed}), encoding="utf-8")
    return int(any("behind" in row.verdicts.values() for row in every))


def scores_of(found: Judged) -> Scores:
    return Scores(
        images=np.array([each.score for each in found.results]),
        maps=np.stack([each.heatmap for each in found.results]),
        milliseconds=np.array([each.milliseconds["total"] for each in found.results]),
        rejected=found.rejected,
    )


def median(scores: Scores) -> float:
    return round(float(np.median(scores.milliseconds)), 1)


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
    """Write scores as `peer.py` does, and what was rejected."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, NDArray[np.generic]] = {
        "scores": scores.images,
        "maps": scores.maps,
        "milliseconds": scores.milliseconds,
    }
    if scores.rejected is not None:
        arrays["rejected"] = scores.rejected
    np.savez_compressed(path, names=np.array(names), **arrays)  # type: ignore[arg-type]


def kept(path: Path, folder: Path, names: tuple[str, ...]) -> tuple[Truth, Scores]:
    """Read scores of a set's test images.

    Raises:
        ValueError: they are of other images.
    """
    with np.load(path, allow_pickle=False) as file:
        if tuple(file["names"]) != names:
            raise ValueError(f"{path}: expected scores of the same test images, found others")
        scores = Scores(
            images=file["scores"].astype(np.float64),
            maps=file["maps"],
            milliseconds=file["milliseconds"],
            rejected=file.get("rejected"),
        )
    return truth_of(folder, names, scores.maps.shape[1:]), scores


def names_of(paths: Iterable[Path], folder: Path) -> tuple[str, ...]:
    return tuple(path.relative_to(folder).as_posix() for path in paths)


def rows_of(name: str, methods: dict[str, tuple[Truth, Scores]], *, times: int, seed: list[int]) -> list[Row]:
    """A row for each figure of a set; all methods share the draws."""
    defective = next(iter(methods.values()))[0].defective
    counts = draws(defective, times=times, seed=seed)
    found = {method: figures(truth, scores, counts) for method, (truth, scores) in methods.items()}
    images = int((~defective).sum()), int(defective.sum())
    return [
        Row(name, figure, {method: values[i] for method, values in found.items()}, images)
        for i, figure in enumerate(FIGURES)
    ]


def of_all(sets: Sequence[list[Row]]) -> list[Row]:
    """The means of the sets, and what is counted in all of them: a draw of all is a draw of every set."""
    found = []
    for rows in zip(*sets, strict=True):
        first = rows[0]
        weights = [row.counted or 1 for row in rows]
        values = {
            method: np.average([row.values[method] for row in rows], axis=0, weights=weights) for method in first.values
        }
        good, bad = np.sum([row.images for row in rows], axis=0).tolist()
        found.append(Row(ALL, first.figure, values, (good, bad)))
    return found


def table(rows: Sequence[Row]) -> Iterable[str]:
    """Lines of Markdown."""
    methods, compared = list(rows[0].values), list(rows[0].differences)
    base = next((method for method in methods if method not in compared), "")
    differences = [f"{method} − {base} (95 %)" for method in compared]
    yield f"| set (good + defective) | figure | {' | '.join(methods + differences)} |"
    yield "|" + "---|" * (2 + len(methods) + len(differences))
    for row in rows:
        cells = [f"{row.name} ({row.images[0]} + {row.images[1]})", row.figure]
        cells += [row.cell(values[0]) for values in row.values.values()]
        for method, values in row.differences.items():
            low, high = interval(values)
            shown = f"{values[0]:+.3f} ({low:+.3f} to {high:+.3f}) {row.verdicts[method]}"
            cells.append(shown if row.verdicts[method] else "–")
        yield f"| {' | '.join(cells)} |"


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
