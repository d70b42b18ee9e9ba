"""Views for the network under test."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray


@pytest.fixture
def views() -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(0, 255, (7, 64, 64, 3)).astype(np.float32)
