"""Forms of classes with fields: attrs classes, dataclasses, NamedTuples and TypedDicts as JSON objects."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
from attrs import frozen
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn_from_attrs, make_dict_unstructure_fn_from_attrs, override

from queues.errors import ConfigurationError, escape

from .form import QUOTED, Decode, Encode, Form, Mismatch, mismatch, name_of
from .types import Field

_CONVERTER = Converter(detailed_validation=False)
_TAKEN = {"attrs", "cl", "converter", "typevar_map"}
"""Field names that would be parameters of the generator."""


@frozen(eq=False)
class Part:
    """A field and the form of its type."""

    field: Field
    form: Form


def record_form(cls: type, parts: Sequence[Part], *, immutable: bool, generate: bool) -> Form:
    """The form of a class whose constructor takes these fields.

    With `generate`, cattrs writes the code, which is three times as fast; without, a failure knows its field.
    """
    if generate and not _TAKEN & {part.field.name for part in parts}:
        encode, decode = _generated(cls, parts)
    else:
        encode, decode = _attributes_to_object(parts), _object_to_instance(cls, parts)
    expected = cls.__name__

    def encode_record(value: Any) -> Any:
        if type(value) is cls:
            return encode(value)
        raise Mismatch(f"expected {expected}, got {name_of(value)}")

    def decode_record(value: Any, _type: object = None) -> Any:
        if type(value) is dict:
            return decode(value)
        raise mismatch(f"an object ({expected})", value)

    return Form(
        expected=expected,
        encode=encode_record,
        decode=decode_record,
        json=(dict,),
        python=(cls,),
        immutable=immutable and all(part.form.immutable for part in parts),
        bounded=all(part.form.bounded for part in parts),
    )


def check_constructor(cls: type, fields: Sequence[Field]) -> None:
    """Raise ConfigurationError unless the constructor takes the fields as attrs or dataclasses would have it."""
    try:
        signature = inspect.signature(cls)
        given = signature.bind(
            *(field.argument for field in fields if _is_positional(field)),
            **{field.argument: field.argument for field in fields if not _is_positional(field)},
        )
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{cls.__qualname__}(...) can't be called with its fields: {error}") from None
    misplaced = [name for name, value in given.arguments.items() if isinstance(value, str) and name != value]
    if misplaced:
        raise ConfigurationError(f"{cls.__qualname__}.__init__ takes {misplaced[0]!r} in another place than its field")


def _is_positional(field: Field) -> bool:
    return field.required and not field.kw_only


# -- generated


def _generated(cls: type, parts: Sequence[Part]) -> tuple[Encode, Decode]:
    attributes = [_attribute(part.field) for part in parts]
    variables = {var.__name__: object for var in getattr(cls, "__parameters__", ())}
    encoders: dict[str, Any] = {part.field.name: override(unstruct_hook=part.form.encode) for part in parts}
    decoders: dict[str, Any] = {part.field.name: override(struct_hook=part.form.decode) for part in parts}
    unstructure: Encode = make_dict_unstructure_fn_from_attrs(
        attributes, cls, _CONVERTER, _cattrs_use_linecache=False, _cattrs_use_alias=False, **encoders
    )
    structure: Decode = make_dict_structure_fn_from_attrs(
        attributes, cls, _CONVERTER, variables, _cattrs_use_linecache=False, _cattrs_use_alias=False,
        _cattrs_forbid_extra_keys=False, _cattrs_detailed_validation=False, **decoders,
    )  # fmt: skip
    return unstructure, structure


def _attribute(field: Field) -> attrs.Attribute[Any]:
    """The field as an attrs field; only whether it has a default counts, the constructor fills it in."""
    default = attrs.NOTHING if field.required else None
    stand_in = attrs.make_class(
        "Field", {field.name: attrs.field(default=default, alias=field.argument, kw_only=field.kw_only)}
    )
    declared: tuple[attrs.Attribute[Any], ...] = attrs.fields(stand_in)
    return declared[0]


# -- field by field


def _attributes_to_object(parts: Sequence[Part]) -> Encode:
    def encode(value: Any) -> dict[str, Any]:
        result = {}
        for part in parts:
            name = part.field.name
            try:
                result[name] = part.form.encode(getattr(value, name))
            except Mismatch as error:
                raise error.inside_field(name) from None
        return result

    return encode


def _object_to_instance(cls: type, parts: Sequence[Part]) -> Decode:
    decoders = [(part.field, part.form.decode) for part in parts]

    def decode(value: Any, _type: object = None) -> Any:
        arguments = {field.argument: item for field, item in _present(value, decoders)}
        try:
            return cls(**arguments)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 (a constructor runs the user's validators)
            raise Mismatch(f"{cls.__name__} refused it: {brief(error)}") from None

    return decode


def _present(
    value: dict[str, Any], converters: Sequence[tuple[Field, Callable[[Any], Any]]]
) -> Iterator[tuple[Field, Any]]:
    """Each field that is there, converted. Others are left alone: a newer producer may know more than we."""
    for field, convert in converters:
        if field.name in value:
            try:
                item = convert(value[field.name])
            except Mismatch as error:
                raise error.inside_field(field.name) from None
            yield field, item
        elif field.required:
            raise Mismatch("missing, and it has no default").inside_field(field.name)


def brief(error: Exception) -> str:
    """An error of somebody's code: its type, and a line of its text, which may quote a payload."""
    try:
        text = str(error.args[0]) if error.args else ""
    except Exception:  # noqa: BLE001 (somebody's __str__)
        text = ""
    return f"{type(error).__name__}: {escape(text, QUOTED)}" if text else type(error).__name__


# -- TypedDict


def typed_dict_form(cls: type, parts: Sequence[Part]) -> Form:
    """A dict with known keys. On the way out a key it does not declare is refused, on the way in it is left out."""
    known = {part.field.name for part in parts}
    encoders = [(part.field, part.form.encode) for part in parts]
    decoders = [(part.field, part.form.decode) for part in parts]

    def encode(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Mismatch(f"expected a dict ({cls.__name__}), got {name_of(value)}")
        for key in value:
            if key not in known:
                raise Mismatch(f"{cls.__name__} declares no such key").inside_key(key)
        return {field.name: item for field, item in _present(value, encoders)}

    def decode(value: Any, _type: object = None) -> dict[str, Any]:
        if type(value) is not dict:
            raise mismatch(f"an object ({cls.__name__})", value)
        return {field.name: item for field, item in _present(value, decoders)}

    return Form(
        expected=cls.__name__,
        encode=encode,
        decode=decode,
        json=(dict,),
        python=(dict,),
        immutable=False,
        bounded=all(part.form.bounded for part in parts),
    )
