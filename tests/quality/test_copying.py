"""The measurement of copying runs, and copies what it says."""

from __future__ import annotations

import pytest
from quality.copying import main


def test_it_prints_three_times(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp")
    for name in ("XDG_CACHE_HOME", "SPADE_EDGE_IMAGE_CACHE_GB"):
        monkeypatch.setenv(name, "0")  # so that both are put back at the end
    assert main(["--images", "30", "--bytes", "100", "--wait", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:15].strip() for line in lines] == ["one by one", "16 at once", "from the cache"]
