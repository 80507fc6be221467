"""The form of a message on the wire: a CloudEvents 1.0 event as JSON, on every queue.

Source of the format: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

from ._json import dumps
from .checks import MAX_DEPTH, check, check_depth, check_numbers
from .errors import CorruptMessage, escape
from .message import DEFAULT_LIMITS, EPOCH, DeadLetter, Delivery, Limits, Message

OVERHEAD_BYTES = 16 * 1024
"""Room for the attributes we add on an event's way (retries, dead letters), beyond the limit on its size."""


def encode(message: Message) -> bytes:
    """The CloudEvents JSON event, computed once a message. Raises CorruptMessage for what JSON can't say."""
    if message.wire is None:
        object.__setattr__(message, "wire", _encode(message))
    assert message.wire is not None
    return message.wire


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
    raw = dumps(document)
    if b"null" in raw:  # what orjson makes of NaN and the infinities
        check_numbers(data)
    return raw


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
        ("deadorigin", dead.origin), ("deadposition", dead.position), ("deadgroup", dead.group),
    ):  # fmt: skip
        if value:
            document[name] = value  # noqa: PERF403 - two lines longer as a comprehension


# -- decoding


def decode(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> Message:
    """The message that these `raw` bytes are. Raises CorruptMessage and nothing else.

    limits: size caps, looked at before it parses. They are on the event as dispatched: what retries and deaths added
    does not count.
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
    """A hand-out of these `raw` bytes: with its message, or with the reason why there is none. Never raises.

    receipt: the queue's own mark of it; times: see `Delivery`; limits: size caps, as in `decode`.
    """
    try:
        return Delivery(decode(raw, limits), receipt, times, size=len(raw))
    except CorruptMessage as error:
        return Delivery(None, receipt, times, raw, error, len(raw))


def _from_document(document: dict[str, Any]) -> Message:
    if None in document.values():  # the specification: an attribute that is null is not set
        document = {name: value for name, value in document.items() if value is not None}
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
            values["headers"] = {name: _header(name, value) for name, value in document.items()}
    return Message(**values)


def _take_rare(document: dict[str, Any], values: dict[str, Any]) -> None:
    for name, (target, read) in _RARE.items():
        if name in document:
            values[target] = read(name, document.pop(name))
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
    if time.tzinfo is None:
        return time.replace(tzinfo=UTC)
    return time if time.tzinfo is UTC else time.astimezone(UTC)


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
    "handlers": ("handlers", lambda name, value: tuple(filter(None, _text(name, value).split(",")))),
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
    "deadposition": ("position", _text),
    "deadgroup": ("group", _text),
}


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
