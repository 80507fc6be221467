"""From an event to the message that travels."""

from __future__ import annotations

import itertools
import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import Any

from attrs import evolve

from queues.blank import Blank
from queues.checks import check, check_depth, check_key
from queues.clock import Clock
from queues.errors import ConfigurationError, CorruptMessage
from queues.message import Limits, Message
from queues.wire import encode

from .codec.form import Mismatch
from .codec.raw import encode_raw
from .event import spec_of


class Ids:
    """Ids of events: a random prefix for each process, and a counter. A uuid4 costs ten times as much."""

    def __init__(self) -> None:
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._prefix = secrets.token_hex(8)
        self._count = itertools.count(1)

    def next(self) -> str:
        """A new id."""
        return f"{self._prefix}-{next(self._count):x}"


_ids = Ids()


class Composer:
    """Makes messages for one dispatcher; everything that can be wrong with an event is raised here."""

    def __init__(
        self, clock: Clock, source: str, limits: Limits, *, by_reference: bool,
        on_dispatch: Sequence[Callable[[Message], Message]],
    ) -> None:  # fmt: skip
        self._clock, self._source, self._limits = clock, source, limits
        self._by_reference = by_reference
        self._on_dispatch = on_dispatch
        self._blanks: dict[str, Blank] = {}

    def __call__(
        self, event: Any, *, id: str | None = None, key: str | None = None,  # noqa: A002 - the name users write
        delay: float | datetime = 0, headers: Mapping[str, str] | None = None,
    ) -> Message:  # fmt: skip
        """The message of an event, encoded. Raises UnknownEvent and CorruptMessage."""
        changed = id is not None or headers is not None or delay != 0 or bool(self._on_dispatch)
        if isinstance(event, Message):
            message = self._of_message(event, key)
        else:
            message = self._of_event(event, key, encoded=not changed)
        if changed:
            message = self._with(message, id, headers, delay)
        if message.data is not event:
            self._check_size(message)
        return message

    def _of_event(self, event: object, key: str | None, *, encoded: bool) -> Message:
        """The common way, of an `@event` instance: all that can be wrong is its key and its size."""
        spec = spec_of(event)
        if key is None:
            key = spec.key_of(event)
        if key is not None:
            check_key(key, self._limits)
        data: object = spec.codec.encode(event)  # by reference too: what another queue would refuse is refused here
        blank = self._blanks.get(spec.name)
        if blank is None or blank.version != spec.version:
            blank = self._blanks[spec.name] = Blank(spec.name, self._source, spec.version)
        if self._by_reference and spec.frozen:
            data, encoded = event, False
        return blank.fill(_ids.next(), self._clock.now(), key, data, encoded=encoded)

    def _of_message(self, message: Message, key: str | None) -> Message:
        """One that somebody built, for a type without a class."""
        if key is not None:
            message = evolve(message, key=key)
        check(message, self._limits)
        return message if isinstance(message.data, bytes) else evolve(message, data=_json_of(message))

    def _with(
        self, message: Message, id_: str | None, headers: Mapping[str, str] | None, delay: float | datetime
    ) -> Message:
        changes: dict[str, Any] = {
            "id": id_,
            "headers": headers,
            "not_before": self._due(delay) if delay != 0 else None,
        }
        message = evolve(message, **{name: value for name, value in changes.items() if value is not None})
        for change in self._on_dispatch:
            message = change(message)
        check(message, self._limits)
        return message

    def _due(self, delay: float | datetime) -> datetime:
        if isinstance(delay, datetime):
            if delay.tzinfo is None:
                raise CorruptMessage(f"delay={delay!r} has no time zone; write datetime.now(UTC) + timedelta(…)")
            return delay.astimezone(UTC)
        try:
            return self._clock.now() + timedelta(seconds=delay)
        except (TypeError, ValueError, OverflowError) as error:
            raise CorruptMessage(f"delay={delay!r} is neither seconds nor a datetime: {error}") from None

    def _check_size(self, message: Message) -> None:
        size = len(encode(message))
        if size > self._limits.event:
            raise CorruptMessage(
                f"event {message.type!r} of {size} bytes, the limit is {self._limits.event}; "
                "store what is large elsewhere and dispatch where it is, or raise ?max_event="
            )


def _json_of(message: Message) -> Any:
    """A copy of its data. Raises CorruptMessage for what is not JSON."""
    try:
        data = encode_raw(message.data)
    except Mismatch as error:
        raise CorruptMessage(f"event {message.type!r} has no JSON form: {error}") from None
    except RecursionError:
        raise CorruptMessage(f"event {message.type!r} is nested too deeply, or holds itself") from None
    check_depth([data])  # the event around it is a level too
    return data


def default_source() -> str:
    """`/` and the name of the program: the package that was started with -m, or the script."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    name = spec.name.partition(".")[0] if spec is not None else PurePath(sys.argv[0] if sys.argv else "").stem
    return "/" + ("".join(c for c in name if c.isprintable()) or "python")


def check_source(source: str) -> str:
    """A CloudEvents source, or a ConfigurationError."""
    if not isinstance(source, str) or not 0 < len(source) <= 1024 or not source.isprintable():
        raise ConfigurationError(f"source={source!r} must be a string of 1 to 1024 printable characters")
    return source
