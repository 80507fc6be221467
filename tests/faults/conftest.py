"""What every fault test may ask for."""

from __future__ import annotations

import pytest

from .homes import ON_REDIS, Home


@pytest.fixture
def home(request: pytest.FixtureRequest) -> Home:
    """Where the queue is; see `homes.homes`."""
    kind: str = request.param
    return Home(kind, request.getfixturevalue("redis") if kind in ON_REDIS else None)
