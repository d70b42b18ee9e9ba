"""Drift at one camera: each product has its own, and its state is kept in files, written beside the scoring."""

from __future__ import annotations

import logging
from pathlib import Path
from threading import Lock, Thread

from spade_edge.runtime import DataError, FrameResult
from spade_edge.runtime.bundle.bundle import Bundle
from spade_edge.runtime.drift.change import Drift
from spade_edge.runtime.drift.watch import DriftWatch
from spade_edge.tools.output import replacing
from spade_edge.tools.scoring.line_drift import read_state

log = logging.getLogger(__name__)

PATIENCE = 0.05  # seconds that the first result of a product waits for its file; a disk that is well takes a few ms


class CameraDrift:
    """Follows the results of one camera, for each product that it sees.

    Args:
        camera: its name.
        folder: where the state is kept; None to learn anew at every start.
    """

    def __init__(self, camera: str, *, folder: Path | None) -> None:
        self._camera, self._folder = camera, folder
        self._lock = Lock()
        self._watches: dict[str, tuple[DriftWatch, Bundle]] = {}  # by product
        self._reading: dict[str, Thread] = {}  # by product
        self._failed = False

    def add(self, recipe: str, bundle: Bundle, result: FrameResult, time: float) -> Drift | None:
        """Take a result, and give what has changed; None if nothing has. It takes less than a tenth of a millisecond,
        except for the first result of a product, whose file is read. Results before that was done do not count: a dead
        disk must not keep frames from being judged.

        Args:
            recipe: name of the product.
            bundle: that judged the frame.
            result: of the frame.
            time: of the trigger, in seconds since 1970, UTC.
        """
        if recipe not in self._reading:
            self._reading[recipe] = reading = Thread(target=self._begin, args=(recipe, bundle), daemon=True)
            reading.start()
            reading.join(PATIENCE)
        with self._lock:
            known = self._watches.get(recipe)
            if known is None:
                return None
            watch = known[0]
            if known[1] is not bundle:
                watch.follow(bundle.manifest)
            self._watches[recipe] = watch, bundle
            return watch(result, time)

    def keep(self) -> None:
        """Write the state. A failure is logged once, and ends nothing."""
        if self._folder is None:
            return
        with self._lock:
            texts = {recipe: watch.to_text() for recipe, (watch, _) in self._watches.items()}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for recipe, text in texts.items():
                with replacing(self._file(self._folder, recipe)) as file:
                    file.write(text.encode())
            self._failed = False
        except (OSError, DataError) as problem:
            if not self._failed:
                log.warning("drift is followed, but its state is not kept: %s", problem)
            self._failed = True

    def _begin(self, recipe: str, bundle: Bundle) -> None:
        """Begin to follow a product; a thread runs this."""
        watch = self._read(recipe, bundle)
        with self._lock:
            self._watches[recipe] = watch, bundle

    def _read(self, recipe: str, bundle: Bundle) -> DriftWatch:
        """The state in the file, or a new one."""
        if self._folder is not None:
            file = self._file(self._folder, recipe)
            try:
                if file.exists():
                    return read_state(file, bundle)
            except (OSError, DataError) as problem:
                log.warning("camera %s: what parts look like is learned anew: %s", self._camera, problem)
        return DriftWatch(bundle.manifest)

    def _file(self, folder: Path, recipe: str) -> Path:
        return folder / f"drift-{self._camera}-{recipe}.json"
