"""`python -m tests.kafka_archive`: writes down the classes that a broker loads, so that later ones start sooner."""

from __future__ import annotations

import os

from .kafka_broker import ARCHIVE, Broker
from .kafka_client import KafkaConsumer, KafkaProducer
from .kafka_server import KafkaServer


def main() -> None:
    """Have a broker do what tests want of it, and keep its classes beside the jars."""
    written = ARCHIVE.with_suffix(f".{os.getpid()}")
    Broker.flags = (f"-XX:ArchiveClassesAtExit={written}", "-Xlog:disable")
    with KafkaServer() as server:
        topic = server.create(partitions=1)
        with KafkaProducer(bootstrap_servers=server.bootstrap) as producer:
            producer.send(topic, b"").get(20)
        consumer = KafkaConsumer(topic, bootstrap_servers=server.bootstrap, group_id="g", auto_offset_reset="earliest")
        assert consumer.poll(20_000)
        consumer.close()
        server.node.terminate()
    written.replace(ARCHIVE)


if __name__ == "__main__":
    main()
