"""Settings that every test shares."""

from __future__ import annotations

from hypothesis import settings

from .redis_server import redis, redis_server
from .shell import shell

__all__ = ["redis", "redis_server", "shell"]

# A shared machine is slow at times; a deadline per example would report that as a failure of ours.
settings.register_profile("shared-machine", deadline=None, max_examples=100)
settings.load_profile("shared-machine")
