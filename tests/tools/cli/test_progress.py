"""Progress in a log file: few whole lines, none of them overwritten."""

from __future__ import annotations

import sys

import pytest

from spade_edge.tools.cli import progress as module
from spade_edge.tools.cli.progress_bar import progress


def test_a_log_file_gets_a_line_every_ten_seconds_and_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(module, "monotonic", lambda: clock[0])
    seen = []
    for item in progress(range(100), "reading images"):
        seen.append(item)
        clock[0] += 0.25  # four images a second
    assert seen == list(range(100))
    out, err = capsys.readouterr()
    assert (
        out == ""
        and "\r" not in err
        and err.splitlines()
        == [
            "reading images: 40 of 100, 4 image/s, about 15 s left",
            "reading images: 80 of 100, 4 image/s, about 5 s left",
            "reading images: 100 of 100, 4 image/s",
        ]
    )


def test_a_loop_without_items_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress([], "reading images")) == []
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(progress(range(3), "reading images")) == [0, 1, 2]
    assert "\r" in capsys.readouterr().err
