"""Looking at a topic without taking anything: how much is left for a group, and what it is."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from ._kafka_calls import CallThread
from ._kafka_client import KafkaConsumer, TopicPartition, client
from ._kafka_connect import connected
from ._kafka_errors import no_topic, translated
from ._kafka_left import Left, left_of
from ._kafka_options import Brokers
from ._kafka_questions import Questions
from ._kafka_topics import all_of, described
from .clock import Clock
from .errors import ConfigurationError, escape

_POLL_MS = 200
_TRIES = 3
_SKEW_MS = 60_000
"""How far the clock of who dispatched may be ahead of the broker's."""
_POSITION = re.compile(r"(?:(\d{1,9}):)?(\d{1,18})")


class Look:
    """Asks in a thread of its own, which begins with the first question."""

    def __init__(self, brokers: Brokers, clock: Clock) -> None:
        self._brokers, self._clock = brokers, clock
        self._thread = CallThread(brokers.name, brokers.connect_timeout + brokers.options.timeout)
        self._questions = Questions(brokers)
        self._reader: Reader | None = None

    async def left(self, topic: str, group: str) -> dict[int, Left]:
        """What is left of a topic for this group, by partition. Raises QueueUnavailable."""
        with translated(self._brokers):
            return await self._thread.call(partial(self._left, topic, group))

    async def left_beside(self, topic: str, group: str) -> dict[int, Left]:
        """The same of a topic that need not be there."""
        with translated(self._brokers):
            return await self._thread.call(partial(self._left_beside, topic, group))

    async def remove_past(self, topic: str, group: str) -> None:
        """Delete what this group is past, of a topic that it alone reads. Raises QueueUnavailable."""
        with translated(self._brokers):
            await self._thread.call(partial(self._remove_past, topic, group))

    async def browse(self, topic: str, group: str, since: datetime | str | None, *, follow: bool) -> AsyncIterator[Any]:
        """The client's records: what is left for this group, or all from a time or a position on; each partition in
        order.
        """
        starts = _positions(since) if isinstance(since, str) else None
        left = await self.left(topic, group)
        chosen = self._chosen(topic, len(left))
        reader = Reader(self._brokers, topic, follow=follow)
        thread = CallThread(self._brokers.name, self._brokers.connect_timeout + self._brokers.options.timeout)
        try:
            with translated(self._brokers):
                await thread.call(partial(reader.open, {one: left[one] for one in chosen}, since, starts))
            while not reader.at_end:
                with translated(self._brokers):
                    page = await thread.call(reader.page)
                for record in page:
                    if since is not None or left[record.partition].has(record.offset):
                        yield record
        finally:
            thread.close(last=reader.close)

    async def first_of(self, topic: str, left: Mapping[int, Left]) -> Sequence[Any]:
        """Of each partition the first record that is left, as far as it comes at once."""
        with translated(self._brokers):
            return await self._thread.call(partial(self._first_of, topic, left))

    async def check_siblings(self) -> None:
        """Raises ConfigurationError when a topic beside the queue's own is missing, or a partition that the URL names;
        QueueUnavailable.
        """
        with translated(self._brokers, opening=True):
            topics = await self._thread.call(self._topics)
        if missing := [one["name"] for one in topics if one["error_code"]]:
            raise ConfigurationError(no_topic(self._brokers, ", ".join(missing)))
        [own] = [one for one in topics if one["name"] == self._brokers.topic]
        self._chosen(own["name"], len(own["partitions"]))

    def close(self) -> None:
        """Let go of the connections. Idempotent."""
        self._thread.close(last=self._disconnect)

    def _left(self, topic: str, group: str) -> dict[int, Left]:
        return self._questions.ask(lambda admin: left_of(admin, topic, group))

    def _left_beside(self, topic: str, group: str) -> dict[int, Left]:
        try:
            return self._left(topic, group)
        except client.UnknownTopicOrPartitionError:
            return {}

    def _remove_past(self, topic: str, group: str) -> None:
        past = {TopicPartition(topic, number): one.low for number, one in self._left(topic, group).items() if one.low}
        if past:
            self._questions.ask(lambda admin: admin.delete_records(past))

    def _topics(self) -> Sequence[Mapping[str, Any]]:
        wanted = all_of(self._brokers.topic)
        return self._questions.ask(lambda admin: described(admin, wanted))

    def _chosen(self, topic: str, count: int) -> Sequence[int]:
        """The partitions to read."""
        chosen = range(count) if self._brokers.partitions is None else self._brokers.partitions
        if chosen and chosen[-1] >= count:
            raise ConfigurationError(f"there is no partition {chosen[-1]}: the topic {topic!r} has {count}, from 0 on")
        return chosen

    def _first_of(self, topic: str, left: Mapping[int, Left]) -> Sequence[Any]:
        waiting = {number: one for number, one in left.items() if one.count}
        if self._reader is None:
            self._reader = Reader(self._brokers, topic, follow=False)
        return self._reader.first_of(waiting)

    def _disconnect(self) -> None:
        self._questions.close()
        if self._reader is not None:
            self._reader.close()


class Reader:
    """A consumer without a group. Blocks: for a thread that may. follow: goes on with what arrives."""

    def __init__(self, brokers: Brokers, topic: str, *, follow: bool) -> None:
        self._brokers, self._topic, self._follow = brokers, topic, follow
        self._consumer: Any = None
        self._ends: dict[TopicPartition, int] = {}

    def open(self, left: dict[int, Left], since: datetime | str | None, starts: dict[int | None, int] | None) -> None:
        """Stand where it begins."""
        consumer = self._connected()
        places = [TopicPartition(self._topic, number) for number in left]
        consumer.assign(places)
        self._ends = {place: left[place.partition].end for place in places}
        times = self._at(places, since) if isinstance(since, datetime) else {}
        for place in places:
            mine = left[place.partition]
            begin = mine.low
            if starts is not None:
                begin = starts.get(place.partition, starts.get(None, mine.end))
            elif since is not None:
                begin = times.get(place, mine.end)
            consumer.seek(place, min(begin, mine.end))

    @property
    def at_end(self) -> bool:
        """Whether all is read that was there at the beginning."""
        return not self._follow and not self._ends

    def page(self) -> Sequence[Any]:
        """What comes next; empty where nothing came for a moment."""
        found = self._consumer.poll(timeout_ms=_POLL_MS)
        records = [record for batch in found.values() for record in batch]
        if not self._follow:
            ends = {place.partition: end for place, end in self._ends.items()}
            records = [record for record in records if record.offset < ends.get(record.partition, 0)]
            self._ends = {one: end for one, end in self._ends.items() if (self._consumer.position(one) or 0) < end}
        return records

    def first_of(self, left: Mapping[int, Left]) -> Sequence[Any]:
        """Of each partition the first record that is left, as far as it comes at once."""
        consumer = self._connected()
        places = [TopicPartition(self._topic, number) for number in left]
        consumer.assign(places)
        for place in places:
            consumer.seek(place, left[place.partition].low)
        found: dict[int, Any] = {}
        for _ in range(_TRIES):
            for place, records in consumer.poll(timeout_ms=_POLL_MS).items():
                for record in records:
                    if place.partition not in found and left[place.partition].has(record.offset):
                        found[place.partition] = record
            if len(found) == len(places):
                break
        return list(found.values())

    def close(self) -> None:
        """Let go of the connections."""
        if self._consumer is not None:
            self._consumer.close(autocommit=False)

    def _connected(self) -> Any:
        if self._consumer is None:
            self._consumer = connected(KafkaConsumer, {**self._brokers.consumer(), "group_id": None})
        return self._consumer

    def _at(self, places: Sequence[TopicPartition], since: datetime) -> dict[TopicPartition, int]:
        moment = max(0, int(since.timestamp() * 1000) - _SKEW_MS)
        found = self._consumer.offsets_for_times(dict.fromkeys(places, moment))
        return {place: one.offset for place, one in found.items() if one is not None}


def _positions(since: str) -> dict[int | None, int]:
    """By partition the offset to begin with; under None that of the others. Raises ConfigurationError."""
    found: dict[int | None, int] = {}
    for part in since.split(","):
        position = _POSITION.fullmatch(part.strip())
        if position is None:
            raise ConfigurationError(
                f"a position in a topic is written 1500, or 0:1500,2:80; not {escape(since, 40)!r}"
            )
        found[None if position[1] is None else int(position[1])] = int(position[2])
    return found
