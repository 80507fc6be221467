"""From the settings of an earlier program to a queue's URL, by the table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from attrs import define, field

from queues.url import did_you_mean

from .existing import KINDS, ROWS, TYPE, Row, asks_for_newest, refuse_newest, rows_of
from .given import Given, one_of, table
from .queues import PlainQueue, address

_PORTS = {"redis": "localhost:6379", "kafka": "localhost:9092"}


def from_environment(name: str) -> Given | None:
    """An environment variable; one that is empty counts as not set."""
    value = os.environ.get(name)
    return Given(value, name, variable=True, secret="PASSWORD" in name) if value else None


def without_type(but: str = "") -> Iterator[str]:
    """A line for each kind of queue that the environment describes without saying that it is the one. but: the kind
    that something else says it is.
    """
    for kind in (one for one in KINDS if one != but and not os.environ.get(TYPE)):
        found = [row.variable for row in ROWS if row.kind == kind and os.environ.get(row.variable)]
        if found:
            are = f"{', '.join(found)} {'is' if len(found) == 1 else 'are'} set"
            yield f"{are}, and not read unless {TYPE}={kind} says that this is the queue"


def existing_queue(kind: Given, tree: Given | None, *, environment: bool = True) -> PlainQueue:
    """The queue of this type. tree: what a mapping or a file says of it; the environment counts more, setting by
    setting, unless it is about another queue. Raises ConfigurationError.
    """
    known: str = one_of(KINDS)(kind)
    leaves = {path: leaf for path, leaf in _leaves(tree) if path != "type"} if tree is not None else {}
    found = Found(known, kind.place if kind.variable or tree is None else tree.place)
    for row in rows_of(known):
        given = _said(row, leaves, environment=environment)
        if given is not None:
            found.add(row, given)
    _refuse_unknown(known, leaves)
    return found.queue()


def _leaves(tree: Given, path: str = "") -> Iterator[tuple[str, Given]]:
    """What is at the ends of a mapping, by paths with dots."""
    for name, value in table(tree).items():
        inner = tree.at(name, value)
        if isinstance(value, Mapping):
            yield from _leaves(inner, f"{path}{name}.")
        else:
            yield f"{path}{name}", inner


def _said(row: Row, leaves: Mapping[str, Given], *, environment: bool) -> Given | None:
    """What is said about this row: by the environment, or else by the mapping, which may say it under two names."""
    said = [leaves[key] for key in row.keys if key in leaves and leaves[key].value not in (None, "")]
    for one in said:
        if one.value != said[0].value:
            raise one.refused(f"{said[0].place} says something else about the same; keep one of them")
    variable = from_environment(row.variable) if row.variable and environment else None
    return variable or (said[0] if said else None)


def _refuse_unknown(kind: str, leaves: Mapping[str, Given]) -> None:
    known = [key for row in rows_of(kind) for key in row.keys]
    for path, given in leaves.items():
        if path not in known:
            if asks_for_newest(given):
                refuse_newest(given)
            raise given.refused(f"there is no such setting of type {kind}{did_you_mean(path, known)}")


@define
class Found:
    """What was found so far about a queue of this kind. place: where that is named."""

    kind: str
    place: str
    hosts: str = ""
    database: str = ""
    stream: Given | None = None
    options: dict[str, Given] = field(factory=dict)
    create: dict[str, Given] = field(factory=dict)
    own: dict[str, Given] = field(factory=dict)
    notes: list[tuple[Given, str]] = field(factory=list)
    for_streams: list[Given] = field(factory=list)

    def add(self, row: Row, given: Given) -> None:
        """What is said about a row. Raises ConfigurationError for what is refused."""
        told = Given(row.read(given), given.place, secret=given.secret)
        place, _, name = row.to.rpartition("?" if row.to.startswith("?") else ".")
        if row.only:
            self.for_streams.append(given)
        if row.to == "":
            self.notes.append((given, row.means))
        elif row.to == "hosts":
            self.hosts = told.value
        elif row.to == "db":
            self.database = f"/{told.value}"
        elif row.to == "stream":
            self.stream = self.options["queue"] = told
        elif row.to in {"username", "password"} and given.variable:  # a URL that is shown has its name, at most
            self.options[f"{row.to}_env"] = Given(row.variable, given.place)
        elif place == "create":
            self.create[name] = told
        elif row.to.startswith("?") or row.to in {"username", "password"}:
            self.options |= {} if told.value is None else {name: told}
        else:
            self.own[row.to] = told

    def queue(self) -> PlainQueue:
        """All of it. Raises ConfigurationError for what doesn't go together."""
        if self.stream is None and self.for_streams:
            raise self.for_streams[0].refused(
                "this is for streams, and REDIS_STREAM_NAME is not set, so that the queue is a list; unset this, or "
                "name the stream"
            )
        self._check_login()
        scheme = self.kind + ("+stream" if self.stream is not None else "")
        base = Given(f"{scheme}://{self.hosts or _PORTS.get(self.kind, '')}{self.database}", self.place)
        url = address(base, self.options)
        return PlainQueue(url, self.place, self.options, self.create, self.own, self.kind, tuple(self.notes))

    def _check_login(self) -> None:
        options = self.options
        login = options.get("username_env") or options.get("password_env")
        tls, sasl = options.get("tls"), options.get("sasl")
        if self.kind == "kafka" and login is not None and sasl is None:
            raise login.refused("KAFKA_SASL_MECHANISM has to say how to log in, and is not set")
        if sasl is not None and not (tls is not None and tls.value):
            raise sasl.refused(
                "without KAFKA_TLS_ENABLED=true the network would see the password; if that is meant, give "
                "NOTIFICATION_QUEUE a URL with ?insecure=true instead"
            )
