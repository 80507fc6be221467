"""The address of a queue, parsed once, with its secrets kept out of sight."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin
from urllib.parse import parse_qsl, quote, unquote

import attrs

from .errors import ConfigurationError, escape
from .message import DEFAULT_LIMITS, UNLIMITED, Limits

Order = Literal["key", "process", "none"]
DEAD = "dead"
"""The suffix of a queue's dead-letter sibling."""

_NAME = re.compile(r"[A-Za-z0-9_.:{}-]{1,128}")
_OPTION = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_SECRET = re.compile(r"pass|secret|token|key$|credential", re.IGNORECASE)
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d)?")
_T = TypeVar("_T")


class Seconds(float):
    """An option's type: a duration in seconds, written as `30`, `"500ms"`, `"30s"`, `"2m"`, `"1h"` or `"1d"`."""


@attrs.frozen
class CommonOptions:
    """What the URL of every queue understands. A backend's own options class extends it."""

    queue: str = "events"
    group: str | None = None
    order: Order | None = None
    max_event: int = DEFAULT_LIMITS.event


@attrs.frozen(repr=False)
class QueueURL:
    """scheme://username:password@hosts/path?options. `repr` and `str` hide secrets; `raw` has them.

    hosts: as written, each `host` or `host:port`. path: percent-decoded, with its leading slash.
    name: of the queue, `?queue=`, default `events`; group: of consumers, `?group=`; order: what `?order=` waives.
    options: all others, unread. unlimited: a sibling, without size caps: it takes whatever failed elsewhere.
    """

    raw: str
    scheme: str
    hosts: tuple[str, ...] = ()
    path: str = ""
    username: str | None = None
    password: str | None = None
    name: str = "events"
    group: str | None = None
    order: Order | None = None
    options: Mapping[str, str] = attrs.field(factory=dict)
    unlimited: bool = False

    @classmethod
    def parse(cls, text: str) -> QueueURL:
        """Read a URL. Raises ConfigurationError, which never quotes a secret."""
        if _CONTROL.search(text):
            raise ConfigurationError(f"{_shown(text)!r} has control characters; write them as %XX")
        scheme, separator, rest = text.partition("://")
        if not separator or not _SCHEME.fullmatch(scheme):
            raise ConfigurationError(
                f"{_shown(text)!r} is no queue URL; one looks like channel://, sqlite:///events.db or redis://host:6379/0"
            )
        location, _, query = rest.partition("?")
        authority, slash, path = location.partition("/")
        if authority and "@" in path:
            raise ConfigurationError(f"{scheme}://***: write a / in a password as %2F, or use ?password_env=NAME")
        credentials, at, hosts = authority.rpartition("@")
        username, colon, password = credentials.partition(":")
        options = _options(query)
        password_env = options.pop("password_env", None)
        return cls(
            raw=text,
            scheme=scheme,
            hosts=tuple(_host(host) for host in hosts.split(",") if host),
            path=_printable("path", unquote(slash + path)),
            username=unquote(username) if at and username else None,
            password=_from_environment(password_env) if password_env else unquote(password) if colon else None,
            name=check_name("queue", options.pop("queue", "events")),
            group=check_name("group", options.pop("group")) if "group" in options else None,
            order=_convert("order", options.pop("order"), Order) if "order" in options else None,
            options=options,
        )

    @property
    def limits(self) -> Limits:
        """The size caps: `?max_event=BYTES` sets that of an event."""
        if self.unlimited:
            return UNLIMITED
        return attrs.evolve(DEFAULT_LIMITS, event=_convert("max_event", self.options.get("max_event", "262144"), int))

    def sibling(self, suffix: str) -> QueueURL:
        """The queue beside this one, `<name>.<suffix>`: same place and options, but no capacity and no size cap.

        Nor is it narrowed to partitions: it has others.
        """
        own = {"capacity", "max_event", "dedup", "partitions"}
        options = {name: value for name, value in self.options.items() if name not in own}
        return attrs.evolve(
            self,
            name=check_name("queue", f"{self.name}.{suffix}"),
            options=options,
            order="none",
            unlimited=True,
        )

    def without(self, *names: str) -> QueueURL:
        """The same queue without the options of these names."""
        return attrs.evolve(self, options={name: value for name, value in self.options.items() if name not in names})

    def read(self, options: type[_T]) -> _T:
        """The options as an instance of this attrs class, whose fields are the names known and their types.

        Raises ConfigurationError for an unknown one, naming the nearest, and for a value that is not of its type.
        """
        fields = attrs.fields_dict(options)  # type: ignore[arg-type]  # any attrs class; attrs' stub wants AttrsInstance
        known = [*fields, "queue", "group", "order", "max_event", "password_env"]
        for name in self.options:
            if name not in known:
                raise ConfigurationError(
                    f"{self.scheme}:// has no option {escape(name)!r}{did_you_mean(name, known)}; "
                    f"it has {', '.join(sorted(set(known)))}"
                )
        given = {
            name: _convert(name, value, _annotation(options, name))
            for name, value in self.options.items()
            if name in fields
        }
        return options(**given)

    def __str__(self) -> str:
        hosts = ",".join(self.hosts)
        user = f"{quote(self.username or '')}{':***' if self.password is not None else ''}@"
        shown = {"queue": self.name, "group": self.group, "order": self.order, **self.options}
        query = "&".join(
            f"{n}={'***' if is_secret(n) else quote(str(v), safe='/:{}')}" for n, v in shown.items() if v is not None
        )
        login = user if self.username or self.password is not None else ""
        return f"{self.scheme}://{login}{hosts}{quote(self.path)}?{query}"

    def __repr__(self) -> str:
        return f"QueueURL({str(self)!r})"


def check_name(kind: str, name: str) -> str:
    """A queue's, group's or handler's name, or a ConfigurationError that says which characters it may have."""
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"the {kind} name {escape(name, 130)!r} is not 1 to 128 of A-Z a-z 0-9 _ . : {{ }} -")
    return name


def seconds_of(text: str, name: str) -> float:
    """The seconds of `30`, `500ms`, `30s`, `2m`, `1h` or `1d`, or a ConfigurationError about what is called `name`."""
    found = _DURATION.fullmatch(text)
    if found and (seconds := float(found[1]) * _UNITS[found[2] or "s"]) < float("inf"):
        return seconds
    raise ConfigurationError(f"{name} is no duration; write 30, 500ms, 30s, 2m, 1h or 1d")


def is_secret(option: str) -> bool:
    """Whether an option of this name has a value that is not to be shown."""
    return _SECRET.search(option) is not None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing when no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if not _OPTION.fullmatch(name):  # not quoted: it may be the end of a password
            raise ConfigurationError("after the ? come options, name=value&name=value; write a ? in a password as %3F")
        if name in options:
            raise ConfigurationError(f"the option {escape(name)!r} is given twice")
        options[name] = value
    return options


def _host(text: str) -> str:
    host = _printable("host", unquote(text))
    _, colon, port = host.rpartition(":")
    if colon and not port.isdecimal() and not host.endswith("]"):  # not quoted: it may be a password
        raise ConfigurationError("what follows a host's : is its port, a number; user:password stand before an @")
    return host


def _printable(kind: str, text: str) -> str:
    if _CONTROL.search(text):
        raise ConfigurationError(f"the {kind} {escape(text)!r} has control characters")
    return text


def _from_environment(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise ConfigurationError(f"?password_env={escape(name)}: that environment variable is not set") from None


def _annotation(cls: type, name: str) -> Any:
    attrs.resolve_types(cls)
    return getattr(attrs.fields(cls), name).type


def _convert(name: str, text: str, kind: Any) -> Any:
    choices = get_args(kind)
    if get_origin(kind) is Literal:
        if text in choices:
            return text
        raise ConfigurationError(f"?{name}={escape(text)} is none of {', '.join(map(str, choices))}")
    kinds = [choice for choice in choices if choice is not type(None)]
    kind = kinds[0] if kinds else kind
    if get_origin(kind) is Literal:
        return _convert(name, text, kind)
    return _scalar(name, text, kind)


def _scalar(name: str, text: str, kind: Any) -> Any:
    if kind is bool:
        if text.lower() in {"true", "1", "yes", "on", "false", "0", "no", "off"}:
            return text.lower() in {"true", "1", "yes", "on"}
        raise ConfigurationError(f"?{name}={escape(text)} is neither true nor false")
    if kind is Seconds:
        return seconds_of(text, f"?{name}={escape(text)}")
    try:
        value = kind(text)
    except ValueError:
        raise ConfigurationError(f"?{name}={escape(text)} is no {kind.__name__}") from None
    if isinstance(value, int | float) and not 0 <= value < float("inf"):
        raise ConfigurationError(f"?{name}={escape(text)} must be finite and not negative")
    return value


def _shown(text: str) -> str:
    """What was given instead of a URL, as far as it can't hold a secret."""
    return escape(re.sub(r"^([a-z+]*:?/{0,2}).*@", r"\1***@", text.partition("?")[0], flags=re.DOTALL), 200)
