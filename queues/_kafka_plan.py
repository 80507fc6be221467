"""Making the topics of a queue: which there have to be, with which settings, and what is to be done about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from ._kafka_client import client
from ._kafka_cluster import MAX_BYTES, MIN_ISR, RETENTION, Cluster, Topic
from ._kafka_options import DEFAULT_LIMIT
from ._kafka_topics import HORIZONS, all_of
from .admin import Change, counted
from .errors import ConfigurationError, escape
from .url import DEAD, seconds_of

FOREVER = "forever"
SEGMENT = "segment.ms"
_ROOM = 64 << 10
"""Bytes beyond an event as it was dispatched: for what retries and death add, and for the batch around it."""
_MOST_MOVERS = 6
"""Partitions of a topic where delayed events wait: enough for some processes to share the moving."""
_MOVED = "Keys go to other partitions from now on: what waits of a key may be handled after later events of it"
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms"))


def _option(default: object, text: str) -> Any:
    return attrs.field(default=default, metadata={"help": text})


@attrs.frozen(kw_only=True)
class TopicOptions:
    """What `create` may be told. Where nothing is given, the brokers' own settings hold."""

    partitions: int = _option(6, "Partitions: as many processes of a group can share the work")
    replication: int | None = _option(None, "Copies of each event, on as many brokers; if not given, the brokers' own")
    min_isr: int | None = _option(None, "Copies that have to be written before an event is accepted")
    retention: str | None = _option(None, "How long events are kept, handled or not: 12h, 7d, forever")
    segment: str | None = _option(None, "After how long a new file of events is begun: whole files are deleted")
    dead_retention: str = _option(FOREVER, "How long dead letters are kept")
    max_event: int | None = _option(None, "Bytes of the largest event; not less than ?max_event= of the URL")
    grow: bool = _option(False, "Add partitions where the queue has fewer")


@attrs.frozen
class Wanted:
    """A topic as it should be."""

    partitions: int
    configs: Mapping[str, str]


class Plan:
    """Makes what is missing. What is there stays as it is; where it is not as wanted, that is told."""

    def __init__(self, topic: str, options: TopicOptions) -> None:
        """Raises ConfigurationError for options that can't be."""
        self._topic, self._options = topic, options
        if options.partitions < 1:
            raise ConfigurationError(f"--partitions {options.partitions}: a topic has one or more")
        if options.replication is not None and (options.min_isr or 1) > options.replication:
            both = f"--min-isr {options.min_isr} is more than --replication {options.replication}"
            raise ConfigurationError(f"{both}: nothing would be accepted")
        given = {RETENTION: options.retention, MIN_ISR: options.min_isr, MAX_BYTES: options.max_event}
        self._given = {name: str(value) for name, value in given.items() if value is not None}
        if options.retention is not None:
            self._given[RETENTION] = _ms(options.retention, "--retention")
        if options.segment is not None:
            self._given[SEGMENT] = str(
                round(seconds_of(options.segment, f"--segment {escape(options.segment, 40)}") * 1000)
            )
        if options.max_event is not None:
            self._given[MAX_BYTES] = str(options.max_event + _ROOM)
        self._dead_kept = _ms(options.dead_retention, "--dead-retention")

    def carry_out(self, cluster: Cluster) -> list[Change]:
        """Blocks. Raises ConfigurationError for what the brokers refuse; then nothing, or not everything, was made."""
        names = all_of(self._topic)
        there = cluster.topics(names)
        configs = cluster.configs(there)
        wanted = self._wanted(self._largest(cluster, configs))
        missing = {name: self._request(one) for name, one in wanted.items() if name not in there}
        made: dict[str, Any] = {}
        if missing:
            answer = cluster.admin.create_topics(missing, raise_errors=False)
            made = {one["name"]: one for one in answer["topics"]}
            checked(answer, "created", but=client.TopicAlreadyExistsError)
            cluster.admin.wait_for_topics(list(missing), timeout_ms=cluster.admin.config["request_timeout_ms"])
        return [
            _created(made[name]) if name in made else self._found(cluster, there[name], wanted[name], configs[name])
            for name in names
        ]

    def _largest(self, cluster: Cluster, configs: Mapping[str, Mapping[str, str]]) -> int:
        """Bytes of a batch that the topic takes, or will: asked by making it for show."""
        if self._topic in configs:
            return int(configs[self._topic].get(MAX_BYTES, DEFAULT_LIMIT))
        show = {self._topic: self._request(Wanted(self._options.partitions, self._given))}
        answer = cluster.admin.create_topics(show, validate_only=True, raise_errors=False)
        checked(answer, "created")
        return int((answer["topics"][0].get("configs") or {}).get(MAX_BYTES, {}).get("value") or DEFAULT_LIMIT)

    def _wanted(self, largest: int) -> dict[str, Wanted]:
        copies = {name: value for name, value in self._given.items() if name == MIN_ISR}
        # what can't be decoded travels to the dead letters as base64
        dead = {**copies, RETENTION: self._dead_kept, MAX_BYTES: str(2 * largest + _ROOM)}
        later = {**copies, RETENTION: "-1", MAX_BYTES: str(largest + _ROOM)}
        partitions = self._options.partitions
        return {
            self._topic: Wanted(partitions, self._given),
            f"{self._topic}.{DEAD}": Wanted(1, dead),
            **{f"{self._topic}.{suffix}": Wanted(min(partitions, _MOST_MOVERS), later) for suffix in HORIZONS},
        }

    def _request(self, wanted: Wanted) -> dict[str, Any]:
        return {
            "num_partitions": wanted.partitions,
            "replication_factor": self._options.replication or -1,
            "configs": dict(wanted.configs),
        }

    def _found(self, cluster: Cluster, topic: Topic, wanted: Wanted, configs: Mapping[str, str]) -> Change:
        """Of the queue's own topic everything counts that was asked for, of the others what they can't do without."""
        own = topic.name == self._topic
        has, most = len(topic.partitions), wanted.partitions
        notes = [
            f"its {name} is {configs[name]}, not {value}"
            for name, value in wanted.configs.items()
            if name in configs and _differs(configs[name], value, exactly=own)
        ]
        if own and has < most and self._options.grow:
            cluster.admin.create_partitions({topic.name: most})
            return Change(
                topic.name, "grown", "; ".join([f"from {has} to {counted(most, 'partition')}. {_MOVED}", *notes])
            )
        partitions = counted(has, "partition")
        if own and has != most:
            partitions += f", not {most}" + ("; --grow adds them" if has < most else "; none can be taken away")
        return Change(topic.name, "exists", "; ".join([partitions, *notes]))


def checked(answer: Mapping[str, Any], done: str, *, but: type[Exception] | None = None) -> None:
    """Raise ConfigurationError for what brokers refused to do with a topic."""
    for one in answer["topics"]:
        error = client.for_code(one["error_code"])
        if error not in {client.NoError, but}:
            why = escape(one["error_message"] or error.__name__, 300)
            raise ConfigurationError(f"{one['name']} can't be {done}: {why}")


def time_of(ms: str | None) -> str | None:
    """A retention, for people."""
    if ms is None or int(ms) < 0:
        return ms and FOREVER
    size, unit = next(unit for unit in _UNITS if int(ms) % unit[0] == 0)
    return f"{int(ms) // size} {unit}"


def _created(answer: Mapping[str, Any]) -> Change:
    if answer["error_code"]:
        return Change(answer["name"], "exists", "somebody else has just made it")
    configs = answer.get("configs") or {}
    kept = time_of(configs.get(RETENTION, {}).get("value"))
    notes = [counted(answer["num_partitions"], "partition"), counted(answer["replication_factor"], "replica")]
    least = int(configs.get(MIN_ISR, {}).get("value") or 1)
    if least > answer["replication_factor"]:
        notes.append(f"but {MIN_ISR} is {least}: nothing will be accepted")
    return Change(answer["name"], "created", ", ".join([*notes, *([f"kept {kept}"] if kept else [])]))


def _differs(has: str, wanted: str, *, exactly: bool) -> bool:
    """Of two settings, of which -1 is more than any."""
    first, second = (int(one) if int(one) >= 0 else float("inf") for one in (has, wanted))
    return first != second if exactly else first < second


def _ms(text: str, flag: str) -> str:
    return "-1" if text == FOREVER else str(round(seconds_of(text, f"{flag} {escape(text, 40)}") * 1000))
