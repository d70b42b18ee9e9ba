"""Measure how time and memory grow with the gallery: build and measure bundles of 25 to 1,600 images.

If there are too few images, they are varied: mirrored, moved by a few pixels, made brighter or darker, with noise.
Every gallery is built and measured in a process of its own. This takes about as long as the network needs for
4,000 images.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from spade_edge.runtime import DeviceError
from spade_edge.tools.benchmark.scaling_plot import OPENING, plot
from spade_edge.tools.cli.arguments import (
    add_json,
    add_provider,
    add_threads,
    path,
    place_of_images,
    positive,
    provider,
    provider_options,
    shown,
)
from spade_edge.tools.cli.folder_arguments import add_follow_links
from spade_edge.tools.cli.output_folder import check_folder
from spade_edge.tools.cli.text.scaling import COLUMNS, line, values
from spade_edge.tools.output import check_replaceable, replacing

SIZES = (25, 50, 100, 200, 400, 800, 1600)
# The files in --output, and how those that this command wrote begin.
FILES = {"scaling.json": b'{\n "machine": {', "scaling.svg": OPENING.encode()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", required=True, type=path, metavar="FILE", help="the model that 'spade-edge export' wrote"
    )
    parser.add_argument(
        "--images",
        required=True,
        type=place_of_images,
        metavar="DIR",
        help="images of good parts: a folder, an address, or a dataset file",
    )
    add_follow_links(parser)
    parser.add_argument(
        "--output", required=True, type=path, metavar="DIR", help="folder for scaling.json and scaling.svg"
    )
    parser.add_argument("--sizes", type=_sizes, default=SIZES, metavar="N,N,…", help="numbers of images (25,50,…,1600)")
    parser.add_argument(
        "--count", type=positive, default=60, metavar="N", help="number of frames to score with each bundle (60)"
    )
    add_threads(parser)
    add_provider(parser)
    add_json(parser)


def run(chosen: argparse.Namespace) -> int:
    from spade_edge.tools.benchmark.scaling import scaling
    from spade_edge.tools.cli.progress_bar import progress
    from spade_edge.tools.datasets import images_at

    check_folder("--output", chosen.output)
    for name, start in FILES.items():
        check_replaceable(chosen.output / name, lambda head, start=start: head.startswith(start))  # type: ignore[misc]
    provider(chosen)  # refuses options that do not fit before the long work
    rows: list[dict[str, Any]] = []
    machine: dict[str, Any] = {}
    if not chosen.json:
        print(line(COLUMNS), flush=True)
    with images_at(chosen.images, good_only=True, progress=progress) as images:
        measured = scaling(
            images.folder,
            chosen.sizes,
            model=chosen.model,
            scratch=chosen.output,
            build=partial(_build, chosen),
            measure=partial(_bench, chosen),
            follow_links=bool(chosen.follow_links),
            progress=progress,
        )
        for row, on in measured:
            rows.append(row)
            machine = on
            if not chosen.json:
                print(line(values(row)), flush=True)
    value = {"machine": machine, "rows": rows}
    if chosen.json:
        print(json.dumps(value), flush=True)
    for name, content in zip(FILES, (json.dumps(value, indent=1) + "\n", plot(rows)), strict=True):
        with replacing(chosen.output / name) as file:
            file.write(content.encode())
    if not chosen.json:
        print(f"{chosen.output}: scaling.json has all figures, scaling.svg the plot", file=sys.stderr)
    return 0


def _build(chosen: argparse.Namespace, images: Path, bundle: Path) -> dict[str, Any]:
    return _in_process("build", "--model", chosen.model, "--images", images, "--output", bundle, *_threads(chosen))


def _bench(chosen: argparse.Namespace, bundle: Path) -> dict[str, Any]:
    options = (*_threads(chosen), *provider_options(chosen))
    return _in_process("bench", "--bundle", bundle, "--count", chosen.count, *options)


def _threads(chosen: argparse.Namespace) -> list[str]:
    return [] if chosen.threads is None else ["--threads", str(chosen.threads)]


def _in_process(command: str, *arguments: object) -> dict[str, Any]:
    """Run a command of ours in a process of its own; gives what it prints."""
    argv = [sys.executable, "-m", "spade_edge.tools.cli.main", command, *map(str, arguments), "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise DeviceError(f"{command}: {said[-1] if said else 'ended'}")
    return dict(json.loads(done.stdout))


def _sizes(text: str) -> Sequence[int]:
    sizes = [positive(part) for part in text.split(",")]
    if min(sizes) < 2:
        raise argparse.ArgumentTypeError(f"expected at least 2 images, found {shown(text)}")
    return sorted(set(sizes))
