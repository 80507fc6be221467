"""The one table of the names that earlier programs gave their settings, with what became of each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from attrs import field, frozen

from .given import Given, Read, duration, flag, number, one_of, text, texts, whole, written
from .settings import LEVELS

KINDS: Final = ("channel", "redis", "kafka")
TYPE: Final = "MESSAGE_QUEUE_TYPE"
_NEWEST: Final = {"offsetnewest", "newest", "latest", "-1"}
_OLDEST: Final = {"offsetoldest", "oldest", "earliest", "-2"}
_HOST = re.compile(r"[A-Za-z0-9_.:\[\]-]+")
_OLDEST_BROKERS = (2, 4)
_HEARTBEAT = 0.25
_HOUR = 3600.0


def _several(keys: str | tuple[str, ...]) -> tuple[str, ...]:
    return (keys,) if isinstance(keys, str) else keys


@frozen
class Row:
    """One setting of earlier programs. kind: the `type` that it belongs to, "" for all. read: to what we write.

    to: `hosts`, `db`, `username` and `password` of the URL, `?option` of it, `stream`: the name of one; `create.option`
    of `queue create`; a setting of the dispatcher; `""`: what is asked for is so anyway, or refused. only: `stream`, of
    those no list knows. variable: its environment variable; keys: its places in a mapping. means: for people.
    """

    kind: str
    to: str
    means: str
    read: Read = written
    variable: str = ""
    keys: tuple[str, ...] = field(default=(), converter=_several)
    only: str = ""


# -- how some of them are read


_level: Final = one_of(
    LEVELS, warn="warning", trace="debug", notice="info", critical="error", fatal="error", panic="error"
)  # fmt: skip


def _hosts(given: Given) -> str:
    parts = texts(given)
    for part in parts:
        if "://" in part:
            raise given.wrong("is a URL, and only host:port is wanted; a URL goes to NOTIFICATION_QUEUE")
        if not _HOST.fullmatch(part):
            raise Given(part, given.place, secret="@" in part).wrong("is no host:port")
    return ",".join(parts)


def _host(given: Given) -> str:
    if "," in (hosts := _hosts(given)):
        raise given.wrong(
            "are several servers; sentinels and clusters have URLs: NOTIFICATION_QUEUE=redis+sentinel://…"
        )
    return hosts


def _most(given: Given) -> str | None:
    return str(whole()(given)) if whole()(given) else None


def _room(given: Given) -> str:
    if not whole()(given):
        raise given.wrong("leaves no room: a queue has room for one event or more; leave it out for no bound")
    return str(whole(1)(given))


def _seconds(given: Given) -> str:
    value = number(given)
    if not value:
        raise given.wrong("must be more than 0: events would be taken from workers that are at them")
    return written(Given(int(value) if value == int(value) else value, given.place))


def _ms(given: Given) -> str:
    return f"{whole(1)(given)}ms"


def _session(given: Given) -> str:
    if given.variable:  # its name says milliseconds
        return _ms(given)
    if (value := duration(given)) > _HOUR:
        raise given.wrong('is more than an hour; a number is in seconds, milliseconds are written "10000ms"')
    return written(Given(value, given.place))


def _linger(given: Given) -> None:
    (whole() if given.variable else duration)(given)


def _kept(given: Given) -> str:
    return "forever" if str(given.value).strip() == "-1" else _ms(given)


def _mechanism(given: Given) -> str:
    return str(one_of(("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"))(given))


# -- what is so anyway, and what is refused


def _no_bound(given: Given) -> None:
    raise given.refused("a topic has no bound on what waits in it; leave it out, and watch `notification queue lag`")


def _acks(given: Given) -> None:
    if str(given.value).strip().lower() not in {"all", "-1", "waitforall"}:
        raise given.wrong("would lose events when a broker dies: at least once needs acks=all, which is always so here")


def _auto_commit(given: Given) -> None:
    if flag(given):
        raise given.wrong(
            "would lose events: they would count as handled once they are read. Here they do when they are handled"
        )


def _isolation(given: Given) -> None:
    if str(given.value).strip().lower().replace("readcommitted", "read_committed") != "read_committed":
        raise given.wrong("would hand out events of transactions that were undone; here read_committed is always so")


def _offset(given: Given) -> None:
    word = str(given.value).strip().lower()
    if word in _NEWEST:
        raise given.wrong(
            "would lose what was dispatched before the group's first consumer came: a new group begins at the oldest "
            "event. To leave out what is there, move the group with kafka-consumer-groups.sh --to-latest"
        )
    if word not in _OLDEST:
        raise given.wrong("is neither OffsetOldest nor OffsetNewest")


def _retries(given: Given) -> None:
    if not whole()(given):
        raise given.wrong(
            "would lose an event with each broker that is replaced: sending goes on until it is stored, and ?timeout= "
            "ends the wait of who dispatches"
        )


def _heartbeat(given: Given) -> None:
    if duration(given) < _HEARTBEAT:
        raise given.wrong(
            "is more often than is done: every 250 ms, and three times in a session that is shorter than that"
        )


def _version(given: Given) -> None:
    numbers = re.fullmatch(r"[vV]?(\d+)\.(\d+)(\.\d+)*", text(given))
    if numbers is None:
        raise given.wrong("is no version of Kafka, such as 3.7.0")
    if (int(numbers[1]), int(numbers[2])) < _OLDEST_BROKERS:
        raise given.wrong("is too old: Kafka 2.4 is the oldest whose brokers know all that is asked of them")


def _producer(*names: str) -> tuple[str, ...]:
    return tuple(f"kafka_config.producer_config.{name}" for name in names)


def _consumer(*names: str) -> tuple[str, ...]:
    return tuple(f"kafka_config.consumer_config.{name}" for name in names)


def _topic(name: str) -> str:
    return f"kafka_config.topic_config.{name}"


_SOON = "held: a batch leaves when the one before it is stored, and no event waits for others to come"

ROWS: Final = (
    Row("", "log_level", "`log_level`; NOTIFICATION_LOG_LEVEL counts more", _level, "LOG_LEVEL"),
    Row("channel", "?capacity", "`?capacity=`", _room, keys="buffer_size"),
    Row("redis", "?capacity", "`?capacity=`", _room, keys="buffer_size"),
    Row("redis", "hosts", "the host; `localhost:6379` when it is missing", _host, "REDIS_ADDR", "extra.addr"),
    Row("redis", "password", "the password; from the environment as `?password_env=`", text, "REDIS_PASSWORD",
        "extra.password"),
    Row("redis", "db", "the number of the database", whole(), keys="extra.db"),
    Row("redis", "?queue", "`?queue=`, of a list", written, keys="extra.queue_key"),
    Row("redis", "stream", "`redis+stream://` and `?queue=`; without it the queue is a list", text,
        "REDIS_STREAM_NAME"),
    Row("redis", "?group", "`?group=`", text, "REDIS_CONSUMER_GROUP", only="stream"),
    Row("redis", "?consumer", "`?consumer=`, what the consumer's name begins with", text, "REDIS_CONSUMER_NAME",
        only="stream"),
    Row("redis", "?capacity", "`?capacity=`: when it is full, events are refused, not dropped; 0: no bound", _most,
        "REDIS_MAX_LEN"),
    Row("redis", "?lease", "`?lease=`", _seconds, "REDIS_CLAIM_MIN_IDLE_SECONDS"),
    Row("redis", "?claim", "`?claim=`", whole(1), "REDIS_CLAIM_COUNT", only="stream"),
    Row("kafka", "", "refused: a topic has no bound", _no_bound, keys="buffer_size"),
    Row("kafka", "hosts", "the hosts; `localhost:9092` when it is missing", _hosts, "KAFKA_BROKERS",
        ("extra.brokers", "kafka_config.brokers")),
    Row("kafka", "?queue", "the topic; `events` when it is missing", text, "KAFKA_TOPIC",
        ("extra.topic", "kafka_config.topic")),
    Row("kafka", "?group", "`?group=`; `notification` when it is missing", text, "KAFKA_GROUP",
        ("extra.group_id", *_consumer("group_id"))),
    Row("kafka", "", "held from 2.4 on: versions are agreed upon with the brokers", _version, keys="extra.version"),
    Row("kafka", "?tls", "`?tls=`", flag, "KAFKA_TLS_ENABLED"),
    Row("kafka", "?sasl", "`?sasl=`", _mechanism, "KAFKA_SASL_MECHANISM"),
    Row("kafka", "username", "`?username_env=`", text, "KAFKA_SASL_USERNAME"),
    Row("kafka", "password", "`?password_env=`", text, "KAFKA_SASL_PASSWORD"),
    Row("kafka", "", _SOON, whole(1), "KAFKA_PRODUCER_BATCH_SIZE", _producer("batch_size")),
    Row("kafka", "", _SOON, _linger, "KAFKA_PRODUCER_LINGER_MS", _producer("linger")),
    Row("kafka", "", "held from 1 on: sending is repeated until it is stored", _retries, keys=_producer("max_retries")),
    Row("kafka", "", "`all` is held; less is refused", _acks, keys=_producer("required_acks", "acks")),
    Row("kafka", "?compression", "`?compression=`", written, keys=_producer("compression_type")),
    Row("kafka", "prefetch", "`prefetch`", whole(1), "KAFKA_CONSUMER_MAX_POLL_RECORDS", _consumer("max_poll_records")),
    Row("kafka", "?session_timeout", "`?session_timeout=`", _session, "KAFKA_CONSUMER_SESSION_TIMEOUT_MS",
        _consumer("session_timeout")),
    Row("kafka", "", "held from 250ms on: they are sent at least that often", _heartbeat,
        keys=_consumer("heartbeat_interval")),
    Row("kafka", "", "`false` is held; `true` is refused", _auto_commit, keys=_consumer("auto_commit")),
    Row("kafka", "", "`read_committed` is held; less is refused", _isolation, keys=_consumer("isolation_level")),
    Row("kafka", "", "`OffsetOldest` is held; `OffsetNewest` is refused", _offset,
        keys=(*_consumer("initial_offset", "auto_offset_reset"), "extra.initial_offset")),
    Row("kafka", "create.partitions", "`queue create --partitions`", whole(1), "KAFKA_TOPIC_PARTITIONS",
        _topic("num_partitions")),
    Row("kafka", "create.replication", "`queue create --replication`", whole(1), "KAFKA_REPLICATION_FACTOR",
        _topic("replication_factor")),
    Row("kafka", "create.min_isr", "`queue create --min-isr`", whole(1), keys=_topic("min_insync_replicas")),
    Row("kafka", "create.retention", "`queue create --retention`; -1: `forever`", _kept, keys=_topic("retention_ms")),
    Row("kafka", "create.segment", "`queue create --segment`", _ms, keys=_topic("segment_ms")),
)  # fmt: skip


def rows_of(kind: str) -> Iterable[Row]:
    """Those of a type."""
    return [row for row in ROWS if row.kind == kind]


def asks_for_newest(given: Given) -> bool:
    """Whether this is OffsetNewest, by whatever name it is asked for."""
    return str(given.value).strip().lower() == "offsetnewest"


def refuse_newest(given: Given) -> None:
    """Raises the reason."""
    _offset(given)
