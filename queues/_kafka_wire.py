"""Records and deliveries: CloudEvents in a topic, in structured mode as we write them, and in binary mode.

Source of the format: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import attrs
import orjson

from . import wire
from .checks import check_key
from .errors import CorruptMessage, escape
from .message import DEFAULT_LIMITS, Delivery, Limits, Message

CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"
HEADERS = [("content-type", CONTENT_TYPE.encode())]
"""Of every record of ours."""
_KEPT = 1 << 19
"""Bytes of what is no event that its dead letter has, or the limit if that is more: a compressed batch may hold values
that no topic takes as they are, and who can't write their letter can't go on.
"""
_MARK = "ce_specversion"
"""The header that makes a record one in binary mode."""


class Record(NamedTuple):
    """What is written: an event, and where to. partition: None leaves it to the key, or to the producer."""

    value: bytes
    key: bytes | None = None
    partition: int | None = None


class Read(Protocol):
    """What was read: of a `kafka.consumer.fetcher.ConsumerRecord` the parts that matter here."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


def record_of(message: Message) -> Record:
    """The record of a message. Raises CorruptMessage for what JSON can't say."""
    key = message.key
    return Record(wire.encode(message), None if key is None else key.encode(), message.partition)


def delivery_of(record: Read, receipt: Any, times: int = 1, limits: Limits = DEFAULT_LIMITS) -> Delivery | None:
    """A hand-out of this record: with its message, or with the reason why there is none. Never raises.

    None: a tombstone, which is no event. receipt, times, limits: as in `wire.delivery_of`. The record's key is the
    event's where the event has none of its own.
    """
    value, binary = record.value, _is_binary(record.headers)
    if value is None and not binary:
        return None
    raw = value or b""
    try:
        message = wire.decode(_structured(record, raw, limits) if binary else raw, limits)
        if message.key is None and record.key:
            message = _keyed(message, record.key, limits)
    except CorruptMessage as error:
        kept = raw[: max(limits.event, _KEPT)]
        if len(kept) < len(raw):
            error = CorruptMessage(f"{error}; its first {len(kept)} bytes are kept")
        return Delivery(None, receipt, times, kept, error, len(kept))
    return Delivery(message, receipt, times, size=len(raw))


def _is_binary(headers: Sequence[tuple[str, bytes | None]]) -> bool:
    """Whether attributes are in the headers. A content-type of CloudEvents says that they are in the value."""
    marked = False
    for name, value in headers:
        if name == "content-type" and (value or b"").startswith(b"application/cloudevents"):
            return False
        marked = marked or name == _MARK
    return marked


def _keyed(message: Message, key: bytes, limits: Limits) -> Message:
    text = key.decode("utf-8", "backslashreplace")
    check_key(text, limits)
    return attrs.evolve(message, key=text)


def _structured(record: Read, raw: bytes, limits: Limits) -> bytes:
    """The same event in structured mode."""
    if len(raw) > limits.event:
        raise CorruptMessage(f"event of {len(raw)} bytes, the limit is {limits.event}")
    document: dict[str, Any] = {}
    content = ""
    for name, value in record.headers:
        if value is None:
            continue
        if name.startswith("ce_"):
            document[name[3:]] = _text(name, value)
        elif name.lower() == "content-type":
            content = _text(name, value)
    for taken in ("data", "data_base64", "datacontenttype"):
        document.pop(taken, None)
    document |= _data(raw, content)
    try:
        return orjson.dumps(document)
    except TypeError as error:
        raise CorruptMessage(f"its data have no JSON form of ours: {error}") from None


def _data(raw: bytes, content: str) -> dict[str, Any]:
    """As the content-type has it. Many leave that out where they write JSON."""
    if not raw:
        return {}
    if not content:
        with contextlib.suppress(CorruptMessage):
            return {"data": _json(raw)}
    elif _is_json(content):
        return {"data": _json(raw)}
    return {"data_base64": base64.b64encode(raw).decode()}


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise CorruptMessage(f"the header {escape(name)!r} is not UTF-8") from None


def _is_json(content: str) -> bool:
    kind = content.partition(";")[0].strip().lower()
    return kind in {"application/json", "text/json"} or kind.endswith("+json")


def _json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise CorruptMessage(f"its content-type is JSON, its data are not: {escape(str(error))}") from None
