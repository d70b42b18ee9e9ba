"""The start of the command."""

from __future__ import annotations

import subprocess
import sys

import pytest

# An import that is interrupted, as by Ctrl-C in the first second.
INTERRUPTED = """
import runpy, sys
class Stop:
    def find_spec(self, name, *_):
        if name == "spade_edge.tools.cli.commands.threshold":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Stop())
"""
STARTS = {
    "module": "runpy.run_module('spade_edge', run_name='__main__')",
    "script": "from spade_edge.tools.cli.start import main; sys.exit(main())",
}


@pytest.mark.parametrize("how", STARTS)
def test_ctrl_c_while_the_program_is_loaded_is_one_line(how: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED + STARTS[how], "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "spade-edge: interrupted\n")
