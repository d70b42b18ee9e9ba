"""Commands of other programs, which may be missing, hang or crash, and must not take the doctor with them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

AFTERLIFE = 2.0  # seconds that a killed command has to go; one that hangs in a driver never does
SYSTEM_FOLDERS = ("/usr/sbin", "/sbin")  # where nvpmodel lies, and not every user's PATH leads


@dataclass(frozen=True)
class Answer:
    """What a command gave.

    Attributes:
        code: its exit code, negative for a signal; None if it could not be started or did not end in time.
        out: its stdout.
        err: its stderr; with code None, why.
    """

    code: int | None
    out: str = ""
    err: str = ""


class Commands:
    """Runs commands; tests put another callable of this form in its place.

    Args:
        environment: of the commands, beside which their messages are asked for in English.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        path = os.pathsep.join((environment.get("PATH", os.defpath), *SYSTEM_FOLDERS))
        self._environment = {**environment, "PATH": path, "LC_ALL": "C.UTF-8"}

    def __call__(
        self, arguments: Sequence[str], *, timeout: float, environment: Mapping[str, str] | None = None
    ) -> Answer:
        """Run a command, in a process group of its own that is killed after `timeout` seconds."""
        try:
            process = subprocess.Popen(
                list(arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**self._environment, **(environment or {})},
                start_new_session=True,
            )
        except OSError as problem:
            return Answer(None, err=f"{arguments[0]}: {problem.strerror}")
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            _kill(process)
            return Answer(None, err=f"no answer within {timeout:g} s")
        except BaseException:
            _kill(process)
            raise
        return Answer(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=AFTERLIFE)
