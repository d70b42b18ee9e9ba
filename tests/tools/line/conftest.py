"""Fixtures of a line."""

from __future__ import annotations

import pytest
from fake_line import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()
