"""Forms of types that allow a few values only: enums and literals."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any

from .form import Decode, Form, Mismatch, malformed, mismatch, quote

_SHOWN = 8


def choice_form(choices: Iterable[tuple[Any, Any]]) -> Form:
    """One of these, given as pairs of a Python value and its JSON scalar."""
    pairs = list(choices)
    encoded = {(type(value), value): plain for value, plain in pairs}
    values = {(type(plain), plain): value for value, plain in pairs}
    json = tuple({type(plain): None for _, plain in pairs})
    shown = ", ".join(quote(plain) for _, plain in pairs[:_SHOWN])
    expected = f"one of {shown}{', …' if len(pairs) > _SHOWN else ''}" if len(pairs) > 1 else shown

    def encode(value: Any) -> Any:
        try:
            return encoded[type(value), value]
        except (KeyError, TypeError):
            raise malformed(expected, value) from None

    def decode(value: Any, _type: object = None) -> Any:
        if type(value) not in json:
            raise mismatch(expected, value)
        try:
            return values[type(value), value]
        except KeyError:
            raise malformed(expected, value) from None

    return Form(
        expected=expected,
        encode=encode,
        decode=decode,
        json=json,
        python=tuple({type(value): None for value, _ in pairs}),
        keyable=json in {(str,), (int,)},
    )


def enum_form(kind: type[enum.Enum]) -> Form:
    """By value. A value without a member asks the enum: flags are combined, `_missing_` has its say."""
    known = choice_form((member, member.value) for member in kind)

    def encode(value: Any) -> Any:
        if type(value) is kind:
            return value._value_
        raise malformed(f"a {kind.__name__}", value)

    return Form(
        expected=known.expected,
        encode=encode,
        decode=_asking(kind, known),
        json=known.json,
        python=(kind,),
        keyable=known.keyable,
    )


def _asking(kind: type[enum.Enum], known: Form) -> Decode:
    """Tables first: they never take 1 for True or 1.0 for 1."""

    def decode(value: Any, _type: object = None) -> Any:
        try:
            return known.decode(value)
        except Mismatch:
            if type(value) not in known.json:
                raise
            try:
                return kind(value)
            except (ValueError, TypeError):
                raise malformed(known.expected, value) from None

    return decode
