"""Typed events: a class becomes one by `@event("order.shipped")`.

    event(name, /, *, key=None, version=1) -> Callable[[type[E]], type[E]]        raises ConfigurationError
    EventSpec(name, key, version, cls, frozen, codec); .key_of(event) -> str | None
    spec_of(event: object) -> EventSpec            of an instance; raises UnknownEvent, for a class too; hot path
    spec_of_class(cls: type) -> EventSpec               of a class; raises UnknownEvent
    spec_named(name: str) -> EventSpec             by type name; raises UnknownEvent

The decorator sets `cls.__event__` and nothing else: no global dispatcher, no base class, no registration of handlers.
A subclass of an event class is no event until it is decorated itself.
"""

from __future__ import annotations

import dataclasses
import gc
import inspect
import sys
from collections.abc import Callable
from enum import Enum
from types import FrameType
from typing import Any, TypeVar, dataclass_transform
from weakref import WeakValueDictionary

import attrs
from attrs import frozen

from queues.errors import ConfigurationError, CorruptMessage, UnknownEvent, escape
from queues.message import CORRUPT_TYPE
from queues.url import did_you_mean

from .codec import Codec
from .codec.form import Encode, Mismatch

E = TypeVar("E")
_LONGEST_NAME = 256
_HIGHEST_VERSION = (1 << 31) - 1

_classes: WeakValueDictionary[str, type] = WeakValueDictionary()


@frozen(eq=False)
class EventSpec:
    """What is known of an event class.

    name: the CloudEvents type of its events. key: the field that orders them; None: no order. version: of the class's
    fields. frozen: an instance and all it holds can't change, so it can be handed over by reference; one that is not
    frozen is copied by encoding and decoding it. codec: its way to JSON and back.
    """

    name: str
    key: str | None
    version: int
    cls: type
    frozen: bool
    codec: Codec[Any] = attrs.field(repr=False)
    _encode_key: Encode | None = attrs.field(repr=False)

    def key_of(self, event: object) -> str | None:
        """The event's key: its key field's JSON as text; None when that is None. Raises CorruptMessage."""
        if self.key is None or self._encode_key is None:
            return None
        value = getattr(event, self.key)
        if value is None:
            return None
        try:
            return str(self._encode_key(value))
        except Mismatch as error:
            raise CorruptMessage(f"event {self.name!r} has no key: {self.key}: {error}") from None


@dataclass_transform(frozen_default=True, field_specifiers=(attrs.field, dataclasses.field))
def event(name: str, /, *, key: str | None = None, version: int = 1) -> Callable[[type[E]], type[E]]:
    """Make a class an event type of this name.

    name: the CloudEvents type; each class has its own. An attrs class or a dataclass is left as it is; a plain class
    with annotations becomes `attrs.frozen`, which is a new class. key: the field that orders the events: those with the
    same value are handled one after the other; a str, int, UUID, Enum or date. version: raise it when a consumer of the
    old class must not read the new events.

    Raises ConfigurationError when the name is taken or malformed, `key` is no such field, or a field has no JSON form.
    """
    _check_name(name)
    _check_version(version)

    def decorate(cls: type[E]) -> type[E]:
        frame = sys._getframe(1)
        cls = _with_fields(cls)
        _check_free(name, cls)
        codec = Codec.of(cls, names=_names_at(frame, cls.__module__), name=f"event {name!r} ({cls.__name__})")
        encode_key = _encoder_of_key(cls, codec, key) if key is not None else None
        cls.__event__ = EventSpec(name, key, version, cls, codec.immutable, codec, encode_key)  # type: ignore[attr-defined]  # set on any class
        _classes[name] = cls
        return cls

    return decorate


# -- look-ups


def spec_of(event: object) -> EventSpec:
    """The spec of an event's class. Raises UnknownEvent, which says what to do."""
    cls = type(event)
    try:
        spec: EventSpec = cls.__event__  # type: ignore[attr-defined]  # only events have it
        if spec.cls is cls:
            return spec
    except AttributeError:
        pass
    raise _unknown(event)


def spec_of_class(cls: type) -> EventSpec:
    """The spec of an event class. Raises UnknownEvent for any other."""
    spec = vars(cls).get("__event__") if isinstance(cls, type) else None
    if isinstance(spec, EventSpec) and spec.cls is cls:
        return spec
    raise UnknownEvent(_why_unknown(cls) if isinstance(cls, type) else f"{_shown(cls)} is no event class")


def spec_named(name: str) -> EventSpec:
    """The spec of the event class of this name. Raises UnknownEvent, naming the nearest."""
    cls = _classes.get(name)
    if cls is None:
        raise UnknownEvent(f"no event class is named {escape(name, 100)!r}{did_you_mean(name[:256], _classes.keys())}")
    return spec_of_class(cls)


def _unknown(event: object) -> UnknownEvent:
    if isinstance(event, type):
        if "__event__" in vars(event):
            return UnknownEvent(f"{event.__name__} is an event class, not an event; dispatch {event.__name__}(...)")
        return UnknownEvent(f"{event.__name__} is a class, not an event; dispatch an instance of an @event class")
    return UnknownEvent(_why_unknown(type(event)))


def _why_unknown(cls: type) -> str:
    spec = getattr(cls, "__event__", None)
    if not isinstance(spec, EventSpec):
        return f'{cls.__qualname__} is no event; put @event("some.name") above the class'
    if "__event__" in vars(cls):
        return f"{cls.__qualname__} was made anew after @event; put @event above all other decorators"
    return (
        f"{cls.__qualname__} is no event, only {spec.cls.__qualname__}, which it inherits from; "
        f'put @event("some.name") above {cls.__qualname__} too'
    )


# -- checks


def _check_name(name: object) -> None:
    if isinstance(name, type):
        raise ConfigurationError(
            f'@event needs a name: write @event("{name.__name__.lower()}") above class {name.__name__}'
        )
    if not isinstance(name, str):
        raise ConfigurationError(f"an event's name is a string, not {_shown(name)}")
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise ConfigurationError(
            f"the event name {escape(name, 100)!r} is not 1 to {_LONGEST_NAME} printable characters"
        )
    if "*" in name:
        raise ConfigurationError(f"the event name {name!r} is a pattern; patterns are for handlers: on({name!r})")
    if name == CORRUPT_TYPE:
        raise ConfigurationError(f"{name!r} is the type of bytes that could not be decoded; choose another name")


def _check_version(version: object) -> None:
    if type(version) is not int or not 1 <= version <= _HIGHEST_VERSION:
        raise ConfigurationError(f"@event(version={version!r}): a version is an integer from 1 up")


def _check_free(name: str, cls: type) -> None:
    """A name belongs to one class. The same class read again, as by a reload, takes its own place."""
    spec = vars(cls).get("__event__")
    if isinstance(spec, EventSpec) and spec.cls is cls:
        raise ConfigurationError(f"{cls.__qualname__} is the event {spec.name!r} already; a class has one name")
    if _taken_by_another(name, cls):
        gc.collect()  # classes are cyclic: one that nobody uses any more may still be there
    if other := _taken_by_another(name, cls):
        raise ConfigurationError(
            f"two classes are named {name!r}: {_place(other)} and {_place(cls)}; choose another name for one of them"
        )


def _taken_by_another(name: str, cls: type) -> type | None:
    other = _classes.get(name)
    return other if other is not None and _place(other) != _place(cls) else None


def _place(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _encoder_of_key(cls: type, codec: Codec[Any], key: str) -> Encode:
    fields = codec.fields
    if key not in fields:
        hint = did_you_mean(str(key), fields) or f"; it has {', '.join(fields) or 'none'}"
        raise ConfigurationError(f"@event(key={key!r}): {cls.__qualname__} has no such field{hint}")
    form = codec.key_form(key)
    if form is None:
        raise ConfigurationError(
            f"@event(key={key!r}): the type of {cls.__qualname__}.{key} can't be a key; "
            "a key is a str, int, UUID, Enum or date"
        )
    return form.encode


# -- classes


def _with_fields(cls: type[E]) -> type[E]:
    """The class itself, or, when it is a plain one, an `attrs.frozen` of it."""
    if not isinstance(cls, type):
        raise ConfigurationError(f"@event is for classes, not for {_shown(cls)}")
    if "__attrs_attrs__" in vars(cls) or "__dataclass_fields__" in vars(cls):
        return cls
    _check_plain(cls)
    try:
        return attrs.frozen(cls)
    except (ValueError, TypeError, attrs.exceptions.UnannotatedAttributeError) as error:
        raise ConfigurationError(f"{cls.__qualname__} can't become an attrs class: {error}") from None


def _check_plain(cls: type) -> None:
    """Raise ConfigurationError for a plain class that attrs would turn into something other than it looks like."""
    where = cls.__qualname__
    if issubclass(cls, (tuple, Enum)) or _constructor_of(cls) is not None:
        raise ConfigurationError(
            f"{where} has a constructor of its own, from {_constructor_of(cls) or cls.__mro__[1].__name__}; "
            "annotate its fields instead, or make it an attrs class or a dataclass"
        )
    if dataclasses.is_dataclass(cls):
        raise ConfigurationError(f"{where} inherits from a dataclass; put @dataclass between @event and the class")
    for name in inspect.get_annotations(cls):
        default = vars(cls).get(name)
        if isinstance(default, dataclasses.Field):
            raise ConfigurationError(f"{where}.{name}: write attrs.field, or put @dataclass(frozen=True) below @event")
        if isinstance(default, (list, dict, set)):
            raise ConfigurationError(
                f"{where}.{name}: all events would share this default; "
                f"write attrs.field(factory={type(default).__name__})"
            )


def _constructor_of(cls: type) -> str | None:
    """The class that brings an `__init__` or `__new__` that neither attrs nor dataclasses made."""
    for base in cls.__mro__[:-1]:
        made = "__attrs_attrs__" in vars(base) or "__dataclass_fields__" in vars(base)
        if not made and base.__module__ != "typing" and {"__init__", "__new__"} & vars(base).keys():
            return base.__qualname__
    return None


def _names_at(frame: FrameType, module: str) -> dict[str, Any]:
    """What annotations may name at this place of the module: the names inside a function or a class body too."""
    if frame.f_globals.get("__name__") != module:
        return {}
    names = dict(frame.f_globals)  # of code run by exec they are not the module's
    local: dict[str, Any] = {}
    current: FrameType | None = frame
    while current is not None and current.f_code.co_name != "<module>":
        local = {**current.f_locals, **local}
        if current.f_code.co_flags & inspect.CO_OPTIMIZED:
            break
        current = current.f_back  # a class body runs inside the function around it
    return names | local


def _shown(value: object) -> str:
    return f"a {type(value).__name__}"
