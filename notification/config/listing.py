"""The settings that count, with where each comes from, for people and programs; without secrets."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from queues.url import QueueURL, is_secret

from .choosing import VARIABLE
from .queues import PlainQueue, SwitchedQueue
from .reading import CONFIG, Config, read_config
from .settings import SETTINGS, in_words, shown
from .translating import without_type

HIDDEN = "***"
DEFAULT = "default"
_PREFIX = "NOTIFICATION_"


@frozen
class Setting:
    """One setting as it counts. name: in a file, with dots. value: in seconds if it is a duration; text: for people;
    source: where it comes from: a file and the place in it, an environment variable, or `default`.
    """

    name: str
    value: str | int | float | bool | None
    text: str
    source: str


def effective_settings(
    config: Path | str | Mapping[str, Any] | None = None, *, name: str | None = None
) -> list[Setting]:
    """What `EventDispatcher.from_config` would go by with this `config` and `name`, and where each setting comes from.

    Secrets are not in it. Raises ConfigurationError.
    """
    return listed(read_config(config, name=name))


def listed(config: Config) -> list[Setting]:
    """The queue first, then every setting there is, then what was asked for and is so anyway."""
    return [*_queue(config), *_settings(config), *_notes(config)]


def _queue(config: Config) -> Iterator[Setting]:
    queue = config.queue
    if queue is None:
        yield Setting("queue", None, "", "nobody has set it")
    elif isinstance(queue, PlainQueue):
        yield _plain("queue", str(queue), queue.place)
        yield from _parts("queue", queue)
    else:
        yield from _switch(queue)
    if config.queues.named:
        name, given = next(iter(config.queues.named.items()))
        yield _plain("queues", ", ".join(config.queues.named), given.place.removesuffix(f".{name}"))


def _parts(name: str, queue: PlainQueue) -> Iterator[Setting]:
    for option, given in queue.options.items():
        hidden = given.secret or (is_secret(option) and not option.endswith("_env"))
        yield _plain(f"{name}.{option}", HIDDEN if hidden else shown(given.value), given.place)
    for option, value in queue.create_options().items():
        yield _plain(f"{name}.create.{option}", shown(value), queue.create[option].place)


def _switch(queue: SwitchedQueue) -> Iterator[Setting]:
    for name, route in queue.routes.items():
        yield _plain(f"queue.routes.{name}", str(route), route.place)
        yield from _parts(f"queue.routes.{name}", route)
    yield _plain("queue.choose", queue.chooser, f"{queue.place}.choose")
    yield _plain("queue.strict", queue.strict, f"{queue.place}.strict")


def _settings(config: Config) -> Iterator[Setting]:
    for known in SETTINGS:
        given = config.given.get(known.name)
        value = known.default if given is None else given.value
        if known.name == "dead_letter" and isinstance(value, str) and "://" in value:
            value = str(QueueURL.parse(value))
        source = DEFAULT if given is None else given.place
        yield Setting(known.name, shown(value), in_words(known, value), source)


def _notes(config: Config) -> Iterator[Setting]:
    routes: Iterable[PlainQueue] = ()
    if isinstance(config.queue, PlainQueue):
        routes = [config.queue]
    elif config.queue is not None:
        routes = config.queue.routes.values()
    for route in routes:
        for given, why in route.notes:
            yield _plain(given.place, shown(given.value), why)


def _plain(name: str, value: Any, source: str) -> Setting:
    return Setting(name, value, in_words(None, value), source)


# -- what nobody reads


_ROUTE = "NOTIFICATION_ROUTE"
"""What a switch is told its route by, mostly; read by `choose`, or by nobody."""


def unread(config: Config, flags: Iterable[str]) -> Iterator[str]:
    """A line about each environment variable that looks like a setting and is none. flags: variables of commands."""
    known = {*flags, *(one.variable for one in SETTINGS if one.variable), CONFIG, VARIABLE, _ROUTE}
    short = {name.removeprefix(_PREFIX): name for name in known}
    for name in sorted(os.environ):
        if name.startswith(_PREFIX) and name not in known and not name.startswith(f"{VARIABLE}_"):
            near = difflib.get_close_matches(name.removeprefix(_PREFIX), short, n=1, cutoff=0.8)
            yield from (f"{name} is set, and nothing reads it; did you mean {short[one]!r}?" for one in near)
    yield from without_type(config.queue.existing if isinstance(config.queue, PlainQueue) else "")
