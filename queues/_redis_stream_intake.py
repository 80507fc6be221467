"""Pushing to a stream: many events in one call."""

from __future__ import annotations

from collections.abc import Sequence

from ._redis_list_intake import Intake, Stored
from ._redis_scripts import Command, Script

_ADD = Script.named("stream_add")
_BIG = 4_096
"""Bytes of an event above which it is dearer to hand it to a script than to read one more reply."""


class StreamIntake(Intake):
    """The same as for a list; only what one event is for the server differs."""

    script = Script.named("stream_push")

    async def _push_plain(self, portion: Sequence[Stored]) -> None:
        events = [stored.event for stored in portion]
        if len(events) > 1 and sum(map(len, events)) <= _BIG * len(events):
            await self._link.call(_ADD((self._keys.waiting,), *events))
            return
        commands: list[Command] = [("XADD", self._keys.waiting, "*", "event", event) for event in events]
        await self._link.call(*(commands if len(commands) == 1 else [("MULTI",), *commands, ("EXEC",)]))
