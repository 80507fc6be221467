"""What happens when partitions come and go: they are drained, committed and closed before another owner has them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from ._kafka_client import AsyncConsumerRebalanceListener, TopicPartition, client
from .clock import Clock

if TYPE_CHECKING:
    from ._kafka_poll import Books, Owner

log: Final = logging.getLogger("notification.queues")


class Listener(AsyncConsumerRebalanceListener):  # type: ignore[misc]  # the client has no types
    """Runs in the client's own thread. While it waits for handlers to end, the membership is kept.

    assigned: partitions that are new and were not looked at yet; gone: those that are not ours any more. leaving: the
    consumer closes, so nobody is waited for.
    """

    def __init__(self, books: Books, owner: Owner, clock: Clock, drain: float) -> None:
        self.assigned: deque[TopicPartition] = deque()
        self.gone: deque[TopicPartition] = deque()
        self.leaving: bool = False
        self.consumer: Any = None
        self._books, self._owner, self._clock, self._drain = books, owner, clock, drain

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """They are looked at before anything of them is handed out."""
        self.assigned.extend(assigned)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Hand out nothing more, let what runs finish for a while, commit, and close the books."""
        self.gone.extend(revoked)
        ours = [one for one in revoked if one in self._books.ledgers]
        with self._books.lock:
            for one in ours:
                self._books.ledgers[one].leaving = True
        self._owner.changed()
        until = self._clock.monotonic() + self._drain
        # The answer to each commit is what wakes this up: the client has no public way to wait for anything else.
        while self._is_busy(ours) and self._clock.monotonic() < until and await self._commit(ours, leaving=False):
            pass
        await self._commit(ours, leaving=True)
        self._books.drop(ours)
        self._owner.changed()

    async def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        """Others have them: what we know of them is worth nothing."""
        self.gone.extend(lost)
        self._books.drop(list(lost))
        self._owner.changed()

    def _is_busy(self, partitions: list[TopicPartition]) -> bool:
        with self._books.lock:
            return not self.leaving and any(self._books.ledgers[one].popped for one in partitions)

    async def _commit(self, partitions: list[TopicPartition], *, leaving: bool) -> bool:
        commits = self._books.leave(partitions) if leaving else self._books.commits(all_of_them=True)
        if not commits:
            return False
        try:
            await self.consumer.commit_async(commits)
        except client.KafkaError as error:
            log.debug("a partition left without its last commit: %s", type(error).__name__, extra={"leaving": leaving})
            return False
        return True
