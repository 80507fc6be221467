"""Where a retry waits: with a key in its place, without one here for a while, or else in a topic."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import attrs

from ._kafka_consumer import Consumer
from ._kafka_delay import DelayTopics
from .clock import Clock
from .errors import PushFailed
from .message import Delivery, Message, Nack

_NEAR = 10.0
"""Seconds for which a retry without a key waits here; a longer one waits in a topic."""


class Retries:
    """group: who has to try again; all others pass it by. keyed: whether a key has its place. stays: none leaves."""

    def __init__(
        self, consumer: Consumer, delay: DelayTopics, clock: Clock, *, group: str, keyed: bool, stays: bool
    ) -> None:
        self._consumer, self._delay, self._clock = consumer, delay, clock
        self._group, self._keyed, self._stays = group, keyed, stays

    async def nack(self, nacks: Sequence[Nack]) -> list[Delivery]:
        """As `MessageQueue.nack_many`."""
        away = [at for at, nack in enumerate(nacks) if nack.delay > _NEAR and self._may_leave_its_place(nack)]
        if not away:
            return await self._consumer.give_back(nacks, settled=True)
        here = [nack for at, nack in enumerate(nacks) if at not in set(away)]
        try:  # first, for if it can't be done all of them are tried again
            lost = await self._send_away([nacks[at] for at in away])
        except PushFailed as failed:
            await self._consumer.give_back(here, settled=True)
            raise PushFailed({away[at]: error for at, error in failed.errors.items()}) from failed
        return lost + await self._consumer.give_back(here, settled=True)

    async def keep(self) -> None:
        """At the end: those without a key wait on in a topic; those with one stay in their places, and begin anew."""
        await self._send_away([nack for nack in self._consumer.waits.retries() if self._may_leave_its_place(nack)])

    async def _send_away(self, nacks: Sequence[Nack]) -> list[Delivery]:
        """Each waits on as a copy in a topic; returns those that were not ours any more."""
        if not nacks:
            return []
        lost = await self._consumer.lost_of([nack.delivery for nack in nacks])
        ours = [at for at, nack in enumerate(nacks) if nack.delivery not in lost]
        errors = await self._delay.store([self._copy_of(nacks[at]) for at in ours], None) if ours else {}
        stored = [nacks[at].delivery for number, at in enumerate(ours) if number not in errors]
        lost += await self._consumer.finish(stored)
        if errors:
            raise PushFailed({ours[number]: error for number, error in errors.items()})
        return lost

    def _may_leave_its_place(self, nack: Nack) -> bool:
        message = nack.message or nack.delivery.message
        return not self._stays and message is not None and (message.key is None or not self._keyed)

    def _copy_of(self, nack: Nack) -> Message:
        message = nack.message or nack.delivery.expect()
        due = self._clock.now() + timedelta(seconds=nack.delay)
        return attrs.evolve(message, not_before=due, group=self._group)
