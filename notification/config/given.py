"""A value as somebody wrote it, with the place where: every error about it names that."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from attrs import field, frozen

from queues.errors import ConfigurationError, escape
from queues.url import Seconds, did_you_mean, seconds_of

Read = Callable[["Given"], Any]
"""From what was given to what it means. Raises ConfigurationError."""

_LOGIN = re.compile(r".*@", re.DOTALL)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|[kKMG]B|[KMG]iB)?")
_BYTES = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_WORDS = {**dict.fromkeys(("true", "1", "yes", "on"), True), **dict.fromkeys(("false", "0", "no", "off"), False)}
_LONGEST = 366 * 86400.0
"""Seconds of a duration that can still be meant."""


@frozen
class Given:
    """A value and where it stands: `shop.toml: retry.attempts`, or the name of an environment variable.

    variable: whether it is that of an environment variable, and so a text, whatever it means. secret: no error shows
    the value.
    """

    value: Any = field(repr=False)
    place: str
    variable: bool = False
    secret: bool = False

    def wrong(self, why: str) -> ConfigurationError:
        """What to raise: `why` goes on after the value, as in `is no duration`."""
        return ConfigurationError(f"{self.place}: {self._shown()} {why}")

    def _shown(self) -> str:
        """The value, as far as it can't hold a password: a URL that is none may."""
        if self.secret or isinstance(self.value, Mapping | list | tuple):
            return "what is given"
        if isinstance(self.value, str):
            return escape(repr(_LOGIN.sub("***@", self.value).partition("?")[0]), 100)
        return escape(repr(self.value), 100)

    def at(self, name: str, value: Any) -> Given:
        """What stands under a name in this table."""
        between = "." if ": " in self.place else ": "
        return Given(value, f"{self.place}{between}{name}", secret=self.secret or "password" in name)

    def refused(self, why: str) -> ConfigurationError:
        """The same about the setting, where the value says nothing."""
        return ConfigurationError(f"{self.place}: {why}")


# -- what there is to read


def text(given: Given) -> str:
    """Any text that is not empty."""
    if isinstance(given.value, str) and given.value and given.value.isprintable():
        return given.value
    raise given.wrong("is no text" if not isinstance(given.value, str) else "is no printable text")


def flag(given: Given) -> bool:
    """True or false."""
    if isinstance(given.value, bool):
        return given.value
    if given.variable and given.value.lower() in _WORDS:
        return _WORDS[given.value.lower()]
    raise given.wrong("is neither true nor false")


def number(given: Given) -> float:
    """A number from 0 up."""
    value = _number(given)
    if value is None or not 0 <= value < math.inf:
        raise given.wrong("is no number from 0 up")
    return value


def whole(least: int = 0, most: int | None = None) -> Read:
    """A whole number between the two."""
    limits = f"from {least} to {most}" if most is not None else f"from {least} up"

    def read(given: Given) -> int:
        value = _number(given)
        if value is None or value != (rounded := int(value) if math.isfinite(value) else -1) or isinstance(value, str):
            raise given.wrong(f"is no whole number {limits}")
        if rounded < least or (most is not None and rounded > most):
            raise given.wrong(f"is no whole number {limits}")
        return rounded

    return read


def duration(given: Given) -> float:
    """Seconds, of a number or of `5ms`, `30s`, `2m`, `1h`, `1d`."""
    if isinstance(given.value, str):
        try:
            value = seconds_of(given.value.strip(), "")
        except ConfigurationError:
            raise given.wrong("is no duration; write 30, 500ms, 30s, 2m, 1h or 1d") from None
    else:
        plain = _number(given)
        if plain is None or not plain >= 0:
            raise given.wrong('is no duration; write 30, "500ms", "30s", "2m", "1h" or "1d"')
        value = plain
    if value > _LONGEST:
        raise given.wrong("is more than a year; a number without a unit is in seconds")
    return value


def some_time(given: Given) -> float:
    """A duration of more than nothing."""
    value = duration(given)
    if value == 0:
        raise given.wrong("must be more than 0")
    return value


def size(given: Given) -> int:
    """Bytes, of a number or of `256KiB`, `1MiB`, `64kB`."""
    if isinstance(given.value, str) and (found := _SIZE.fullmatch(given.value.strip())):
        return int(float(found[1]) * _BYTES[found[2] or "B"])
    value = _number(given)
    if value is None or not 0 <= value < math.inf or value != int(value):
        raise given.wrong('is no size; write 262144, "256KiB" or "1MiB"')
    return int(value)


def one_of(choices: Iterable[str], **also: str) -> Read:
    """One of these words, in any case. also: other words for some of them."""
    known = [*choices]

    def read(given: Given) -> str:
        word = given.value.strip().lower() if isinstance(given.value, str) else None
        for choice in known:
            if word == choice.lower():
                return choice
        if word in also:
            return also[word]
        raise given.wrong(f"is none of {', '.join(known)}{did_you_mean(word or '', known)}")

    return read


def texts(given: Given) -> list[str]:
    """A list of texts, or one with commas between."""
    parts = given.value.split(",") if isinstance(given.value, str) else given.value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) and part.strip() for part in parts):
        raise given.wrong("is no list of texts")
    if not parts:
        raise given.wrong("is an empty list")
    return [part.strip() for part in parts]


def table(given: Given) -> Mapping[str, Any]:
    """A table: names and values."""
    if isinstance(given.value, Mapping) and all(isinstance(name, str) for name in given.value):
        return given.value
    raise given.wrong("is no table")


def reader_of(kind: Any, name: str = "") -> Read:
    """What reads a field of this type and name: of the options that a backend publishes."""
    kinds = [choice for choice in get_args(kind) if choice is not NoneType]
    if get_origin(kind) is Literal:
        return one_of(kinds)
    if kinds:
        return reader_of(kinds[0], name)
    if kind is int:
        return size if name.startswith("max_event") else whole()
    return {bool: flag, float: number, Seconds: duration}.get(kind, written)


def written(given: Given) -> str:
    """Anything that fits a URL's option, as it is written there."""
    value = given.value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple) and value:
        return ",".join(written(Given(part, given.place)) for part in value)
    if isinstance(value, int | float) or (isinstance(value, str) and value):
        return str(value)
    raise given.wrong("is neither a text nor a number")


def _number(given: Given) -> float | None:
    """None: it is none. Text counts as a number where there is nothing but text: in an environment variable."""
    if isinstance(given.value, bool):
        return None
    if given.variable:
        try:
            return float(given.value)
        except ValueError:
            return None
    return given.value if isinstance(given.value, int | float) and not math.isnan(given.value) else None
