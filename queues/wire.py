"""The form of a message on the wire: a CloudEvents 1.0 event as JSON, on every queue.

Source of the format: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from .errors import CorruptMessage, escape
from .message import DEFAULT_LIMITS, EPOCH, DeadLetter, Delivery, Limits, Message

OVERHEAD_BYTES = 16 * 1024
"""Room for the attributes we add on an event's way (retries, dead letters), beyond the limit on its size."""
MAX_DEPTH = 64

_HEADER_NAME = re.compile(r"[a-z0-9]{1,64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def encode(message: Message) -> bytes:
    """The CloudEvents JSON event, computed once a message. Raises CorruptMessage for what JSON can't say."""
    if message.wire is None:
        object.__setattr__(message, "wire", _encode(message))
    assert message.wire is not None
    return message.wire


def check(message: Message, limits: Limits = DEFAULT_LIMITS) -> None:
    """Raise CorruptMessage, saying what and how much, when an attribute is malformed or over a limit."""
    _check_text("type", message.type, 256)
    _check_text("id", message.id, 256)
    _check_text("source", message.source, 1024)
    if message.key is not None:
        check_key(message.key, limits)
    if message.headers:
        _check_headers(message.headers, limits)


def _encode(message: Message) -> bytes:
    document: dict[str, Any] = {
        "specversion": "1.0",
        "type": message.type,
        "source": message.source,
        "id": message.id,
    }
    if message.time is not EPOCH:
        document["time"] = message.time
    if message.key is not None:
        document["partitionkey"] = message.key
    if message.headers:
        document.update(message.headers)
    _encode_rare(message, document)
    data = message.data
    if isinstance(data, bytes):
        document["data_base64"] = base64.b64encode(data).decode("ascii")
    elif data is not None:
        document["data"] = data
    try:
        return orjson.dumps(document, option=orjson.OPT_UTC_Z)
    except TypeError as error:
        raise CorruptMessage(f"event {message.type!r} has no JSON form: {error}") from error


def _encode_rare(message: Message, document: dict[str, Any]) -> None:
    """Our own attributes, each left out at its default."""
    if message.version != 1:
        document["eventversion"] = message.version
    if message.attempt != 1:
        document["attempt"] = message.attempt
    if message.deliveries:
        document["deliveries"] = message.deliveries
    if message.not_before is not None:
        document["notbefore"] = message.not_before
    if message.handlers:
        document["handlers"] = ",".join(message.handlers)
    if message.group is not None:
        document["forgroup"] = message.group
    if message.partition is not None:
        document["partition"] = message.partition
    if message.first_error:
        document["deadfirst"] = message.first_error
    if message.dead is not None:
        _encode_dead(message.dead, document)


def _encode_dead(dead: DeadLetter, document: dict[str, Any]) -> None:
    document["deadreason"] = dead.reason
    document["deadtime"] = dead.time
    for name, value in (
        ("deadlast", dead.error), ("deadhandler", dead.handler), ("deadattempts", dead.attempts),
        ("deadorigin", dead.origin), ("deadgroup", dead.group),
    ):  # fmt: skip
        if value:
            document[name] = value  # noqa: PERF403 - two lines longer as a comprehension


# -- decoding


def decode(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> Message:
    """The message that these bytes are. Raises CorruptMessage and nothing else; refuses by size before it parses.

    The limit is on the event as dispatched: what retries and deaths added does not count against it.
    """
    if len(raw) > limits.event + OVERHEAD_BYTES:
        raise CorruptMessage(f"event of {len(raw)} bytes, the limit is {limits.event}")
    try:
        document = orjson.loads(raw)
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise CorruptMessage(f"not JSON: {escape(str(error))}") from None
    if type(document) is not dict:
        raise CorruptMessage(f"a CloudEvents event is a JSON object, this is {_json_name(document)}")
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH:
        check_depth(document)
    try:
        message = _from_document(document)
    except KeyError as error:
        raise CorruptMessage(f"the attribute {error} is missing") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise CorruptMessage(escape(str(error))) from None
    check(message, limits)
    if len(raw) > limits.event and (size := len(encode(message.pristine()))) > limits.event:
        raise CorruptMessage(f"event of {size} bytes, the limit is {limits.event}")
    return message


def delivery_of(raw: bytes, receipt: Any, times: int = 1, limits: Limits = DEFAULT_LIMITS) -> Delivery:
    """A hand-out of these bytes: with its message, or with the reason why there is none. Never raises."""
    try:
        return Delivery(decode(raw, limits), receipt, times, size=len(raw))
    except CorruptMessage as error:
        return Delivery(None, receipt, times, raw, error, len(raw))


def _from_document(document: dict[str, Any]) -> Message:
    take = document.pop
    if (spec := take("specversion")) != "1.0":
        raise ValueError(f"CloudEvents version {spec!r} is not 1.0")
    values: dict[str, Any] = {
        "type": _text("type", take("type")), "id": _text("id", take("id")), "source": _text("source", take("source"))
    }  # fmt: skip
    if "data" in document:
        values["data"] = take("data")
    elif "data_base64" in document:
        values["data"] = base64.b64decode(take("data_base64"), validate=True)
    if "time" in document:
        values["time"] = _time(take("time"))
    if "partitionkey" in document:
        values["key"] = _text("partitionkey", take("partitionkey"))
    if document:
        document.pop("datacontenttype", None)
        _take_rare(document, values)
        if document:
            values["headers"] = {name: _header(name, value) for name, value in document.items() if value is not None}
    return Message(**values)


def _take_rare(document: dict[str, Any], values: dict[str, Any]) -> None:
    for name, (target, read) in _RARE.items():
        if name in document and (value := document.pop(name)) is not None:
            values[target] = read(name, value)
    if "deadreason" in document:
        dead = {target: read(name, document.pop(name)) for name, (target, read) in _DEAD.items() if name in document}
        values["dead"] = DeadLetter(**dead)


def _text(name: str, value: object) -> str:
    if type(value) is not str:
        raise ValueError(f"the attribute {name!r} is {_json_name(value)}, not a string")
    return value


def _count(name: str, value: object) -> int:
    number = int(value) if type(value) is str and value.isascii() and value.isdigit() and len(value) < 19 else value
    if type(number) is not int or not 0 <= number < 1 << 31:
        raise ValueError(f"the attribute {name!r} is no count")
    return number


def _time(value: object) -> datetime:
    if type(value) is not str:
        raise ValueError(f"a time is an RFC 3339 string, this is {_json_name(value)}")
    time = datetime.fromisoformat(value)
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _header(name: str, value: object) -> str:
    if type(value) is str:
        return value
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is int:
        return str(value)
    raise ValueError(
        f"the attribute {escape(name)!r} is {_json_name(value)}; extensions are strings, integers or booleans"
    )


_Reader = Callable[[str, object], Any]
_RARE: dict[str, tuple[str, _Reader]] = {
    "eventversion": ("version", _count),
    "attempt": ("attempt", _count),
    "deliveries": ("deliveries", _count),
    "notbefore": ("not_before", lambda _, value: _time(value)),
    "handlers": ("handlers", lambda name, value: tuple(_text(name, value).split(","))),
    "forgroup": ("group", _text),
    "partition": ("partition", _count),
    "deadfirst": ("first_error", _text),
}
_DEAD: dict[str, tuple[str, _Reader]] = {
    "deadreason": ("reason", _text),
    "deadlast": ("error", _text),
    "deadhandler": ("handler", _text),
    "deadattempts": ("attempts", _count),
    "deadtime": ("time", lambda _, value: _time(value)),
    "deadorigin": ("origin", _text),
    "deadgroup": ("group", _text),
}

RESERVED_HEADERS = frozenset(
    {
        "specversion",
        "type",
        "id",
        "source",
        "time",
        "data",
        "database64",
        "datacontenttype",
        "partitionkey",
        *_RARE,
        *_DEAD,
    }
)
"""Attribute names that `headers=` may not use: they are CloudEvents' or ours."""


# -- checks


def check_depth(value: object) -> None:
    """Raise CorruptMessage when a JSON value is nested deeper than 64 levels."""
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


_CONTAINERS = (dict, list)


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


def _json_name(value: object) -> str:
    names = {
        dict: "an object",
        list: "an array",
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "null")
