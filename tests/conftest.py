"""Settings that every test shares."""

from __future__ import annotations

import signal

from hypothesis import settings

from .kafka_secure import kafka_secure
from .kafka_server import kafka_server
from .kafka_shared import kafka
from .redis_groups import authority, redis_cluster, redis_node, redis_sentinel
from .redis_server import redis, redis_server
from .shell import shell

__all__ = [
    "authority",
    "kafka",
    "kafka_secure",
    "kafka_server",
    "redis",
    "redis_cluster",
    "redis_node",
    "redis_sentinel",
    "redis_server",
    "shell",
]

# A shared machine is slow at times; a deadline per example would report that as a failure of ours.
settings.register_profile("shared-machine", deadline=None, max_examples=100)
settings.load_profile("shared-machine")

# What a shell starts in the background ignores Ctrl-C, and so would the programs that tests start and stop with it.
signal.signal(signal.SIGINT, signal.default_int_handler)
