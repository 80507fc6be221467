"""The public names, their signatures and docstrings: what may not change by accident.

After a change that is meant: `python -m tests.test_public_names` writes the pages in tests/public_names anew; read the
diff, and tell of it in CHANGELOG.md.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest

PAGES = Path(__file__).resolve().parent / "public_names"
MODULES = ("notification", "notification.testing")
RENEW = "if this is meant: python -m tests.test_public_names"
OURS = ("notification", "queues", "workers")
SHOWN_ANYWAY = {"__call__", "__aenter__", "__enter__"}


class Raw:
    """An annotation as it is written."""

    def __init__(self, text: object) -> None:
        self.text = text if isinstance(text, str) else inspect.formatannotation(text)

    def __repr__(self) -> str:
        return self.text


def signature(of: Any, indent: str = "") -> str:
    """As it is written, without `self`; a long one with a line for each parameter, so that a diff names it."""
    found = inspect.signature(of)
    empty = inspect.Signature.empty
    given = [one for one in found.parameters.values() if one.name not in {"self", "cls"}]
    parameters = [one if one.annotation is empty else one.replace(annotation=Raw(one.annotation)) for one in given]
    text = str(inspect.Signature(parameters))
    result = "" if found.return_annotation is empty else f" -> {Raw(found.return_annotation)}"
    if len(text) > 80:
        parts = [str(one) for one in parameters]
        kinds = [one.kind for one in parameters]
        if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
            parts.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
        if positional := kinds.count(inspect.Parameter.POSITIONAL_ONLY):
            parts.insert(positional, "/")
        text = "".join(["(", *(f"\n{indent}    {part}," for part in parts), f"\n{indent})"])
    return re.sub(r"<([\w.]+?)(?: object)? at 0x[0-9a-f]+>", r"<\1>", text + result)


def names(module: ModuleType) -> list[str]:
    return sorted(getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")])


def public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name in names(module):
        found = getattr(module, name)
        if isinstance(found, ModuleType):
            yield from ((f"{name}.{inner}", one) for inner, one in public(found) if is_ours(one, found))
        else:
            yield name, found


def is_ours(found: Any, module: ModuleType) -> bool:
    """Made in this module, not imported into it."""
    return getattr(found, "__module__", None) == module.__name__


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """The public members that this class has of its own, or from a base class that is not public."""
    seen = {"mro"}
    for base in cls.__mro__:
        if not base.__module__.startswith(OURS) or (base is not cls and base.__name__ in PUBLIC_CLASSES):
            continue
        own = {**vars(base), **dict.fromkeys(set_in_constructor(base))}
        for name in sorted(own):
            if name not in seen and (name in SHOWN_ANYWAY or not name.startswith("_")):
                seen.add(name)
                yield name, own[name]


def set_in_constructor(cls: type) -> list[str]:
    """Attributes that only `__init__` knows."""
    if "__init__" not in vars(cls) or attrs.has(cls):
        return []
    return re.findall(r"^\s+self\.([a-z]\w*)(?:: [^=]+)? = ", inspect.getsource(cls.__init__), flags=re.MULTILINE)  # type: ignore[misc]  # of a class, not of an instance


PUBLIC_CLASSES = {
    name for module in MODULES for name, found in public(importlib.import_module(module)) if inspect.isclass(found)
}


def function_line(name: str, function: Any, indent: str = "") -> str:
    kind = "async def" if inspect.iscoroutinefunction(function) else "def"
    return f"{kind} {name}{signature(function, indent)}"


def member_line(cls: type, name: str, found: Any) -> str:
    if isinstance(found, property):
        assert found.fget is not None
        return f"{name}: {inspect.get_annotations(found.fget).get('return')}  (read only)"
    if isinstance(found, classmethod | staticmethod):
        return f"{type(found).__name__} {function_line(name, found.__func__, '    ')}"
    if inspect.isfunction(found):
        return function_line(name, found, "    ")
    if issubclass(cls, enum.Enum):
        return name
    return f"{name}: {annotation_of(cls, name)}".removesuffix(": None")


def annotation_of(cls: type, name: str) -> object:
    return next(
        (vars(base)["__annotations__"][name] for base in cls.__mro__ if name in vars(base).get("__annotations__", {})),
        None,
    )


def is_protocol(cls: type) -> bool:
    return bool(getattr(cls, "_is_protocol", False))


def is_made_by_users(cls: type) -> bool:
    return (
        "__init__" in vars(cls)
        and not issubclass(cls, enum.Enum)
        and cls.__name__ not in MADE_BY_US
        and not is_protocol(cls)
    )


def entry(name: str, found: Any) -> Iterator[str]:
    if inspect.isclass(found):
        bases = ", ".join(base.__name__ for base in found.__bases__ if base is not object)
        yield f"class {name}{f'({bases})' if bases else ''}"
        if is_made_by_users(found):
            yield f"    {found.__name__}{signature(found, '    ')}"
        given = set(inspect.signature(found).parameters) if attrs.has(found) else set()
        for member, value in members(found):
            if member not in given:  # a field: an attribute of the same name and type
                yield f"    {member_line(found, member, value)}"
    elif inspect.isfunction(found):
        yield function_line(name, found)
    else:
        yield f"{name} = {re.sub(r' at 0x[0-9a-f]+', '', str(found))}"


def page(module_name: str) -> str:
    """All of a module's public names, as text."""
    module = importlib.import_module(module_name)
    entries = ["\n".join(entry(name, found)) for name, found in public(module)]
    return f"# {module_name}\n\n" + "\n\n".join(entries) + "\n"


@pytest.mark.parametrize("module", MODULES)
def test_no_public_name_changes_by_accident(module: str) -> None:
    """Signatures included: a parameter's name and default are part of them."""
    written = (PAGES / f"{module}.txt").read_text(encoding="utf-8")
    assert page(module) == written, RENEW


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_documented(module: str) -> None:
    """And so is every public method and property; an overridden one by what it overrides, if it adds nothing."""
    silent = []
    for name, found in public(importlib.import_module(module)):
        if not inspect.isclass(found) and not inspect.isfunction(found):
            continue
        if not inspect.getdoc(found):
            silent.append(name)
        for member, value in members(found) if inspect.isclass(found) else ():
            is_method = isinstance(value, property | classmethod | staticmethod) or inspect.isfunction(value)
            if is_method and member not in {"__aenter__", "__enter__"} and not inspect.getdoc(getattr(found, member)):
                silent.append(f"{name}.{member}")
    assert silent == []


def test_every_parameter_and_field_is_explained() -> None:
    """By name, in the docstring of its function or class, or of the one that it says it is like: `As ...`."""
    unexplained = []
    for name, found in public(importlib.import_module("notification")):
        for place, function, text in described(name, found):
            explained = set(re.findall(r"\w+", text)) | {"self", "cls"}
            parameters = set(inspect.signature(function).parameters)
            if not text.startswith("As `"):
                unexplained += [f"{place}({one}=)" for one in sorted(parameters - explained)]
    assert unexplained == []


def described(name: str, found: Any) -> Iterator[tuple[str, Any, str]]:
    """Functions whose parameters need words, and the docstring that has them."""
    if inspect.isfunction(found):
        yield name, found, inspect.getdoc(found) or ""
    elif inspect.isclass(found) and not issubclass(found, enum.Enum | Exception):
        if is_made_by_users(found):
            yield name, found.__init__, inspect.getdoc(found) or ""
        for member, value in members(found):
            if inspect.isfunction(value):
                yield f"{name}.{member}", value, inspect.getdoc(getattr(found, member)) or ""


MADE_BY_US = {"Context", "BlockingDispatcher"}
"""Classes that users are given and never make."""


if __name__ == "__main__":
    for module_name in MODULES:
        (PAGES / f"{module_name}.txt").write_text(page(module_name), encoding="utf-8")
