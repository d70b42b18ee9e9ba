"""A scorer that follows its bundle: it takes each new generation between two frames.

A generation is a manifest and the files that it names. Nobody sees half of one: the manifest is replaced in one step,
and what it names is opened and checked beside the running scorer, by another thread, before a frame reaches it. The
network is opened again only if the model is another one.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock, Thread
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spade_edge.runtime.bundle.manifest import FILE, Manifest
from spade_edge.runtime.bundle.manifest_file import SHORT, manifest_bytes
from spade_edge.runtime.device_path import AUTO
from spade_edge.runtime.errors import SpadeError
from spade_edge.runtime.geometry.frame import BGR
from spade_edge.runtime.kernels.ort import CPU
from spade_edge.runtime.network.protocol import Network
from spade_edge.runtime.network.provider import Providers
from spade_edge.runtime.network.session import Session
from spade_edge.runtime.result import FrameResult
from spade_edge.runtime.scorer import Scorer

log = logging.getLogger(__name__)

EVERY = 0.2  # seconds between two looks at the manifest
SOONEST, LATEST = 1.0, 60.0  # seconds until a refused generation is tried again; the time doubles
PATIENCE = 2.0  # seconds that an opening in progress is given at the end

Check = Callable[[Path], str]  # gives the SHA-256 of a manifest that may be opened, and raises a SpadeError for another
State = tuple[int, ...]  # of a manifest on the disk; another one says that it may have changed
NOTHING: State = ()


class Reopen(Protocol):
    """Opens the generation with this manifest. `network` is the bundle's model if it is open already."""

    def __call__(self, *, manifest_sha256: str, network: Network | None) -> Scorer: ...


class FollowingScorer:
    """Scores each frame with the newest generation of a bundle that is complete and permitted.

        with FollowingScorer.open("part.spade") as scorer:
            for frame in frames:
                result = scorer(frame)
                print(result.bundle, result.verdict)

    A generation that is damaged, incomplete or not permitted is reported once through `logging`, and the former one
    stays in force. It is tried again after a second, two, four, and so on up to a minute: a copy may be unfinished, and
    a signature may come later. While a generation is being opened, both are in memory. Nothing is looked for unless
    frames are scored, so the first frame after a pause may still be scored with the former generation.

    Each frame is scored by one generation from beginning to end, as by `Scorer`; `FrameResult.bundle` names it.

    Use `FollowingScorer.open`.

    Args:
        path: the bundle folder, or a link to it.
        reopen: opens a generation.
        check: what is asked before a generation is opened, see `open`; None for any generation.
        clock: returns seconds.

    Raises:
        SpadeError: as for `open`.
    """

    def __init__(
        self,
        path: Path,
        reopen: Reopen,
        *,
        check: Check | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self._reopen = reopen
        self._check: Check = check or _any_manifest
        self._clock = clock
        self._lock = Lock()
        self._attempt: _Attempt | None = None  # that has ended; written by the thread as its last act
        self._thread: Thread | None = None
        self._closed = False
        self._refused: State | None = None
        self._problem = ""  # with what was refused
        self._wait, self._again_at = SOONEST, 0.0
        self._seen = _state(path)
        self._scorer = reopen(manifest_sha256=self._check(path), network=None)
        self._look_at = clock() + EVERY

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        check: Check | None = None,
        providers: Providers = (CPU,),
        allow_fallback: bool = False,
        threads: int | None = None,
        search: str | None = None,
        match: str = AUTO,
        self_test: bool = False,
        even_so: bool = False,
    ) -> FollowingScorer:
        """Open a bundle for scoring, and follow it.

        Args:
            path: the bundle folder, or a link to it, which may lead elsewhere later.
            check: is asked with `path` before a generation is opened, the first one too. It gives the SHA-256 of the
                manifest that may be opened, or raises a SpadeError: for example
                `lambda path: spade_edge.verify_signature(path, "line.key.pub")`. None for any generation.
            providers: what runs the network; this and what follows are those of `Scorer.open`, for each generation.
            allow_fallback: whether another provider may run it.
            threads: threads for all work.
            search: "exact", "hnsw" or None.
            match: "auto", "cpu" or "device".
            self_test: score the golden frames of each generation before it is put in force.
            even_so: judge frames that are unlike the good images.

        Raises:
            SpadeError: as for `Scorer.open`, or raised by `check`.
        """
        reopen = partial(
            Scorer.open,
            path,
            providers=providers,
            allow_fallback=allow_fallback,
            threads=threads,
            search=search,
            match=match,
            self_test=self_test,
            even_so=even_so,
        )
        return cls(Path(path), reopen, check=check)

    def __enter__(self) -> FollowingScorer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Look for no further generation. One that is being opened has two seconds, and is abandoned then."""
        with self._lock:
            self._closed, thread = True, self._thread
        if thread is not None:
            thread.join(PATIENCE)

    def __call__(self, frame: NDArray[np.uint8], *, channels: str = BGR) -> FrameResult:
        """Score one frame with the newest generation; see `Scorer.__call__`."""
        return self.newest()(frame, channels=channels)

    @property
    def scorer(self) -> Scorer:
        """The scorer of the generation that is in force."""
        return self._scorer

    @property
    def refused(self) -> str:
        """Why the generation on the disk is not in force; empty if it is, or is still being opened."""
        return self._problem

    def newest(self) -> Scorer:
        """Put the newest generation in force if it is ready, and give its scorer. Call this between two frames.

        It never waits, and threads may call it at once. A scorer that was given before can still be used; its files
        stay readable until it is let go.
        """
        with self._lock:
            now = self._clock()
            if self._closed:
                return self._scorer
            if self._thread is not None:
                if self._attempt is not None:
                    self._end(self._attempt, now)
            elif now >= self._look_at:
                self._look(now)
            return self._scorer

    def _look(self, now: float) -> None:
        """Start to open the generation on the disk if it is another one, or one that is due to be tried again."""
        state = _state(self.path)
        if state == self._seen or (state == self._refused and now < self._again_at):
            self._look_at = now + EVERY
            return
        self._thread = Thread(target=self._open, args=(state, self._scorer), name="new generation", daemon=True)
        self._thread.start()

    def _open(self, state: State, current: Scorer) -> None:
        """Open the generation on the disk beside the current one; this is what the thread runs."""
        scorer, problem = None, ""
        try:
            digest = self._check(self.path)
            if digest != current.bundle.digest:
                network = self._network_for(Manifest.read(self.path, sha256=digest), current)
                scorer = self._reopen(manifest_sha256=digest, network=network)
        except SpadeError as failure:
            problem = str(failure)
        except Exception as failure:  # whatever it is, the line runs on
            problem = f"{self.path}: it cannot be opened: {type(failure).__name__}: {' '.join(str(failure).split())}"
        self._attempt = _Attempt(state, scorer, problem)

    def _network_for(self, manifest: Manifest, current: Scorer) -> Network | None:
        """The network that is open, if it serves the new generation too."""
        before, session = current.bundle.manifest, current.session
        if isinstance(session, Session) and not session.takes_values:
            return None  # a CUDA graph has one place for its views, and frames are scored meanwhile
        same = manifest.files["model"] == before.files["model"] and len(manifest.layout) == len(before.layout)
        return session if same else None

    def _end(self, attempt: _Attempt, now: float) -> None:
        """Take what the thread has opened, or note that it could not be opened."""
        self._thread = self._attempt = None
        self._look_at = now + EVERY
        self._problem = attempt.problem
        if attempt.problem:
            if attempt.state != self._refused:
                self._refused, self._wait = attempt.state, SOONEST
                log.warning(
                    "%s; frames are judged by the former generation %s…",
                    attempt.problem,
                    self._scorer.bundle.digest[:SHORT],
                )
            self._again_at = now + self._wait
            self._wait = min(2 * self._wait, LATEST)
            return
        self._seen, self._refused = attempt.state, None
        if attempt.scorer is not None:
            former, self._scorer = self._scorer, attempt.scorer
            if (runs := _runs_on(self._scorer)) != _runs_on(former):
                reasons = (*self._scorer.session.passed_over, self._scorer.on_cpu_because)
                why = "; ".join(reason for reason in reasons if reason)
                log.warning("%s: the new generation runs on %s%s", self.path, runs, f": {why}" if why else "")


@dataclass(frozen=True)
class _Attempt:
    """What came of opening a generation.

    Attributes:
        state: of the manifest before it was read.
        scorer: the new one; None if it could not be opened, or the generation is the current one.
        problem: why it could not be opened; empty if it could.
    """

    state: State
    scorer: Scorer | None
    problem: str


def _runs_on(scorer: Scorer) -> str:
    """What runs the network, and what matches."""
    provider = scorer.session.provider
    return f"{provider}, matching on {CPU if scorer.device is None else provider}"


def _any_manifest(path: Path) -> str:
    """The SHA-256 of the manifest, whatever it is."""
    return manifest_bytes(path)[1]


def _state(path: Path) -> State:
    """By which a manifest on the disk is told from another one, without reading it."""
    try:
        found = (path / FILE).stat()
    except (OSError, ValueError):
        return NOTHING
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
