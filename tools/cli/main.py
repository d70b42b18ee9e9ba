"""The `spade-edge` command: reads the command line, and turns every failure into one line and an exit code.

    0   done, and every verdict good          3   bad model, bundle, image or weights
    1   some verdict is not good              4   this machine lacks something: package, provider, camera
    2   the command line does not fit         70  a fault in spade-edge itself

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
from typing import NoReturn

from spade_edge import __version__
from spade_edge.runtime.errors import DataError, DeviceError, SpadeError
from spade_edge.tools.cli.commands import (
    bench,
    build,
    demo,
    doctor,
    evaluate,
    export,
    lint,
    parity,
    prepare,
    scaling,
    score,
    threshold,
)

INTERRUPTED, BROKEN_PIPE = 130, 141  # what a shell calls these ends
INTERNAL_FAULT = 70
TRACEBACK = "SPADE_EDGE_TRACEBACK"

EXTRAS = {
    "export": "export",
    "lint": "export",
    "build": "galleries",
    "prepare": "gpu",
    "threshold": "galleries",
    "score": "camera",
    "evaluate": "camera",
    "bench": "camera",
    "parity": "export",
    "doctor": "cpu",
    "scaling": "galleries",
    "demo": "all",
}  # what brings their packages
COMMANDS = {
    "export": export,
    "lint": lint,
    "build": build,
    "prepare": prepare,
    "threshold": threshold,
    "score": score,
    "evaluate": evaluate,
    "bench": bench,
    "parity": parity,
    "doctor": doctor,
    "scaling": scaling,
    "demo": demo,
}


class Parser(argparse.ArgumentParser):
    """An argument parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser() -> Parser:
    """The whole command line."""
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
    """Run a command line; gives the exit code."""
    _settle_streams()
    _log_to_stderr()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    chosen = parser().parse_args(arguments)
    try:
        with _packages_of(EXTRAS[chosen.command]):
            return int(chosen.run(chosen))
    except SpadeError as problem:
        return _fail(str(problem), problem.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output is gone; a second failure while Python flushes it at exit would be noise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename else ""
        return _fail(f"{where}{problem.strerror or problem}", DataError.exit_code)
    except MemoryError:
        return _fail("this machine's memory is not enough; use fewer images or a smaller view", DeviceError.exit_code)
    except Exception as problem:
        if os.environ.get(TRACEBACK):
            traceback.print_exc()
        return _fail(
            f"a fault in spade-edge itself, {type(problem).__name__}: {' '.join(str(problem).split())}; "
            f"run again with {TRACEBACK}=1 and report what it prints",
            INTERNAL_FAULT,
        )


@contextmanager
def _packages_of(extra: str) -> Iterator[None]:
    """Say which extra brings a package that a command needs and this machine lacks."""
    try:
        yield
    except ModuleNotFoundError as problem:
        package = (problem.name or "").partition(".")[0]
        if package == "spade_edge":
            raise
        raise DeviceError(
            f"this command needs {package}, which is not installed: pip install 'spade-edge[{extra}]'"
        ) from None
    except ImportError as problem:  # installed, but a library under it is missing
        raise DeviceError(f"expected the package {problem.name or ''} to load, found: {problem}") from None


def _settle_streams() -> None:
    """Make sure that a closed stderr or a terminal that knows only ASCII is no reason to fail."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  (for the rest of the process)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _log_to_stderr() -> None:
    """Show the warnings of the library as plain lines, for example that a camera has stopped."""
    logging.getLogger("spade_edge").handlers = [logging.StreamHandler(sys.stderr)]


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)  # unlike the default, this lets half-written files be removed


def _fail(message: str, code: int) -> int:
    print(f"spade-edge: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
