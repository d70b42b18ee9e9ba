"""How the time of a frame and the memory grow with the gallery."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Progress = Callable[[Iterable[Any], str], Iterable[Any]]
BuildBundle = Callable[[Path, Path], dict[str, Any]]
MeasureBundle = Callable[[Path], dict[str, Any]]


def scaling(
    images: Path,
    sizes: Iterable[int],
    *,
    model: Path,
    scratch: Path,
    build: BuildBundle,
    measure: MeasureBundle,
    follow_links: bool = False,
    progress: Progress = lambda items, label: items,
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Build and measure a bundle of each size.

    Args:
        images: folder of images of good parts; if there are too few, they are varied.
        sizes: numbers of images.
        model: a file that `spade-edge export` wrote.
        scratch: folder for images and bundles, which are removed again.
        build: builds a bundle from a folder of images, and gives the JSON of `spade-edge build`. Building and measuring
            in processes of their own keeps the memory figures apart.
        measure: measures a bundle, and gives the JSON of `spade-edge bench`.
        follow_links: whether links to folders are followed, as for a build.
        progress: wraps the items of the loop that varies the images.

    Yields:
        for each size, ascending, the figures of the size and the machine that they were measured on.
    """
    from spade_edge.galleries.images import find_images

    ordered = sorted(sizes)
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".scaling-") as temporary:
        found = find_images(images, follow_links=follow_links)
        varied = _varied(found, ordered[-1], model, Path(temporary, "images"), progress)
        for size in ordered:
            folder, bundle = Path(temporary, f"good{size}"), Path(temporary, f"{size}.spade")
            folder.mkdir()
            for image in varied[:size]:
                _link(image, folder / image.name)
            built = build(folder, bundle)
            measured = measure(bundle)
            shutil.rmtree(bundle)
            yield _row(size, built, measured), measured["machine"]


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:  # not every file system has hard links
        shutil.copyfile(source, target)


def _row(size: int, built: dict[str, Any], measured: dict[str, Any]) -> dict[str, Any]:
    seconds = built["seconds"]
    needed = sum(seconds[step] for step in ("reading", "features", "place", "index", "checking"))
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
        "build_over_network": needed / seconds["network"],  # without the calibration of the threshold
    }


def _varied(sources: Sequence[Path], count: int, model: Path, output: Path, progress: Progress) -> list[Path]:
    """Write `count` different images at the size of the model's view."""
    from spade_edge.galleries.images import read_image
    from spade_edge.runtime.geometry.layout import WHOLE, Canvas
    from spade_edge.runtime.network.session import Session
    from spade_edge.runtime.preprocessing.preprocessor import Preprocessor

    preprocessor = Preprocessor(Canvas(WHOLE, Session.open(model).card.view))
    output.mkdir()
    random = np.random.default_rng(0)
    written = []
    for i in progress(range(count), "varying images"):
        (seen,) = preprocessor(read_image(sources[i % len(sources)]))
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
        # A good set is grey or in colour, not both. Resampled channels of a grey pixel may differ in their last digit.
        grey = bool(np.ptp(varied, axis=-1).max() < 1e-2)
        varied += random.normal(0, 2, (*varied.shape[:2], 1 if grey else varied.shape[2]))
    return np.clip(np.rint(varied), 0, 255).astype(np.uint8)
