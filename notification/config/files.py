"""Where settings come from: a mapping in the code, a file, the environment."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from queues.errors import ConfigurationError, escape
from queues.url import did_you_mean

from .given import Given, table
from .settings import BY_NAME, TABLES

EXISTING = ("type", "buffer_size", "extra", "kafka_config")
"""What a mapping in the form of earlier programs has at its top, in place of `queue`."""
_TOP = ("queue", "queues", *EXISTING, *dict.fromkeys(name.partition(".")[0] for name in BY_NAME))


@frozen
class Layer:
    """The settings of one file, or of one mapping. place: its name, for errors; tree: as it was written."""

    place: str
    tree: Mapping[str, Any] = field(repr=False)

    @property
    def top(self) -> Given:
        """All of it."""
        return Given(self.tree, self.place)

    def settings(self) -> dict[str, Given]:
        """Those that stand at the top, by name. Raises ConfigurationError for what is no setting."""
        own = {name: value for name, value in self.tree.items() if name not in {"queue", "queues", *EXISTING}}
        for name in own:
            if name not in _TOP:
                raise unknown(self.place, name, _TOP)
        return dict(flat(self.top, own))

    def queue(self) -> Given | None:
        """Its queue: a URL, a name, or a table, whether under that name or, in the earlier forms, at the top."""
        existing = {name: self.tree[name] for name in EXISTING if name in self.tree}
        if existing and "queue" in self.tree:
            raise ConfigurationError(f"{self.place}: queue and {next(iter(existing))} both name a queue; keep one")
        if existing:
            return Given(existing, self.place)
        return self.top.at("queue", self.tree["queue"]) if "queue" in self.tree else None

    def queues(self) -> dict[str, Given]:
        """The queues with names."""
        named = self.top.at("queues", self.tree.get("queues", {}))
        return {name: named.at(name, value) for name, value in table(named).items()}


def flat(at: Given, tree: Mapping[str, Any]) -> Iterator[tuple[str, Given]]:
    """The settings of a tree that has nothing else, by names with dots. at: the table that they stand in."""
    for name, value in tree.items():
        inner = at.at(name, value)
        if name not in TABLES:
            yield name, inner
            continue
        known = [one.removeprefix(f"{name}.") for one in BY_NAME if one.startswith(f"{name}.")]
        for key, one in table(inner).items():
            if key not in known:
                raise inner.refused(f"there is no setting {escape(key, 80)!r}{did_you_mean(key, known)}")
            yield f"{name}.{key}", inner.at(key, one)


def layer_of(config: Path | str | Mapping[str, Any]) -> Layer:
    """What the code gives to `from_config`. Raises ConfigurationError."""
    if isinstance(config, Mapping):
        return Layer("the mapping", table(Given(config, "the mapping")))
    if isinstance(config, str) and "://" in config:
        raise ConfigurationError("from_config() takes a file or a mapping; a queue's URL goes to EventDispatcher(url)")
    return read_file(Path(config))


def read_file(path: Path) -> Layer:
    """A file of TOML, or of JSON if its name ends in .json. Raises ConfigurationError, with the line where it is."""
    try:
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: the settings can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError(f"{path}, line {line}: this is not UTF-8") from None
    tree = _json(path, content) if path.suffix == ".json" else _toml(path, content)
    return Layer(str(path), tree)


def _toml(path: Path, content: str) -> dict[str, Any]:
    try:
        return tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        hint = "; JSON belongs in a file whose name ends in .json" if content.lstrip().startswith("{") else ""
        raise ConfigurationError(f"{path}: this is not TOML: {escape(str(error))}{hint}") from None


def _json(path: Path, content: str) -> dict[str, Any]:
    try:
        tree = json.loads(content, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"{path}: this is not JSON: {error.msg} (at line {error.lineno}, column {error.colno})"
        ) from None
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigurationError(f"{path}: the settings are one JSON object, {{…}}")
    return tree


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are given once: of two values one would be lost without a word."""
    found = dict(pairs)
    for name in found:
        if sum(name == other for other, _ in pairs) > 1:
            raise ValueError(f"{escape(name)!r} is given twice")
    return found


def unknown(place: str, name: str, known: Any) -> ConfigurationError:
    """What to raise about a name that stands for nothing."""
    return ConfigurationError(f"{place}: there is no setting {escape(name, 80)!r}{did_you_mean(name, known)}")
