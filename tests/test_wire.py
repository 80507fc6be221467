"""The wire form: what goes in comes out, what is no event is refused with a reason, at once, whatever it is."""

from __future__ import annotations

import json
import math
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as some

from queues import wire
from queues.checks import MAX_DEPTH, RESERVED_HEADERS, check
from queues.errors import CorruptMessage
from queues.message import CORRUPT_TYPE, DEFAULT_LIMITS, EPOCH, UNLIMITED, DeadLetter, Limits, Message

REQUIRED = {"specversion": "1.0", "type": "t", "source": "/s", "id": "1"}


def message(**fields: Any) -> Message:
    return Message(**{"type": "t", "id": "1", "source": "/s", **fields})


def decoded(**attributes: Any) -> Message:
    return wire.decode(json.dumps({**REQUIRED, **attributes}).encode())


def refused(raw: bytes, because: str | None = None) -> None:
    with pytest.raises(CorruptMessage, match=because):
        wire.decode(raw, UNLIMITED)


# -- there and back

text = some.text(some.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=20)
names = some.from_regex(r"[A-Za-z0-9_.:{}-]{1,12}", fullmatch=True)
times = some.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1), timezones=some.just(UTC))
numbers = some.integers(-(2**53), 2**53) | some.floats(allow_nan=False, allow_infinity=False)
unicode = some.text(some.characters(exclude_categories=["Cs"]), max_size=20)
values = some.recursive(
    some.none() | some.booleans() | numbers | unicode,
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(unicode, inner, max_size=4),
    max_leaves=20,
)
headers = some.dictionaries(
    some.from_regex(r"[a-z0-9]{1,12}", fullmatch=True).filter(lambda name: name not in RESERVED_HEADERS),
    unicode,
    max_size=4,
)
letters = some.builds(
    DeadLetter,
    reason=names,
    error=unicode,
    handler=names,
    attempts=some.integers(0, 99),
    time=times,
    origin=names,
    position=names,
)
messages = some.builds(
    Message,
    type=text,
    id=text,
    source=text,
    data=values | some.binary(max_size=40),
    time=times | some.just(EPOCH),
    key=some.none() | unicode,
    headers=headers,
    attempt=some.integers(1, 99),
    not_before=some.none() | times,
    deliveries=some.integers(0, 9),
    handlers=some.lists(names, max_size=3).map(tuple),
    group=some.none() | names,
    version=some.integers(1, 9),
    partition=some.none() | some.integers(0, 9),
    first_error=unicode,
    dead=some.none() | letters,
)


@given(messages)
def test_what_is_encoded_is_decoded_to_the_same(sent: Message) -> None:
    """Every message that passes the checks, with every attribute."""
    check(sent)
    assert wire.decode(wire.encode(sent)) == sent


@given(messages)
def test_what_is_encoded_is_a_cloudevent(sent: Message) -> None:
    """Readable by anyone: JSON, the required attributes, extension names of lower-case letters and digits."""
    document = json.loads(wire.encode(sent))
    assert document["specversion"] == "1.0"
    assert {"type", "source", "id"} <= set(document)
    assert all(name.islower() or name.isdigit() for name in document if name not in {"data", "data_base64"})


@given(some.binary(max_size=200))
def test_bytes_of_any_kind_raise_only_what_is_declared(raw: bytes) -> None:
    """CorruptMessage, and nothing else."""
    try:
        wire.decode(raw)
    except CorruptMessage:
        return


@given(some.dictionaries(some.sampled_from([*RESERVED_HEADERS, "data_base64", "own"]), values, max_size=8))
def test_attributes_of_any_kind_raise_only_what_is_declared(attributes: dict[str, Any]) -> None:
    """An event whose attributes are of wrong types is corrupt, not a crash."""
    try:
        wire.decode(json.dumps({**REQUIRED, **attributes}).encode())
    except CorruptMessage:
        return


def test_a_message_is_encoded_once() -> None:
    """The bytes stay with the frozen value."""
    sent = message(data={"n": 1})
    assert wire.encode(sent) is wire.encode(sent)


def test_attributes_at_their_default_are_left_out() -> None:
    """A fresh event costs no more than it says."""
    assert set(json.loads(wire.encode(message()))) == set(REQUIRED)


def test_bytes_travel_as_data_base64() -> None:
    """As CloudEvents has it."""
    assert json.loads(wire.encode(message(data=b"\x00\xff")))["data_base64"] == "AP8="


# -- foreign events


def test_a_minimal_foreign_event_is_accepted() -> None:
    """The required attributes are enough."""
    assert decoded() == message()


def test_the_attributes_of_other_producers_become_headers() -> None:
    """subject, dataschema and extensions; datacontenttype is what we assume anyway."""
    event = decoded(subject="s", dataschema="http://x/y", datacontenttype="application/json", retries=3, urgent=True)
    assert event.headers == {"subject": "s", "dataschema": "http://x/y", "retries": "3", "urgent": "true"}


@pytest.mark.parametrize("name", ["partitionkey", "time", "data", "data_base64", "subject", "notbefore", "deadreason"])
def test_an_attribute_that_is_null_is_not_set(name: str) -> None:
    """The JSON format of CloudEvents says so."""
    assert decoded(**{name: None}) == message()


@pytest.mark.parametrize("name", ["type", "source", "id", "specversion"])
def test_a_required_attribute_may_not_be_missing_or_null(name: str) -> None:
    """The reason names it."""
    without = {key: value for key, value in REQUIRED.items() if key != name}
    refused(json.dumps(without).encode(), name)
    refused(json.dumps({**without, name: None}).encode(), name)


@pytest.mark.parametrize("version", ["0.3", "2.0", 1.0, ["1.0"], ""])
def test_another_version_of_cloudevents_is_refused(version: object) -> None:
    """1.0 only."""
    refused(json.dumps({**REQUIRED, "specversion": version}).encode(), "version|1.0")


@pytest.mark.parametrize("data", ["!", "AP8", 7, ["AP8="], "é"])
def test_data_that_is_no_base64_is_refused(data: object) -> None:
    """Nothing is guessed."""
    refused(json.dumps({**REQUIRED, "data_base64": data}).encode())


def test_data_in_two_forms_is_refused() -> None:
    """Which one would be meant?"""
    refused(json.dumps({**REQUIRED, "data": 1, "data_base64": "AP8="}).encode())


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2024-02-29T12:00:00Z", datetime(2024, 2, 29, 12, tzinfo=UTC)),
        ("2024-02-29T12:00:00.5+02:00", datetime(2024, 2, 29, 10, 0, 0, 500_000, UTC)),
        ("2024-02-29T12:00:00.123456789Z", datetime(2024, 2, 29, 12, 0, 0, 123_456, UTC)),
        ("2024-02-29T12:00:00", datetime(2024, 2, 29, 12, tzinfo=UTC)),
    ],
)
def test_times_of_other_producers_are_read(written: str, meant: datetime) -> None:
    """RFC 3339, in UTC once read; without a zone it is UTC."""
    assert decoded(time=written).time == meant


def test_a_time_of_another_zone_is_the_same_moment_on_the_wire() -> None:
    """A producer may give any zone."""
    there = datetime(2024, 2, 29, 12, tzinfo=timezone(timedelta(hours=2)))
    assert wire.decode(wire.encode(message(time=there))).time == there


# -- refused


@pytest.mark.parametrize("limits", [DEFAULT_LIMITS, UNLIMITED])
@pytest.mark.parametrize("raw", [b"[" * 1_000_000, b"9" * 1_000_000, b'{"a":' * 200_000, b'"' + b"x" * 1_000_000])
def test_a_bomb_is_refused_at_once(raw: bytes, limits: Limits) -> None:
    """In less than 50 ms, with a typed error; the best of three, as the machine may be busy."""
    seconds = []
    for _ in range(3):
        begun = time.perf_counter()
        with pytest.raises(CorruptMessage):
            wire.decode(raw, limits)
        seconds.append(time.perf_counter() - begun)
    assert min(seconds) < 0.05


def test_nesting_has_a_limit() -> None:
    """64 levels of data."""
    for levels, fits in ((MAX_DEPTH - 1, True), (MAX_DEPTH, True), (MAX_DEPTH + 1, False)):
        data = "[" * levels + "]" * levels
        raw = json.dumps(REQUIRED)[:-1] + f', "data": {data}}}'
        if fits:
            wire.decode(raw.encode())
        else:
            refused(raw.encode(), "nested")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_none_is_refused(number: str) -> None:
    """JSON has no NaN and no infinity."""
    refused(json.dumps(REQUIRED)[:-1].encode() + f', "data": {number}}}'.encode())


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_can_not_say_is_refused_on_dispatch(number: float) -> None:
    """Instead of arriving as null."""
    for data in (number, [1, {"deep": (number,)}], {"none": None, "n": number}):
        with pytest.raises(CorruptMessage, match="no JSON form"):
            wire.encode(message(data=data))


def test_a_lone_surrogate_is_refused() -> None:
    """In both directions: it has no UTF-8."""
    refused(b'{"specversion":"1.0","type":"t","source":"/s","id":"1","data":"\\ud800"}')
    for unsayable in (message(data="\ud800"), message(data={"\udfff": 1}), message(key="\ud800")):
        with pytest.raises(CorruptMessage):
            wire.encode(unsayable)


@pytest.mark.parametrize("data", [object(), {1: 2}, {"x": {1, 2}}, 2**70, 1j])
def test_what_has_no_json_form_is_refused(data: object) -> None:
    """Before anything is sent."""
    with pytest.raises(CorruptMessage, match="no JSON form"):
        wire.encode(message(data=data))


def test_a_pickle_is_just_corrupt() -> None:
    """Nothing of it runs."""
    refused(b"\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.", "not JSON")


# -- limits


def test_the_size_of_an_event_has_a_limit() -> None:
    """One byte less, the limit, one byte more."""
    bare = len(wire.encode(message(data="")))
    for size, fits in ((999, True), (1000, True), (1001, False)):
        raw = wire.encode(message(data="x" * (size - bare)))
        assert len(raw) == size
        if fits:
            wire.decode(raw, Limits(event=1000))
        else:
            with pytest.raises(CorruptMessage, match="1001 bytes, the limit is 1000"):
                wire.decode(raw, Limits(event=1000))


def test_marks_of_retries_do_not_count_against_the_limit() -> None:
    """The limit is on the event as it was dispatched."""
    bare = len(wire.encode(message(data="")))
    full = message(data="x" * (1000 - bare))
    marked = attrs.evolve(full, attempt=3, first_error="E" * 4000, handlers=("mail",), group="g", deliveries=2)
    assert wire.decode(wire.encode(marked), Limits(event=1000)) == marked


def test_a_key_has_a_limit() -> None:
    """512 bytes, not characters."""
    for key, fits in (("é" * 255 + "x", True), ("é" * 256, True), ("é" * 256 + "x", False)):
        raw = wire.encode(message(key=key))
        if fits:
            assert wire.decode(raw).key == key
        else:
            refused_with_limits(raw, "key of 513 bytes")


def test_headers_have_limits() -> None:
    """32 of them, 8 KiB together."""
    assert len(decoded(**{f"h{number}": "" for number in range(32)}).headers) == 32
    refused_with_limits(wire.encode(message(headers={f"h{number}": "" for number in range(33)})), "33 headers")
    size = DEFAULT_LIMITS.header_bytes
    for more, fits in ((-1, True), (0, True), (1, False)):
        raw = wire.encode(message(headers={"h": "x" * (size - 1 + more)}))
        if fits:
            wire.decode(raw)
        else:
            refused_with_limits(raw, f"headers of {size + 1} bytes")


def refused_with_limits(raw: bytes, because: str) -> None:
    with pytest.raises(CorruptMessage, match=because):
        wire.decode(raw)


# -- attributes


@pytest.mark.parametrize("name", sorted(RESERVED_HEADERS))
def test_reserved_names_are_no_headers(name: str) -> None:
    """They are CloudEvents' or ours."""
    with pytest.raises(CorruptMessage, match="reserved"):
        check(message(headers={name: "x"}))


@pytest.mark.parametrize("name", ["", "Upper", "with-dash", "with_underscore", "é", "a" * 65, "a\n", "\x1b[31m"])
def test_header_names_are_lower_case_letters_and_digits(name: str) -> None:
    """And the error shows no control character."""
    with pytest.raises(CorruptMessage, match="names are") as error:
        check(message(headers={name: "x"}))
    assert str(error.value).isprintable()


@pytest.mark.parametrize("bad", ["\x1b[31mred", "a\r\nb", "a\x00b", "\u2028", "\x9b"])
@pytest.mark.parametrize("attribute", ["type", "id", "source"])
def test_control_characters_are_refused_and_escaped(attribute: str, bad: str) -> None:
    """In what appears in logs; the error that says so has none."""
    with pytest.raises(CorruptMessage, match="control characters") as error:
        check(message(**{attribute: bad}))
    assert str(error.value).isprintable()


@pytest.mark.parametrize(("attribute", "limit"), [("type", 256), ("id", 256), ("source", 1024)])
def test_identifying_attributes_have_a_length(attribute: str, limit: int) -> None:
    """1 to so many characters."""
    check(message(**{attribute: "x" * limit}))
    for text_ in ("", "x" * (limit + 1), None, 7):
        with pytest.raises(CorruptMessage, match=attribute):
            check(message(**{attribute: text_}))


@pytest.mark.parametrize("count", [-1, 1.5, True, "x", "", [], 2**40, "9" * 30])
@pytest.mark.parametrize("attribute", ["attempt", "deliveries", "eventversion", "partition"])
def test_counts_are_small_whole_numbers(attribute: str, count: object) -> None:
    """An attempt of -1 would be retried for ever."""
    refused(json.dumps({**REQUIRED, attribute: count}).encode(), attribute)


def test_a_corrupt_delivery_carries_its_bytes_and_its_reason() -> None:
    """And has a message to travel on with: type notification.corrupt, the bytes as data."""
    delivery = wire.delivery_of(b"garbage", "receipt", 2)
    assert (delivery.message, delivery.raw, delivery.receipt, delivery.times) == (None, b"garbage", "receipt", 2)
    assert isinstance(delivery.error, CorruptMessage)
    letter = delivery.expect()
    assert (letter.type, letter.data) == (CORRUPT_TYPE, b"garbage")
    assert wire.decode(wire.encode(letter)) == letter
