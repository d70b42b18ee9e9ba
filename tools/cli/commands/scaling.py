"""Measure how time and memory grow with the gallery: builds bundles of 25 to 1,600 images and benches each.

Where there are fewer images than a gallery needs, they are varied: mirrored, moved by a few pixels, brighter or darker,
with noise. Every gallery is built and measured in a process of its own. Takes a while: about as long as the network
needs for 4,000 images.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime import DeviceError, UsageError
from spade_edge.tools.cli.arguments import add_provider, path, positive, provider, spelt, threads

SIZES = (25, 50, 100, 200, 400, 800, 1600)
COLUMNS = (
    "images",
    "ratio",
    "frame ms",
    "network",
    "matching",
    "MB an image",
    "memory MB",
    "open s",
    "build s",
    "build",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, type=path, metavar="FILE", help="what 'spade-edge export' wrote")
    parser.add_argument("--images", required=True, type=path, metavar="DIR", help="images of good parts")
    parser.add_argument("--output", required=True, type=path, metavar="DIR", help="for scaling.json and scaling.svg")
    parser.add_argument("--sizes", type=_sizes, default=SIZES, metavar="N,N,…", help="of the galleries (25,50,…,1600)")
    parser.add_argument("--count", type=positive, default=60, metavar="N", help="frames to score with each (60)")
    parser.add_argument("--threads", type=threads, metavar="N", help="threads of all work (default: one a core)")
    add_provider(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.tools.benchmark.scaling_plot import plot

    if chosen.output.exists() and not chosen.output.is_dir():
        raise UsageError(f"{chosen.output}: expected a folder to write to, found a file")
    chosen.output.mkdir(parents=True, exist_ok=True)
    common = [] if chosen.threads is None else ["--threads", str(chosen.threads)]
    provider(chosen)  # a usage that does not fit is refused before the long work
    benched = spelt(chosen)  # galleries are built on the CPU
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=chosen.output, prefix=".scaling-") as scratch:
        images = _varied(chosen.images, max(chosen.sizes), chosen.model, Path(scratch, "images"))
        if not chosen.json:
            print(" ".join(f"{column:>11}" for column in COLUMNS))
        for size in sorted(chosen.sizes):
            folder, bundle = Path(scratch, f"good{size}"), Path(scratch, f"{size}.spade")
            folder.mkdir()
            for image in images[:size]:
                os.link(image, folder / image.name)
            built = _run("build", "--model", chosen.model, "--images", folder, "--output", bundle, *common)
            measured = _run("bench", "--bundle", bundle, "--count", chosen.count, *common, *benched)
            shutil.rmtree(bundle)
            rows.append(_row(size, built, measured))
            if not chosen.json:
                print(" ".join(f"{value:>11}" for value in _texts(rows[-1])), flush=True)
    value = {"machine": measured["machine"], "rows": rows}
    (chosen.output / "scaling.json").write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    (chosen.output / "scaling.svg").write_text(plot(rows), encoding="utf-8")
    if chosen.json:
        print(json.dumps(value))
    else:
        print(f"{chosen.output}: scaling.json has every figure, scaling.svg the plot", file=sys.stderr)
    return 0


def _row(size: int, built: dict[str, Any], measured: dict[str, Any]) -> dict[str, Any]:
    seconds = built["seconds"]
    work = seconds["reading"] + seconds["features"] + seconds["index"] + seconds["checking"]
    return {
        "images": size,
        "ratio": measured["measured"]["ratio"],
        "frame_ms": measured["measured"]["frame"]["p50"],
        "network_ms": measured["measured"]["network"]["p50"],
        "stages_ms": measured["measured"]["stages"],
        "megabytes_an_image": measured["bundle"]["gallery_megabytes_an_image"],
        "memory": measured["memory"],
        "open_seconds": measured["open_seconds"],
        "build_seconds": seconds,
        "build_over_network": work / seconds["network"],  # the threshold's calibration apart
    }


def _texts(row: dict[str, Any]) -> list[str]:
    memory = row["memory"]
    return [
        str(row["images"]),
        f"{row['ratio']:.3f}",
        f"{row['frame_ms']:.1f}",
        f"{row['network_ms']:.1f}",
        f"{row['stages_ms']['matching']:.1f}",
        f"{row['megabytes_an_image']:.2f}",
        "" if memory is None else f"{memory['resident_megabytes']:.0f}",
        f"{row['open_seconds']:.2f}",
        f"{sum(row['build_seconds'].values()) - row['build_seconds']['network']:.1f}",
        f"{row['build_over_network']:.2f}",
    ]


def _run(command: str, *arguments: object) -> dict[str, Any]:
    """Run a command of ours in a process of its own; gives what it prints."""
    line = [sys.executable, "-m", "spade_edge.tools.cli.main", command, *map(str, arguments), "--json"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DeviceError(f"{command}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'ended'}")
    return dict(json.loads(done.stdout))


def _varied(folder: Path, count: int, model: Path, output: Path) -> list[Path]:
    """Write `count` images, all different, at the size of the model's view."""
    from spade_edge.galleries.images import find_images, read_image
    from spade_edge.runtime.geometry.layout import WHOLE, Canvas
    from spade_edge.runtime.network.session import Session
    from spade_edge.runtime.preprocessing.preprocessor import Preprocessor
    from spade_edge.tools.cli.progress import progress

    viewer = Preprocessor(Canvas(WHOLE, Session.open(model).card.view))
    sources = find_images(folder)
    output.mkdir()
    random = np.random.default_rng(0)
    written = []
    for i in progress(range(count), "varying images"):
        (seen,) = viewer(read_image(sources[i % len(sources)]))
        varied = _variant(seen, i // len(sources), random)
        name = output / f"{i:06d}.npy"
        np.save(name, varied)
        written.append(name)
    return written


def _variant(seen: NDArray[np.float32], number: int, random: np.random.Generator) -> NDArray[np.uint8]:
    varied = seen.astype(np.float64)
    if number:
        varied = varied[:: -1 if number & 1 else 1, :: -1 if number & 2 else 1]
        varied = np.roll(varied, random.integers(-6, 7, 2).tolist(), axis=(0, 1)) * random.uniform(0.9, 1.1)
        varied += random.normal(0, 2, varied.shape)
    return np.clip(np.rint(varied), 0, 255).astype(np.uint8)


def _sizes(text: str) -> Sequence[int]:
    sizes = [positive(part) for part in text.split(",")]
    if min(sizes) < 2:
        raise argparse.ArgumentTypeError(f"expected at least 2 images, found {text!r}")
    return sorted(set(sizes))
