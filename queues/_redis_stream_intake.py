"""Pushing to a stream: many events in one call."""

from __future__ import annotations

from collections.abc import Sequence

from ._redis_list_intake import Intake, Stored
from ._redis_scripts import Command, Script

_BIG = 2_048
"""Bytes of an event above which it is dearer to hand it to a script than to read one more reply."""


class StreamIntake(Intake):
    """The same as for a list; only what one event is for the server differs."""

    script = Script.named("stream_push")

    async def _push_plain(self, portion: Sequence[Stored]) -> None:
        commands: list[Command] = [("XADD", self._keys.waiting, "*", "event", stored.event) for stored in portion]
        if len(commands) == 1:
            await self._link.call(*commands)
        elif sum(len(stored.event) for stored in portion) > _BIG * len(portion):
            await self._link.call(("MULTI",), *commands, ("EXEC",))
        else:
            await self._link.call(self._scripted(portion))
