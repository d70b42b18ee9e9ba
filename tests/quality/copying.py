"""Time to copy a dataset from a server that takes its time: `python tests/quality/copying.py`.

A web server on this machine waits before each answer, as one in another building does. The images of a dataset file are
copied one by one, several at once as commands do, and taken from the cache the second time. Printed are seconds, and
ratios to several at once.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from object_stores import answering

from spade_edge.tools.datasets import Entry, images_at, local_images, write_dataset
from spade_edge.tools.datasets import read_ahead as reading
from spade_edge.tools.datasets.image_cache import SIZE


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000, metavar="N", help="of the dataset (2000)")
    parser.add_argument("--bytes", type=int, default=20_000, metavar="N", help="of an image (20000)")
    parser.add_argument("--wait", type=float, default=0.02, metavar="SECONDS", help="before each answer (0.02)")
    chosen = parser.parse_args(arguments)
    content = np.random.default_rng(0).bytes(chosen.bytes)

    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        time.sleep(chosen.wait)
        return 200, {}, path.encode() + content

    with answering(answer) as port, tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CACHE_HOME"] = scratch
        file = Path(scratch, "x.jsonl")
        write_dataset(file, (entry(f"/{number}.png", content, port) for number in range(chosen.images)))
        os.environ[SIZE] = "0"
        one = seconds(file, threads=1)
        several = seconds(file, threads=reading.THREADS)
        os.environ[SIZE] = "10"
        seconds(file, threads=reading.THREADS)
        kept = seconds(file, threads=reading.THREADS)
    for what, took in (("one by one", one), (f"{reading.THREADS} at once", several), ("from the cache", kept)):
        print(f"{what:15} {took:8.2f} s {took / several:6.2f}")
    return 0


def entry(path: str, content: bytes, port: int) -> Entry:
    whole = path.encode() + content
    return Entry(path[1:], f"http://127.0.0.1:{port}{path}", hashlib.sha256(whole).hexdigest(), len(whole))


def seconds(file: Path, *, threads: int) -> float:
    """How long copying takes with so many threads."""
    usual: Callable[..., object] = local_images.read_ahead
    local_images.read_ahead = lambda call, items: usual(call, items, threads=threads)  # type: ignore[assignment]
    start = time.perf_counter()
    try:
        with images_at(str(file)):
            return time.perf_counter() - start
    finally:
        local_images.read_ahead = usual  # type: ignore[assignment]


if __name__ == "__main__":
    sys.exit(main())
