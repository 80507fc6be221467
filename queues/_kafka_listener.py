"""What happens when partitions come and go: they are drained, committed and closed before another owner has them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Final

from ._kafka_books import Books, Offsets, Owner
from ._kafka_client import RebalanceListener, TopicPartition, client
from .clock import Clock

log: Final = logging.getLogger("notification.queues")

_REFUSALS = 50
"""In a row, after which nobody is waited for any more: there is no broker, and each comes at once."""


class Listener(RebalanceListener):  # type: ignore[misc]  # the client has no types
    """Runs in the client's own thread. While it waits for handlers to end, the membership is kept.

    leaving: the consumer closes, so nobody is waited for. drain: seconds that handlers get.
    """

    def __init__(self, books: Books, owner: Owner, clock: Clock, drain: float) -> None:
        self.leaving: bool = False
        self.consumer: Any = None
        self._books, self._owner, self._clock, self._drain = books, owner, clock, drain

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """They have no books yet, which is how they are found."""

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Hand out nothing more, let what runs finish for a while, commit, and close the books.

        Called too for what we lost when we were expelled while we wanted to join anew.
        """
        self._books.drop(self._books.foreign_to(self.consumer.group_metadata().member_id))
        ours = [one for one in revoked if one in self._books.ledgers]
        self._books.drain(ours)
        self._owner.changed()
        await self._drained(ours)
        await self._commit(self._books.last_commits(ours))
        self._books.drop(ours)
        self._owner.changed()

    async def _drained(self, partitions: list[TopicPartition]) -> None:
        """The answer to each commit is what wakes this up: the client has no public way to wait for anything else."""
        until, refused = self._clock.monotonic() + self._drain, 0
        while not self.leaving and self._books.is_busy(partitions) and refused < _REFUSALS:
            refused = 0 if await self._commit(self._books.commits(all_of_them=True)) else refused + 1
            if self._clock.monotonic() >= until:
                return

    async def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        """Others have them: what we know of them is worth nothing."""
        self._books.drop(lost)
        self._owner.changed()

    async def _commit(self, offsets: Offsets) -> bool:
        began = self._clock.monotonic()
        try:
            if await self.consumer.commit_async(offsets) is None:  # else it has only looked for the coordinator
                self._owner.proved(began)
                return True
        except client.KafkaError as error:
            log.debug("a commit in a rebalance was refused: %s", type(error).__name__, extra={"leaving": self.leaving})
        self._books.not_committed(offsets)
        return False
