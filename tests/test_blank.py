"""A message that was filled in is the one that would have been made, and has the same wire form."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as some

from queues import wire
from queues.blank import Blank
from queues.errors import CorruptMessage
from queues.message import Message

NOW = datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC)
keys = some.none() | some.text(some.characters(exclude_categories=["Cs"]), max_size=9)


@given(version=some.integers(1, 9), key=keys, number=some.integers(0, 9), encoded=some.booleans())
def test_it_is_the_message_that_would_have_been_made(version: int, key: str | None, number: int, encoded: bool) -> None:
    filled = Blank("t", "/s", version).fill("1-a", NOW, key, {"n": number}, encoded=encoded)
    made = Message(type="t", id="1-a", source="/s", time=NOW, key=key, data={"n": number}, version=version)
    assert filled == made
    assert (filled.wire is not None) is encoded
    assert json.loads(wire.encode(filled)) == json.loads(wire.encode(made))
    assert wire.decode(wire.encode(filled)) == made


def test_those_of_one_blank_share_nothing_that_can_change() -> None:
    blank = Blank("t", "/s", 2)
    first = blank.fill("1", NOW, "a", {"n": 1}, encoded=True)
    second = blank.fill("2", NOW, None, {"n": 2}, encoded=False)
    assert (first.id, first.key, first.data) == ("1", "a", {"n": 1})
    assert second.wire is None
    changed = attrs.evolve(first, attempt=2)
    assert changed.wire is None
    assert wire.decode(wire.encode(changed)) == changed
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        first.id = "3"  # type: ignore[misc]


def test_what_json_cannot_say_is_refused_with_the_type() -> None:
    with pytest.raises(CorruptMessage, match=r"'t'.*surrogates"):
        Blank("t", "/s", 1).fill("1", NOW, "\ud800", {}, encoded=True)
