"""A command line, run in this process."""

from __future__ import annotations

import pytest

from spade_edge.tools.cli.main import main


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command line."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as end:  # argparse ends so
        code = int(end.code or 0)
    printed = capsys.readouterr()
    return code, printed.out, printed.err
