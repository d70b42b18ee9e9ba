"""Reading files of a machine."""

from __future__ import annotations

from pathlib import Path

from machines import (
    Commands,
    host,
)


def test_a_file_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    machine = host(tmp_path, {"a": "1234\n", "b": " 5 \0 x\x1b[0m\n", "c": "9" * 101}, Commands({}, {}))
    assert machine.text("a") == machine.text("/a", most=5) == "1234" and machine.text("a", most=4) is None
    assert machine.text("b") == "5 \n x[0m" and machine.label("b") == "5 x[0m"
    assert machine.number("a") == 1234 and machine.number("b") is None
    assert machine.label("c") is None and machine.number("c") is None and machine.text("none") is None
