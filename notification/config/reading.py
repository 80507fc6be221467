"""All settings, from wherever they come: command line over environment over file over code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from queues.base import MessageQueue
from queues.errors import ConfigurationError
from workers.retry import RetryPolicy

from ..degradation import Degradation
from .choosing import Queues
from .existing import ROWS
from .files import Layer, layer_of, read_file
from .given import Given
from .queues import Chosen, SwitchedQueue
from .settings import BY_NAME, SETTINGS
from .translating import from_environment, without_type

CONFIG = "NOTIFICATION_CONFIG"


@frozen
class Config:
    """The settings of one dispatcher. queue: None when nobody names one. given: by name, what somebody has set."""

    queues: Queues
    queue: Chosen | None
    given: Mapping[str, Given]

    def get(self, name: str) -> Any:
        """The value of a setting; its default when nobody has set it."""
        return self.given[name].value if name in self.given else BY_NAME[name].default

    def on(self, queue: str) -> Config:
        """The same on another queue: a URL, or a name. Raises ConfigurationError."""
        return _settled(self.queues, self.queues.chosen(None, Given(queue, "--queue")))

    def arguments(self) -> dict[str, Any]:
        """What an EventDispatcher is told, beside its queue. Raises ConfigurationError."""
        plain = ("source", "prefetch", "handler_timeout", "grace", "hold", "unhandled")
        told = {name: self.given[name].value for name in plain if name in self.given}
        others = {"dead_letter": self.dead_letter(), "degradation": self._degradation()}
        told |= {name: value for name, value in others.items() if value is not None}
        return {**told, "retry": RetryPolicy(**self._table("retry"))}

    def chosen(self) -> Chosen:
        """The queue. Raises ConfigurationError when nobody names one."""
        if self.queue is None:
            raise ConfigurationError(
                "which queue? Give its URL, or set NOTIFICATION_QUEUE, for instance to sqlite:///events.db, or "
                f"{CONFIG} to a file of settings that names one{next((f'; {line}' for line in without_type()), '')}"
            )
        return self.queue

    def opened(self) -> MessageQueue:
        """The same as a MessageQueue, not open yet. Raises ConfigurationError."""
        return self.chosen().open()

    def _table(self, name: str) -> dict[str, Any]:
        prefix = f"{name}."
        return {key.removeprefix(prefix): one.value for key, one in self.given.items() if key.startswith(prefix)}

    def dead_letter(self) -> str | None:
        """The URL of the queue for dead letters, with its secrets; None: the sibling. Raises ConfigurationError."""
        given = self.given.get("dead_letter")
        if given is None:
            return None
        queue = self.queues.read(given)
        if isinstance(queue, SwitchedQueue):
            raise given.wrong("is a switch; dead letters go to one queue")
        queue.open()
        return queue.url.raw

    def _degradation(self) -> Degradation | None:
        settings = self._table("degradation")
        if isinstance(self.queue, SwitchedQueue) and self.queue.strict and not settings.get("spill"):
            raise ConfigurationError(
                f"{self.queue.place}: strict = true holds events back while it waits for the other routes, and needs a "
                "place for them: set degradation.spill, a directory"
            )
        if not settings:
            return None
        try:
            return Degradation(**settings)
        except ConfigurationError as error:
            places = [one.place for name, one in self.given.items() if name.startswith("degradation.")]
            raise ConfigurationError(f"{', '.join(places)}: {error}") from error


def read_config(
    config: Path | str | Mapping[str, Any] | None = None, *, name: str | None = None, queue: str | None = None
) -> Config:
    """The settings that count. config: what the code says, as a file or a mapping; the file that NOTIFICATION_CONFIG
    names counts more than that, and environment variables more than both.

    name: which of `[queues]`; None: the one without a name. queue: of the command line, a URL or a name. Raises
    ConfigurationError, which names the place.
    """
    queues = Queues.of(_layers(config))
    variable = from_environment("NOTIFICATION_QUEUE")  # which flags take their values from, too
    line = None if queue is None or (variable is not None and queue == variable.value) else Given(queue, "--queue")
    return _settled(queues, queues.chosen(name, line))


def read_settings() -> Config:
    """Those of the environment and of its file, whatever they say about queues. Raises ConfigurationError."""
    return _settled(Queues.of(_layers(None)), None)


def _layers(config: Path | str | Mapping[str, Any] | None) -> list[Layer]:
    layers = [] if config is None else [layer_of(config)]
    if (named := from_environment(CONFIG)) is not None:
        try:
            layers.append(read_file(Path(named.value)))
        except ConfigurationError as error:
            raise ConfigurationError(f"{CONFIG}: {error}") from None
    return layers


def _settled(queues: Queues, queue: Chosen | None) -> Config:
    """The later ones count more."""
    given: dict[str, Given] = {}
    for layer in queues.layers:
        given |= layer.settings()
    if queue is not None:
        given |= queue.own
    given |= _of_environment()
    return Config(queues, queue, {name: _read(name, one) for name, one in given.items()})


def _read(name: str, given: Given) -> Given:
    return evolve(given, value=BY_NAME[name].read(given))


def _of_environment() -> dict[str, Given]:
    found: dict[str, Given] = {}
    for row in ROWS:
        if row.kind == "" and (earlier := from_environment(row.variable)) is not None:
            found[row.to] = evolve(earlier, value=row.read(earlier))
    for known in SETTINGS:
        if known.variable is not None and (given := from_environment(known.variable)) is not None:
            found[known.name] = given
    return found
