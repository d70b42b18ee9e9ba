"""Changes of bundles: `spade-edge gallery` and `threshold` in a process of their own, one at a time, at low priority.

The service notices by itself that a bundle has another generation. So nothing here touches what judges parts, and a
change that fails, hangs or is stopped leaves the bundle as it was.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import copyfile
from signal import SIGKILL
from threading import Lock, Thread, Timer
from typing import IO, Any

from spade_edge.runtime import DataError, UsageError
from spade_edge.runtime.bundle.manifest import FILE
from spade_edge.runtime.digest import sha256
from spade_edge.runtime.legible import legible
from spade_edge.tools.line.evidence.entry import Entry

LASTS = 900.0  # seconds that a change may take
MOST_OUT = 4 << 20  # characters of what a command prints
LONGEST_LINE = 400  # characters of a line that is shown
LINES = 40  # of what a command says
LOW = 19  # nice
PREVIEW, TEACH, UNDO, THRESHOLD = "preview", "teach", "undo", "threshold"
RUNNING, DONE, FAILED = "running", "done", "failed"
WHO = "page"


@dataclass(frozen=True)
class Task:
    """What is asked for.

    Attributes:
        kind: "preview", "teach", "undo" or "threshold".
        recipe: the product that it is about.
        bundle: its folder.
        entry: the part that is taught in; None for others.
        recent: parts whose verdicts are compared before and after.
        rate: the false-reject rate of a threshold.
        reason: why, in the words of who asks.
    """

    kind: str
    recipe: str
    bundle: Path
    entry: Entry | None = None
    recent: tuple[Entry, ...] = ()
    rate: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Change:
    """A change that runs or has ended.

    Attributes:
        number: counted from 1.
        task: what was asked for.
        generation: SHA-256 of the bundle's manifest when it began.
        state: "running", "done" or "failed".
        words: what the command says now, or why it failed; one line.
        said: the lines that it said.
        outcome: what it printed, JSON values; None before its end.
        seconds: how long it has taken.
    """

    number: int
    task: Task
    generation: str
    state: str = RUNNING
    words: str = ""
    said: tuple[str, ...] = ()
    outcome: Any = None
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        entry = self.task.entry
        return {
            "number": self.number,
            "kind": self.task.kind,
            "recipe": self.task.recipe,
            "part": None if entry is None else entry.id,
            "state": self.state,
            "words": self.words,
            "said": list(self.said),
            "effect": None if self.state != DONE else _effect(self),
            "seconds": round(self.seconds, 1),
        }


class Changes:
    """Runs one change at a time.

    Args:
        command: what runs spade-edge; for tests.
        clock: returns seconds.
        lasts: seconds that a change may take.
    """

    def __init__(
        self,
        *,
        command: Sequence[str] = (sys.executable, "-m", "spade_edge"),
        clock: Callable[[], float] = time.monotonic,
        lasts: float = LASTS,
    ) -> None:
        self._command, self._clock, self._lasts = tuple(command), clock, lasts
        self._lock = Lock()
        self._last: Change | None = None
        self._process: subprocess.Popen[str] | None = None
        self._began = 0.0
        self._ended = False

    @property
    def last(self) -> Change | None:
        """The change that runs, or the last one; None before the first."""
        with self._lock:
            return self._now()

    def start(self, task: Task, *, after: int | None = None) -> Change:
        """Begin.

        Args:
            task: what to do.
            after: number of the preview that the person has seen, for teaching in.

        Raises:
            UsageError: another change runs; or the part or the bundle is another one than in the preview.
            DataError: the bundle cannot be read.
        """
        generation = generation_of(task.bundle)
        with self._lock:
            last = self._now()
            if self._ended or (last is not None and last.state == RUNNING):
                raise UsageError("another change is being made; wait for its end")
            if task.kind == TEACH:
                _check_preview(task, last, after, generation)
            number = 1 if last is None else last.number + 1
            self._last = change = Change(number, task, generation, words="starting")
            self._began = self._clock()
        Thread(target=self._run, args=(change,), name="page: change", daemon=True).start()
        return change

    def end(self) -> None:
        """Stop what runs; the bundle stays whole."""
        with self._lock:
            self._ended = True
            process = self._process
        if process is not None:
            _kill(process)

    def _now(self) -> Change | None:
        if self._last is None or self._last.state != RUNNING:
            return self._last
        return replace(self._last, seconds=self._clock() - self._began)

    def _run(self, change: Change) -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="spade-edge-page-", ignore_cleanup_errors=True) as folder:
                outcome = self._call([*self._command, *_arguments(change.task, Path(folder))], folder=folder)
            self._become(state=DONE, words="", outcome=outcome)
        except (DataError, OSError) as problem:
            self._become(state=FAILED, words=_line(str(problem)))
        except Exception as problem:  # whatever it is, the next change must be possible
            self._become(state=FAILED, words=f"it failed: {type(problem).__name__}")

    def _become(self, **fields: Any) -> None:
        with self._lock:
            if self._last is not None:
                self._last = replace(self._last, seconds=self._clock() - self._began, **fields)

    def _call(self, arguments: Sequence[str], *, folder: str) -> Any:
        """Run a command, and return what it prints. Lines that it says are shown without the name of the folder.

        Raises:
            DataError: it failed; its own line says why.
        """
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
        environment.pop("NOTIFY_SOCKET", None)  # it does not speak for the service
        environment.pop("WATCHDOG_USEC", None)
        with subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=Path(sys.executable).anchor,  # nothing is imported from where the service was started
            env=environment,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        ) as process:
            with suppress(OSError):  # before it starts threads, which get the priority of the first
                os.setpriority(os.PRIO_PROCESS, process.pid, LOW)
            with self._lock:
                self._process = process
                ended = self._ended
            late = Timer(0.0 if ended else self._lasts, _kill, [process])
            late.daemon = True
            late.start()
            said = _Said(process.stderr, self._tell, folder)
            said.start()
            assert process.stdout is not None  # noqa: S101
            printed = process.stdout.read(MOST_OUT)
            while process.stdout.read(1 << 16):
                pass  # what is too much is not kept
            code = process.wait()
            said.join()
            overdue = not late.is_alive()
            late.cancel()
            with self._lock:
                self._process = None
        if code < 0:
            raise DataError(
                f"stopped after {self._lasts:.0f} s; the bundle is as it was" if overdue else "it was stopped"
            )
        if code:
            raise DataError(said.lines[-1] if said.lines else f"the command ended with exit code {code}")
        try:
            return json.loads(printed)
        except ValueError:
            raise DataError("expected the command to print what it has done, found something else") from None

    def _tell(self, line: str) -> None:
        with self._lock:
            if self._last is not None:
                self._last = replace(self._last, words=line, said=(*self._last.said, line)[-LINES:])


@dataclass
class _Said:
    """Reads what a command says, line by line."""

    stream: IO[str] | None
    tell: Callable[[str], None]
    folder: str
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._thread = Thread(target=self._run, name="page: what a change says", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        assert self.stream is not None  # noqa: S101
        while line := self.stream.readline(1 << 16):
            if words := _line(line.replace(f"{self.folder}/part/", "").replace(f"{self.folder}/", "")):
                self.lines = [*self.lines, words][-LINES:]
                self.tell(words)


def generation_of(bundle: Path) -> str:
    """SHA-256 of a bundle's manifest as it is on the disk now.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return sha256(bundle / FILE)
    except OSError as problem:
        raise DataError(f"{bundle}: expected a bundle, found: {problem.strerror}") from None


def _arguments(task: Task, folder: Path) -> list[str]:
    """What follows `spade-edge` on the command line."""
    bundle = ["--bundle", str(task.bundle), "--json"]
    if task.kind == UNDO:
        return ["gallery", "undo", *bundle, f"--reason={task.reason}", f"--who={WHO}"]
    if task.kind == THRESHOLD:
        why = f"{WHO}: {task.reason}" if task.reason else f"set on the {WHO}"
        return ["threshold", *bundle, f"--false-rejects={task.rate!r}", f"--reason={why}"]
    assert task.entry is not None  # noqa: S101
    image = _taken(task.entry, folder / "part")
    arguments = ["gallery", "add", *bundle, f"--reason={task.reason}", f"--who={WHO}", "--threads", "1"]
    if task.kind == PREVIEW:
        arguments.append("--dry-run")
        for entry in task.recent:
            with suppress(DataError):  # the evidence removes the oldest meanwhile
                _taken(entry, folder / "recent")
        if task.recent:
            arguments += ["--recent", str(folder / "recent")]
    return [*arguments, str(image)]


def _taken(entry: Entry, folder: Path) -> Path:
    """A copy of an entry's frame, under a name that says which part it is: the original may be removed meanwhile.

    Raises:
        DataError: it is gone, or is not what the service has written.
    """
    folder.mkdir(exist_ok=True)
    place = folder / f"{name_of(entry)}.png"
    if entry.frame is None:
        raise DataError("expected a part with a frame, found one without")
    try:
        copyfile(entry.frame, place)
        digest = sha256(place)
    except OSError as problem:
        raise DataError(f"{entry.id}: expected its frame in the evidence, found: {problem.strerror}") from None
    if entry.frame_sha256 and digest != entry.frame_sha256:
        place.unlink()
        raise DataError(f"{entry.id}: expected the frame as it was judged, found another one in the evidence")
    return place


def name_of(entry: Entry) -> str:
    """The name of a part as a good image: its time, camera and number, such as "2026-11-28 164503.123 top 4711"."""
    day, _, rest = entry.id.split("/")
    seconds, milliseconds, camera, number = rest.split(".")[:4]
    return f"{day}_{seconds}.{milliseconds}_{camera}_{number}"


def _check_preview(task: Task, last: Change | None, after: int | None, generation: str) -> None:
    seen = last is not None and last.task.kind == PREVIEW and last.state == DONE and last.number == after
    if not seen or last is None or last.task.entry is None or task.entry is None:
        raise UsageError("look at the preview first; it says what teaching this part in would do")
    if (last.task.recipe, last.task.entry.id) != (task.recipe, task.entry.id):
        raise UsageError("the preview was that of another part; look at the one of this part first")
    if last.generation != generation:
        raise UsageError("somebody has changed the bundle since the preview; look at it again")


def _effect(change: Change) -> dict[str, Any] | None:
    """What a change does, for people; None if the command printed something else."""
    printed = change.outcome
    if not isinstance(printed, dict):
        return None
    effect: dict[str, Any] = {}
    with suppress(KeyError, TypeError, ValueError):
        threshold = printed["threshold"] if change.task.kind in (PREVIEW, TEACH) else printed
        score = threshold.get("score") if change.task.kind != UNDO else printed.get("threshold")
        former = printed.get("former_threshold")
        effect["after"] = None if score is None else float(score)
        effect["before"] = None if former is None else float(former)
        effect["taught"] = len(printed.get("selected", ()))
        effect["generation"] = printed.get("generation")
        if recent := printed.get("recent"):
            names = {f"{name_of(entry)}.png": entry for entry in change.task.recent}
            effect["recent"] = {
                "parts": int(recent["frames"]),
                "changed": [
                    {
                        "trigger": names[one["name"]].decision["trigger"] if one["name"] in names else one["name"],
                        "before": str(one["before"]),
                        "after": str(one["after"]),
                    }
                    for one in recent["changed"]
                ],
            }
    return effect


def _line(text: str) -> str:
    """A text on one line, without the name of the program and without characters that are not to be shown."""
    line = " ".join(text.split()).removeprefix("spade-edge: ")
    return legible(line)[:LONGEST_LINE]


def _kill(process: subprocess.Popen[str]) -> None:
    """End a command and what it has started."""
    with suppress(OSError):
        os.killpg(process.pid, SIGKILL)
