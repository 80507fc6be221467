"""What is finished is committed, again and again, and nobody waits for it; each commit that is accepted is a proof."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ._kafka_books import Books, Owner, Promises
from ._kafka_client import TopicPartition, client
from .clock import Clock

_EACH = 0.05
"""Seconds between two commits."""
_PASSES = (client.RebalanceInProgressError, client.RetriableError)  # pyright: ignore[reportAttributeAccessIssue]  # its stubs are of an older client
_AFTER_REFUSAL = 0.2
_SOON = 0.2
"""Seconds in which a broker answers, unless it is away or has a lot to do."""
_REFUSED = 3.0
"""Seconds after which whoever pops is told that commits are refused."""


def accepted(commit: Any) -> bool:
    """Whether a commit that has ended was stored. With no broker to ask, the client's future is that of the search for
    one, whose result is a number.
    """
    return commit.exception is None and commit.value is None


def is_final(commit: Any) -> bool:
    """Whether a commit that was refused will be so for ever; most are refused because others come and go."""
    return commit.exception is not None and not isinstance(commit.exception, _PASSES)


class _Commit(NamedTuple):
    future: Any
    promises: Promises
    began: float
    wanted: bool


class Commits:
    """One at a time, of one consumer, in its thread. lease: seconds for which a proof holds."""

    def __init__(self, books: Books, owner: Owner, clock: Clock, lease: float) -> None:
        self.wanted: bool = False
        """Somebody waits for a proof."""
        self._books, self._owner, self._clock, self._lease = books, owner, clock, lease
        self._current: _Commit | None = None
        self._all = False
        self._next_at = self._proved_at = 0.0
        self._refused_at: float | None = None

    @property
    def hurried(self) -> bool:
        """Whether somebody may wait for an answer that is to be expected any moment. In an outage none is: then each
        look for it would leave something behind in the client, until that gives up on its brokers.
        """
        if self._current is None:
            return self.wanted
        return self._clock.monotonic() - self._current.began < _SOON

    def forget(self) -> None:
        """Its consumer is gone."""
        self._current, self._refused_at = None, None

    def step(self, consumer: Any) -> Iterable[TopicPartition]:
        """Begin the next commit when it is time; returns the partitions of one that was accepted meanwhile."""
        stored: Iterable[TopicPartition] = ()
        now = self._clock.monotonic()
        if self._current is not None:
            if not self._current.future.is_done:
                return ()
            commit, self._current = self._current, None
            stored = self._ended(commit, now)
        stale = bool(self._books.ledgers) and now - self._proved_at > self._lease / 3
        if now >= self._next_at or (self.wanted and self._refused_at is None):
            self._begin(consumer, all_of_them=self._all or stale)
        return stored

    def _begin(self, consumer: Any, *, all_of_them: bool) -> None:
        if wanted := self.wanted:
            self.wanted = False  # and who wants another one from here on keeps his wish
        now, self._all = self._clock.monotonic(), False
        self._next_at = now + _EACH
        if offsets := self._books.commits(all_of_them=all_of_them or wanted):
            self._current = _Commit(consumer.commit_async(offsets), self._books.promises(offsets), now, wanted)
        elif wanted:
            self._owner.proved(now)  # nothing is ours: there is nothing to be in doubt of

    def _ended(self, commit: _Commit, now: float) -> Iterable[TopicPartition]:
        if accepted(commit.future):
            self._proved_at, self._refused_at = commit.began, None
            self._owner.proved(commit.began)
            return self._books.committed(commit.promises)
        self._books.not_committed(commit.promises)
        self._all = True
        self.wanted = self.wanted or commit.wanted
        self._refused(commit.future.exception, now)
        return ()

    def _refused(self, error: Exception | None, now: float) -> None:
        """Normal while others come and go, and in an outage; told when it lasts."""
        if error is not None and not isinstance(error, client.KafkaError):
            raise error
        self._next_at = now + _AFTER_REFUSAL
        if error is None or isinstance(error, _PASSES):
            return
        self._refused_at = now if self._refused_at is None else self._refused_at
        if now - self._refused_at > _REFUSED:
            self._owner.failed(error)
