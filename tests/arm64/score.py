"""Runs on both machines: `python score.py BUNDLE FRAMES RESULT.npz [--given OTHER.npz]`, called by run.py.

Scores FRAMES/*.npy against BUNDLE, by exact search and as the bundle was built, and writes all that is found on the
way. What comes after the network is also computed from the features in OTHER.npz, so that the work on bytes of two
machines is compared on the same features, whatever their networks make of a frame.

A device that has Python, numpy, onnxruntime and the wheel can run it too.
"""

import argparse
import json
import platform
import sys
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime

from spade_edge.runtime import Scorer
from spade_edge.runtime.bundle.observation import REFERENCE_IMAGES
from spade_edge.runtime.kernels.graph_writer import Graph
from spade_edge.runtime.kernels.kernel import Kernel
from spade_edge.runtime.matching.cells import CellComparison
from spade_edge.runtime.matching.coding import LARGEST, Coder
from spade_edge.runtime.matching.gallery import CodedGallery
from spade_edge.runtime.network.pyramid import Pyramid

UNWANTED = ("torch", "onnx", "cv2", "hnswlib", "tqdm", "scipy", "PIL", "pip")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("frames", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--given", type=Path, help="features of another machine, in the file that it wrote")
    parser.add_argument(
        "--alone", action="store_true", help="refuse to run beside packages that a device need not have"
    )
    chosen = parser.parse_args()
    found = [name for name in UNWANTED if find_spec(name)]
    if chosen.alone and found:
        sys.exit(f"expected nothing but the wheel, numpy and onnxruntime, found {', '.join(found)}")

    numbers = score(chosen.bundle, chosen.frames, given=chosen.given and np.load(chosen.given))
    np.savez(chosen.result, **numbers)
    print(
        json.dumps(
            {
                "machine": platform.machine(),
                "python": platform.python_version(),
                "numpy": np.__version__,
                "onnxruntime": onnxruntime.__version__,
                "packages": sorted({entry.metadata["Name"] for entry in distributions()}),
            }
        )
    )


def score(bundle, frames, *, given=None):
    """Everything that is found on a frame's way, as a dict of arrays named FRAME/STAGE/PART."""
    default, exact = Scorer.open(bundle), Scorer.open(bundle, search="exact")
    bytes_of = Bytes(default) if default.bundle.indexes else None
    numbers = {}
    for path in sorted(frames.glob("*.npy")):
        frame, name = np.load(path), path.stem
        views = default.preprocessor(frame)
        pyramids = default.session(views)
        numbers[f"{name}/view/view"] = views
        numbers |= {f"{name}/network/{part}": array for part, array in features(pyramids).items()}
        there = pyramids if given is None else pyramids_of(given, f"{name}/network/")
        numbers[f"{name}/exactly/distances"] = exact_distances(exact.matcher, there)
        if bytes_of:
            numbers |= {f"{name}/{part}": array for part, array in bytes_of(there).items()}
            numbers |= {f"{name}/moved/{part}": array for part, array in bytes_of.codes(pyramids).items()}
        for label, scorer in (("exact", exact), ("hnsw", default)):
            result = scorer(frame)
            numbers[f"{name}/{label}/map"] = result.heatmap
            numbers[f"{name}/{label}/score"] = np.float64(result.score)
            numbers[f"{name}/{label}/verdict"] = np.str_(result.verdict)
    return numbers


def features(pyramids):
    """The features of a frame's views: an array per level, and the global descriptors."""
    levels = zip(*(pyramid.levels for pyramid in pyramids), strict=True)
    stacked = {f"level{i}": np.stack(level) for i, level in enumerate(levels)}
    return stacked | {"image": np.stack([pyramid.descriptor for pyramid in pyramids])}


def pyramids_of(numbers, prefix):
    """`features`, undone."""
    levels = [numbers[name] for name in sorted(n for n in numbers if n.startswith(f"{prefix}level"))]
    images = numbers[f"{prefix}image"]
    return [Pyramid(levels=tuple(level[i] for level in levels), descriptor=images[i]) for i in range(len(images))]


def exact_distances(matcher, pyramids):
    """Of each view to every embedding of the first good images, as the golden frames of a bundle have them."""
    few = np.arange(min(REFERENCE_IMAGES, len(matcher.gallery)))
    every = (
        matcher.match_exactly(pyramid, view * len(matcher.gallery) + few).distances
        for view, pyramid in enumerate(pyramids)
    )
    return np.stack(list(every))


class Bytes:
    """What the runtime does after the network, in whole numbers, step by step."""

    def __init__(self, scorer):
        self.matcher, self.gallery = scorer.matcher, scorer.bundle.gallery
        assert isinstance(self.gallery, CodedGallery)
        self.coder = Coder(self.gallery.card, self.gallery.coding, threads=None)
        self.comparison = CellComparison(self.gallery.card, self.gallery.coding)
        self.product = Kernel(product_graph(), threads=None)

    def codes(self, pyramids):
        """Codes of each level, and keys."""
        coded = self.coder(pyramids)
        return {f"level{i}": level for i, level in enumerate(coded.levels)} | {"keys": coded.keys}

    def __call__(self, pyramids):
        coded = self.coder(pyramids)
        seen = self.coder.windows(coded)
        numbers = {f"codes/level{i}": level for i, level in enumerate(coded.levels)} | {"keys/keys": coded.keys}
        for i, operand in enumerate(seen.operands):
            left = np.ascontiguousarray(operand.transpose(0, 2, 1)).view(np.uint8)
            numbers[f"windows/level{i}"] = operand
            numbers[f"products/level{i}"] = self.product(left=left, right=operand)[0]
            numbers[f"counted/level{i}"] = np.matmul(left.astype(np.int32), operand.astype(np.int32))
        left, right = largest_operands(channels=max(operand.shape[1] for operand in seen.operands))
        numbers["products/largest"] = self.product(left=left, right=right)[0]
        numbers["counted/largest"] = np.matmul(left.astype(np.int32), right.astype(np.int32))
        numbers["squares/squares"] = seen.squares
        candidates = self.matcher.candidates([p.descriptor for p in pyramids], coded.keys, views=range(len(pyramids)))
        numbers["cells/cells"] = candidates
        cells = self.gallery.cells_per_item
        numbers["distances/distances"] = np.stack(
            [
                self.comparison(
                    self.coder.windows(coded, slice(view * cells, (view + 1) * cells)),
                    levels=self.gallery.levels,
                    squares=self.gallery.squares,
                    candidates=candidates[view],
                )[0]
                for view in range(len(pyramids))
            ]
        )
        return numbers


def product_graph():
    """The 8-bit products of the runtime's graphs, and nothing else."""
    graph = Graph()
    left = graph.input("left", np.uint8, ("cells", "rows", "channels"))
    right = graph.input("right", np.int8, ("cells", "channels", "columns"))
    graph.output("products", graph.node("MatMulInteger", left, right), np.int32)
    return graph


def largest_operands(*, channels):
    """Codes and weights that are as large as they can be, where sums of 16 bits would be cut.

    No weight is -128: on processors without 8-bit dot products, such as the Cortex-A72, onnxruntime 1.32 takes 128
    off the codes and adds pairs in 16 bits, where twice -128 times -128 does not fit.
    """
    rng = np.random.default_rng(0)
    left = rng.choice(np.array([0, LARGEST - 1, LARGEST], np.uint8), (8, 16, channels))
    right = rng.choice(np.array([-127, -126, 126, 127], np.int8), (8, channels, 16))
    left[0], right[0], left[1], right[1] = LARGEST, 127, LARGEST, -127
    return left, right


if __name__ == "__main__":
    main()
