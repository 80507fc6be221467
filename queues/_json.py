"""Attributes to bytes."""

from __future__ import annotations

from typing import Any

import orjson

from .errors import CorruptMessage


def dumps(document: dict[str, Any]) -> bytes:
    """The attributes of an event as JSON. Raises CorruptMessage for what that can't say, but for NaN, which is null."""
    try:
        return orjson.dumps(document, option=orjson.OPT_UTC_Z)
    except TypeError as error:
        raise CorruptMessage(f"event {document['type']!r} has no JSON form: {error}") from error
