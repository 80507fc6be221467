"""What comes in from outside does nothing but be data: refused, buried, or handled, and never shown."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notification import (
    ConfigurationError,
    Context,
    CorruptMessage,
    EventDispatcher,
    Message,
    MessageQueue,
    NotificationError,
    Reject,
    RetryPolicy,
    event,
    open_queue,
)
from queues.message import DEFAULT_LIMITS, UNLIMITED
from queues.url import QueueURL
from tests.reference_queue import ReferenceQueue
from tests.stage import DURABLE_HOME, EVERY_HOME, Breakable, Note, Parcel, Stage, address, passing

HERE = Path(__file__)
ONCE = RetryPolicy(attempts=1)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A file that must not appear."""
    path = tmp_path / "canary-was-run"
    yield path
    assert not path.exists(), "code out of a payload was run"


class Bomb:
    """Unpickled, it creates the canary."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> Any:
        return Path.touch, (self._canary,)


def inject(url: str, raw: bytes) -> None:
    """Put bytes into the store behind the queue's back."""
    if url.startswith("reference:"):
        queue = open_queue(url)
        assert isinstance(queue, ReferenceQueue)
        queue.store_raw(raw)
        return
    with sqlite3.connect(url.removeprefix("sqlite:///").partition("?")[0]) as connection:
        changed = connection.execute("UPDATE message SET body = ? WHERE instr(body, 'placeholder')", (raw,)).rowcount
    connection.close()
    assert changed == 1


async def letter_of_raw(url: str, raw: bytes) -> Message:
    """What becomes of these bytes."""
    async with Stage(url, retry=ONCE) as stage:
        stage.dispatcher.on(Note)(stage.ran.append)
        await stage.dispatcher.start(workers=0)
        if url.startswith("sqlite:"):
            await stage.dispatcher.dispatch(Message(type="x", id="placeholder", source="/s"))
        inject(url, raw)
        await stage.start()
        await stage.settled()
        await stage.dispatcher.dispatch(Note("alive"))
        await stage.settled()
        assert stage.ran == [Note("alive")]
        [letter] = await stage.letters()
        return letter


# -- S1: nothing is unpickled


@DURABLE_HOME
async def test_a_pickle_among_the_events_is_a_dead_letter(home: str, canary: Path, tmp_path: Path) -> None:
    """Raw bytes in the store of every backend."""
    raw = pickle.dumps(Bomb(canary))
    letter = await letter_of_raw(address(home, tmp_path), raw)
    assert letter.data == raw
    assert letter.dead is not None
    assert letter.dead.reason == "corrupt"


@EVERY_HOME
async def test_a_pickle_as_the_data_of_an_event_is_bytes(home: str, canary: Path, tmp_path: Path) -> None:
    """A class refuses it, a pattern's handler is given the bytes."""
    raw = pickle.dumps(Bomb(canary))
    async with Stage(address(home, tmp_path), retry=ONCE) as stage:

        @stage.dispatcher.on("any.*")
        async def look(message: Message) -> None:
            stage.ran.append(message.data)

        stage.dispatcher.on(Note)(stage.ran.append)
        await stage.start()
        for type_name in ("any.bytes", "stage.note"):
            await stage.dispatcher.dispatch(Message(type=type_name, id=type_name, source="/s", data=raw))
        await stage.settled()
        assert stage.ran == [raw]
        [letter] = await stage.letters()
        assert letter.dead is not None
        assert letter.dead.reason == "corrupt"


# -- S2: handlers and types only from the registry

NAMES = ["os.system", "builtins.eval", "__class__", "__init__", "tests.test_security.Bomb", "print", "../../etc/passwd"]


@EVERY_HOME
@pytest.mark.parametrize("name", NAMES)
async def test_a_name_in_an_event_names_nothing_but_what_is_registered(home: str, name: str, tmp_path: Path) -> None:
    """As a type and as a handler, it is a dead letter; nothing is imported, looked up or called."""
    async with Stage(address(home, tmp_path), unhandled="dead_letter") as stage:
        stage.dispatcher.on(Note)(stage.ran.append)
        await stage.start()
        await stage.dispatcher.dispatch(Message(type=name, id="1", source="/s", data={"text": "id"}))
        await stage.dispatcher.dispatch(
            Message(type="stage.note", id="2", source="/s", data={"text": "id"}, handlers=(name,))
        )
        await stage.settled()
        assert stage.ran == []
        letters = await stage.letters()
        assert sorted(letter.id for letter in letters) == ["1", "2"]
        assert {letter.dead.reason for letter in letters if letter.dead is not None} == {"unknown"}


@pytest.mark.parametrize("field", ["__class__", "__init__", "__event__", "__dict__", "text.__class__"])
async def test_fields_that_are_pythons_own_are_no_fields(field: str) -> None:
    """They are left out like any other unknown one."""
    async with Stage(retry=ONCE) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            stage.ran.append(note)

        await stage.start()
        data = {"text": "fine", field: {"text": "evil"}}
        await stage.dispatcher.dispatch(Message(type="stage.note", id="1", source="/s", data=data))
        await stage.settled()
        assert stage.ran == [Note("fine")]
        assert type(stage.ran[0]) is Note


# -- S3, S4: size caps before decoding, on consume as on dispatch


def event_of(size: int) -> bytes:
    """An event of exactly so many bytes."""
    head, tail = b'{"specversion":"1.0","type":"stage.note","source":"/s","id":"1","data":{"text":"', b'"}}'
    return head + b"x" * (size - len(head) - len(tail)) + tail


@DURABLE_HOME
@pytest.mark.parametrize("more", [-1, 0, 1])
async def test_the_cap_of_an_event_holds_on_consume(home: str, more: int, tmp_path: Path) -> None:
    """limit - 1 and limit are handled, limit + 1 is a dead letter, with its bytes."""
    url, raw = address(home, tmp_path), event_of(DEFAULT_LIMITS.event + more)
    async with Stage(url, retry=ONCE) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            stage.ran.append(len(note.text))

        await stage.dispatcher.start(workers=0)
        if home == "sqlite":
            await stage.dispatcher.dispatch(Message(type="x", id="placeholder", source="/s"))
        inject(url, raw)
        await stage.start()
        await stage.settled()
        letters = await stage.letters()
        assert (len(stage.ran), len(letters)) == ((1, 0) if more <= 0 else (0, 1))
        if letters:
            assert letters[0].data == raw


@DURABLE_HOME
@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 1_000_000,
        b'{"specversion":"1.0","type":"stage.note","source":"/s","id":"1","data":'
        + b"[" * 100_000
        + b"]" * 100_000
        + b"}",
        b'{"specversion":"1.0","type":"stage.note","source":"/s","id":"1","data":{"text":' + b"9" * 100_000 + b"}}",
        b'{"specversion":"1.0","type":"stage.note","source":"/s","id":"1","data":{"text":NaN}}',
        b'{"specversion":"1.0","type":"stage.note","source":"/s","id":"1","data":{"text":"\\ud800"}}',
        b'{"specversion":"1.0","type":"stage.note","source":"/s","id":"1","partitionkey":"' + b"k" * 513 + b'"}',
        b'{"specversion":"1.0","type":"stage.note","source":"/s","id":"1","data_base64":"!"}',
        b"\x00" * 100,
        b"",
    ],
    ids=["brackets", "nested", "digits", "nan", "surrogate", "key", "base64", "zeros", "nothing"],
)
async def test_a_bomb_among_the_events_is_a_dead_letter_and_the_process_lives(
    home: str, raw: bytes, tmp_path: Path
) -> None:
    """And handles the next one."""
    letter = await letter_of_raw(address(home, tmp_path), raw)
    assert letter.dead is not None
    assert letter.dead.reason == "corrupt"
    assert letter.data == raw


async def test_dead_letters_take_what_was_too_large(tmp_path: Path) -> None:
    """Nothing is dropped for its size."""
    url = QueueURL.parse(address("sqlite", tmp_path))
    assert url.sibling("dead").limits == UNLIMITED
    letter = await letter_of_raw(address("sqlite", tmp_path), event_of(2_000_000))
    assert isinstance(letter.data, bytes)
    assert len(letter.data) == 2_000_000


# -- S9: payloads are not shown

SECRET = "canary-4711-payload"


@event("security.secret", key="account")
class Secret:
    """Its text must be seen nowhere."""

    text: str
    account: int = 1
    number: int = 0


@DURABLE_HOME
async def test_a_payload_is_in_no_log_whatever_happens_to_its_event(
    home: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At DEBUG, through success, retry, time-out, rejection, dead letter, an outage and a refused dispatch."""
    caplog.set_level(logging.DEBUG)
    queue = Breakable(open_queue(address(home, tmp_path)))
    async with Stage(queue, handler_timeout=5, retry=RetryPolicy(attempts=2, initial=1)) as stage:

        @stage.dispatcher.on(Secret)
        async def keep(secret: Secret, ctx: Context) -> None:
            stage.ran.append(secret.number)
            if secret.number == 1:
                raise OSError("no road")
            if secret.number == 2:
                await stage.clock.sleep(60)
            if secret.number == 3:
                raise Reject("spam")

        @stage.dispatcher.on(Secret, timeout=1e6)
        def plain(secret: Secret) -> None:
            if secret.number == 4:
                raise LookupError

        await stage.start(workers=3)
        for number in range(6):
            await stage.dispatcher.dispatch(Secret(SECRET, number, number))
        with pytest.raises(NotificationError) as wrong:
            await stage.dispatcher.dispatch(Secret(SECRET, [SECRET], 6))  # type: ignore[arg-type]  # as a slip
        with pytest.raises(CorruptMessage) as large:
            await stage.dispatcher.dispatch(Secret(SECRET * 20_000))
        queue.broken = {"ack", "pop"}
        await stage.dispatcher.dispatch(Secret(SECRET, 7, 7))
        await passing(stage.clock, asyncio.sleep(0.05))
        queue.broken.clear()
        raw = Message(type="security.secret", id="raw", source="/s", data={"text": SECRET, "account": SECRET})
        await stage.dispatcher.dispatch(raw)
        await stage.dispatcher.dispatch(Message(type="security.unknown", id="raw-2", source="/s", data=SECRET))
        stage.dispatcher.dispatch_soon(Secret(SECRET, 8, 8))
        await passing(stage.clock, stage.dispatcher.join())
        letters = await stage.letters()
        reasons = {(letter.id, letter.handlers): letter.dead.reason for letter in letters if letter.dead is not None}
        assert sorted(reasons.values()) == [
            "attempts", "attempts", "attempts", "corrupt", "corrupt", "rejected", "unknown",
        ]  # fmt: skip
        assert SECRET not in caplog.text
        assert SECRET not in str(wrong.value)
        assert SECRET not in str(large.value)
        for letter in letters:
            assert letter.dead is not None
            assert SECRET not in letter.dead.error or letter.id == "raw"
        assert SECRET not in str(await stage.dispatcher.health())
    told = " ".join(record.getMessage() for record in caplog.records)
    assert "security.secret" in told


CONTROL = "evil\r\n\x1b[31m\x00\x9b\u2028"


@pytest.mark.parametrize("where", ["type", "id", "source", "key", "header"])
@EVERY_HOME
async def test_control_characters_never_reach_a_log(
    home: str, where: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In what is identified they are refused; elsewhere they are data, and not shown. S9, S10."""
    caplog.set_level(logging.DEBUG)
    fields: dict[str, Any] = {"type": "stage.note", "id": "1", "source": "/s", "data": {"text": "x"}}
    fields |= {"header": {"headers": {"a": CONTROL}}}.get(where, {where: CONTROL})
    async with Stage(address(home, tmp_path), retry=RetryPolicy(attempts=2, initial=0)) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            raise OSError

        await stage.start()
        if where in {"key", "header"}:
            await stage.dispatcher.dispatch(Message(**fields))
        else:
            with pytest.raises(CorruptMessage) as refused:
                await stage.dispatcher.dispatch(Message(**fields))
            assert str(refused.value).isprintable()
        await passing(stage.clock, stage.dispatcher.join())
        assert len(await stage.letters()) == (where in {"key", "header"})
    assert all(record.getMessage().isprintable() for record in caplog.records)


@DURABLE_HOME
@pytest.mark.parametrize("attribute", ["type", "id", "source", "handlers", "deadreason", "forgroup", "deadfirst"])
async def test_control_characters_that_a_producer_wrote_never_reach_a_log(
    home: str, attribute: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Bytes in the store were written by anyone."""
    caplog.set_level(logging.DEBUG)
    document = {"specversion": "1.0", "type": "stage.note", "source": "/s", "id": "1", "data": {"text": 3}}
    url = address(home, tmp_path)
    async with Stage(url, retry=ONCE) as stage:
        stage.dispatcher.on(Note)(stage.ran.append)
        await stage.dispatcher.start(workers=0)
        if home == "sqlite":
            await stage.dispatcher.dispatch(Message(type="x", id="placeholder", source="/s"))
        inject(url, json.dumps({**document, attribute: CONTROL}).encode())
        await stage.start()
        await stage.settled()
        assert stage.ran == []
    assert caplog.records
    for record in caplog.records:
        assert record.getMessage().isprintable(), record.getMessage()


async def test_what_a_handler_raised_is_shown_on_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """Its text may quote a payload with control characters; the dead letter too has them escaped."""
    async with Stage(retry=ONCE) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            raise ValueError(CONTROL)

        await stage.start()
        await stage.dispatcher.dispatch(Note())
        await stage.settled()
        [letter] = await stage.letters()
        assert letter.dead is not None
        assert letter.dead.error.isprintable()
    assert all(record.getMessage().isprintable() for record in caplog.records)


# -- S10: names

BAD_CHARACTERS = st.characters(
    exclude_characters="ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:{}-"
)


@given(st.text(max_size=5), BAD_CHARACTERS, st.text(max_size=5), st.sampled_from(["queue", "group"]))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_queue_or_group_is_named_plainly(before: str, bad: str, after: str, option: str) -> None:
    """Wildcards, line ends, NUL, slashes: refused, with an error that shows no control character."""
    with pytest.raises(ConfigurationError) as refused:
        open_queue(f"channel://?{option}={quote(before + bad + after, safe='', errors='surrogatepass')}")
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["*", "a*", "a\r\nb", "a\x00b", "../../etc", "..", "a b", "x" * 129, ""])
def test_a_name_that_could_mean_more_is_no_name(name: str) -> None:
    """Dots alone are plain text to a queue, slashes are not."""
    if name == "..":
        assert isinstance(open_queue("channel://?queue=.."), MessageQueue)
        return
    with pytest.raises(ConfigurationError):
        open_queue(f"channel://?queue={quote(name, safe='')}")
    with pytest.raises(ConfigurationError):
        EventDispatcher().on(Parcel, name=name)(print)


def test_these_tests_do_use_a_pickle() -> None:
    """Only they do: `test_layering` bans it everywhere else."""
    assert "pickle.dumps" in HERE.read_text(encoding="utf-8")
