"""Administration of a queue's topics: its own, its dead letters, and those where delayed events wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import attrs

from ._kafka_calls import CallThread
from ._kafka_cluster import CLEANUP, MAX_BYTES, MIN_ISR, RETENTION, Cluster, Group, Topic
from ._kafka_errors import no_topic, translated
from ._kafka_left import Left
from ._kafka_options import Brokers, KafkaOptions
from ._kafka_plan import Plan, TopicOptions, checked, time_of
from ._kafka_questions import Questions
from ._kafka_topics import HORIZONS, all_of, movers_of, queues_among, readers_of
from .admin import Change, QueueAdmin, QueueInfo, Share, Value, counted
from .base import QueueStats
from .errors import ConfigurationError, QueueError
from .url import DEAD, QueueURL

_T = TypeVar("_T")


class KafkaAdmin(QueueAdmin):
    """A queue is a topic with others beside it. Whoever consumes it is a member of a consumer group."""

    options = TopicOptions

    def __init__(self, url: QueueURL) -> None:
        self._brokers = Brokers(url, url.read(KafkaOptions))
        super().__init__(self._brokers.url)
        self._topic = self._brokers.topic
        self._thread = CallThread(self._brokers.name, self._brokers.connect_timeout + 3 * self._brokers.options.timeout)
        self._questions = Questions(self._brokers)

    async def open(self) -> None:
        await self._ask(lambda cluster: None)

    async def close(self) -> None:
        self._thread.close(last=self._questions.close)

    async def create(self, options: TopicOptions) -> Sequence[Change]:
        """The topic and those beside it. A topic that exists keeps what it has; only `grow` adds to it."""
        return await self._ask(Plan(self._topic, options).carry_out)

    async def list(self) -> Sequence[QueueInfo]:
        """Every queue of the cluster. Dead letters of all groups are counted."""
        return await self._ask(self._list)

    async def describe(self) -> QueueInfo:
        """Partitions, settings, groups, and who has which partition."""
        return await self._ask(self._describe)

    async def delete(self) -> Sequence[Change]:
        """All its topics."""
        return await self._ask(self._delete)

    async def lag(self, *, own: bool = False) -> Sequence[Share]:
        """A share a partition and group. What is finished behind the committed offset is no lag."""
        return await self._ask(lambda cluster: self._lag(cluster, own=own))

    # -- in the thread

    async def _ask(self, work: Callable[[Cluster], _T]) -> _T:
        with translated(self._brokers, opening=True):
            return await self._thread.call(lambda: self._questions.ask(lambda admin: work(Cluster(admin))))

    def _existing(self, cluster: Cluster) -> dict[str, Topic]:
        topics = cluster.topics(all_of(self._topic))
        if self._topic not in topics:
            raise ConfigurationError(no_topic(self._brokers, self._topic))
        return topics

    def _list(self, cluster: Cluster) -> Sequence[QueueInfo]:
        topics = cluster.topics()
        return self._infos(cluster, topics, queues_among(topics))

    def _infos(self, cluster: Cluster, topics: Mapping[str, Topic], names: Sequence[str]) -> Sequence[QueueInfo]:
        group = self._brokers.group
        wanted: dict[str, list[Topic]] = {group: []}
        for name in names:
            for one in (topics[one] for one in all_of(name) if one in topics):
                wanted.setdefault(_reader_of(one.name, name, group), []).append(one)
        left = cluster.left(wanted, or_all=True)
        found: list[QueueInfo] = []
        for name in names:
            counts = {one: _count(left.get(_reader_of(one, name, group), {}).get(one, {})) for one in all_of(name)}
            delayed = sum(counts[f"{name}.{suffix}"] for suffix in HORIZONS)
            stats = QueueStats(counts[name], delayed=delayed, dead=counts[f"{name}.{DEAD}"])
            missing = " ".join(one for one in all_of(name) if one not in topics)
            facts: dict[str, Value] = {"partitions": len(topics[name].partitions), "replicas": topics[name].replicas}
            found.append(QueueInfo(name, stats, {**facts, "missing": missing or None}))
        return found

    def _describe(self, cluster: Cluster) -> QueueInfo:
        topics = self._existing(cluster)
        topic = topics[self._topic]
        [info] = self._infos(cluster, topics, [self._topic])
        configs = cluster.configs([self._topic])[self._topic]
        groups = cluster.groups_of(topic)
        left = cluster.left({name: [topic] for name in [self._brokers.group, *(group.name for group in groups)]})
        facts: dict[str, Value] = {
            "replicas": topic.replicas,
            "copies to accept": _number(configs.get(MIN_ISR)),
            "largest batch": _number(configs.get(MAX_BYTES)),
            "kept": time_of(configs.get(RETENTION)),
            "cleanup": configs.get(CLEANUP),
        }
        return attrs.evolve(
            info,
            facts={**facts, "missing": info.facts["missing"]},
            tables={
                "partitions": _rows_of_partitions(topic, left[self._brokers.group][topic.name]),
                "groups": _rows_of_groups(topic.name, groups, left),
                "members": _rows_of_members(topic.name, groups),
            },
        )

    def _delete(self, cluster: Cluster) -> Sequence[Change]:
        topics = self._existing(cluster)
        for group in cluster.groups_of(topics[self._topic]):
            if members := group.of(self._topic):
                who = ", ".join(member.name for member in members)
                raise QueueError(f"{self._topic} is being consumed by the group {group.name}: {who}; stop them first")
        kept = cluster.kept(topics.values())
        names = [name for name in all_of(self._topic) if name in topics]
        checked(cluster.admin.delete_topics(names, raise_errors=False), "deleted")
        return [Change(name, "deleted", f"{counted(kept[name])}, handled ones too") for name in names]

    def _lag(self, cluster: Cluster, *, own: bool) -> Sequence[Share]:
        topic = self._existing(cluster)[self._topic]
        groups = cluster.groups([self._brokers.group]) if own else cluster.groups_of(topic)
        left = cluster.left({group.name: [topic] for group in groups})
        shares = []
        for group in groups:
            owners = {number: one.name for one in group.members for number in one.partitions.get(topic.name, ())}
            shares += [
                Share(one.count, number, owners.get(number), group.name)
                for number, one in sorted(left[group.name][topic.name].items())
            ]
        return shares


def _reader_of(one: str, name: str, group: str) -> str:
    """The consumer group that takes from a topic of the queue of this name."""
    if one == name:
        return group
    return readers_of(one) if one.endswith(f".{DEAD}") else movers_of(name)


def _count(left: Mapping[int, Left]) -> int:
    return sum(one.count for one in left.values())


def _rows_of_partitions(topic: Topic, left: Mapping[int, Left]) -> Sequence[dict[str, Value]]:
    return [
        {
            "partition": one.number,
            "leader": one.leader if one.leader >= 0 else "none",
            "replicas": _numbers(one.replicas),
            "in sync": _numbers(one.in_sync),
            "end": left[one.number].end,
        }
        for one in topic.partitions
    ]


def _rows_of_groups(
    topic: str, groups: Sequence[Group], left: Mapping[str, Mapping[str, Mapping[int, Left]]]
) -> Sequence[dict[str, Value]]:
    return [
        {
            "group": group.name,
            "state": group.state,
            "members": len(group.of(topic)),
            "lag": _count(left[group.name][topic]),
        }
        for group in groups
    ]


def _rows_of_members(topic: str, groups: Sequence[Group]) -> Sequence[dict[str, Value]]:
    return [
        {"member": one.name, "group": group.name, "partitions": _numbers(one.partitions.get(topic, ())), "id": one.id}
        for group in groups
        for one in group.of(topic)
    ]


def _numbers(numbers: Sequence[int]) -> str:
    return " ".join(map(str, numbers)) or "none"


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)
