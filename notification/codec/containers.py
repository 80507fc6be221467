"""Forms of containers, made from the forms of what they hold: lists, tuples, sets and mappings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from attrs import evolve

from .form import Decode, Encode, Form, Mismatch, malformed, mismatch, name_of

_LONGEST_INTEGER = 20


def array_form(
    item: Form, *, kinds: tuple[type, ...], make: Callable[[list[Any]], Any] | None, immutable: bool = False
) -> Form:
    """A JSON array of one kind of item. `make` turns the list into what the field holds; None: a list it is."""
    name = f"a {kinds[0].__name__}"
    encode_item, decode_item = item.encode, item.decode

    def encode(value: Any) -> list[Any]:
        if isinstance(value, kinds):
            return _each(encode_item, cast("Iterable[Any]", value))
        raise Mismatch(f"expected {name}, got {name_of(value)}")

    def decode(value: Any, _type: object = None) -> Any:
        if type(value) is not list:
            raise mismatch("an array", value)
        items = _each(decode_item, value)
        return items if make is None else make(items)

    return Form(
        expected="an array",
        encode=encode,
        decode=decode,
        json=(list,),
        python=kinds,
        immutable=immutable and item.immutable,
        bounded=item.bounded,
    )


def _each(convert: Encode | Decode, values: Iterable[Any]) -> list[Any]:
    result: list[Any] = []
    try:
        for value in values:
            result.append(convert(value))  # noqa: PERF401 (its length is the place of a failure)
    except Mismatch as error:
        raise error.inside_item(len(result)) from None
    return result


def tuple_form(items: tuple[Form, ...]) -> Form:
    """A JSON array of a fixed length, each place with a form of its own."""
    encoders, decoders = [item.encode for item in items], [item.decode for item in items]
    expected = f"an array of {len(items)}"

    def encode(value: Any) -> list[Any]:
        if not isinstance(value, tuple):
            raise Mismatch(f"expected a tuple of {len(items)}, got {name_of(value)}")
        return _places(encoders, value, expected)

    def decode(value: Any, _type: object = None) -> tuple[Any, ...]:
        if type(value) is not list:
            raise mismatch(expected, value)
        return tuple(_places(decoders, value, expected))

    return Form(
        expected=expected,
        encode=encode,
        decode=decode,
        json=(list,),
        python=(tuple,),
        immutable=all(item.immutable for item in items),
        bounded=all(item.bounded for item in items),
    )


def _places(converters: list[Any], values: Any, expected: str) -> list[Any]:
    if len(values) != len(converters):
        raise Mismatch(f"expected {expected}, got {len(values)}")
    result: list[Any] = []
    try:
        for convert, value in zip(converters, values, strict=True):
            result.append(convert(value))
    except Mismatch as error:
        raise error.inside_item(len(result)) from None
    return result


def mapping_form(key: Form, item: Form, *, kinds: tuple[type, ...]) -> Form:
    """A JSON object. Its keys are strings: `key` is a form of strings, see `key_form`."""
    encode_key, decode_key, encode_item, decode_item = key.encode, key.decode, item.encode, item.decode

    def encode(value: Any) -> dict[str, Any]:
        if isinstance(value, kinds):
            return _entries(encode_key, encode_item, cast("Mapping[Any, Any]", value))
        raise Mismatch(f"expected a {kinds[0].__name__}, got {name_of(value)}")

    def decode(value: Any, _type: object = None) -> dict[Any, Any]:
        if type(value) is not dict:
            raise mismatch("an object", value)
        return _entries(decode_key, decode_item, value)

    return Form(
        expected="an object",
        encode=encode,
        decode=decode,
        json=(dict,),
        python=kinds,
        immutable=False,
        bounded=item.bounded,
    )


def _entries(convert_key: Any, convert_item: Any, values: Mapping[Any, Any]) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    for key, value in values.items():
        try:
            result[convert_key(key)] = convert_item(value)
        except Mismatch as error:
            raise error.inside_key(key) from None
    if len(result) != len(values):
        raise Mismatch("two keys mean the same")
    return result


def key_form(form: Form) -> Form | None:
    """The form of a type as the key of a JSON object, which is a string; None where it has none."""
    if form.json == (str,):
        return form
    if form.json == (int,):
        return evolve(form, encode=_integer_to_key(form.encode), decode=_integer_from_key(form.decode), json=(str,))
    return None


def _integer_to_key(encode: Encode) -> Encode:
    return lambda value: str(encode(value))


def _integer_from_key(decode: Decode) -> Decode:
    def read(value: Any, _type: object = None) -> Any:
        if type(value) is not str:
            raise mismatch("an integer as a string", value)
        try:
            number = int(value) if len(value) <= _LONGEST_INTEGER else None
        except ValueError:
            number = None
        if number is None or str(number) != value:
            raise malformed("an integer as a string", value)
        return decode(number)

    return read
