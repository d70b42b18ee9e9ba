"""The `spade-edge` command: parses the command line, and turns every failure into one line and an exit code.

    0   done, and every verdict good          3   bad model, bundle, image or weights
    1   at least one verdict is not good      4   this machine lacks something: package, provider, camera
    2   wrong usage                           70  an internal error in spade-edge

Data goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from spade_edge import __version__
from spade_edge.tools.cli.commands import (
    bench,
    build,
    calibrate,
    dataset,
    demo,
    doctor,
    evaluate,
    evidence,
    export,
    fleet,
    gallery,
    init,
    lint,
    pack,
    parity,
    prepare,
    run,
    scaling,
    score,
    sign,
    threshold,
    unpack,
    verify,
)
from spade_edge.tools.cli.interruption import HANG_UP
from spade_edge.tools.cli.notices import notices
from spade_edge.tools.extras import packages_of
from spade_edge.tools.faults import INTERNAL_FAULT, explained
from spade_edge.tools.sources.address import without_login, without_secrets

INTERRUPTED, BROKEN_PIPE = 130, 141  # as a shell reports them
TRACEBACK = "SPADE_EDGE_TRACEBACK"

EXTRAS = {
    "export": "export",
    "lint": "export",
    "build": "galleries",
    "prepare": "gpu",
    "gallery": "galleries",
    "threshold": "galleries",
    "calibrate": "galleries",
    "pack": "cpu",
    "unpack": "cpu",
    "sign": "sign",
    "verify": "sign",
    "score": "camera",
    "evaluate": "camera",
    "bench": "camera",
    "parity": "export",
    "doctor": "cpu",
    "scaling": "galleries",
    "init": "run",
    "run": "run",
    "evidence": "run",
    "dataset": "remote",
    "fleet": "fleet",
    "demo": "all",
}  # the extras that bring the packages of the commands
COMMANDS = {
    "export": export,
    "lint": lint,
    "build": build,
    "prepare": prepare,
    "gallery": gallery,
    "threshold": threshold,
    "calibrate": calibrate,
    "pack": pack,
    "unpack": unpack,
    "sign": sign,
    "verify": verify,
    "score": score,
    "evaluate": evaluate,
    "bench": bench,
    "parity": parity,
    "doctor": doctor,
    "scaling": scaling,
    "init": init,
    "run": run,
    "evidence": evidence,
    "dataset": dataset,
    "fleet": fleet,
    "demo": demo,
}


class Parser(argparse.ArgumentParser):
    """An argument parser that reports an error in one line, without the password of an address among the arguments."""

    given: tuple[str, ...] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Note the arguments, because messages may repeat them."""
        self.given = tuple(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {_discreet(message, self.given)}; see {self.prog} --help\n")


def parser() -> Parser:
    """The parser of all commands."""
    top = Parser(prog="spade-edge", description="Find defects on a production line from images of good parts only.")
    top.add_argument("--version", action="version", version=f"spade-edge {__version__}")
    commands = top.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        summary = (module.__doc__ or "").splitlines()[0]
        sub = commands.add_parser(
            name,
            help=summary,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        arguments: without the program's name; None for those of this process.

    Returns:
        the exit code.
    """
    _settle_streams()
    for number in (signal.SIGTERM, *HANG_UP):
        signal.signal(number, _terminate)
    chosen = parser().parse_args(arguments)
    try:
        with _logging(), packages_of(EXTRAS[chosen.command], needed_by="this command"):
            return int(chosen.run(chosen))
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output is gone. Without this, Python would report it once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as problem:
        message, code = _explained(problem)
        return _fail(_discreet(message, sys.argv[1:] if arguments is None else arguments), code)


def _explained(problem: Exception) -> tuple[str, int]:
    """What to say about an exception, in one line, and the exit code."""
    message, code = explained(problem, saving="use smaller frames, fewer images or a smaller view")
    if code == INTERNAL_FAULT:
        if os.environ.get(TRACEBACK):
            traceback.print_exception(problem)
        message += f"; run again with {TRACEBACK}=1 and report what it prints"
    return message, code


def _discreet(message: str, given: Sequence[str]) -> str:
    """A message without the passwords of the arguments that it repeats."""
    for argument in sorted(given, key=len, reverse=True):
        message = message.replace(argument, without_login(argument))
    return without_secrets(message)


class _ToStderr(logging.Handler):
    """Prints what the libraries log as one line each."""

    def emit(self, record: logging.LogRecord) -> None:
        print(without_secrets(self.format(record)), file=sys.stderr, flush=True)


@contextmanager
def _logging() -> Iterator[None]:
    """Print warnings of the libraries on stderr."""
    log, handler = logging.getLogger("spade_edge"), _ToStderr(logging.WARNING)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def _settle_streams() -> None:
    """Make sure that neither a closed or full stderr nor a terminal that knows only ASCII is a reason to fail."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  (for the rest of the process)
    if isinstance(sys.stderr, io.TextIOWrapper) and isinstance(sys.stderr.buffer, (io.BufferedWriter, io.FileIO)):
        sys.stderr = notices(sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)  # unlike the default action, this lets unfinished files be removed


def _fail(message: str, code: int) -> int:
    print(f"spade-edge: {without_secrets(message)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
