"""A machine with a GPU that is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_gpu import Machine


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Machine], Machine]:
    return lambda machine: machine.install(monkeypatch, tmp_path)
