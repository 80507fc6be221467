"""Records of a topic as events: ours, those of other programs in both modes of CloudEvents, and what is none."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import field, frozen
from hypothesis import given
from hypothesis import strategies as st

from queues import _kafka_wire, wire
from queues._kafka_wire import HEADERS, record_of
from queues.message import DEFAULT_LIMITS, Delivery, Limits, Message

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@frozen
class Read:
    """A record as the client hands it out."""

    value: bytes | None
    key: bytes | None = None
    headers: list[tuple[str, bytes | None]] = field(factory=list)


def delivery(read: Read, limits: Limits = DEFAULT_LIMITS) -> Delivery:
    """Of a record that is an event, if not always a good one."""
    found = _kafka_wire.delivery_of(read, "receipt", 2, limits)
    assert found is not None
    assert (found.receipt, found.times, found.size) == ("receipt", 2, len(read.value or b""))
    return found


def event(read: Read) -> Message:
    """Of a record that is a good one."""
    return delivery(read).expect()


def complaint(read: Read, limits: Limits = DEFAULT_LIMITS) -> str:
    """Why a record is no good event. It keeps its bytes."""
    found = delivery(read, limits)
    assert found.message is None
    assert found.raw == read.value
    return str(found.error)


def binary(value: bytes | None = b"", content: str | None = "application/json", **attributes: str) -> Read:
    """A record in binary mode, with what is required."""
    given = {"specversion": "1.0", "type": "order.shipped", "id": "A-1", "source": "/shop", **attributes}
    headers: list[tuple[str, bytes | None]] = [(f"ce_{name}", text.encode()) for name, text in given.items()]
    if content is not None:
        headers.append(("content-type", content.encode()))
    return Read(value, None, headers)


# -- ours


def test_a_message_comes_back_from_its_record() -> None:
    """All of it: key, headers, marks of retries."""
    message = Message(
        type="order.shipped", id="A-1", source="/shop", data={"n": [1, None]}, time=NOW, key="ada", attempt=3,
        headers={"traceparent": "00-1"}, group="mail", handlers=("a", "b"), partition=2,
    )  # fmt: skip
    record = record_of(message)
    assert (record.key, record.partition) == (b"ada", 2)
    assert event(Read(record.value, record.key, [*HEADERS])) == message


def test_a_message_without_a_key_has_a_record_without_one() -> None:
    """So that it may go to any partition."""
    assert record_of(Message(type="a", id="1", source="/x")).key is None


def test_the_content_type_says_that_the_value_is_an_event() -> None:
    """Structured mode: the programs of others know by it how to read a record."""
    assert HEADERS == [("content-type", b"application/cloudevents+json; charset=UTF-8")]


# -- from other programs


def test_an_event_without_any_header_is_read() -> None:
    """As a shell writes it."""
    value = b'{"specversion":"1.0","type":"a","id":"1","source":"/x","data":{"n":1}}'
    assert event(Read(value)).data == {"n": 1}


def test_an_event_in_binary_mode_is_read() -> None:
    """Its attributes are headers, its data the value."""
    message = event(binary(b'{"n":1}', time="2026-05-04T03:02:01Z", traceparent="00-1", subject="x"))
    assert message == Message(
        type="order.shipped", id="A-1", source="/shop", data={"n": 1}, time=NOW,
        headers={"traceparent": "00-1", "subject": "x"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("content", "value", "data"),
    [
        ("application/json", b'"text"', "text"),
        ("Application/JSON; charset=utf-8", b"[1]", [1]),
        ("application/vnd.shop+json", b"null", None),
        ("text/plain", b"text", b"text"),
        ("application/octet-stream", b"\x00\xff", b"\x00\xff"),
        (None, b'{"n":1}', {"n": 1}),
        (None, b'{"n":1', b'{"n":1'),
        ("application/json", b"", None),
        ("application/json", None, None),
    ],
)
def test_data_in_binary_mode_are_json_when_they_say_so(content: str | None, value: bytes | None, data: Any) -> None:
    """Or say nothing and are, as many write them; and bytes in all other cases."""
    assert event(binary(value, content)).data == data


def test_our_own_attributes_are_read_in_binary_mode_too() -> None:
    """A program in front of the queue may have turned one into the other."""
    message = event(binary(b"1", partitionkey="ada", attempt="2", notbefore="2026-05-04T03:02:01Z", forgroup="mail"))
    assert (message.key, message.attempt, message.not_before, message.group) == ("ada", 2, NOW, "mail")


def test_headers_that_are_no_attributes_are_left_alone() -> None:
    """Other programs put theirs beside."""
    read = binary(b"1")
    read.headers.extend([("kafka_correlationId", b"\xff"), ("ce_subject", None)])
    assert event(read).headers == {}


def test_a_structured_event_stays_one_whatever_other_headers_say() -> None:
    """Its content-type decides."""
    value = b'{"specversion":"1.0","type":"a","id":"1","source":"/x"}'
    headers: list[tuple[str, bytes | None]] = [*HEADERS, ("ce_specversion", b"1.0"), ("ce_type", b"b")]
    assert event(Read(value, None, headers)).type == "a"


def test_the_key_of_a_record_is_the_events_where_it_has_none() -> None:
    """The producer meant an order by it."""
    value = b'{"specversion":"1.0","type":"a","id":"1","source":"/x"%s}'
    assert event(Read(value % b"", b"ada")).key == "ada"
    assert event(Read(value % b',"partitionkey":"bob"', b"ada")).key == "bob"
    assert event(Read(value % b"", b"")).key is None
    assert event(Read(value % b"", b"\xff1")).key == "\\xff1"
    assert "key of 600 bytes" in complaint(Read(value % b"", b"x" * 600))


# -- none


def test_a_tombstone_is_no_event() -> None:
    """It deletes, where topics are compacted."""
    assert _kafka_wire.delivery_of(Read(None, b"ada"), None) is None


@pytest.mark.parametrize("value", [b"", b"garbage", b"[]", b"{}", b'{"type":1}', b"\xff\xfe", b"[" * 100_000])
def test_garbage_keeps_its_bytes_and_says_what_it_is(value: bytes) -> None:
    """Never an exception."""
    assert complaint(Read(value))


def test_of_garbage_that_no_topic_takes_the_beginning_is_kept() -> None:
    """It came compressed; a dead letter could never be written with all of it."""
    delivery = _kafka_wire.delivery_of(Read(b"x" * 3_000_000), None)
    assert delivery is not None
    assert (delivery.raw, delivery.size) == (b"x" * (1 << 19), 1 << 19)
    assert "event of 3000000 bytes, the limit is 262144; its first 524288 bytes are kept" in str(delivery.error)


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (binary(b"{"), "its data are not"),
        (binary(b"1", specversion="0.3"), "0.3"),
        (binary(b"1", time="yesterday"), "yesterday"),
        (binary(b"1", attempt="many"), "no count"),
        (binary(b"1", UPPER="x"), "lower-case"),
        (Read(b"1", None, [("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/x")]), "'type'"),
        (Read(b"1", None, [("ce_specversion", b"1.0"), ("ce_id", b"\xff")]), "not UTF-8"),
    ],
)
def test_a_bad_event_in_binary_mode_says_what_is_bad(read: Read, words: str) -> None:
    """And keeps its value."""
    assert words in complaint(read)


def test_an_event_in_binary_mode_has_the_same_limits() -> None:
    """Before it is parsed."""
    assert "the limit is 1000" in complaint(binary(b'"%s"' % (b"x" * 2000)), Limits(event=1000))


@given(
    st.one_of(st.none(), st.binary(max_size=200)),
    st.one_of(st.none(), st.binary(max_size=20)),
    st.lists(
        st.tuples(
            st.sampled_from(["ce_specversion", "ce_type", "ce_id", "ce_source", "content-type", "ce_x", ""]),
            st.one_of(st.none(), st.sampled_from([b"1.0", b"application/json", b"text/plain"]), st.binary(max_size=20)),
        ),
        max_size=8,
    ),
)
def test_whatever_is_in_a_topic_never_raises(
    value: bytes | None, key: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    """It is an event, or a complaint, or a tombstone."""
    found = _kafka_wire.delivery_of(Read(value, key, headers), None)
    assert found is None or found.message is not None or found.error is not None
    if found is not None and found.message is not None:
        assert wire.decode(wire.encode(found.message)) == found.message
