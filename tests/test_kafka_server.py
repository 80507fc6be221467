"""The brokers that the tests use."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from queues._kafka_options import Brokers, KafkaOptions
from queues.url import QueueURL

from .kafka_client import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from .kafka_secure import NOBODY, SecureKafka
from .kafka_server import SIBLINGS, Kafka, Start, need_kafka
from .redis_server import until

ROOT = Path(__file__).parent.parent


def test_a_queue_is_created_with_what_is_beside_it(kafka: Kafka) -> None:
    """`create` returns when the topic and its siblings can be used."""
    topic = kafka.create(partitions=2)
    assert {topic, *(topic + sibling for sibling in SIBLINGS)} <= set(kafka.admin.list_topics())


def test_what_was_stored_outlives_a_kill(kafka_server: Start) -> None:
    """A broker of our own is killed and started again: same ports, same data; whoever came by its proxy goes on."""
    server = kafka_server(proxied=True)
    topic = server.create(partitions=1, siblings=False)
    with KafkaProducer(bootstrap_servers=server.proxied.bootstrap) as producer:
        producer.send(topic, b"before").get(10)
        server.kill()
        server.start()
        producer.send(topic, b"after").get(10)
    assert server.proxy.connections > 1
    assert values(server, topic) == [b"before", b"after"]


def test_one_of_three_may_be_away(kafka_server: Start) -> None:
    """Every partition is on three brokers, and the controllers are three as well."""
    servers = kafka_server(brokers=3)
    topic = servers.create(partitions=3, siblings=False, min_insync_replicas=2)
    servers.nodes[0].kill()
    with KafkaProducer(bootstrap_servers=servers.bootstrap.split(","), acks="all") as producer:
        for future in [producer.send(topic, b"", partition=number) for number in range(3)]:
            future.get(20)
    servers.nodes[0].start()


# -- the one that is shared


def test_the_shared_one_ends_after_its_last_user_even_when_killed(tmp_path: Path) -> None:
    """However many processes use it there is one broker, and none when they are gone."""
    need_kafka()
    users = [user(tmp_path) for _ in range(3)]
    (address,) = {says(process) for process in users}
    users[0].kill()
    users[1].terminate()
    assert answers(address)
    users[2].send_signal(signal.SIGINT)
    until(lambda: not (tmp_path / "kafka.address").exists())
    until(lambda: not answers(address))
    for process in users:
        process.communicate(timeout=10)


def user(directory: Path) -> subprocess.Popen[str]:
    """A process that uses the broker of this directory until it is ended."""
    code = (
        "import sys, pathlib, tests.kafka_shared as k\nwith k.shared(pathlib.Path(sys.argv[1])) as a: print(a); input()"
    )
    return subprocess.Popen(
        [sys.executable, "-u", "-c", code, str(directory)],
        cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def answers(address: str) -> bool:
    try:
        KafkaAdminClient(bootstrap_servers=address, bootstrap_timeout_ms=1000).close()
    except Exception:
        return False
    return True


# -- the one that asks who is there


WAYS: dict[str, Callable[[SecureKafka], str]] = {
    "plain": lambda broker: broker.sasl("PLAIN"),
    "scram over tls": lambda broker: broker.sasl("SCRAM-SHA-256", tls=True),
    "scram": lambda broker: broker.sasl("SCRAM-SHA-512"),
    "tls": lambda broker: broker.tls(),
    "certificate": lambda broker: broker.tls(mutual=True),
    "token": lambda broker: broker.at("SASL").url(sasl="OAUTHBEARER", token_env="TOKEN", insecure="true"),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_way_leads_in(
    way: Callable[[SecureKafka], str], kafka_secure: SecureKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Passwords, certificates and tokens that the fixture gives are good."""
    monkeypatch.setenv("TOKEN", kafka_secure.token())
    url = QueueURL.parse(way(kafka_secure))
    with KafkaAdminClient(**Brokers(url, url.read(KafkaOptions)).admin()) as admin:
        assert admin.describe_cluster()["brokers"]


def test_who_has_no_rights_sees_nothing(kafka_secure: SecureKafka) -> None:
    """The user `nobody` may log in and nothing else."""
    topic = kafka_secure.create(siblings=False)
    url = QueueURL.parse(kafka_secure.sasl("PLAIN", user=NOBODY))
    with KafkaAdminClient(**Brokers(url, url.read(KafkaOptions)).admin()) as admin:
        assert topic not in admin.list_topics()


def values(kafka: Kafka, topic: str) -> list[bytes]:
    """What partition 0 of a topic has."""
    place = TopicPartition(topic, 0)
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap.split(","), auto_offset_reset="earliest")
    consumer.assign([place])
    found: list[bytes] = []
    try:
        (end,) = consumer.end_offsets([place]).values()
        while len(found) < end:
            found += [record.value for records in consumer.poll(1000).values() for record in records]
    finally:
        consumer.close()
    return found
