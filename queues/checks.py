"""What an event may look like: size caps and well-formed attributes, the same on dispatch and on consume."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from .errors import CorruptMessage, escape
from .message import DEFAULT_LIMITS, Limits, Message

MAX_DEPTH = 64
"""How deep the attributes of an event, its data among them, may be nested."""
RESERVED_HEADERS = frozenset(
    [
        "specversion",
        "type",
        "id",
        "source",
        "time",
        "data",
        "database64",
        "datacontenttype",
        "partitionkey",
        "attempt",
        "notbefore",
        "deliveries",
        "handlers",
        "forgroup",
        "eventversion",
        "partition",
        "deadreason",
        "deadhandler",
        "deadattempts",
        "deadfirst",
        "deadlast",
        "deadtime",
        "deadorigin",
        "deadposition",
        "deadgroup",
    ]
)
"""Attribute names that `headers=` may not use: they are CloudEvents' or ours."""

_HEADER_NAME = re.compile(r"[a-z0-9]{1,64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_CONTAINERS = (dict, list)


def check(message: Message, limits: Limits = DEFAULT_LIMITS) -> None:
    """Raise CorruptMessage, saying what and how much, when an attribute is malformed or over a limit."""
    _check_text("type", message.type, 256)
    _check_text("id", message.id, 256)
    _check_text("source", message.source, 1024)
    if message.key is not None:
        check_key(message.key, limits)
    if message.headers:
        _check_headers(message.headers, limits)


def check_depth(value: object) -> None:
    """Raise CorruptMessage when an event, given as JSON, has something nested deeper than 64 levels inside."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[object] = []
        for container in level:
            if type(container) is dict:
                inner += [item for item in container.values() if type(item) in _CONTAINERS]
            elif type(container) is list:
                inner += [item for item in container if type(item) in _CONTAINERS]
        if not inner:
            return
        level = inner
    raise CorruptMessage(f"nested deeper than {MAX_DEPTH} levels")


def check_numbers(value: object) -> None:
    """Raise CorruptMessage when a value holds NaN or an infinity, which JSON has no word for."""
    level = [value]
    while level:
        for item in level:
            if type(item) is float and not math.isfinite(item):
                raise CorruptMessage(f"{item} has no JSON form; leave the field out, or make it None or a string")
        level = [inner for item in level for inner in _inside(item)]


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def _check_text(name: str, value: object, limit: int) -> None:
    if type(value) is str and 0 < len(value) <= limit and value.isprintable():
        return
    if type(value) is not str or not 0 < len(value) <= limit:
        raise CorruptMessage(f"{name} must be a string of 1 to {limit} characters")
    if _CONTROL.search(value):
        raise CorruptMessage(f"{name} {escape(value)!r} has control characters")


def check_key(key: object, limits: Limits = DEFAULT_LIMITS) -> None:
    """Raise CorruptMessage when a key is no string or too long."""
    if type(key) is not str:
        raise CorruptMessage(f"key must be a string, not {type(key).__name__}")
    if len(key) * 4 > limits.key and (size := len(key.encode("utf-8", "surrogatepass"))) > limits.key:
        raise CorruptMessage(f"key of {size} bytes, the limit is {limits.key}")


def _check_headers(headers: Mapping[str, str], limits: Limits) -> None:
    if len(headers) > limits.headers:
        raise CorruptMessage(f"{len(headers)} headers, the limit is {limits.headers}")
    size = 0
    for name, value in headers.items():
        if type(name) is not str or not _HEADER_NAME.fullmatch(name):
            raise CorruptMessage(f"header {escape(str(name))!r}: names are 1 to 64 lower-case letters and digits")
        if name in RESERVED_HEADERS:
            raise CorruptMessage(f"header {name!r} is reserved; rename it")
        if type(value) is not str:
            raise CorruptMessage(f"header {name!r} must be a string, not {type(value).__name__}")
        size += len(name) + len(value.encode("utf-8", "surrogatepass"))
    if size > limits.header_bytes:
        raise CorruptMessage(f"headers of {size} bytes, the limit is {limits.header_bytes}")
