"""The topics of a queue: its own, and those beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ._kafka_client import client
from .url import DEAD

HORIZONS: Final[Mapping[str, float]] = {"delay.1m": 60.0, "delay.1h": 3600.0, "delay.1d": 86400.0}
"""The suffixes of the topics where delayed events wait, each with the longest time, in seconds, that is left to one."""
SIBLINGS: Final = (DEAD, *HORIZONS)
"""The suffixes of all topics beside a queue's own."""
_TIMES, _AGAIN = 4, 0.1
"""How often a topic is looked for, and the seconds between."""


def all_of(topic: str) -> list[str]:
    """The topic and those beside it."""
    return [topic, *(f"{topic}.{suffix}" for suffix in SIBLINGS)]


def movers_of(topic: str) -> str:
    """The one consumer group that moves the delayed events of a topic on, whatever the groups of its consumers."""
    return f"{topic}.delay"


def readers_of(letters: str) -> str:
    """The one consumer group that takes from a topic of dead letters, whatever the groups they died in."""
    return letters


def described(admin: Any, topics: Sequence[str]) -> Sequence[Mapping[str, Any]]:
    """What the client's describe_topics() says. Blocks.

    One broker may hear of a new topic later than another: where one is missing, they are asked again for a moment.
    """
    found: Sequence[Mapping[str, Any]] = admin.describe_topics(topics)
    for _ in range(_TIMES - 1):
        if all(one["error_code"] != client.UnknownTopicOrPartitionError.errno for one in found):
            break
        threading.Event().wait(_AGAIN)
        found = admin.describe_topics(topics)
    return found


def queues_among(topics: Iterable[str]) -> list[str]:
    """Those of the topics that do not lie beside another one, by name."""
    names = set(topics)
    beside = {sibling for name in names for sibling in all_of(name)[1:]}
    return sorted(names - beside)
