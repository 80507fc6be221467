"""From what is given for a queue to the queue: by URL with options beside it, or several routes with a switch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import attrs
from attrs import field, frozen

from queues.base import MessageQueue
from queues.errors import ConfigurationError, NotificationError
from queues.registry import open_admin, open_queue
from queues.switch import SwitchQueue
from queues.url import QueueURL, did_you_mean

from .given import Given, reader_of, size, text, written
from .naming import Choose, FromEnvironment, FromFile
from .settings import shown


@frozen
class PlainQueue:
    """One queue. place: where it is named. options: those that do not stand in its URL. create: for `queue create`.

    own: settings of the dispatcher that count for this queue alone. existing: the type by which earlier programs named
    it; notes: what they asked for and is so anyway.
    """

    url: QueueURL
    place: str
    options: Mapping[str, Given] = field(factory=dict)
    create: Mapping[str, Given] = field(factory=dict)
    own: Mapping[str, Given] = field(factory=dict)
    existing: str = ""
    notes: tuple[tuple[Given, str], ...] = ()

    def open(self) -> MessageQueue:
        """The queue, not open yet. Raises ConfigurationError that names the place."""
        try:
            return open_queue(self.url)
        except ConfigurationError as error:
            raise self._placed(error) from error

    def create_options(self) -> dict[str, Any]:
        """By name, what `queue create` is told. Raises ConfigurationError for what the backend doesn't know."""
        if not self.create:
            return {}
        try:
            options = open_admin(self.url).options
        except NotificationError as error:
            raise self._placed(error) from error
        known = attrs.fields_dict(attrs.resolve_types(options))
        for name, given in self.create.items():
            if name not in known:
                has = f"it has {', '.join(known)}" if known else "it has none"
                raise given.refused(
                    f"{self.url.scheme}:// has no such option of create{did_you_mean(name, known)}; {has}"
                )
        return {name: reader_of(known[name].type, name)(given) for name, given in self.create.items()}

    def __str__(self) -> str:
        """Without secrets."""
        return str(self.url)

    def _placed(self, error: NotificationError) -> ConfigurationError:
        """The error with the place of the option that it is about, or of the whole queue."""
        about = _blamed(str(error).replace(str(self.url), ""), self.options)
        return ConfigurationError(f"{about or self.place}: {error}")


@frozen
class SwitchedQueue:
    """Several queues, of which `choose` names the one to write to."""

    routes: Mapping[str, PlainQueue]
    choose: Choose
    strict: bool
    place: str
    own: Mapping[str, Given] = field(factory=dict)

    def open(self) -> MessageQueue:
        """The switch, not open yet. Raises ConfigurationError that names the place."""
        routes: dict[str, str | MessageQueue] = {name: route.open() for name, route in self.routes.items()}
        try:
            return SwitchQueue(routes, self.choose, strict=self.strict)
        except ConfigurationError as error:
            raise ConfigurationError(f"{self.place}: {error}") from error

    @property
    def chooser(self) -> str:
        """How `choose` was written."""
        if isinstance(self.choose, FromEnvironment):
            return f"env:{self.choose.name}"
        return f"file:{self.choose.path}" if isinstance(self.choose, FromFile) else str(shown(self.choose))

    def __str__(self) -> str:
        """Without secrets."""
        return f"a switch by {self.chooser} of {', '.join(self.routes)}"


Chosen = PlainQueue | SwitchedQueue


def address(given: Given, options: Mapping[str, Given]) -> QueueURL:
    """The URL given, with options beside it as if they stood in it. Raises ConfigurationError that names the place."""
    base = text(given)
    own = [pair.partition("=")[0] for pair in base.partition("?")[2].split("&")]
    for name, option in options.items():
        if name in own:
            raise option.refused(f"the URL has {name}= too; keep one of them")
    try:
        login = _login(base, options)
        pairs = {name: _option(name, one) for name, one in options.items() if name not in {"username", "password"}}
        extra = urlencode(pairs, quote_via=quote)
        return QueueURL.parse(login + (f"{'&' if '?' in login else '?'}{extra}" if extra else ""))
    except ConfigurationError as error:
        if str(error).startswith(tuple(option.place for option in options.values())):
            raise
        raise ConfigurationError(f"{_blamed(str(error), options) or given.place}: {error}") from None


def _option(name: str, given: Given) -> str:
    return str(size(given)) if name == "max_event" else written(given)


def _login(url: str, options: Mapping[str, Given]) -> str:
    """With the user and password that stand beside it."""
    user, password = options.get("username"), options.get("password")
    if user is None and password is None:
        return url
    scheme, separator, rest = url.partition("://")
    if "@" in re.split(r"[/?]", rest)[0]:
        raise (password or user or Given(url, "")).refused("the URL has a login too; keep one of them")
    if password is not None and "password_env" in options:
        raise password.refused("password_env is given too; keep one of them")
    name = quote(text(user), safe="") if user is not None else ""
    return f"{scheme}{separator}{name}{':' + quote(text(password), safe='') if password is not None else ''}@{rest}"


def _blamed(said: str, options: Mapping[str, Given]) -> str | None:
    """The place of the option that an error is about, as far as its words tell."""
    for name, given in options.items():
        words = (f"?{name}=", f"option {name!r}", f"the {name} name", *(["topic's name"] if name == "queue" else []))
        if any(word in said for word in words):
            return given.place
    return None


def is_url(given: Given) -> bool:
    """Whether it is a URL, or else the name of a queue."""
    return isinstance(given.value, str) and "://" in given.value


def checked_name(given: Given, known: Iterable[str]) -> str:
    """The name of one of those queues. Raises ConfigurationError."""
    names = [*known]
    name = text(given)
    if name in names:
        return name
    there = (
        f"there are {', '.join(names)}" if names else "no queue has a name; write a URL, such as sqlite:///events.db"
    )
    raise given.wrong(f"is neither a queue's URL nor its name{did_you_mean(name, names)}; {there}")
