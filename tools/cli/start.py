"""The start of the `spade-edge` command: Ctrl-C is told in one line also while the program is still being loaded."""

from __future__ import annotations

import sys


def main() -> int:
    """Load the command line, and run it; the result is the exit code."""
    try:
        from spade_edge.tools.cli.main import main as run

        return run()
    except KeyboardInterrupt:
        print("spade-edge: interrupted", file=sys.stderr)
        return 130
