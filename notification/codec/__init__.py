"""Events to JSON and back, strictly: nothing is coerced, nothing is guessed.

    encoder_for(cls: type[E]) -> Callable[[E], dict[str, Any]]     raises CorruptMessage: names event, field and reason
    decoder_for(cls: type[E]) -> Callable[[Any], E]                raises CorruptMessage and nothing else
    Codec.of(cls) -> Codec: .encode, .decode, .immutable           raises ConfigurationError

Both look-ups are cheap enough for every event: what they return is made once a class. Of `E` exactly: an instance of
a subclass has fields the decoder does not know, and is refused.

The JSON of each type: str, int (64 bits), float (finite), bool, None as they are; datetime (aware), date and time as
RFC 3339; timedelta as seconds; Decimal and UUID as strings; bytes as base64; an Enum by its value; lists, tuples and
sets as arrays; mappings as objects, with keys that are strings, integers, UUIDs, Enums or dates; attrs classes,
dataclasses, NamedTuples and TypedDicts as objects; `Any` and `object` as raw JSON. In a union each member has another
JSON type, or all its classes have a `Literal` field that tells them apart.

When decoding, a field that is missing takes its default, and a field that is unknown is left out: producer and
consumer need not be deployed at the same moment. An integer is taken for a float; there is no other conversion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Generic, TypeVar, cast

from queues.checks import check_depth
from queues.errors import ConfigurationError, CorruptMessage, escape

from .compile import Compiler
from .form import Form, Mismatch
from .records import brief
from .types import Declarations, is_record

E = TypeVar("E")


class Codec(Generic[E]):
    """How the instances of one class travel. `Codec.of` checks the class; the fast code is made at first use.

    immutable: an instance, and all it holds, can be handed over by reference.
    """

    def __init__(self, cls: type[E], declarations: Declarations, name: str) -> None:
        self.cls = cls
        self._name = name
        self._declarations = declarations
        self._located = Compiler(declarations, generate=False).form(cls)
        self.immutable: bool = self._located.immutable

    @classmethod
    def of(cls, record: type[E], *, names: Mapping[str, Any] | None = None, name: str = "") -> Codec[E]:
        """Raises ConfigurationError when `record` is no attrs class or dataclass, or has a field without a JSON form.

        names: what annotations may name beside what the class's module knows. name: the class's name in errors.
        """
        if not is_record(record):
            raise ConfigurationError(f"{record!r} is no class with fields; make it an attrs class or a dataclass")
        declarations = Declarations(names or {}, record.__module__)
        try:
            return cls(record, declarations, name or record.__qualname__)
        except RecursionError:
            raise ConfigurationError(
                f"{record.__qualname__} has a type alias that holds itself; use Any for raw JSON, or a class"
            ) from None
        finally:
            declarations.seal()

    @property
    def fields(self) -> list[str]:
        """The names of its fields."""
        return [each.name for each in self._declarations.fields(self.cls)]

    def key_form(self, field: str) -> Form | None:
        """The form of a field, if its text may be the key of an event."""
        tp = next(each.type for each in self._declarations.fields(self.cls) if each.name == field)
        form = Compiler(self._declarations, generate=False).form(tp)
        return form if form.keyable else None

    @cached_property
    def encode(self) -> Callable[[E], dict[str, Any]]:
        """From an instance to its JSON. Raises CorruptMessage that names the field and the reason."""
        form, explain, bounded = self._fast.encode, self._explain_encode, self._fast.bounded

        def encode(event: E) -> dict[str, Any]:
            try:
                data = form(event)
                if not bounded:
                    check_depth([data])  # the event around it is a level too
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 (whatever a class of the user's does)
                raise explain(event, error) from None
            return cast("dict[str, Any]", data)

        return encode

    @cached_property
    def decode(self) -> Callable[[Any], E]:
        """From JSON to an instance. Raises CorruptMessage that names the field and the reason, and nothing else."""
        form, explain = self._fast.decode, self._explain_decode

        def decode(data: Any) -> E:
            try:
                return cast("E", form(data))
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 (validators of the user's raise anything)
                if data is None:  # a foreign producer's event with only the required attributes
                    return decode({})
                raise explain(data, error) from None

        return decode

    @cached_property
    def _fast(self) -> Form:
        return Compiler(self._declarations, generate=True).form(self.cls)

    def _explain_encode(self, event: object, error: Exception) -> CorruptMessage:
        reason = _reason(self._located.encode, event, error)
        return CorruptMessage(escape(f"{self._name} has no JSON form: {reason}"))

    def _explain_decode(self, data: object, error: Exception) -> CorruptMessage:
        reason = _reason(self._located.decode, data, error)
        return CorruptMessage(escape(f"the data is no {self._name}: {reason}"))


def _reason(slow: Callable[[Any], Any], value: object, first: Exception) -> str:
    """Do it again the slow way, which knows the field; in time linear in the value, unlike searching at each level."""
    try:
        slow(value)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 (as above)
        first = error
    if isinstance(first, Mismatch | CorruptMessage):
        return str(first)
    if isinstance(first, RecursionError):
        return "it is nested too deeply, or holds itself"
    return brief(first)


def encoder_for(cls: type[E]) -> Callable[[E], dict[str, Any]]:
    """What turns an instance of this event class into its JSON."""
    return _codec_of(cls).encode


def decoder_for(cls: type[E]) -> Callable[[Any], E]:
    """What turns JSON into an instance of this event class."""
    return _codec_of(cls).decode


def _codec_of(cls: type[E]) -> Codec[E]:
    try:
        codec: Codec[E] = cls.__dict__["__event__"].codec
    except KeyError:  # a class of the caller's that is no event: checked and made anew
        return Codec.of(cls)
    return codec
