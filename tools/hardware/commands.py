"""Runs commands of other programs, which may be missing, hang or crash without stopping the doctor."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

GRACE = 2.0  # seconds to wait for a killed command; one that hangs in a driver never ends
SYSTEM_FOLDERS = ("/usr/sbin", "/sbin")  # the folder of nvpmodel, which is not on every user's PATH


@dataclass(frozen=True)
class Answer:
    """The result of a command.

    Attributes:
        code: its exit code, negative for a signal; None if it could not be started or did not end in time.
        out: its stdout.
        err: its stderr; the reason if code is None.
    """

    code: int | None
    out: str = ""
    err: str = ""


class Commands:
    """Runs commands; tests use another callable of this form.

    Args:
        environment: for the commands; the language of their messages is set to English.
        grace: seconds to wait for a killed command.
    """

    def __init__(self, environment: Mapping[str, str], *, grace: float = GRACE) -> None:
        path = os.pathsep.join((environment.get("PATH", os.defpath), *SYSTEM_FOLDERS))
        self._grace = grace
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
            _kill(process, self._grace)
            return Answer(None, err=f"no answer within {timeout:g} s")
        except BaseException:
            _kill(process, self._grace)
            raise
        return Answer(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


def _kill(process: subprocess.Popen[bytes], grace: float) -> None:
    with suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=grace)
