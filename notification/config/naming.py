"""What a file of settings may name: exceptions, functions, and where a flag is to be read."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, frozen

from queues.clock import SYSTEM_CLOCK
from queues.url import did_you_mean

from .given import Given, text

Choose = Callable[[], str]
_FRESH = 0.1
"""Seconds for which what was read of a file is taken for true."""


def exceptions(given: Given) -> tuple[type[BaseException], ...]:
    """Exception classes, by their dotted names or themselves."""
    parts = given.value if isinstance(given.value, list | tuple) else [given.value]
    found = tuple(named(Given(part, given.place)) if isinstance(part, str) else part for part in parts)
    for one in found:
        if not (isinstance(one, type) and issubclass(one, BaseException)):
            raise given.refused(f"{one!r} is no exception class")
    return found


def function(given: Given) -> Callable[..., Any]:
    """A function, by its dotted name or itself."""
    found = named(given) if isinstance(given.value, str) else given.value
    if callable(found):
        return found  # type: ignore[no-any-return]  # it is one
    raise given.wrong("names nothing that can be called")


def named(given: Given) -> Any:
    """What `package.module:name` or `package.module.name` stands for; its module is imported."""
    module, colon, path = text(given).rpartition(":" if ":" in given.value else ".")
    if not (colon and module and path):
        raise given.wrong("is no name; write package.module:name")
    try:
        found: Any = importlib.import_module(module)
    except ImportError as error:
        raise given.wrong(f"can't be imported: {error}") from error
    for name in path.split("."):
        if not hasattr(found, name):
            near = did_you_mean(name, vars(found)) if hasattr(found, "__dict__") else ""
            raise given.wrong(f"names nothing: {module} has no {name!r}{near}")
        found = getattr(found, name)
    return found


def chooser(given: Given) -> Choose:
    """What a switch asks for its route: `env:NAME`, `file:PATH`, or a function by name or itself."""
    if not isinstance(given.value, str):
        found: Choose = function(given)
        return found
    kind, colon, rest = given.value.partition(":")
    if kind in {"env", "file"} and colon:
        if not rest:
            raise given.wrong(f"names no {'variable' if kind == 'env' else 'file'}")
        return FromEnvironment(rest) if kind == "env" else FromFile(Path(rest))
    return function(given)


@frozen
class FromEnvironment:
    """A variable, read at each call: a program may change it while it runs. Raises LookupError when it is not set."""

    name: str

    def __call__(self) -> str:
        if self.name not in os.environ:
            raise LookupError(f"the environment variable {self.name} is not set")
        return os.environ[self.name].strip()


@define
class FromFile:
    """The only line of a file, which operators can change while programs run, as they can't the environment.

    Read anew at most ten times a second. Raises OSError when it can't be read.
    """

    path: Path
    _said: str = ""
    _until: float = float("-inf")

    def __call__(self) -> str:
        now = SYSTEM_CLOCK.monotonic()
        if now >= self._until:
            self._said = self.path.read_text(encoding="utf-8").strip()
            self._until = now + _FRESH
        return self._said
