"""The bundle that the reports are about, and a browser that shows them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chromium import PROGRAM, Chromium

from spade_edge.galleries import Built
from spade_edge.runtime.bundle.bundle import Bundle


@pytest.fixture(scope="module")
def bundle(edge: Built) -> Bundle:
    return Bundle.open(edge.path)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """Headless Chromium, started once for a module; the tests are skipped where there is none."""
    if PROGRAM is None:
        pytest.skip("expected chromium or google-chrome, found neither: apt install chromium")
    with Chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser
