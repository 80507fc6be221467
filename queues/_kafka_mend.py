"""A mistake of kafka-python 3.0.12 that has no way round it in public."""

from __future__ import annotations

from typing import Any


def complete_joins(consumer: Any) -> None:
    """Have each join of a group completed.

    One that is begun because a topic's partitions became known, or more, and takes longer than one poll, is forgotten:
    the client then asks whether it should join, and no longer whether it does. It stays outside, sends no heartbeats
    and is expelled. Without the names used here the client is left as it is.
    """
    coordinator = getattr(consumer, "_coordinator", None)
    asked = getattr(coordinator, "need_rejoin", None)
    if coordinator is not None and asked is not None:
        coordinator.need_rejoin = lambda: asked() or getattr(coordinator, "_join_task", None) is not None
