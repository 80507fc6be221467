"""What a class declares: its fields, with annotations turned into types."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, NewType, NotRequired, Required, TypeVar, get_args, get_origin, get_type_hints

import attrs
from attrs import frozen

from queues.errors import ConfigurationError

_FROZEN_SETATTR = attrs.make_class("_Frozen", (), frozen=True).__setattr__
_QUALIFIERS = (Annotated, Final, Required, NotRequired, getattr(typing, "ReadOnly", Required))


@frozen
class Field:
    """A field of a record. argument: its name in the constructor; init: the constructor takes it."""

    name: str
    argument: str
    type: Any
    required: bool
    kw_only: bool = False
    init: bool = True


class Declarations:
    """The fields of classes, each class read once.

    names: what the place of decoration knows beside its module: classes defined inside a function. They are
    forgotten by `seal()`, when everything has been read.
    """

    def __init__(self, names: Mapping[str, Any], module: str) -> None:
        self._names = dict(names)
        self._module = module
        self._known: dict[Any, tuple[Field, ...]] = {}

    def seal(self) -> None:
        self._names = {}

    def fields(self, record: Any) -> tuple[Field, ...]:
        """The fields of a class or of a generic one with its arguments. Raises ConfigurationError."""
        if record not in self._known:
            cls = get_origin(record) or record
            parameters = type_arguments(record)
            self._known[record] = tuple(
                attrs.evolve(each, type=substitute(each.type, parameters)) for each in self._declared(cls)
            )
        return self._known[record]

    def _declared(self, cls: Any) -> list[Field]:
        if "__attrs_attrs__" in vars(cls):
            members = {each.name: each for each in attrs.fields(cls)}
            return [_attrs_field(members[name], tp) for name, tp in self._types(cls, members).items()]
        if "__dataclass_fields__" in vars(cls):
            entries = {each.name: each for each in dataclasses.fields(cls)}
            return [_dataclass_field(entries[name], tp) for name, tp in self._types(cls, entries).items()]
        if is_typed_dict(cls):
            types = self._types(cls, cls.__annotations__)
            return [Field(name, name, tp, _is_required(cls, name, tp)) for name, tp in types.items()]
        return [Field(n, n, tp, n not in cls._field_defaults) for n, tp in self._types(cls, cls._fields).items()]

    def _types(self, cls: type, fields: Iterable[str]) -> dict[str, Any]:
        """Like typing.get_type_hints, with the names of the place of decoration for classes of its module."""
        found: dict[str, Any] = {}
        for name in fields:
            for base in cls.__mro__:
                own = inspect.get_annotations(base)
                if name in own:
                    found[name] = _resolve(cls, name, own[name], dict(vars(base)), self._names_in(base))
                    break
            else:
                found[name] = None
        return found

    def _names_in(self, cls: type) -> dict[str, Any]:
        module = vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {}
        local = self._names if cls.__module__ == self._module else {}
        variables = {each.__name__: each for each in getattr(cls, "__type_params__", ())}
        return {**module, **local, **variables, cls.__name__: cls}


def _resolve(cls: type, name: str, annotation: Any, outer: dict[str, Any], names: dict[str, Any]) -> Any:
    try:
        holder = type("holder", (), {"__annotations__": {name: annotation}})
        return get_type_hints(holder, outer, names, include_extras=True)[name]
    except NameError as error:
        raise ConfigurationError(
            f"{cls.__qualname__}.{name}: the annotation {annotation!r} names {error.name!r}, which is not known here; "
            f"define or import it above {cls.__qualname__}, outside of `if TYPE_CHECKING`"
        ) from None
    except Exception as error:  # noqa: BLE001 (an annotation may be any expression)
        raise ConfigurationError(
            f"{cls.__qualname__}.{name}: the annotation {annotation!r} is no type: {type(error).__name__}: {error}"
        ) from None


def _attrs_field(each: attrs.Attribute[Any], tp: Any) -> Field:
    return Field(
        name=each.name,
        argument=each.alias or each.name.lstrip("_"),
        type=tp if tp is not None else each.type,
        required=each.default is attrs.NOTHING,
        kw_only=each.kw_only,
        init=each.init,
    )


def _dataclass_field(each: dataclasses.Field[Any], tp: Any) -> Field:
    return Field(
        name=each.name,
        argument=each.name,
        type=tp if tp is not None else each.type,
        required=each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING,
        kw_only=each.kw_only is True,
        init=each.init,
    )


def _is_required(cls: Any, name: str, hint: Any) -> bool:
    """`__required_keys__` can't see into annotations that were strings."""
    while (origin := get_origin(hint)) in _QUALIFIERS:
        if origin is Required or origin is NotRequired:
            return bool(origin is Required)
        hint = get_args(hint)[0]
    return name in cls.__required_keys__


# -- looking at types


def unwrapped(tp: Any) -> Any:
    """Without NewType, Annotated, Final, Required, aliases; a type variable as its bound."""
    while True:
        if get_origin(tp) in _QUALIFIERS:
            tp = get_args(tp)[0]
        elif isinstance(tp, NewType):
            tp = tp.__supertype__
        elif type(tp).__name__ == "TypeAliasType":
            tp = tp.__value__
        elif isinstance(tp, TypeVar) and tp.__bound__ is not None:
            tp = tp.__bound__
        else:
            return tp


def is_named_tuple(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, tuple) and hasattr(cls, "_fields")


def is_typed_dict(cls: Any) -> bool:
    """typing's or typing_extensions'."""
    return isinstance(cls, type) and issubclass(cls, dict) and "__required_keys__" in vars(cls)


def is_record(cls: Any) -> bool:
    """An attrs class, a dataclass or a NamedTuple: decorated itself, not only one of its bases."""
    if not isinstance(cls, type):
        return False
    return "__attrs_attrs__" in vars(cls) or "__dataclass_fields__" in vars(cls) or is_named_tuple(cls)


def is_frozen(cls: type) -> bool:
    """Its instances don't change (what they hold may)."""
    if "__dataclass_fields__" in vars(cls):
        return bool(vars(cls)["__dataclass_params__"].frozen)
    return is_named_tuple(cls) or cls.__setattr__ is _FROZEN_SETATTR


def type_arguments(record: Any) -> dict[Any, Any]:
    """Which type each variable of a generic class and its bases stands for."""
    cls = get_origin(record) or record
    known = dict(zip(getattr(cls, "__parameters__", ()), get_args(record), strict=False))
    for base in getattr(cls, "__orig_bases__", ()):
        origin = get_origin(base)
        if origin is None or origin in {typing.Generic, typing.Protocol}:
            continue
        inherited = type_arguments(base)
        known = {**{var: substitute(tp, known) for var, tp in inherited.items()}, **known}
    return known


def substitute(tp: Any, known: Mapping[Any, Any]) -> Any:
    if isinstance(tp, TypeVar):
        return known.get(tp, tp)
    parameters = getattr(tp, "__parameters__", ())
    if not parameters or isinstance(tp, type) or not any(var in known for var in parameters):
        return tp
    return tp[tuple(known.get(var, var) for var in parameters)]


def show(tp: Any) -> str:
    """A type as one writes it."""
    if isinstance(tp, type) and not get_args(tp):
        return tp.__qualname__
    return str(tp).replace("typing.", "")
