"""The brokers that the tests use."""

from __future__ import annotations

from .kafka_client import KafkaProducer
from .kafka_server import SIBLINGS, Kafka, Start


def test_a_queue_is_created_with_what_is_beside_it(kafka: Kafka) -> None:
    """`create` returns when the topic and its siblings can be used."""
    topic = kafka.create(partitions=2)
    assert {topic, *(topic + sibling for sibling in SIBLINGS)} <= set(kafka.admin.list_topics())


def test_what_was_stored_outlives_a_kill(kafka_server: Start) -> None:
    """A broker of our own can be killed and started again: same ports, same data."""
    server = kafka_server(proxied=True)
    topic = server.create(partitions=1, siblings=False)
    with KafkaProducer(bootstrap_servers=server.proxied.bootstrap) as producer:
        producer.send(topic, b"kept").get(5)
    assert server.proxy.connections
    server.kill()
    server.node.start()
    assert topic in server.admin.list_topics()
