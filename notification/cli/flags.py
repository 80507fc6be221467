"""Flags made from an attrs class: a backend says which options it has, and the command only shows them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from enum import Enum, StrEnum
from types import NoneType
from typing import Annotated, Any, Literal, cast, get_args, get_origin

import attrs
import typer

from queues.url import Seconds, seconds_of


def with_flags(command: Callable[..., None], options: type, usual: Mapping[str, Any]) -> Callable[..., None]:
    """The command with a flag for each field of `options`, in place of its parameter `options`, which gets an instance.

    A field's `metadata={"help": …}` is the flag's help. usual: values by name that count where a flag is not given,
    more than the field's default. Of a field without either the flag has to be given.
    """
    fields = attrs.fields(attrs.resolve_types(options))

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        chosen = {field.name: _plain(given.pop(field.name)) for field in fields}
        command(options=options(**chosen), **given)

    own = inspect.signature(command, eval_str=True).parameters.values()
    flags = [_flag(field, usual.get(field.name, _default(field))) for field in fields]
    parameters = [*(one for one in own if one.name != "options"), *flags]
    cast(Any, with_options).__signature__ = inspect.Signature(parameters)
    return with_options


def _flag(field: attrs.Attribute[Any], default: Any) -> inspect.Parameter:
    name = f"--{field.name.replace('_', '-')}"
    words: dict[str, Any] = {"envvar": f"NOTIFICATION_{field.name.upper()}", "help": field.metadata.get("help")}
    kinds = [kind for kind in get_args(field.type) if kind is not NoneType]
    kind: Any = kinds[0] if kinds and get_origin(field.type) is not Literal else field.type
    if get_origin(kind) is Literal:
        kind = cast(Any, StrEnum)(field.name, {choice: choice for choice in get_args(kind)})
    elif kind is Seconds:
        words |= {"parser": lambda text: Seconds(seconds_of(str(text), f"{name} {text}")), "metavar": "DURATION"}
        words["show_default"] = f"{default:g}s" if isinstance(default, float) else True
    names = f"{name}/--no{name[1:]}" if default is True else name
    kind = kind if default is not None else kind | None
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, typer.Option(names, **words)],
    )


def _default(field: attrs.Attribute[Any]) -> Any:
    """Parameter.empty: there is none."""
    default: Any = field.default
    if default is attrs.NOTHING:
        return inspect.Parameter.empty
    return default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]  # a class, though attrs' stub has a function


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value
