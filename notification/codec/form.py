"""What the codec knows of one type: how its values become JSON, and come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from attrs import frozen

from queues.errors import escape

QUOTED = 60
"""The most characters of a value that an error quotes."""
_LONGEST_PATH = 200


class Decode(Protocol):
    """From a JSON value to a Python one; raises Mismatch. Generated code passes a type too, which says nothing new."""

    def __call__(self, value: Any, _type: object = None, /) -> Any: ...


Encode = Callable[[Any], Any]
"""From a Python value to a JSON one; raises Mismatch."""


@frozen(eq=False, kw_only=True)
class Form:
    """The JSON form of one type.

    expected: the JSON in words, for errors. json: the JSON types it takes, as Python's json names them.
    python: the classes whose values it encodes. immutable: a value can be handed over by reference.
    keyable: its text may be the key of an event. bounded: how deep it nests is known from the type alone.
    """

    expected: str
    encode: Encode
    decode: Decode
    json: tuple[type, ...]
    python: tuple[type, ...]
    immutable: bool = True
    keyable: bool = False
    bounded: bool = True


class Mismatch(Exception):
    """A value that does not fit its type. Collects the way to it from the inside out; never leaves the codec."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self._steps: list[str] = []

    def inside_field(self, name: str) -> Mismatch:
        self._steps.append(f".{name}")
        return self

    def inside_item(self, position: int) -> Mismatch:
        self._steps.append(f"[{position}]")
        return self

    def inside_key(self, key: object) -> Mismatch:
        self._steps.append(f"[{quote(key)}]")
        return self

    def __str__(self) -> str:
        path = _cut("".join(reversed(self._steps)).removeprefix("."), _LONGEST_PATH)
        return f"{path}: {self.reason}" if path else self.reason


def mismatch(expected: str, value: object) -> Mismatch:
    """Names the JSON type that was found, not its content."""
    return Mismatch(f"expected {expected}, got {name_of(value)}")


def malformed(expected: str, value: object) -> Mismatch:
    """For a value of the right JSON type: quotes how it begins."""
    return Mismatch(f"expected {expected}, got {quote(value)}")


def quote(value: object) -> str:
    """A scalar for an error: short, on one line. Anything else by the name of its type."""
    if isinstance(value, str):
        return f"'{_cut(escape(value, QUOTED), QUOTED)}'"
    if type(value) in {int, float, bool}:
        return _number(value)
    return name_of(value)


def _cut(text: str, limit: int) -> str:
    """Its beginning and its end. Escaping made it longer, or it is a path, whose end matters most."""
    return text if len(text) <= limit else f"{text[: limit // 2 - 1]}…{text[-(limit // 2) :]}"


def _number(value: object) -> str:
    try:
        return escape(repr(value), QUOTED)
    except ValueError:  # more digits than Python prints
        return "an integer of very many digits"


def name_of(value: object) -> str:
    """What a value is, in JSON's words where it has one."""
    name = _NAMES.get(type(value))
    return name if name is not None else f"{escape(type(value).__qualname__, QUOTED)} object"


_NAMES: dict[type, str] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    type(None): "null",
    bytes: "bytes",
    tuple: "a tuple",
    set: "a set",
}
