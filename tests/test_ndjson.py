"""Lines into events: what a line may look like, and that one that is broken harms nobody else."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notification.ndjson import Line, LineReader
from queues.clock import ManualClock
from queues.message import DeadLetter, Limits, Message
from queues.wire import encode

NOW = datetime(2024, 6, 3, 8, 0, tzinfo=UTC)


def reader(limits: Limits | None = None) -> LineReader:
    clock = ManualClock()
    clock.now = lambda: NOW  # type: ignore[method-assign]  # any time will do, this one can be told
    return LineReader(
        source="/test", next_id=lambda number, line: f"id-{number}", limits=limits or Limits(), clock=clock
    )


def read(text: str | bytes, limits: Limits | None = None) -> list[Line]:
    lines = reader(limits)
    raw = text.encode() if isinstance(text, str) else text
    return [*lines.feed(raw), *lines.finish()]


def message(text: str) -> Message:
    [line] = read(text)
    assert line.message is not None, line.error
    return line.message


def error(text: str | bytes) -> str:
    [line] = read(text)
    assert line.message is None
    return line.error


# -- the two forms


def test_a_short_line_is_an_event_with_what_is_missing_filled_in() -> None:
    """Type and data are enough."""
    assert message('{"type": "a", "data": {"n": 1}}') == Message(
        type="a", id="id-1", source="/test", data={"n": 1}, time=NOW
    )


def test_a_short_line_may_say_everything_that_an_event_has() -> None:
    """The short names are those of `dispatch`."""
    line = '{"type":"a","id":"7","key":"k","time":"2020-01-01T00:00:00Z","source":"/s","headers":{"trace":"x"}}'
    assert message(line) == Message(
        type="a", id="7", key="k", time=datetime(2020, 1, 1, tzinfo=UTC), source="/s", headers={"trace": "x"}
    )


def test_extension_attributes_may_stand_beside_the_others() -> None:
    """As they do in a CloudEvents event."""
    assert message('{"type": "a", "traceparent": "00-1"}').headers == {"traceparent": "00-1"}


def test_a_cloudevents_line_is_read_as_it_is() -> None:
    """Nothing is added to what a foreign producer said, but a time if there is none."""
    line = '{"specversion":"1.0","type":"a","id":"7","source":"/s","partitionkey":"k","data":[1]}'
    assert message(line) == Message(type="a", id="7", source="/s", key="k", data=[1], time=NOW)


def test_what_we_encode_is_read_back_as_it_was() -> None:
    """A line of ours is a CloudEvents event."""
    event = Message(type="a", id="7", source="/s", key="k", data={"n": None}, time=NOW, headers={"x": "y"}, version=3)
    assert message(encode(event).decode()) == event


@pytest.mark.parametrize("field", ["id", "key"])
def test_a_number_as_id_or_key_is_its_text(field: str) -> None:
    """Account numbers are written as numbers, keys are strings."""
    assert getattr(message(f'{{"type": "a", "{field}": 1042}}'), field) == "1042"


def test_null_stands_for_an_attribute_that_is_missing() -> None:
    """But data may be null."""
    assert message('{"type":"a","id":null,"key":null,"time":null,"data":null}') == message('{"type":"a"}')


def test_a_dead_letter_sent_again_begins_a_new_life() -> None:
    """Attempts, reasons and handlers of the old one are dropped; the time before which it must not run is kept."""
    dead = DeadLetter(reason="attempts", error="boom", attempts=4, time=NOW)
    fields = {"type": "a", "id": "7", "source": "/s", "time": NOW, "not_before": NOW}
    letter = Message(**fields, attempt=4, deliveries=2, handlers=("mail",), first_error="boom", group="g", dead=dead)  # type: ignore[arg-type]  # a dict of fields
    assert message(encode(letter).decode()) == Message(**fields)  # type: ignore[arg-type]  # as above


# -- lines


def test_empty_lines_count_and_are_passed_over() -> None:
    """So that numbers are those an editor shows."""
    assert [line.number for line in read('\n{"type":"a"}\n  \n\n{"type":"b"}\n')] == [2, 5]


def test_the_last_line_needs_no_newline() -> None:
    """Many writers leave it out."""
    assert [line.number for line in read('{"type":"a"}\n{"type":"b"}')] == [1, 2]


@pytest.mark.parametrize("text", [b'\xef\xbb\xbf{"type":"a"}\n', b'{"type":"a"}\r\n'], ids=["mark", "crlf"])
def test_files_from_other_systems_are_read(text: bytes) -> None:
    """A byte-order mark and carriage returns are no content."""
    [line] = read(text)
    assert line.message is not None


def test_a_broken_line_harms_no_other() -> None:
    """Each is told with its number."""
    lines = read('{"type":"a"}\n{"type":\n{"type":"b"}\n')
    assert [(line.number, line.message is None) for line in lines] == [(1, False), (2, True), (3, False)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON"),
        ("[1]", "an array"),
        ('"x"', "a string"),
        ("{}", "'type' is missing"),
        ('{"data": 1}', "'type' is missing"),
        ('{"type": 1}', "'type' is a number"),
        ('{"type": ""}', "type must be"),
        ('{"type": "a", "id": 1.5}', "'id' is a number"),
        ('{"type": "a", "key": true}', "'partitionkey' is a boolean"),
        ('{"type": "a", "key": "k", "partitionkey": "l"}', "two names"),
        ('{"type": "a", "time": "yesterday"}', "yesterday"),
        ('{"type": "a", "time": 1717400000}', "RFC 3339"),
        ('{"type": "a", "headers": []}', "headers must be"),
        ('{"type": "a", "headers": {"type": "b"}}', "'type' is reserved"),
        ('{"type": "a", "headers": {"attempt": "9"}}', "'attempt' is reserved"),
        ('{"type": "a", "extra": "x", "headers": {"extra": "y"}}', "given twice"),
        ('{"type": "a", "User": {"id": 1}}', "'User' is an object"),
        ('{"type": "a", "data_base64": "?"}', "base64"),
        ('{"specversion": "0.3", "type": "a", "id": "1", "source": "/s"}', "not 1.0"),
        ('{"specversion": "1.0", "type": "a", "source": "/s"}', "'id' is missing"),
        (f'{{"type": "a", "data": {"[" * 70}{"]" * 70}}}', "nested deeper"),
        ("[" * 5000, "not JSON"),
    ],
)
def test_a_line_that_is_no_event_says_why(text: str, reason: str) -> None:
    """In words that lead to the mistake."""
    assert reason in error(text)


def test_control_characters_of_a_line_do_not_reach_the_error() -> None:
    """An error is printed on a terminal."""
    assert error('{"type": "a", "time": "\\u001b[31mred"}').isprintable()


def test_an_event_over_the_limit_is_refused_by_size() -> None:
    """As dispatch would."""
    [line] = read(f'{{"type": "a", "data": "{"x" * 1000}"}}', Limits(event=1000))
    assert "the limit is 1000" in line.error


def test_a_line_without_end_is_not_held_in_memory() -> None:
    """Only as much of it as an event may be; the line after it is read."""
    lines = reader(Limits(event=1000))
    for _ in range(1000):
        assert lines.feed(b"x" * 100_000) == []
        assert len(lines._rest) < 200_000
    long, good = lines.feed(b'\n{"type":"a"}\n')
    assert (long.number, long.message, good.number) == (1, None, 2)
    assert "longer than" in long.error
    assert good.message is not None


# -- anything

EVENTS = [{"type": "a", "data": "ü" * 3}, {"type": "b", "key": "k"}, {"type": 1}, "no event", {"type": "c", "data": {}}]
FILE = b"\n\n".join(orjson.dumps(event) for event in EVENTS)


@given(st.lists(st.integers(0, len(FILE)), max_size=20))
def test_lines_are_the_same_however_the_bytes_arrive(cuts: list[int]) -> None:
    """A pipe cuts where it likes."""
    lines = reader()
    found: list[Line] = []
    for start, end in itertools.pairwise([0, *sorted(cuts), len(FILE)]):
        found += lines.feed(FILE[start:end])
    assert [*found, *lines.finish()] == read(FILE)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
)
NAMES = st.sampled_from(
    [
        "specversion",
        "type",
        "id",
        "source",
        "time",
        "data",
        "key",
        "partitionkey",
        "headers",
        "attempt",
        "deadreason",
        "x",
    ]
)


@given(st.binary() | st.dictionaries(NAMES, JSON, max_size=6).map(orjson.dumps))
def test_no_bytes_are_too_strange(raw: bytes) -> None:
    """Every line is an event or has an error."""
    assert all((line.message is None) == bool(line.error) for line in read(raw))
