"""Runs checks beside each other, each with a limit of time, because a disk or a broker that hangs must not hang the
doctor.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread

from spade_edge.runtime.errors import SpadeError
from spade_edge.tools.doctor.finding import PROBLEM, Finding


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        kind, name: of its finding, if it does not come to an end.
        seconds: that it may take.
        examine: makes its findings.
    """

    kind: str
    name: str
    seconds: float
    examine: Callable[[], list[Finding]]


def run_timed(checks: Sequence[Check], *, at_once: int) -> list[Finding]:
    """The findings of all checks, in their order.

    Args:
        checks: what to examine.
        at_once: how many run beside each other.
    """
    waiting = deque(range(len(checks)))
    found: dict[int, list[Finding]] = {}
    until: dict[int, float] = {}  # of those that run
    ended: SimpleQueue[tuple[int, list[Finding]]] = SimpleQueue()
    while waiting or until:
        while waiting and len(until) < at_once:
            number = waiting.popleft()
            until[number] = time.monotonic() + checks[number].seconds
            # A thread that hangs in a system call can only be left behind.
            Thread(target=_examine, args=(number, checks[number], ended), daemon=True).start()
        try:
            number, findings = ended.get(timeout=max(0.0, min(until.values()) - time.monotonic()))
        except Empty:
            number = min(until, key=until.__getitem__)
            findings = [_hangs(checks[number])]
        if until.pop(number, None) is not None:  # else it comes after its time
            found[number] = findings
    return [finding for number in range(len(checks)) for finding in found[number]]


def _examine(number: int, check: Check, ended: SimpleQueue[tuple[int, list[Finding]]]) -> None:
    try:
        findings = check.examine()
    except (SpadeError, OSError) as problem:
        why = (getattr(problem, "strerror", None) or str(problem)) or type(problem).__name__
        findings = [Finding(check.kind, check.name, PROBLEM, str(why), "see what it says, and try again")]
    except Exception as problem:
        what = f"{type(problem).__name__}: {' '.join(str(problem).split())[:120]}"
        findings = [Finding(check.kind, check.name, PROBLEM, f"internal error in doctor: {what}", "report this line")]
    ended.put((number, findings))


def _hangs(check: Check) -> Finding:
    return Finding(
        check.kind,
        check.name,
        PROBLEM,
        f"no answer within {check.seconds:g} s",
        "is the device, network or disk there?",
    )
