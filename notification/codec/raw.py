"""The form of a field that takes any JSON: `Any`, `object`, and the values of a bare `dict` or `list`."""

from __future__ import annotations

from types import NoneType
from typing import Any

from .form import Form, Mismatch, name_of, quote
from .scalars import encode_integer, encode_string, finite_number


def encode_raw(value: Any) -> Any:
    """A copy of a JSON value; refuses what JSON can't say, with the way to it."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return encode_string(value)
    if isinstance(value, float):
        return finite_number(value)
    if isinstance(value, int):
        return encode_integer(value)
    if isinstance(value, list):
        return _raw_array(value)
    if isinstance(value, dict):
        return _raw_object(value)
    raise Mismatch(f"{name_of(value)} is not JSON; raw data is made of dict, list, str, int, float, bool and None")


def _raw_array(value: list[Any]) -> list[Any]:
    array: list[Any] = []
    try:
        for item in value:
            array.append(encode_raw(item))  # noqa: PERF401 (its length is the place of a failure)
    except Mismatch as error:
        raise error.inside_item(len(array)) from None
    return array


def _raw_object(value: dict[Any, Any]) -> dict[str, Any]:
    copy: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise Mismatch(f"the key {quote(key)} is not a string").inside_key(key)
        try:
            copy[encode_string(key)] = encode_raw(item)
        except Mismatch as error:
            raise error.inside_key(key) from None
    return copy


def _decode_raw(value: Any, _type: object = None) -> Any:
    return value


RAW = Form(
    expected="JSON",
    encode=encode_raw,
    decode=_decode_raw,
    json=(NoneType, bool, int, float, str, list, dict),
    python=(object,),
    immutable=False,
    bounded=False,
)
