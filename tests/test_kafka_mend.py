"""What is mended of kafka-python."""

from __future__ import annotations

import gc

from queues._kafka_client import ResponseClassRegistry
from queues._kafka_mend import keep_answers
from tests.kafka_client import RequestHeader, SyncGroupResponse

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
