"""From a type to its form: the one place that says which types have one."""

from __future__ import annotations

import enum
import types
from collections import abc
from collections.abc import Callable
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from attrs import define, field

from queues.errors import ConfigurationError

from .choices import choice_form, enum_form
from .containers import array_form, key_form, mapping_form, tuple_form
from .form import Form
from .raw import RAW
from .records import Part, check_constructor, record_form, typed_dict_form
from .scalars import SCALARS
from .types import (
    Declarations,
    Field,
    is_frozen,
    is_named_tuple,
    is_record,
    is_typed_dict,
    show,
    unwrapped,
)
from .unions import Ambiguous, tagged_form, union_form

_LISTS = {list, abc.Sequence, abc.MutableSequence}
_SETS: dict[Any, tuple[tuple[type, ...], Callable[[list[Any]], Any], bool]] = {
    set: ((set,), set, False),
    abc.MutableSet: ((set,), set, False),
    abc.Set: ((set, frozenset), frozenset, False),
    frozenset: ((frozenset,), frozenset, True),
}
_MAPPINGS: dict[Any, tuple[type, ...]] = {dict: (dict,), abc.Mapping: (abc.Mapping,), abc.MutableMapping: (dict,)}
_ADVICE = {
    "Path": "str",
    "PurePath": "str",
    "complex": "tuple[float, float]",
    "bytearray": "bytes",
    "memoryview": "bytes",
    "deque": "list",
    "Iterable": "list or tuple",
    "Collection": "list or tuple",
    "Counter": "dict[str, int]",
    "defaultdict": "dict",
    "OrderedDict": "dict",
    "Fraction": "Decimal, or str",
    "tzinfo": "str",
    "ZoneInfo": "str",
    "SimpleNamespace": "an attrs class or a dataclass",
}


class NoForm(Exception):
    """A type without a JSON form; the text says why, and what to use."""


@define(eq=False)
class Compiler:
    """Makes forms; with `generate` for speed, without so that a failure knows its field."""

    declarations: Declarations
    generate: bool
    _records: dict[Any, _Recursive] = field(factory=dict, init=False)

    def form(self, tp: Any) -> Form:
        """The form of a type. Raises NoForm; ConfigurationError when a class inside it has a field without one."""
        tp = unwrapped(tp)
        origin: Any = get_origin(tp) or tp
        if tp is Any or tp is object:
            return RAW
        if isinstance(origin, abc.Hashable) and origin in SCALARS:
            return SCALARS[origin]
        if origin is Union or origin is types.UnionType:
            return self._union(tp)
        if origin is tuple or origin in _LISTS or origin in _SETS or origin in _MAPPINGS:
            return self._container(tp, origin)
        return self._declared(tp, origin)

    def _declared(self, tp: Any, origin: Any) -> Form:
        if origin is Literal:
            return _literal(get_args(tp))
        if isinstance(origin, type) and issubclass(origin, enum.Enum):
            return _enum(origin)
        if is_record(origin) or is_typed_dict(origin):
            return self._record(tp, origin)
        raise NoForm(_without_form(tp))

    # -- containers

    def _container(self, tp: Any, origin: Any) -> Form:
        arguments = get_args(tp)
        if origin is tuple:
            return self._tuple(tp)
        if origin in _MAPPINGS:
            key, item = arguments or (str, Any)
            keys = key_form(self.form(key))
            if keys is None:
                raise NoForm(
                    f"the keys of {show(tp)} are no strings in JSON; use str, int, UUID, an Enum or a date as keys"
                )
            return mapping_form(keys, self.form(item), kinds=_MAPPINGS[origin])
        item_form = self.form(arguments[0] if arguments else Any)
        if origin in _LISTS:
            return array_form(item_form, kinds=(list, tuple) if origin is abc.Sequence else (list,), make=None)
        if not item_form.immutable:
            raise NoForm(f"the items of {show(tp)} can't be hashed once decoded; use list, or a frozen class as items")
        kinds, make, immutable = _SETS[origin]
        return array_form(item_form, kinds=kinds, make=make, immutable=immutable)

    def _tuple(self, tp: Any) -> Form:
        arguments = get_args(tp)
        if not arguments and not hasattr(tp, "__args__"):  # tuple[()] has some
            arguments = (Any, ...)
        if len(arguments) == 2 and arguments[1] is ...:
            return array_form(self.form(arguments[0]), kinds=(tuple,), make=tuple, immutable=True)
        return tuple_form(tuple(self.form(each) for each in arguments))

    # -- unions

    def _union(self, tp: Any) -> Form:
        members = _flattened(tp)
        if any(unwrapped(member) in (Any, object) for member in members):
            return RAW
        literals = [value for member in members if get_origin(member) is Literal for value in get_args(member)]
        records = [member for member in members if is_record(get_origin(member) or member)]
        forms = [self.form(m) for m in members if get_origin(m) is not Literal and (m not in records)]
        if literals:
            forms.append(_literal(tuple(literals)))
        if records:
            forms.append(self._one_of(records) if len(records) > 1 else self.form(records[0]))
        try:
            return union_form(forms)
        except Ambiguous as error:
            raise NoForm(f"{show(tp)} can't be told apart: {error}; use one of them, or a field for each") from None

    def _one_of(self, records: list[Any]) -> Form:
        classes = [get_origin(record) or record for record in records]
        tags = [self._words(record) for record in records]
        for name in tags[0] if len(set(classes)) == len(classes) else ():
            words = [word for tag in tags for word in tag.get(name, ())]
            if all(name in tag for tag in tags) and len(set(words)) == len(words):
                return tagged_form(
                    name,
                    {word: self.form(record) for record, tag in zip(records, tags, strict=True) for word in tag[name]},
                )
        names = " and ".join(show(record) for record in records)
        example = classes[0].__name__.lower()
        raise NoForm(
            f"{names} can't be told apart in JSON; give each a field that names it, with a value of its own, "
            f'such as kind: Literal["{example}"] = "{example}"'
        )

    def _words(self, record: Any) -> dict[str, tuple[str, ...]]:
        """The fields that hold one of a few words, with those words."""
        return {
            each.name: get_args(unwrapped(each.type))
            for each in self.declarations.fields(record)
            if get_origin(unwrapped(each.type)) is Literal
            and all(type(word) is str for word in get_args(unwrapped(each.type)))
        }

    # -- classes

    def _record(self, tp: Any, cls: type) -> Form:
        if tp in self._records:
            return self._records[tp].form
        later = self._records[tp] = _Recursive(cls)
        parts = [Part(each, self._field(cls, each)) for each in self.declarations.fields(tp) if each.init]
        if is_typed_dict(cls):
            form = typed_dict_form(cls, parts)
        else:
            if not is_named_tuple(cls):
                check_constructor(cls, [part.field for part in parts])
            form = record_form(cls, parts, immutable=is_frozen(cls), generate=self.generate)
        later.form, later.made = form, form
        return form

    def _field(self, cls: type, each: Field) -> Form:
        if each.type is None:
            raise ConfigurationError(f"{cls.__qualname__}.{each.name} has no type; annotate it, for instance with str")
        try:
            return self.form(each.type)
        except NoForm as error:
            raise ConfigurationError(f"{cls.__qualname__}.{each.name}: {error}") from None


class _Recursive:
    """A class inside itself: until its form is made, a form that looks for it when it is used."""

    def __init__(self, record: type) -> None:
        self.made: Form | None = None
        self.form = Form(
            expected=record.__name__,
            encode=self._encode,
            decode=self._decode,
            json=(dict,),
            python=(dict if is_typed_dict(record) else record,),
            immutable=not is_typed_dict(record) and is_frozen(record),
            bounded=False,
        )

    def _encode(self, value: Any) -> Any:
        assert self.made is not None
        return self.made.encode(value)

    def _decode(self, value: Any, _type: object = None) -> Any:
        assert self.made is not None
        return self.made.decode(value)


def _flattened(tp: Any) -> list[Any]:
    """The members of a union, those of unions behind a name included, each once."""
    members: list[Any] = []
    for member in map(unwrapped, get_args(tp)):
        inner = _flattened(member) if get_origin(member) in (Union, types.UnionType) else [member]
        members += [each for each in inner if each not in members]
    return members


def _literal(values: tuple[Any, ...]) -> Form:
    pairs = [(value, value.value if isinstance(value, enum.Enum) else value) for value in values]
    for value, plain in pairs:
        if plain is not None and type(plain) not in (str, int, bool):
            raise NoForm(f"{value!r} in a Literal has no JSON form; use str, int, bool or None in it")
    return choice_form(pairs)


def _enum(kind: type[enum.Enum]) -> Form:
    for member in kind:
        if type(member.value) not in (str, int, float, bool):
            raise NoForm(
                f"{kind.__name__}.{member.name} has the value {member.value!r}, which is no JSON string or number; "
                "use str or int as values"
            )
    if not list(kind):
        raise NoForm(f"{kind.__name__} has no members")
    return enum_form(kind)


def _without_form(tp: Any) -> str:
    name = show(tp)
    if isinstance(tp, TypeVar):
        return f"{name} is not bound to a type; write the class with its arguments, such as Page[Item]"
    if isinstance(tp, str):
        return f"{tp!r} is not resolved; give the type itself"
    if advice := _ADVICE.get(getattr(get_origin(tp) or tp, "__name__", "")):
        return f"{name} has no JSON form; use {advice}"
    if isinstance(tp, type) and tp.__module__ not in {"builtins", "typing", "collections", "datetime"}:
        return f"{name} has no JSON form; make it an attrs class or a dataclass, or use one of the types that have one"
    return (
        f"{name} has no JSON form; use str, int, float, bool, bytes, datetime, date, Decimal, UUID, an Enum, list, "
        "tuple, set, dict, Any for raw JSON, an attrs class or a dataclass"
    )
