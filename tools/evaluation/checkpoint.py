"""Intermediate results of an evaluation, from which an interrupted run is resumed.

    identity.json     bundle, dataset and versions; a run that differs in any of them is refused
    results.jsonl     one line per image, written as soon as it is scored
    pixels.npz        the pixel tally up to one of these lines, written every ten seconds and at the end

Images after the last line that the pixel tally covers are scored again. A run that is killed loses ten seconds of work;
one that is interrupted loses nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO

import numpy as np

from spade_edge import __version__
from spade_edge.galleries.images.like_good import Reading
from spade_edge.runtime import DataError, Scorer, UsageError
from spade_edge.runtime.bundle.manifest import FILE
from spade_edge.runtime.digest import sha256
from spade_edge.tools.evaluation.dataset import Dataset, Sample
from spade_edge.tools.evaluation.metrics import PixelTally
from spade_edge.tools.evaluation.results import ImageResult
from spade_edge.tools.output import replacing

SCHEMA = 2
IDENTITY, RESULTS, PIXELS = "identity.json", "results.jsonl", "pixels.npz"
EVERY = 10.0  # seconds between two writes of the pixel tally
REMEDY = "choose another folder for --resume, or delete this one to start again"


class Checkpoint:
    """The intermediate results of an evaluation. Use `Checkpoint.open`.

    Attributes:
        results: results of the images scored so far, in the dataset's order.
        tally: pixel tally of these images.
        inverted: names of those whose masks look inverted.

    Args:
        folder: where the results are written; None keeps them in memory only.
        results, tally, inverted: those of an earlier run.
    """

    def __init__(
        self,
        folder: Path | None,
        results: Sequence[ImageResult] = (),
        tally: PixelTally | None = None,
        inverted: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.results = list(results)
        self.tally = tally or PixelTally()
        self.inverted = list(inverted)
        self._counted = 0.0  # time of the last write of pixels.npz
        self._lines: BinaryIO | None = None
        if folder is not None:
            (folder / RESULTS).unlink(missing_ok=True)  # a link is not written through
            self._lines = (folder / RESULTS).open("xb")  # without the lines that pixels.npz does not cover
            for result in results:
                self._lines.write(_line(result))
            self.save()

    @classmethod
    def open(cls, folder: Path | None, scorer: Scorer, dataset: Dataset, reading: Reading) -> Checkpoint:
        """Resume the run that the folder belongs to, or start one in an empty folder.

        Args:
            folder: for the intermediate results; None keeps them in memory only.
            scorer: of the bundle that is evaluated.
            dataset: that it is evaluated on.
            reading: how the numbers of its images are understood.

        Raises:
            UsageError: the folder belongs to another run, or contains other files.
            DataError: its files are damaged.
        """
        if folder is None:
            return cls(None)
        identity = _identity(scorer, dataset, reading)
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder}: expected a folder for intermediate results, found a file; choose another")
        if not folder.exists() or not any(folder.iterdir()):
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(folder / IDENTITY) as file:
                file.write(json.dumps(identity).encode())
            return cls(folder)
        if not (folder / IDENTITY).is_file():
            raise UsageError(f"{folder}: expected an empty or an earlier run's folder, found other files; {REMEDY}")
        try:
            former = json.loads((folder / IDENTITY).read_bytes())
            _compare(folder, former, identity)
            if not (folder / PIXELS).exists():  # the earlier run was killed before it scored an image
                return cls(folder)
            with np.load(folder / PIXELS, allow_pickle=False) as arrays:
                tally = PixelTally.from_arrays(dict(arrays))
                reached = int(arrays["results"])
                inverted = [str(name) for name in arrays["inverted"]]
            lines = (folder / RESULTS).read_bytes().splitlines()[:reached]
            if len(lines) < reached:
                raise ValueError(f"{len(lines)} results of {reached}")
            results = [ImageResult(**json.loads(line)) for line in lines]
        except UsageError:
            raise
        except Exception as problem:  # damaged files make json and numpy raise all kinds of errors
            raise DataError(
                f"{folder}: expected the results of an earlier run, found damaged files: {problem}; {REMEDY}"
            ) from None
        return cls(folder, results, tally, inverted)

    def add(self, result: ImageResult) -> None:
        """Add the result of the next image, whose pixels are already in the tally."""
        self.results.append(result)
        if self._lines is not None:
            self._lines.write(_line(result))
            self._lines.flush()
            if monotonic() - self._counted > EVERY:
                self.save()

    def save(self) -> None:
        """Write the pixel tally, so that nothing scored so far can be lost."""
        if self.folder is None or self._lines is None:
            return
        self._lines.flush()
        os.fsync(self._lines.fileno())  # the lines must be on disk before the file that counts them
        arrays = self.tally.to_arrays() | {
            "results": np.array(len(self.results)),
            "inverted": np.array(self.inverted, np.str_),
        }
        with replacing(self.folder / PIXELS) as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        self._counted = monotonic()

    def close(self) -> None:
        """Close the files."""
        if self._lines is not None:
            self._lines.close()


def _identity(scorer: Scorer, dataset: Dataset, reading: Reading) -> dict[str, Any]:
    """Everything that results depend on. Files are identified by size and modification time, as `make` does."""
    return {
        "schema": SCHEMA,
        "writer": __version__,
        "bundle": sha256(scorer.bundle.path / FILE),
        "search": scorer.matcher.matching.search,
        "provider": scorer.session.provider,
        "even_so": scorer.even_so,
        "reading": asdict(reading),
        "images": [_image(sample) for sample in dataset.samples],
    }


def _image(sample: Sample) -> list[Any]:
    files = [file.stat() for file in (sample.path, *sample.masks)]
    masks = [mask.name for mask in sample.masks]
    numbers = [number for file in files for number in (file.st_size, file.st_mtime_ns)]
    return [sample.name, sample.truth, *masks, *numbers]


def _compare(folder: Path, former: dict[str, Any], identity: dict[str, Any]) -> None:
    """Refuse a run that is not the former one.

    Raises:
        UsageError: says what differs.
    """
    meanings = {
        "schema": "format",
        "writer": "version of spade-edge",
        "bundle": "bundle",
        "search": "search",
        "provider": "provider",
    }
    for key, meaning in meanings.items():
        if former[key] != identity[key]:
            want, found = (str(value[key])[:16] for value in (identity, former))
            raise UsageError(
                f"{folder}: expected results of the same {meaning}, {want}, found those of {found}; {REMEDY}"
            )
    had, have = ({image[0]: image for image in value["images"]} for value in (former, identity))
    for name in (*had, *have):
        if had.get(name) != have.get(name):
            how = "is new" if name not in had else "is gone" if name not in have else "or its mask was changed"
            raise UsageError(f"{folder}: expected the dataset of the former run, found that {name} {how}; {REMEDY}")


def _line(result: ImageResult) -> bytes:
    return json.dumps(asdict(result), allow_nan=False).encode() + b"\n"
