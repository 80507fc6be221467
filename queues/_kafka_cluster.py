"""What brokers say about topics and consumer groups. Blocks: for a thread that may."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from ._kafka_client import ConfigResource, ConfigResourceType, IsolationLevel, OffsetSpec, TopicPartition, client
from ._kafka_left import Left

RETENTION, MIN_ISR, MAX_BYTES, CLEANUP = "retention.ms", "min.insync.replicas", "max.message.bytes", "cleanup.policy"


@frozen
class Partition:
    """One of a topic; the others by the numbers of their brokers. leader: -1 for none."""

    number: int
    leader: int
    replicas: Sequence[int]
    in_sync: Sequence[int]


@frozen
class Topic:
    """A topic that exists, its partitions in order."""

    name: str
    partitions: Sequence[Partition]

    @property
    def replicas(self) -> int:
        """How many copies there are of each event."""
        return max((len(one.replicas) for one in self.partitions), default=0)

    @property
    def places(self) -> list[TopicPartition]:
        """Its partitions, as the client names them."""
        return [TopicPartition(self.name, one.number) for one in self.partitions]


@frozen
class Member:
    """A consumer of a group. partitions: by topic, those that it has."""

    id: str
    host: str
    partitions: Mapping[str, Sequence[int]]
    topics: Collection[str]

    @property
    def name(self) -> str:
        """Short, and still one of its own: where it runs, and how its id ends."""
        return f"{self.host}/{self.id[-8:]}"


@frozen
class Group:
    """A consumer group. state: in the brokers' words, `Stable`, `Empty`, `PreparingRebalance`, …"""

    name: str
    state: str
    members: Sequence[Member] = field(factory=tuple)

    def of(self, topic: str) -> list[Member]:
        """Those of its members that consume a topic."""
        return [one for one in self.members if topic in one.topics or topic in one.partitions]


class Cluster:
    """Asks through a KafkaAdminClient. Raises what that raises."""

    def __init__(self, admin: Any) -> None:
        self.admin = admin

    def topics(self, names: Sequence[str] | None = None) -> dict[str, Topic]:
        """Those of these names that exist; None: all but the brokers' own."""
        found: dict[str, Topic] = {}
        for each in self.admin.describe_topics(names):
            error = client.for_code(each["error_code"])
            if error is client.UnknownTopicOrPartitionError or (names is None and each["is_internal"]):
                continue
            if error is not client.NoError:
                raise error(each["name"])
            partitions = sorted(map(_partition, each["partitions"]), key=lambda one: one.number)
            found[each["name"]] = Topic(each["name"], partitions)
        return found

    def configs(self, names: Iterable[str]) -> dict[str, dict[str, str]]:
        """Of each topic those settings that we know the meaning of."""
        keys: Any = dict.fromkeys((RETENTION, MIN_ISR, MAX_BYTES, CLEANUP))
        resources = [ConfigResource(ConfigResourceType.TOPIC, name, keys) for name in names]
        found = self.admin.describe_configs(resources, config_filter="all")["topic"] if resources else {}
        return {topic: {key: one["value"] for key, one in configs.items()} for topic, configs in found.items()}

    def left(
        self, wanted: Mapping[str, Sequence[Topic]], *, or_all: bool = False
    ) -> dict[str, dict[str, dict[int, Left]]]:
        """What is left for groups, each of these topics: by group, topic and partition. A few questions for all.

        or_all: all that there is, for a user who may not see the groups.
        """
        asked = {group: [place for topic in topics for place in topic.places] for group, topics in wanted.items()}
        asked = {group: places for group, places in asked.items() if places}
        found: dict[str, dict[str, dict[int, Left]]] = {group: {} for group in wanted}
        if asked:
            oldest, ends = self._bounds(list({place for places in asked.values() for place in places}))
            try:
                committed = self.admin.list_group_offsets(asked)
            except client.GroupAuthorizationFailedError:
                if not or_all:
                    raise
                committed = {}
            for group, places in asked.items():
                for place in places:
                    one = Left.of(oldest[place].offset, ends[place].offset, committed.get(group, {}).get(place))
                    found[group].setdefault(place.topic, {})[place.partition] = one
        return found

    def kept(self, topics: Iterable[Topic]) -> dict[str, int]:
        """How many events there are in each topic, whether handled or not."""
        found: dict[str, int] = {}
        oldest, ends = self._bounds([place for topic in topics for place in topic.places])
        for place, begin in oldest.items():
            found[place.topic] = found.get(place.topic, 0) + ends[place].offset - begin.offset
        return found

    def groups_of(self, topic: Topic) -> list[Group]:
        """Those that consume a topic, or once did."""
        names = sorted(one["group_id"] for one in self.admin.list_groups() if one["protocol_type"] in {"consumer", ""})
        if not names:
            return []
        committed = self.admin.list_group_offsets(dict.fromkeys(names, topic.places))
        began = {name for name in names if any(one.offset >= 0 for one in committed.get(name, {}).values())}
        return [group for group in self.groups(names) if group.name in began or group.of(topic.name)]

    def groups(self, names: Sequence[str]) -> list[Group]:
        """These, with their members."""
        found = self.admin.describe_groups(names)
        return [
            Group(name, found[name]["group_state"] or "Empty", [_member(one) for one in found[name]["members"]])
            for name in names
        ]

    def _bounds(self, places: Sequence[TopicPartition]) -> tuple[Mapping[Any, Any], Mapping[Any, Any]]:
        """The oldest offset of each partition, and the one after the newest."""
        oldest = self.admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.EARLIEST))
        newest, read = dict.fromkeys(places, OffsetSpec.LATEST), IsolationLevel.READ_COMMITTED
        return oldest, self.admin.list_partition_offsets(newest, isolation_level=read)


def _partition(found: Mapping[str, Any]) -> Partition:
    replicas, in_sync = sorted(found["replica_nodes"]), sorted(found["isr_nodes"])
    return Partition(found["partition_index"], found["leader_id"], replicas, in_sync)


def _member(found: Mapping[str, Any]) -> Member:
    assigned, wanted = found["member_assignment"], found["member_metadata"]
    parts = assigned["assigned_partitions"] if isinstance(assigned, Mapping) else []
    topics = wanted["topics"] if isinstance(wanted, Mapping) else []
    return Member(
        found["member_id"],
        found["client_host"].lstrip("/"),
        {part["topic"]: sorted(part["partitions"]) for part in parts},
        set(topics),
    )
