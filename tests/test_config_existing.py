"""The names that earlier programs gave their settings: what each row of the one table means, and what it refuses."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen

from notification import ConfigurationError, EventDispatcher, MissingDependency, QueueURL, effective_settings
from notification.config import ROWS, Config, PlainQueue, Row, read_config

REDIS = {"MESSAGE_QUEUE_TYPE": "redis"}
STREAM = {**REDIS, "REDIS_STREAM_NAME": "orders"}
KAFKA = {"MESSAGE_QUEUE_TYPE": "kafka"}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of whoever runs the tests count for nothing here."""
    for name in list(os.environ):
        if name.startswith(("NOTIFICATION_", "REDIS_", "KAFKA_", "MESSAGE_QUEUE_")) or name == "LOG_LEVEL":
            monkeypatch.delenv(name)


@frozen
class Case:
    """One way to give a row a value: by its variable, or by its key in a mapping. beside: other variables.

    What comes of it: url, as it is shown; some of its options; create: what `queue create` is told; settings of the
    dispatcher; refused: what the error says.
    """

    variable: str = ""
    value: Any = None
    beside: dict[str, str] = field(factory=dict)
    key: str = ""
    url: str = ""
    options: dict[str, str] = field(factory=dict)
    create: dict[str, Any] = field(factory=dict)
    settings: dict[str, Any] = field(factory=dict)
    refused: str = ""

    @property
    def kind(self) -> str:
        """The type that it is about."""
        return self.beside.get("MESSAGE_QUEUE_TYPE", "")

    def tree(self) -> dict[str, Any]:
        """The mapping of an earlier program that says it."""
        tree: dict[str, Any] = {"type": self.beside["MESSAGE_QUEUE_TYPE"]}
        inner, *path = tree, *self.key.split(".")
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = self.value
        return tree


def producer(name: str) -> str:
    return f"kafka_config.producer_config.{name}"


def consumer(name: str) -> str:
    return f"kafka_config.consumer_config.{name}"


def topic(name: str) -> str:
    return f"kafka_config.topic_config.{name}"


CHANNEL = {"MESSAGE_QUEUE_TYPE": "channel"}
SASL = {**KAFKA, "KAFKA_TLS_ENABLED": "true", "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512", "KAFKA_SASL_PASSWORD": "pw",
        "KAFKA_SASL_USERNAME": "shop"}  # fmt: skip
CASES = [
    Case("LOG_LEVEL", "WARN", KAFKA, settings={"log_level": "warning"}),
    Case("LOG_LEVEL", "INFO", KAFKA, settings={"log_level": "info"}),
    Case(key="buffer_size", value=5000, beside=CHANNEL, options={"capacity": "5000"}),
    Case(key="buffer_size", value=0, beside=CHANNEL, refused="the mapping: buffer_size: 0 leaves no room"),
    Case(key="buffer_size", value=5000, beside=REDIS, options={"capacity": "5000"}),
    Case(key="buffer_size", value=5000, beside=KAFKA, refused="buffer_size: a topic has no bound"),
    # Redis
    Case("REDIS_ADDR", "cache:6380", REDIS, url="redis://cache:6380?queue=events"),
    Case("REDIS_ADDR", "redis://cache:6380", REDIS, refused="REDIS_ADDR: 'redis://cache:6380' is a URL"),
    Case("REDIS_ADDR", "one:1,two:2", REDIS, refused="are several servers"),
    Case("REDIS_ADDR", ":pw@cache", REDIS, refused="REDIS_ADDR: what is given is no host:port"),
    Case(key="extra.addr", value="cache:6380", beside=REDIS, url="redis://cache:6380?queue=events"),
    Case("REDIS_PASSWORD", "pw", REDIS, url="redis://:***@localhost:6379?queue=events"),
    Case(key="extra.password", value="p@/w", beside=REDIS, url="redis://:***@localhost:6379?queue=events"),
    Case(key="extra.db", value=3, beside=REDIS, url="redis://localhost:6379/3?queue=events"),
    Case(key="extra.db", value="x", beside=REDIS, refused="extra.db: 'x' is no whole number"),
    Case(key="extra.queue_key", value="jobs", beside=REDIS, url="redis://localhost:6379?queue=jobs"),
    Case("REDIS_STREAM_NAME", "jobs", REDIS, url="redis+stream://localhost:6379?queue=jobs&group=notification"),
    Case("REDIS_STREAM_NAME", "a b", REDIS, refused="REDIS_STREAM_NAME: the queue name 'a b'"),
    Case("REDIS_CONSUMER_GROUP", "mail", STREAM, url="redis+stream://localhost:6379?queue=orders&group=mail"),
    Case("REDIS_CONSUMER_GROUP", "mail", REDIS, refused="REDIS_CONSUMER_GROUP: this is for streams"),
    Case("REDIS_CONSUMER_NAME", "host-1", STREAM, options={"consumer": "host-1"}),
    Case("REDIS_CONSUMER_NAME", "host-1", REDIS, refused="REDIS_CONSUMER_NAME: this is for streams"),
    Case("REDIS_MAX_LEN", "100000", STREAM, options={"capacity": "100000"}),
    Case("REDIS_MAX_LEN", "100000", REDIS, options={"capacity": "100000"}),
    Case("REDIS_MAX_LEN", "0", STREAM, options={}),
    Case("REDIS_MAX_LEN", "much", STREAM, refused="REDIS_MAX_LEN: 'much' is no whole number"),
    Case("REDIS_CLAIM_MIN_IDLE_SECONDS", "45", STREAM, options={"lease": "45"}),
    Case("REDIS_CLAIM_MIN_IDLE_SECONDS", "45", REDIS, options={"lease": "45"}),
    Case("REDIS_CLAIM_MIN_IDLE_SECONDS", "0", STREAM, refused="REDIS_CLAIM_MIN_IDLE_SECONDS: '0' must be more than 0"),
    Case("REDIS_CLAIM_MIN_IDLE_SECONDS", "45s", STREAM, refused="'45s' is no number"),
    Case("REDIS_CLAIM_COUNT", "10", STREAM, options={"claim": "10"}),
    Case("REDIS_CLAIM_COUNT", "10", REDIS, refused="REDIS_CLAIM_COUNT: this is for streams"),
    Case("REDIS_CLAIM_COUNT", "0", STREAM, refused="REDIS_CLAIM_COUNT: '0' is no whole number from 1 up"),
    # Kafka
    Case("KAFKA_BROKERS", "one:9092, two:9093", KAFKA, url="kafka://one:9092,two:9093?queue=events&group=notification"),
    Case(key="extra.brokers", value=["one:9092", "two"], beside=KAFKA,
         url="kafka://one:9092,two?queue=events&group=notification"),
    Case(key="kafka_config.brokers", value="one", beside=KAFKA, url="kafka://one?queue=events&group=notification"),
    Case(key="extra.brokers", value=[], beside=KAFKA, refused="extra.brokers: what is given is an empty list"),
    Case("KAFKA_TOPIC", "orders", KAFKA, url="kafka://localhost:9092?queue=orders&group=notification"),
    Case(key="extra.topic", value="orders", beside=KAFKA, url="kafka://localhost:9092?queue=orders&group=notification"),
    Case("KAFKA_TOPIC", "a:b", KAFKA, refused="a topic's name has only"),
    Case("KAFKA_GROUP", "mail", KAFKA, url="kafka://localhost:9092?queue=events&group=mail"),
    Case(key="extra.group_id", value="mail", beside=KAFKA, url="kafka://localhost:9092?queue=events&group=mail"),
    Case(key=consumer("group_id"), value="mail", beside=KAFKA, url="kafka://localhost:9092?queue=events&group=mail"),
    Case(key="extra.version", value="2.8.0", beside=KAFKA),
    Case(key="extra.version", value="0.11.0.2", beside=KAFKA, refused="extra.version: '0.11.0.2' is too old"),
    Case(key="extra.version", value="new", beside=KAFKA, refused="'new' is no version of Kafka"),
    Case("KAFKA_TLS_ENABLED", "true", KAFKA, options={"tls": "true"}),
    Case("KAFKA_TLS_ENABLED", "maybe", KAFKA, refused="KAFKA_TLS_ENABLED: 'maybe' is neither true nor false"),
    Case("KAFKA_SASL_MECHANISM", "scram-sha-512", SASL, options={"sasl": "SCRAM-SHA-512", "tls": "true"}),
    Case("KAFKA_SASL_MECHANISM", "GSSAPI", SASL, refused="KAFKA_SASL_MECHANISM: 'GSSAPI' is none of PLAIN"),
    Case("KAFKA_SASL_MECHANISM", "PLAIN", KAFKA, refused="without KAFKA_TLS_ENABLED=true the network would see"),
    Case("KAFKA_SASL_USERNAME", "shop", SASL, options={"username_env": "KAFKA_SASL_USERNAME"}),
    Case("KAFKA_SASL_USERNAME", "shop", KAFKA, refused="KAFKA_SASL_MECHANISM has to say how to log in"),
    Case("KAFKA_SASL_PASSWORD", "pw", SASL, url="kafka://:***@localhost:9092?queue=events&group=notification"),
    Case("KAFKA_SASL_PASSWORD", "pw", KAFKA, refused="KAFKA_SASL_MECHANISM has to say how to log in"),
    Case("KAFKA_PRODUCER_BATCH_SIZE", "100", KAFKA),
    Case("KAFKA_PRODUCER_BATCH_SIZE", "0", KAFKA, refused="KAFKA_PRODUCER_BATCH_SIZE: '0' is no whole number from 1"),
    Case(key=producer("batch_size"), value=100, beside=KAFKA),
    Case("KAFKA_PRODUCER_LINGER_MS", "10", KAFKA),
    Case("KAFKA_PRODUCER_LINGER_MS", "10ms", KAFKA, refused="KAFKA_PRODUCER_LINGER_MS: '10ms' is no whole number"),
    Case(key=producer("linger"), value="10ms", beside=KAFKA),
    Case(key=producer("max_retries"), value=3, beside=KAFKA),
    Case(key=producer("max_retries"), value=0, beside=KAFKA, refused="max_retries: 0 would lose an event"),
    Case(key=producer("required_acks"), value="all", beside=KAFKA),
    Case(key=producer("required_acks"), value=-1, beside=KAFKA),
    Case(key=producer("required_acks"), value=1, beside=KAFKA, refused="required_acks: 1 would lose events"),
    Case(key=producer("acks"), value="1", beside=KAFKA, refused="producer_config.acks: '1' would lose events"),
    Case(key=producer("compression_type"), value="gzip", beside=KAFKA, options={"compression": "gzip"}),
    Case(key=producer("compression_type"), value="brotli", beside=KAFKA, refused="?compression=brotli is none of"),
    Case("KAFKA_CONSUMER_MAX_POLL_RECORDS", "250", KAFKA, settings={"prefetch": 250}),
    Case(key=consumer("max_poll_records"), value=250, beside=KAFKA, settings={"prefetch": 250}),
    Case("KAFKA_CONSUMER_SESSION_TIMEOUT_MS", "12000", KAFKA, options={"session_timeout": "12000ms"}),
    Case("KAFKA_CONSUMER_SESSION_TIMEOUT_MS", "100", KAFKA,
         refused="KAFKA_CONSUMER_SESSION_TIMEOUT_MS: ?session_timeout=0.1 must be 0.5s or more"),
    Case(key=consumer("session_timeout"), value="12s", beside=KAFKA, options={"session_timeout": "12.0"}),
    Case(key=consumer("session_timeout"), value=12000, beside=KAFKA, refused='milliseconds are written "10000ms"'),
    Case(key=consumer("heartbeat_interval"), value="3s", beside=KAFKA),
    Case(key=consumer("heartbeat_interval"), value="5ms", beside=KAFKA, refused="is more often than is done"),
    Case(key=consumer("auto_commit"), value=False, beside=KAFKA),
    Case(key=consumer("auto_commit"), value=True, beside=KAFKA, refused="auto_commit: True would lose events"),
    Case(key=consumer("isolation_level"), value="read_committed", beside=KAFKA),
    Case(key=consumer("isolation_level"), value="read_uncommitted", beside=KAFKA, refused="would hand out events of"),
    Case(key=consumer("initial_offset"), value="OffsetOldest", beside=KAFKA),
    Case(key=consumer("initial_offset"), value="OffsetNewest", beside=KAFKA, refused="would lose what was dispatched"),
    Case(key=consumer("auto_offset_reset"), value="latest", beside=KAFKA, refused="would lose what was dispatched"),
    Case(key="extra.initial_offset", value="middle", beside=KAFKA, refused="neither OffsetOldest nor OffsetNewest"),
    Case("KAFKA_TOPIC_PARTITIONS", "12", KAFKA, create={"partitions": 12}),
    Case(key=topic("num_partitions"), value=12, beside=KAFKA, create={"partitions": 12}),
    Case("KAFKA_REPLICATION_FACTOR", "3", KAFKA, create={"replication": 3}),
    Case("KAFKA_REPLICATION_FACTOR", "0", KAFKA, refused="KAFKA_REPLICATION_FACTOR: '0' is no whole number from 1 up"),
    Case(key=topic("replication_factor"), value=3, beside=KAFKA, create={"replication": 3}),
    Case(key=topic("min_insync_replicas"), value=2, beside=KAFKA, create={"min_isr": 2}),
    Case(key=topic("retention_ms"), value=604800000, beside=KAFKA, create={"retention": "604800000ms"}),
    Case(key=topic("retention_ms"), value=-1, beside=KAFKA, create={"retention": "forever"}),
    Case(key=topic("segment_ms"), value=3600000, beside=KAFKA, create={"segment": "3600000ms"}),
]  # fmt: skip


def settled(case: Case, monkeypatch: pytest.MonkeyPatch) -> Config:
    """What is read when it is given in its way."""
    for name, value in case.beside.items():
        if case.variable or name != "MESSAGE_QUEUE_TYPE":
            monkeypatch.setenv(name, value)
    if case.variable:
        monkeypatch.setenv(case.variable, case.value)
    config = read_config(None if case.variable else case.tree())
    config.opened()
    return config


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.variable or case.key}={case.value}"[-60:])
def test_a_setting_of_an_earlier_program_means_what_the_table_says(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its place in the URL, in `queue create`, among the settings; or the reason why it can't be, with its name."""
    place = case.variable or f"the mapping: {case.key}"
    if case.refused:
        with pytest.raises(ConfigurationError) as error:
            settled(case, monkeypatch)
        assert str(error.value).startswith(f"{place}: ") or "KAFKA_SASL_MECHANISM" in case.beside or "SASL" in place
        assert case.refused in str(error.value)
        return
    config = settled(case, monkeypatch)
    assert isinstance(config.queue, PlainQueue)
    url = config.opened().url
    assert isinstance(url, QueueURL)
    if case.url:
        assert str(url).partition("&tls")[0] == case.url
    assert case.options.items() <= url.options.items()
    assert url.options.keys() <= {*case.options, "tls", "sasl", "username_env"}
    assert config.queue.create_options() == case.create
    assert {name: config.get(name) for name in case.settings} == case.settings
    held = not (case.url or case.options or case.create or case.settings) and case.value != "0"
    told = [one.name for one in effective_settings(None if case.variable else case.tree())]
    assert (place in told) == held, "what is so anyway is told, with the reason"


def test_every_row_of_the_table_has_a_case() -> None:
    """Each variable and each key, and of those that refuse something also that."""
    variables = {case.variable for case in CASES}
    keys = {(case.kind, case.key) for case in CASES}
    assert {row.variable for row in ROWS} <= variables
    keyed = {(row.kind, key) for row in ROWS for key in row.keys}
    assert {pair for pair in keyed if pair not in keys} == {("kafka", "kafka_config.topic")}
    refusing = [row for row in ROWS if row.to == ""]
    assert [row for row in refusing if not any(case.refused for case in cases_of(row))] == []


def cases_of(row: Row) -> list[Case]:
    return [
        one for one in CASES if one.variable in {row.variable} - {""} or (one.kind == row.kind and one.key in row.keys)
    ]


NAMES = {
    "MESSAGE_QUEUE_TYPE",
    "REDIS_ADDR",
    "REDIS_PASSWORD",
    "REDIS_STREAM_NAME",
    "REDIS_CONSUMER_GROUP",
    "REDIS_CONSUMER_NAME",
    "REDIS_MAX_LEN",
    "REDIS_CLAIM_MIN_IDLE_SECONDS",
    "REDIS_CLAIM_COUNT",
    "KAFKA_BROKERS",
    "KAFKA_TOPIC_PARTITIONS",
    "KAFKA_REPLICATION_FACTOR",
    "KAFKA_PRODUCER_BATCH_SIZE",
    "KAFKA_PRODUCER_LINGER_MS",
    "KAFKA_CONSUMER_MAX_POLL_RECORDS",
    "KAFKA_CONSUMER_SESSION_TIMEOUT_MS",
    "KAFKA_TLS_ENABLED",
    "KAFKA_SASL_MECHANISM",
    "KAFKA_SASL_USERNAME",
    "KAFKA_SASL_PASSWORD",
    "LOG_LEVEL",
    "KAFKA_TOPIC",
    "KAFKA_GROUP",
}
KEYS = {
    "channel": "buffer_size",
    "redis": "buffer_size extra.addr extra.password extra.db extra.queue_key",
    "kafka": "extra.brokers extra.topic extra.group_id extra.version kafka_config.brokers "
    + " ".join(map(producer, ("max_retries", "required_acks", "batch_size", "linger", "compression_type")))
    + " "
    + " ".join(map(consumer, ("group_id", "session_timeout", "heartbeat_interval", "max_poll_records", "auto_commit",
                              "isolation_level")))
    + " "
    + " ".join(map(topic, ("num_partitions", "replication_factor", "retention_ms", "segment_ms",
                           "min_insync_replicas"))),
}  # fmt: skip


def test_no_name_of_an_earlier_program_is_missing() -> None:
    """Neither of the environment nor of the two mappings and the file."""
    assert NAMES - {row.variable for row in ROWS} == {"MESSAGE_QUEUE_TYPE"}
    for kind, keys in KEYS.items():
        assert {*keys.split()} <= {key for row in ROWS if row.kind == kind for key in row.keys}


# -- whole ones


def test_a_whole_environment_of_redis_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """The password stays in its variable: no URL that is shown has it."""
    for name, value in {
        "MESSAGE_QUEUE_TYPE": "redis", "REDIS_ADDR": "cache:6379", "REDIS_PASSWORD": "hunter2",
        "REDIS_STREAM_NAME": "notification:events", "REDIS_CONSUMER_GROUP": "mail", "REDIS_CONSUMER_NAME": "pod-7",
        "REDIS_MAX_LEN": "10000", "REDIS_CLAIM_MIN_IDLE_SECONDS": "60", "REDIS_CLAIM_COUNT": "50",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    dispatcher = EventDispatcher.from_config()
    url = dispatcher.queue.url
    assert url is not None
    assert (url.scheme, url.hosts, url.name, url.group, url.password) == (
        "redis+stream", ("cache:6379",), "notification:events", "mail", "hunter2",
    )  # fmt: skip
    assert url.options == {"consumer": "pod-7", "capacity": "10000", "lease": "60", "claim": "50"}
    assert (dispatcher.capacity, dispatcher.queue.lease) == (10_000, 60)
    listed = {one.name: one for one in effective_settings()}
    assert "hunter2" not in str(listed)
    assert listed["queue.password_env"].value == "REDIS_PASSWORD"
    assert listed["queue.lease"].source == "REDIS_CLAIM_MIN_IDLE_SECONDS"
    assert listed["queue"].source == "MESSAGE_QUEUE_TYPE"


WHOLE = {
    "type": "kafka",
    "kafka_config": {
        "brokers": ["one:9092", "two:9092"],
        "producer_config": {
            "max_retries": 3, "required_acks": "all", "batch_size": 100, "linger": "5ms", "compression_type": "gzip",
        },
        "consumer_config": {
            "group_id": "mail", "session_timeout": "30s", "heartbeat_interval": "3s", "max_poll_records": 500,
            "auto_commit": False, "isolation_level": "read_committed",
        },
        "topic_config": {
            "num_partitions": 12, "replication_factor": 3, "retention_ms": 604800000, "segment_ms": 86400000,
            "min_insync_replicas": 2,
        },
    },
}  # fmt: skip


def test_a_whole_file_of_kafka(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment counts more than the file, setting by setting."""
    path = tmp_path / "notification.json"
    path.write_text(json.dumps(WHOLE))
    monkeypatch.setenv("KAFKA_TOPIC", "orders")
    monkeypatch.setenv("KAFKA_CONSUMER_SESSION_TIMEOUT_MS", "15000")
    config = read_config(path)
    assert isinstance(config.queue, PlainQueue)
    shown = "kafka://one:9092,two:9092?queue=orders&group=mail&compression=gzip&session_timeout=15000ms"
    assert str(config.queue) == shown
    assert config.queue.create_options() == {
        "partitions": 12, "replication": 3, "min_isr": 2, "retention": "604800000ms", "segment": "86400000ms",
    }  # fmt: skip
    assert config.get("prefetch") == 500
    monkeypatch.setenv("MESSAGE_QUEUE_TYPE", "kafka")
    assert str(read_config(path).queue) == shown
    monkeypatch.setenv("MESSAGE_QUEUE_TYPE", "redis")
    assert str(read_config(path).queue) == "redis://localhost:6379?queue=events"


def test_settings_of_today_may_stand_beside_those_of_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same table, with the environment over them."""
    path = tmp_path / "notification.toml"
    path.write_text('grace = "1s"\n[queue]\ntype = "redis"\nhold = "2s"\n[queue.extra]\naddr = "cache:1"\n')
    monkeypatch.setenv("MESSAGE_QUEUE_TYPE", "redis")
    monkeypatch.setenv("REDIS_PASSWORD", "pw")
    config = read_config(path)
    assert str(config.queue) == "redis://:***@cache:1?queue=events"
    assert (config.get("grace"), config.get("hold")) == (1, 2)


def test_a_file_may_have_it_in_the_table_of_its_queue(tmp_path: Path) -> None:
    """Beside settings of today; the environment is about the queue without a name alone."""
    path = tmp_path / "notification.toml"
    path.write_text('[queues.old]\ntype = "redis"\nextra = { addr = "cache:1" }\n[queues.old.retry]\nattempts = 2\n')
    config = read_config(path, name="old")
    assert str(config.queue) == "redis://cache:1?queue=events"
    assert config.get("retry.attempts") == 2


@pytest.mark.parametrize(
    ("tree", "variables", "said"),
    [
        ({"type": "rabbit"}, {}, "the mapping: type: 'rabbit' is none of channel, redis, kafka"),
        ({"extra": {"addr": "x"}}, {}, "the mapping: extra belongs to a type, and that is missing"),
        ({"type": "redis", "extra": {"adr": "x"}}, {}, "extra.adr: there is no such setting of type redis; did you"),
        ({"type": "redis", "extra": 3}, {}, "extra: there is no such setting of type redis"),
        ({"type": "kafka", "kafka_config": {"start": "OffsetNewest"}}, {}, "kafka_config.start: 'OffsetNewest' would"),
        ({"type": "kafka", "extra": {"brokers": "a"}, "kafka_config": {"brokers": "b"}}, {},
         "kafka_config.brokers: the mapping: extra.brokers says something else about the same"),
        (None, {"MESSAGE_QUEUE_TYPE": "rediss"}, "MESSAGE_QUEUE_TYPE: 'rediss' is none of channel, redis, kafka; did"),
        (None, {"MESSAGE_QUEUE_TYPE": "redis", "NOTIFICATION_QUEUE": "sqlite:///a.db"},
         "MESSAGE_QUEUE_TYPE: 'redis' means redis://localhost:6379?queue=events, and NOTIFICATION_QUEUE says sqlite"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(
    tree: dict[str, Any] | None, variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that are worth the same and say different things, and what the earlier programs did not know either."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as error:
        read_config(tree)
    assert said in str(error.value)
    assert not isinstance(error.value, MissingDependency)


def test_two_variables_that_mean_the_same_queue_do_not_contradict(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a deployment can have both for a while; and the more telling level of logging counts."""
    monkeypatch.setenv("MESSAGE_QUEUE_TYPE", "redis")
    monkeypatch.setenv("NOTIFICATION_QUEUE", "redis://localhost:6379")
    monkeypatch.setenv("LOG_LEVEL", "INFO")
    monkeypatch.setenv("NOTIFICATION_LOG_LEVEL", "debug")
    config = read_config()
    assert str(config.queue) == "redis://localhost:6379?queue=events"
    assert config.get("log_level") == "debug"
    monkeypatch.setenv("NOTIFICATION_QUEUE", "sqlite:///a.db")
    assert str(read_config(queue="channel://").queue) == "channel://?queue=events", "the command line asks nobody"
