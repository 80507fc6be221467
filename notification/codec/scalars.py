"""Forms of the types that are one JSON string, number, boolean or null."""

from __future__ import annotations

import binascii
import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal, InvalidOperation
from types import NoneType
from typing import Any
from uuid import UUID

import orjson

from .form import Form, Mismatch, malformed, mismatch

_LOWEST, _HIGHEST = -(1 << 63), (1 << 64) - 1
_INFINITY = math.inf

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


# -- JSON's own


def _null(value: Any, _type: object = None) -> None:
    if value is not None:
        raise mismatch("null", value)


def _boolean(value: Any, _type: object = None) -> bool:
    if value is True or value is False:
        return value
    raise mismatch("a boolean", value)


def _integer(value: Any, _type: object = None) -> int:
    if type(value) is int and _LOWEST <= value <= _HIGHEST:
        return value
    if type(value) is int:
        raise Mismatch("an integer beyond 64 bits has no JSON form; use str or Decimal")
    raise mismatch("an integer", value)


def encode_integer(value: Any) -> int:
    if type(value) is int and _LOWEST <= value <= _HIGHEST:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return _integer(int(value))
    raise mismatch("an integer", value)


def finite_number(value: Any, _type: object = None) -> float:
    if type(value) is float and -_INFINITY < value < _INFINITY:
        return value
    if isinstance(value, float):
        return _finite(float(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return float(_integer(int(value)))
    raise mismatch("a number", value)


def _finite(value: float) -> float:
    if -_INFINITY < value < _INFINITY:
        return value
    raise Mismatch(f"{value} has no JSON form; use None or a finite number")


def _string(value: Any, _type: object = None) -> str:
    if type(value) is str:
        return value
    raise mismatch("a string", value)


def encode_string(value: Any) -> str:
    """The text as a plain str. Lone surrogates have no UTF-8 form, so none on the wire."""
    if type(value) is str and value.isascii():
        return value
    if not isinstance(value, str):
        raise mismatch("a string", value)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Mismatch("a string with lone surrogates has no JSON form") from None
    return str.__str__(value)


# -- text with a meaning


def _texts(expected: str, kind: type, encode: Callable[[Any], str], read: Callable[[str], Any], **more: Any) -> Form:
    """A type whose JSON is a string that `read` understands; `read` raises ValueError."""

    def encode_text(value: Any) -> str:
        if isinstance(value, kind):
            return encode(value)
        raise mismatch(expected, value)

    def decode_text(value: Any, _type: object = None) -> Any:
        if type(value) is not str:
            raise mismatch(expected, value)
        try:
            return read(value)
        except (ValueError, OverflowError):
            raise malformed(expected, value) from None

    return Form(expected=expected, encode=encode_text, decode=decode_text, json=(str,), python=(kind,), **more)


def _encode_datetime(value: datetime) -> str:
    if value.tzinfo is UTC:
        return orjson.dumps(value, option=orjson.OPT_UTC_Z)[1:-1].decode()  # a third of the time of isoformat
    offset = value.utcoffset()
    if offset is None:
        raise Mismatch("a naive datetime has no place in time; use an aware one, such as datetime.now(UTC)")
    if offset % timedelta(minutes=1):  # RFC 3339 has no seconds in an offset
        try:
            value = value.astimezone(UTC)
        except OverflowError:
            raise Mismatch("a datetime outside the years 1 to 9999 in UTC has no JSON form") from None
    return value.isoformat()


def _read_datetime(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError("naive")
    return value


def _encode_date(value: date) -> str:
    if isinstance(value, datetime):
        raise Mismatch("expected a date, got a datetime; use its .date(), or make the field a datetime")
    return value.isoformat()


def _read_date(text: str) -> date:
    value = date.fromisoformat(text)
    if value.isoformat() != text:  # weeks and dates without hyphens are ISO 8601, but not RFC 3339
        raise ValueError("not YYYY-MM-DD")
    return value


def _encode_decimal(value: Decimal) -> str:
    if not value.is_finite():
        raise Mismatch(f"Decimal {value} has no JSON form; use None or a finite number")
    return str(value)


def _read_decimal(text: str) -> Decimal:
    if not _DECIMAL.fullmatch(text):
        raise ValueError("not a decimal number")
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError("beyond the range of Decimal") from None


def _read_uuid(text: str) -> UUID:
    if not _UUID.fullmatch(text):  # UUID() takes braces, urn: and underscores too
        raise ValueError("not a UUID")
    return UUID(text)


def _encode_bytes(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode("ascii")


def _read_bytes(text: str) -> bytes:
    return binascii.a2b_base64(text, strict_mode=True)


# -- durations: a number of seconds


def _encode_seconds(value: Any) -> float:
    if not isinstance(value, timedelta):
        raise mismatch("a timedelta", value)
    seconds = value.total_seconds()
    try:
        if timedelta(seconds=seconds) == value:
            return seconds
    except OverflowError:
        pass
    raise Mismatch("a timedelta of this length loses microseconds as seconds; use a shorter one, or an int")


def _decode_seconds(value: Any, _type: object = None) -> timedelta:
    seconds = finite_number(value)
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise malformed("a duration in seconds", value) from None


NULL = Form(expected="null", encode=_null, decode=_null, json=(NoneType,), python=(NoneType,))

SCALARS: dict[object, Form] = {
    None: NULL,
    NoneType: NULL,
    bool: Form(expected="a boolean", encode=_boolean, decode=_boolean, json=(bool,), python=(bool,)),
    int: Form(expected="an integer", encode=encode_integer, decode=_integer, json=(int,), python=(int,), keyable=True),
    float: Form(expected="a number", encode=finite_number, decode=finite_number, json=(float,), python=(float,)),
    str: Form(expected="a string", encode=encode_string, decode=_string, json=(str,), python=(str,), keyable=True),
    bytes: _texts("bytes as a base64 string", bytes, _encode_bytes, _read_bytes),
    datetime: _texts("a datetime with its offset, as RFC 3339", datetime, _encode_datetime, _read_datetime),
    date: _texts("a date, as YYYY-MM-DD", date, _encode_date, _read_date, keyable=True),
    time_of_day: _texts("a time, as HH:MM:SS", time_of_day, time_of_day.isoformat, time_of_day.fromisoformat),
    Decimal: _texts("a decimal number as a string", Decimal, _encode_decimal, _read_decimal),
    UUID: _texts("a UUID", UUID, str, _read_uuid, keyable=True),
    timedelta: Form(
        expected="a duration in seconds",
        encode=_encode_seconds,
        decode=_decode_seconds,
        json=(float,),
        python=(timedelta,),
    ),
}
