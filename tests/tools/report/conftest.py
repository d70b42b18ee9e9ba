"""The bundle that the reports are about."""

from __future__ import annotations

import pytest

from spade_edge.galleries import Built
from spade_edge.runtime.bundle.bundle import Bundle


@pytest.fixture(scope="module")
def bundle(edge: Built) -> Bundle:
    return Bundle.open(edge.path)
