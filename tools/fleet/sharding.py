"""One large gallery in parts: its items are encoded by tasks, and put together as one process would have made them.

Each part is a task of its own: views, model and coding in, records out, all of them files in the cache. A part that is
there already is not made again, so a build that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spade_edge.galleries.encoding import Records, record
from spade_edge.galleries.feature_extractor import FeatureExtractor
from spade_edge.galleries.progress import Progress
from spade_edge.runtime.digest import sha256
from spade_edge.runtime.errors import DataError
from spade_edge.runtime.matching.coding import Coding
from spade_edge.tools.fleet.cache import SHARDS, Cache, Content
from spade_edge.tools.fleet.executors import Executor, Task
from spade_edge.tools.fleet.keys import hashed, software
from spade_edge.tools.fleet.tasks import encode_shard, write_coding
from spade_edge.tools.remote import MissingError

TRIES = 3  # of a part that somebody removes or damages as soon as it is made

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Part:
    """Some items of a gallery.

    Attributes:
        items: their numbers.
        views: of the items, for the cache.
        task: makes the records.
    """

    items: NDArray[np.intp]
    views: Content
    task: Task

    @property
    def key(self) -> str:
        """Of the work."""
        return str(self.task.arguments["key"])


@dataclass
class Shards:
    """Encodes a gallery's items in parts; see `galleries.encoding`.

    Args:
        cache: where parts lie.
        executor: makes them.
        count: of the parts.
        model: the network, in the cache.
        source: what messages call the model.
        folder: for files that are needed meanwhile.

    Attributes:
        facts: about each part that was made, not of those that were there.
    """

    cache: Cache
    executor: Executor
    count: int
    model: Content
    source: str
    folder: Path
    facts: list[dict[str, Any]] = field(default_factory=list)
    _parts: list[_Part] = field(default_factory=list)
    _coding: list[Content] = field(default_factory=list)

    def __call__(
        self, extract: FeatureExtractor, coding: Coding, threads: int | None, progress: Progress
    ) -> Iterator[Records]:
        """The records of all items, a part at a time.

        Raises:
            SpadeError: a part cannot be made.
        """
        write_coding(self._coding_file, coding)
        kept = self.cache.put(self._coding_file)
        self._coding.append(kept)
        shares = [share for share in np.array_split(np.arange(len(extract)), self.count) if len(share)]
        self._make(self._lacking(shares, extract, coding, kept), of=len(shares), progress=progress)
        dtype = record(extract.card, coding)
        for part in progress(self._parts, "joining parts"):
            yield self._records(part, dtype, extract)

    @property
    def _coding_file(self) -> Path:
        return self.folder / "coding.npz"

    def forget(self) -> None:
        """Remove the parts from the cache: the bundle holds what was in them.

        Raises:
            DataError: they cannot be removed.
        """
        for part in self._parts:
            self.cache.forget(SHARDS, part.key)
            self.cache.remove(part.views)
        for coding in self._coding:
            self.cache.remove(coding)

    def _lacking(
        self, shares: list[NDArray[np.intp]], extract: FeatureExtractor, coding: Coding, kept: Content
    ) -> Iterator[Task]:
        """The tasks of the parts that are not there yet. The views of each are put there just before it is taken."""
        for number, items in enumerate(shares, start=1):
            views = self._write_views(items, extract)
            part = self._part(f"part {number} of {len(shares)}", items, views, coding, kept)
            self._parts.append(part)
            if self.cache.made(SHARDS, part.key) is None:
                self.cache.put(views)
                yield part.task

    def _part(self, name: str, items: NDArray[np.intp], views: Path, coding: Coding, kept: Content) -> _Part:
        content = Content(sha256(views), views.stat().st_size)
        work = {
            "model": asdict(self.model),
            "views": asdict(content),
            "count": len(items),
            "coding": asdict(kept),
            "normalisation": coding.normalisation,
            "versions": software(),
        }
        elsewhere = {"cache": self.cache.address, "source": self.source, "threads": self.executor.threads}
        return _Part(items, content, Task(name, encode_shard, {"key": hashed(work)} | work | elsewhere))

    def _write_views(self, items: NDArray[np.intp], extract: FeatureExtractor) -> Path:
        path = self.folder / "views"
        with path.open("wb") as file:
            for item in items.tolist():
                file.write(extract.views([item]).tobytes())
        return path

    def _make(self, tasks: Iterable[Task], *, of: int, progress: Progress) -> None:
        outcomes = self.executor.outcomes(tasks)
        for _ in progress(range(of), "encoding parts"):
            outcome = next(outcomes, None)
            if outcome is None:
                continue  # the others were there
            if outcome.failure is not None and outcome.failure.kind == MissingError.__name__:
                # Who builds the same at the same time has finished, and removed it: `_records` makes the part again.
                log.warning("%s: %s", outcome.task.name, outcome.failure.message)
                continue
            if outcome.failure is not None:
                raise outcome.failure.error(outcome.task.name)
            self.facts.append(outcome.result["facts"])

    def _records(self, part: _Part, dtype: np.dtype[np.void], extract: FeatureExtractor) -> Records:
        """The records of a part. One that was removed or damaged meanwhile is made again.

        Raises:
            SpadeError: it cannot be made.
        """
        for number in range(1, TRIES + 1):
            try:
                made = self.cache.made(SHARDS, part.key)
                if made is None:
                    raise DataError(f"{part.task.name}: expected it in the cache, found none")
                path = self.cache.fetch(made.content, self.folder / "records.npy")
                records: Records = np.load(path, mmap_mode="r", allow_pickle=False)
                if records.dtype != dtype or records.shape != (len(part.items),):
                    raise DataError(f"{part.task.name}: expected records of {len(part.items)} items, found others")
                return records
            except (DataError, ValueError) as problem:
                if number == TRIES:
                    raise DataError(
                        f"{problem}; is the cache being emptied, or do workers have another one? Run this again"
                    ) from None
                log.warning("%s; it is made anew", problem)
            self.cache.put(self._coding_file)
            self.cache.put(self._write_views(part.items, extract))
            self._make([part.task], of=1, progress=lambda items, label: items)
        raise AssertionError
