"""Kafka URLs: what they say to the client, and what is said of those that can't be used."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queues import _kafka_options
from queues._kafka_options import Brokers, located
from queues._kafka_partition import murmur2, partition_of
from queues.errors import ConfigurationError, MissingDependency
from queues.url import QueueURL

from .kafka_producing import brokers_of


def refusal(url: str) -> str:
    """What is said of a URL before anything runs."""
    with pytest.raises(ConfigurationError) as caught:
        brokers_of(url)
    return str(caught.value)


# -- topics, groups, brokers


@pytest.mark.parametrize("url", ["kafka://a:1/orders", "kafka://a:1?queue=orders", "kafka://a:1/orders?queue=orders"])
def test_a_topic_is_the_path_of_a_url_or_its_queue(url: str) -> None:
    """Both ways lead to one topic."""
    brokers = brokers_of(url)
    assert (brokers.topic, brokers.name, brokers.url.path) == ("orders", "kafka://a:1", "")


def test_a_sibling_is_derived_from_a_url_with_its_topic_in_the_path() -> None:
    """Its own name is an option of the URL."""
    url = located(QueueURL.parse("kafka://a:1/orders?group=mail"))
    assert str(url.sibling("dead")) == "kafka://a:1?queue=orders.dead&group=mail&order=none"


@pytest.mark.parametrize("topic", ["a:b", "a{b}", ".", "..", "a/b", "a b", "é"])
def test_a_name_that_no_topic_can_have_is_refused(topic: str) -> None:
    """Kafka would say so much later."""
    assert "topic" in refusal(f"kafka://a/{topic}")


def test_two_names_for_one_topic_are_refused() -> None:
    """Nobody knows which was meant."""
    assert "two topics" in refusal("kafka://a/orders?queue=invoices")


def test_a_host_without_a_port_has_kafkas() -> None:
    """9092; brackets are an IPv6 address."""
    assert brokers_of("kafka://a,b:1,[::1]/x").hosts == ["a:9092", "b:1", "[::1]:9092"]


def test_a_url_without_a_broker_is_refused() -> None:
    """With one that would do."""
    assert "kafka://localhost:9092/orders" in refusal("kafka:///orders")


def test_the_group_is_ours_when_none_is_named() -> None:
    """So that every process of a service shares it."""
    assert brokers_of("kafka://a/x").group == "notification"
    assert brokers_of("kafka://a/x?group=mail").consumer()["group_id"] == "mail"


def test_fixed_partitions_are_read_without_a_group() -> None:
    """Each once, in order."""
    brokers = brokers_of("kafka://a/x?partitions=2,0,2")
    assert brokers.partitions == (0, 2)
    assert brokers.consumer()["group_id"] is None
    assert "?partitions=0,1" in refusal("kafka://a/x?partitions=0,-1")


# -- what the client is told


def test_the_client_is_told_everything_that_guarantees_hang_on() -> None:
    """Its defaults lose or repeat events, or create topics."""
    brokers = brokers_of("kafka://a/x")
    consumer, producer = brokers.consumer(), brokers.producer()
    assert consumer["enable_auto_commit"] is False
    assert consumer["auto_offset_reset"] == "earliest"
    assert consumer["isolation_level"] == "read_committed"
    assert (producer["acks"], producer["enable_idempotence"]) == ("all", True)
    assert producer["delivery_timeout_ms"] == 2**31 - 1
    assert not consumer["allow_auto_create_topics"]
    assert not producer["allow_auto_create_topics"]


def test_numbers_are_whole_whatever_a_url_says() -> None:
    """The client takes fractions and breaks on them later."""
    options = "session_timeout=1.5s&timeout=1500.4ms&connect_timeout=0.3333&client_rack=a"
    brokers = brokers_of(f"kafka://a/x?{options}")
    for settings in (brokers.admin(), brokers.consumer(), brokers.producer()):
        numbers = {name: value for name, value in settings.items() if name.endswith(("_ms", "_bytes", "_size"))}
        assert all(type(value) is int for value in numbers.values()), numbers


def test_a_batch_is_no_larger_than_its_topic_takes() -> None:
    """A larger one would be sent, refused and split."""
    producer = brokers_of("kafka://a/x").producer(limit=5000)
    assert producer["batch_size"] == 5000


@pytest.mark.parametrize("option", ["connect_timeout", "timeout", "unsettled", "session_timeout"])
def test_an_option_that_must_be_more_than_nothing_says_so(option: str) -> None:
    """Before anything runs."""
    assert option in refusal(f"kafka://a/x?{option}=0")


def test_an_unknown_option_is_refused_with_the_nearest() -> None:
    """As on every queue."""
    assert "'partitioner'" in refusal("kafka://a/x?partitoner=key")


# -- compression


def test_events_are_compressed_unless_a_url_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """With lz4 where it is installed, for the client sums up in Python every byte that it sends."""
    for installed, expected in ((True, "lz4"), (False, "gzip")):
        monkeypatch.setattr(_kafka_options, "has_lz4", lambda installed=installed: installed)
        assert brokers_of("kafka://a/x").producer()["compression_type"] == expected
    assert brokers_of("kafka://a/x?compression=none").producer()["compression_type"] is None


@pytest.mark.parametrize("codec", ["lz4", "snappy", "zstd"])
def test_a_codec_that_is_not_installed_names_its_extra(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that is, is used."""
    monkeypatch.setitem(_kafka_options._INSTALLED, codec, lambda: False)
    with pytest.raises(MissingDependency, match=rf"pip install 'notification-dispatcher\[{codec}\]'"):
        brokers_of(f"kafka://a/x?compression={codec}")
    monkeypatch.setitem(_kafka_options._INSTALLED, codec, lambda: True)
    assert brokers_of(f"kafka://a/x?compression={codec}").producer()["compression_type"] == codec


# -- from a key to its partition


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_keys_are_hashed_as_javas_client_does(key: bytes, expected: int) -> None:
    """The vectors of Kafka's own test of it."""
    assert murmur2(key) == expected % (1 << 32)


@given(st.binary(max_size=80))
def test_keys_are_hashed_as_kafka_python_does(key: bytes) -> None:
    """Other programs that write to the topic use that one."""
    from kafka.partitioner.default import murmur2 as theirs

    assert murmur2(key) == theirs(key) & 0xFFFFFFFF


@given(st.text(max_size=40), st.integers(1, 1000))
def test_a_key_as_text_and_as_bytes_has_one_partition(key: str, count: int) -> None:
    """One that exists."""
    assert partition_of(key, count) == partition_of(key.encode(), count)
    assert 0 <= partition_of(key, count) < count


def test_the_command_that_makes_the_topics_has_no_secrets() -> None:
    """It is quoted in errors."""
    brokers = brokers_of("kafka://ada:secret@a/orders?sasl=PLAIN&tls=true")
    assert brokers.create == "notification queue create kafka://a:9092/orders"
    assert "secret" not in f"{brokers!r}{brokers.url!r}{brokers.url}{brokers.name}{brokers.options}"


def test_settings_are_made_anew_for_each_client() -> None:
    """They share no connections."""
    brokers: Brokers = brokers_of("kafka://a/x")
    assert brokers.admin()["kafka_client"] is not brokers.admin()["kafka_client"]
