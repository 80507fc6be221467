"""What is mended of kafka-python."""

from __future__ import annotations

import gc
import time

from queues._kafka_client import ResponseClassRegistry
from queues._kafka_mend import complete_joins, give_out_what_was_parked, keep_answers
from tests.kafka_client import KafkaConsumer, KafkaProducer, RequestHeader, SyncGroupResponse, TopicPartition
from tests.kafka_server import Kafka

keep_answers()


def test_an_answer_is_read_though_two_threads_made_its_class_at_once() -> None:
    """The class of the one that came second is forgotten, and is not the one that is asked for."""
    versions = SyncGroupResponse._VERSIONS
    kept = SyncGroupResponse[3]
    del versions[3]
    assert SyncGroupResponse[3] is not kept
    versions[3] = kept
    gc.collect()
    header = RequestHeader(request_api_key=SyncGroupResponse.API_KEY, request_api_version=3)
    assert ResponseClassRegistry.get_response_class(header) is kept


def test_the_reader_of_an_answer_is_made_with_its_class_at_any_time() -> None:
    """Also by a thread that comes when another one has just taken back what it had lent it."""
    written = memoryview(SyncGroupResponse(version=3, error_code=7).encode())
    read = SyncGroupResponse._struct.compiled_decode_from(3)
    assert read(written, 0)[0].error_code == 7


def test_what_was_read_in_part_goes_on_after_a_pause(kafka: Kafka) -> None:
    """Though another partition was read to its end meanwhile."""
    topic = kafka.create(partitions=2, siblings=False)
    first, second = TopicPartition(topic, 0), TopicPartition(topic, 1)
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap.split(","), auto_offset_reset="earliest")
    give_out_what_was_parked(consumer)
    try:
        consumer.assign([first])
        write(kafka, first, count=30)
        assert read(consumer, max_records=10) == {first: [*range(10)]}
        consumer.pause(first)
        consumer.assign([first, second])
        write(kafka, second, count=5)
        assert read(consumer) == {second: [*range(5)]}
        consumer.resume(first)
        assert read(consumer) == {first: [*range(10, 30)]}
    finally:
        consumer.close()


def test_a_join_that_is_answered_between_two_polls_is_not_made_again(kafka: Kafka) -> None:
    """Polls are short, and whatever is done between them may take longer than a join."""
    topic = kafka.create(siblings=False)
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap.split(","), group_id=topic)
    try:
        consumer.subscribe([topic])
        complete_joins(consumer)
        for _ in range(50):
            consumer.poll(1)
            if consumer.assignment():
                break
            time.sleep(0.1)
        assert len(consumer.assignment()) == 3
        assert consumer.group_metadata().generation_id <= 2
    finally:
        consumer.close()


def write(kafka: Kafka, place: TopicPartition, *, count: int) -> None:
    """In one batch."""
    with KafkaProducer(bootstrap_servers=kafka.bootstrap.split(","), linger_ms=10_000) as producer:
        for _ in range(count):
            producer.send(place.topic, b"", partition=place.partition)


def read(consumer: KafkaConsumer, *, max_records: int = 500) -> dict[TopicPartition, list[int]]:
    """The offsets that come."""
    for _ in range(20):
        if found := consumer.poll(500, max_records=max_records):
            return {place: [record.offset for record in records] for place, records in found.items()}
    return {}
