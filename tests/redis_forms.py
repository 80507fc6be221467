"""Every form that a queue in Redis has."""

from __future__ import annotations

from typing import Any

from .redis_server import Redis

FORMS: dict[str, tuple[str, dict[str, str]]] = {
    "list": ("redis", {"order": "process"}),
    "keyed": ("redis", {"order": "key"}),
    "at most once": ("redis", {"order": "process", "delivery": "at-most-once"}),
    "stream": ("redis+stream", {"order": "process"}),
}


def formed(redis: Redis, form: str, name: str | None = None, **options: Any) -> str:
    """The URL of a queue of this form with a name that nobody else has, or with this one."""
    scheme, given = FORMS[form]
    return redis.queue(name, scheme=scheme, **given, **options)
