"""`notification move`: what is left of a retired queue, into another one, in order and never lost."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from notification import MessageQueue, open_queue, wire
from notification.cli.moving import Busy, Mover
from queues.base import Capability
from queues.clock import SYSTEM_CLOCK
from queues.conformance.waiting import event, events
from queues.message import DeadLetter, Message
from queues.url import QueueURL
from tests.redis_server import Redis
from tests.stage import until

from .shell import PATIENCE, Shell

OLD, NEW = "sqlite:///old.db", "sqlite:///new.db"
MOVE = ("move", "--from", OLD, "--to", NEW)


def push(url: str, *messages: Message) -> None:
    async def work() -> None:
        async with open_queue(url) as queue:
            await queue.push_many(messages)

    asyncio.run(work())


def inside(shell: Shell, name: str = "new", **options: Any) -> str:
    """The URL of a file of this shell, for this process."""
    return f"sqlite:///{shell.directory / name}.db" + "".join(f"?{one}={value}" for one, value in options.items())


def waiting(url: str) -> list[Message]:
    """What waits there, in order."""

    async def work() -> list[Message]:
        async with open_queue(url) as queue:
            return [message async for message in queue.browse()]

    return asyncio.run(work())


def ids(url: str) -> list[str]:
    return [message.id for message in waiting(url)]


# -- the command


def test_what_is_left_is_moved_in_order_and_as_it_is(shell: Shell) -> None:
    """First in, first out, whatever the keys; attempts, headers and times are kept."""
    now = SYSTEM_CLOCK.now()
    left = [
        event(f"e{number}", key=f"k{number % 3}", attempt=1 + number % 2, headers={"tenant": "a"}, time=now)
        for number in range(1200)
    ]
    push(inside(shell, "old"), *left)
    done = shell(*MOVE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"1,200 events and 0 dead letters moved from {OLD}?queue=events to {NEW}?queue=events\n"
    assert waiting(inside(shell)) == left
    assert shell.stats(OLD)["waiting"] == 0
    assert shell(*MOVE).stdout.startswith("0 events and 0 dead letters moved")


def test_a_dry_run_only_says_how_much_it_would_be(shell: Shell) -> None:
    """And moves nothing."""
    push(inside(shell, "old"), *events(3))
    done = shell(*MOVE, "--dry-run")
    assert (done.returncode, done.stdout.splitlines()[1].split()) == (0, [f"{OLD}?queue=events", "3", "0", "0", "0"])
    told = json.loads(shell(*MOVE, "--dry-run", "--format", "json").stdout)
    assert told == {"queue": f"{OLD}?queue=events", "waiting": 3, "in_flight": 0, "delayed": 0, "dead": 0}
    assert ids(inside(shell, "old")) == ["e0", "e1", "e2"]


def test_dead_letters_are_moved_to_the_dead_letters(shell: Shell) -> None:
    """With why they died; --no-dead leaves them, and is no failure."""
    letter = event("d", dead=DeadLetter("fatal", "ValueError: no address", time=SYSTEM_CLOCK.now(), origin="events"))
    push(inside(shell, "old", queue="events.dead"), letter)
    assert shell(*MOVE, "--no-dead").returncode == 0
    done = shell(*MOVE, "--format", "json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["moved"], told["dead_moved"], told["left"]["dead"]) == (0, 0, 1, 0)
    assert waiting(inside(shell, queue="events.dead")) == [letter]


def test_delayed_events_are_told_or_waited_for(shell: Shell) -> None:
    """They can't be moved before they are due."""
    push(inside(shell, "old"), event("now"), event("late", not_before=SYSTEM_CLOCK.now() + timedelta(seconds=4)))
    done = shell(*MOVE)
    assert done.returncode == 1
    assert done.stderr == "1 left delayed: run it again when they are due, or with --wait\n"
    assert shell(*MOVE, "--wait").returncode == 0
    assert ids(inside(shell)) == ["now", "late"]


def test_bytes_that_are_no_event_go_to_the_dead_letters(shell: Shell) -> None:
    """With the reason; nothing stays behind because of them."""
    push(inside(shell, "old"), *events(3))
    with closing(sqlite3.connect(shell.directory / "old.db", isolation_level=None)) as file:
        changed = file.execute("UPDATE message SET body = ? WHERE body = ?", (b"no event", wire.encode(event("e1"))))
        assert changed.rowcount == 1
    assert shell(*MOVE).returncode == 0
    assert ids(inside(shell)) == ["e0", "e2"]
    [letter] = waiting(inside(shell, queue="events.dead"))
    assert letter.dead is not None
    assert (letter.data, letter.dead.reason) == (b"no event", "corrupt")


def test_a_move_that_was_killed_is_finished_by_the_next_one(shell: Shell) -> None:
    """SIGKILL in the middle: nothing is lost, the order is kept, and no more than one batch is there twice."""
    push(inside(shell, "old"), *events(6000, key="k"))
    words = ("move", "--from", f"{OLD}?lease=1s", "--to", NEW)
    process = shell.start(*words)
    while _count(shell.directory / "new.db") < 1000 and process.poll() is None:
        pass
    process.send_signal(signal.SIGKILL)
    assert process.wait(PATIENCE) == -signal.SIGKILL, "it was faster than the kill"
    assert len(ids(inside(shell))) < 6000
    assert shell(*words).returncode == 0
    moved = ids(inside(shell))
    assert list(dict.fromkeys(moved)) == [f"e{number}" for number in range(6000)]
    assert len(moved) <= 6500


def _count(path: Path) -> int:
    if not path.exists():
        return 0
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as file:
        try:
            number: int = file.execute("SELECT count(*) FROM message").fetchone()[0]
        except sqlite3.OperationalError:
            return 0
    return number


def test_a_queue_that_somebody_consumes_is_left_alone(shell: Shell) -> None:
    """What he has comes before what waits: it is waited for as long as a lease, and then told."""

    async def work() -> subprocess.CompletedProcess[str]:
        async with open_queue(inside(shell, "old")) as queue:
            await queue.push_many(events(3))
            [held] = await queue.pop_many(1)
            moving = asyncio.ensure_future(
                asyncio.to_thread(shell, "move", "--from", f"{OLD}?lease=1s", "--to", NEW, "--format", "json")
            )
            while not moving.done():
                await asyncio.wait([moving], timeout=0.3)
                await queue.extend([held])
            return moving.result()

    done = asyncio.run(work())
    assert done.returncode == 1
    assert "1 events of" in done.stderr
    assert "are in flight: stop its workers first" in done.stderr
    assert json.loads(done.stdout)["moved"] == 0


@pytest.mark.parametrize("order", ["key", "process"])
async def test_a_list_is_moved_in_order(redis: Redis, tmp_path: Path, order: str) -> None:
    """Also one whose consumers kept order by key, with what they had parked."""
    source, target = redis.queue(order=order), f"sqlite:///{tmp_path / 'a.db'}"
    shell = Shell(tmp_path)
    async with open_queue(source) as first, open_queue(source) as second:
        await first.push_many(events(6, key="k"))
        held = await first.pop_many(2)
        if order == "key":
            assert await second.pop_many(4) == []  # it has parked what it found
        await first.release(held)
    done = await asyncio.to_thread(shell, "move", "--from", source, "--to", target)
    assert (done.returncode, done.stderr) == (0, "")
    async with open_queue(target) as queue:
        assert [message.id async for message in queue.browse()] == [f"e{number}" for number in range(6)]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--from", OLD, "--to", f"{OLD}?order=none"], "are the same queue"),
        (["--from", "channel://a", "--to", NEW], "lives inside one process"),
        (["--from", OLD, "--to", "sqlit:///a.db"], "did you mean 'sqlite'"),
        (["--from", OLD], "Missing option '--to'"),
    ],
)
def test_what_makes_no_sense_is_refused(shell: Shell, words: list[str], says: str) -> None:
    """Exit code 2; nothing is opened."""
    done = shell("move", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


# -- the work


async def moved(message: Message, source: MessageQueue, target: MessageQueue) -> Message:
    """What becomes of it on its way."""
    return Mover(source, target, target)._changed(message)


async def test_what_was_left_for_a_group_is_for_the_group_of_the_target() -> None:
    """Other groups there have their own part moved; without groups there is no mark."""
    with_groups = Capability.GROUPS
    here, there, plain = (open_queue(f"channel://?queue={name}") for name in ("here", "there", "plain"))
    here.capabilities |= with_groups
    there.capabilities |= with_groups
    here.url, there.url = _of_group(here, "mail"), _of_group(there, "post")
    one = event("e", group="mail")
    assert (await moved(one, here, there)).group == "post"
    assert (await moved(event("e"), here, there)).group == "post"
    assert (await moved(one, here, plain)).group is None
    assert (await moved(event("e"), plain, there)).group is None
    letter = event("e", dead=DeadLetter("fatal", group="mail"))
    assert (await moved(letter, here, there)).dead == DeadLetter("fatal", group="post")
    assert (await moved(letter, here, plain)).dead == DeadLetter("fatal")
    other = event("e", dead=DeadLetter("fatal", group="other"))
    assert await moved(other, here, there) == other


def _of_group(queue: MessageQueue, group: str) -> QueueURL:
    assert queue.url is not None
    return attrs.evolve(queue.url, group=group)


async def test_while_there_is_no_room_what_is_held_stays_ours() -> None:
    """Its lease is renewed until the target has taken it."""
    source = open_queue("reference://move-source?lease=0.3")
    target = open_queue("reference://move-target?capacity=2")
    async with source, target, open_queue("reference://move-source?lease=0.3") as heir:
        await source.push_many(events(4))
        draining = asyncio.ensure_future(Mover(source, target, target).drain(lambda _: None, wait=False))
        await until(target.size)
        asking = asyncio.ensure_future(heir.pop())
        await SYSTEM_CLOCK.sleep(0.6)  # two leases
        assert not asking.done()
        for _ in range(4):
            await target.ack_many([await target.pop()])
        await asyncio.wait_for(draining, PATIENCE)
        assert await source.size() == 0
        asking.cancel()
        await asyncio.wait([asking])


async def test_what_is_not_handed_out_is_somebody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits, and can't be popped: told instead of waited for without end."""
    monkeypatch.setattr("notification.cli.moving._UNSEEN", 0.05)
    source = open_queue("reference://move-busy?lease=0.05")
    async with source, open_queue("channel://") as target:
        monkeypatch.setattr(source, "size", _one)
        with pytest.raises(Busy, match="does not hand out what waits"):
            await Mover(source, target, target).drain(lambda _: None, wait=False)


async def _one() -> int:
    return 1
