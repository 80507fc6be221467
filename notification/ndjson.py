"""Events as lines: each a CloudEvents event in JSON, or a short object with what differs from one to the next.

The short form has no `specversion`: `{"type": …, "data": …}`, and if it likes `id`, `key` (for `partitionkey`), `time`,
`source`, `headers` and extension attributes. What is missing is filled in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from attrs import evolve, frozen

from queues.checks import RESERVED_HEADERS
from queues.clock import SYSTEM_CLOCK, Clock
from queues.errors import CorruptMessage, escape
from queues.message import DEFAULT_LIMITS, EPOCH, Limits, Message
from queues.wire import OVERHEAD_BYTES, decode

_BOM = b"\xef\xbb\xbf"


@frozen
class Line:
    """One line: its number from 1 on, and its message, or the error that says why there is none."""

    number: int
    message: Message | None
    error: str = ""


class LineReader:
    """Turns bytes, in chunks as they come, into lines. Holds at most one line, and no more of it than an event may be.

    source: of events that have none. next_id: makes the id of an event without one, from the number of its line and
    the line itself. Empty lines count, and are passed over.
    """

    def __init__(
        self,
        *,
        source: str,
        next_id: Callable[[int, bytes], str],
        limits: Limits = DEFAULT_LIMITS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._source, self._next_id, self._limits, self._clock = source, next_id, limits, clock
        self.number: int = 0
        """Of the last line that was completed."""
        self._rest = b""
        self._skipping = False

    def feed(self, chunk: bytes) -> list[Line]:
        """The lines that this chunk completes."""
        *ended, self._rest = (self._rest + chunk).split(b"\n")
        lines = [line for raw in ended if (line := self._line(raw)) is not None]
        if len(self._rest) > self._longest:
            self._skipping, self._rest = True, b""
        return lines

    def finish(self) -> list[Line]:
        """The last line, when no newline ended it."""
        raw, self._rest = self._rest, b""
        line = self._line(raw)
        return [] if line is None else [line]

    @property
    def _longest(self) -> int:
        return self._limits.event + OVERHEAD_BYTES

    def _line(self, raw: bytes) -> Line | None:
        self.number += 1
        skipped, self._skipping = self._skipping, False
        if skipped or len(raw) > self._longest:
            return Line(
                self.number, None, f"longer than {self._longest} bytes; an event has at most {self._limits.event}"
            )
        if self.number == 1:
            raw = raw.removeprefix(_BOM)
        if not raw or raw.isspace():
            return None
        try:
            return Line(self.number, self._message(raw))
        except CorruptMessage as error:
            return Line(self.number, None, str(error))

    def _message(self, raw: bytes) -> Message:
        message = decode(self._complete(raw), self._limits)
        if _has_lived(message):
            message = evolve(message.pristine(), not_before=message.not_before)
        return evolve(message, time=self._clock.now()) if message.time is EPOCH else message

    def _complete(self, raw: bytes) -> bytes:
        """The line as a CloudEvents event. What is none, and can't be made one, is for `decode` to refuse."""
        try:
            document = orjson.loads(raw)
        except (orjson.JSONDecodeError, RecursionError):
            return raw
        if type(document) is not dict or "specversion" in document:
            return raw
        document = _spelled_out(document)
        document.setdefault("source", self._source)
        document.setdefault("time", self._clock.now())
        if "id" not in document:
            document["id"] = self._next_id(self.number, raw)
        try:
            return orjson.dumps({"specversion": "1.0", **document})
        except TypeError as error:
            raise CorruptMessage(escape(str(error))) from None


def _has_lived(message: Message) -> bool:
    """Whether it has marks of retries, deaths or dead letters: sent again, an event begins anew."""
    marks = (message.deliveries, message.handlers, message.group, message.first_error, message.dead)
    return message.attempt != 1 or any(marks)


def _spelled_out(short: dict[str, Any]) -> dict[str, Any]:
    """The attributes of an event under the names that CloudEvents has for them."""
    document = {name: value for name, value in short.items() if value is not None or name == "data"}
    headers = document.pop("headers", {})
    if type(headers) is not dict:
        raise CorruptMessage("headers must be an object of strings")
    for name in headers:
        if name in RESERVED_HEADERS or name in document:
            raise CorruptMessage(f"header {escape(name, 100)!r} is reserved or given twice; rename it")
    document |= headers
    if "key" in document:
        if "partitionkey" in document:
            raise CorruptMessage("key and partitionkey are two names for one attribute; give one of them")
        document["partitionkey"] = _text_of_number(document.pop("key"))
    if "id" in document:
        document["id"] = _text_of_number(document["id"])
    return document


def _text_of_number(value: Any) -> Any:
    """Keys and ids are strings; an account's number is written as one."""
    return str(value) if type(value) is int else value
