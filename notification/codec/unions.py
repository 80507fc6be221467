"""Forms of unions: by the JSON type of a value, or, between classes, by a field that tells them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any

from .form import Decode, Encode, Form, Mismatch, malformed, mismatch, name_of


class Ambiguous(Exception):
    """Two members of a union look alike in JSON; the text says which."""


def union_form(members: Sequence[Form]) -> Form:
    """One of these. Raises Ambiguous when two have the same JSON type."""
    if len(members) == 1:
        return members[0]
    by_json = _by_json(members)
    others = [form for form in members if form.json != (NoneType,)]
    optional = len(others) < len(members)
    expected = " or ".join(dict.fromkeys(form.expected for form in members))
    plain = len(others) == 1
    return Form(
        expected=expected,
        encode=_optional_encode(others[0].encode) if plain else _encode_by_class(members, expected),
        decode=_optional_decode(others[0].decode) if plain else _decode_by_json(by_json, expected),
        json=tuple(by_json),
        python=tuple(kind for form in members for kind in form.python),
        immutable=all(form.immutable for form in members),
        keyable=optional and plain and others[0].keyable,
        bounded=all(form.bounded for form in members),
    )


def _by_json(members: Sequence[Form]) -> dict[type, Form]:
    table: dict[type, Form] = {}
    for form in members:
        for kind in form.json:
            if kind in table:
                raise Ambiguous(f"both {table[kind].expected} and {form.expected} are {name_of(kind())} in JSON")
            table[kind] = form
    if float in table:
        table.setdefault(int, table[float])  # JSON writes 5.0 as 5 in many languages
    return table


def _optional_encode(encode: Encode) -> Encode:
    return lambda value: None if value is None else encode(value)


def _optional_decode(decode: Decode) -> Decode:
    def decode_optional(value: Any, _type: object = None) -> Any:
        return None if value is None else decode(value)

    return decode_optional


def _encode_by_class(members: Sequence[Form], expected: str) -> Encode:
    table = {kind: form.encode for form in reversed(members) for kind in form.python}
    if float in table:
        table.setdefault(int, table[float])

    def encode(value: Any) -> Any:
        convert = table.get(type(value))
        if convert is None:
            convert = next((table[kind] for kind in table if isinstance(value, kind)), None)
        if convert is None:
            raise Mismatch(f"expected {expected}, got {name_of(value)}")
        return convert(value)

    return encode


def _decode_by_json(table: Mapping[type, Form], expected: str) -> Decode:
    decoders = {kind: form.decode for kind, form in table.items()}

    def decode(value: Any, _type: object = None) -> Any:
        convert = decoders.get(type(value))
        if convert is None:
            raise mismatch(expected, value)
        return convert(value)

    return decode


def tagged_form(tag: str, members: Mapping[str, Form]) -> Form:
    """One of several classes; in JSON the field `tag` holds a word that only one of them allows."""
    decoders = {word: form.decode for word, form in members.items()}
    forms = list(dict.fromkeys(members.values()))
    expected = " or ".join(form.expected for form in forms)
    words = "one of " + ", ".join(repr(word) for word in members)

    def decode(value: Any, _type: object = None) -> Any:
        if type(value) is not dict:
            raise mismatch(expected, value)
        if tag not in value:
            raise Mismatch(f"missing; it must be {words}").inside_field(tag)
        word = value[tag]
        convert = decoders.get(word) if type(word) is str else None
        if convert is None:
            raise malformed(words, word).inside_field(tag)
        return convert(value)

    return Form(
        expected=expected,
        encode=_encode_by_class(forms, expected),
        decode=decode,
        json=(dict,),
        python=tuple(kind for form in forms for kind in form.python),
        immutable=all(form.immutable for form in forms),
        bounded=all(form.bounded for form in forms),
    )
