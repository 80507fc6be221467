"""What every fault test may ask for."""

from __future__ import annotations

import pytest

from .homes import ON_REDIS, Home


@pytest.fixture
def home(request: pytest.FixtureRequest) -> Home:
    """Where the queue is; see `homes.homes`."""
    kind: str = request.param
    name = "redis" if kind in ON_REDIS else "kafka" if kind == "kafka" else None
    return Home(kind, request.getfixturevalue(name) if name is not None else None)
