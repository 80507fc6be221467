"""Processes that are killed, a disk that is full, a lock that is held: nothing accepted is lost."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from queues import _sqlite_schema, open_queue
from queues.base import MessageQueue
from queues.errors import PushFailed, QueueUnavailable
from queues.message import Delivery, Message
from tests.sqlite_audit import audit
from tests.sqlite_worker import event

_EVENTS = 5000
_KILLS = 5
_BATCH = 20


class Entry(NamedTuple):
    """A line of a ledger."""

    time: int
    word: str
    name: str


class Processes:
    """Children with a ledger each; those that still run are killed at the end."""

    def __init__(self, directory: Path, url: str) -> None:
        self._directory, self._url = directory, url
        self._children: list[tuple[subprocess.Popen[bytes], Path]] = []

    def start(self, role: str, *arguments: object) -> int:
        """A new child; returns its number."""
        ledger = self._directory / f"ledger-{len(self._children)}"
        ledger.touch()
        command = [sys.executable, "-m", "tests.sqlite_worker", role, self._url, str(ledger), *map(str, arguments)]
        child = subprocess.Popen(command, cwd=Path(__file__).parent.parent)
        self._children.append((child, ledger))
        return len(self._children) - 1

    def kill(self, number: int) -> None:
        """SIGKILL."""
        child, _ = self._children[number]
        child.kill()
        child.wait()

    async def end(self, number: int) -> None:
        """Wait until it has ended by itself, well."""
        child, _ = self._children[number]
        assert await asyncio.to_thread(child.wait, 60) == 0

    def ledger(self, *numbers: int) -> list[Entry]:
        """What these wrote, or all of them, by time."""
        paths = [path for index, (_, path) in enumerate(self._children) if not numbers or index in numbers]
        whole = [path.read_text().rpartition("\n")[0] for path in paths]  # without a line that is being written
        lines = [line.split() for text in whole for line in text.splitlines()]
        entries = [Entry(int(time), word, name) for time, word, name in lines]
        return sorted(entries, key=lambda entry: entry.time)

    async def until(self, word: str, count: int, *numbers: int) -> list[Entry]:
        """Wait until they have written this word for so many events."""
        async with asyncio.timeout(60):
            while len(names(entries := self.ledger(*numbers), word)) < count:
                await asyncio.sleep(0.02)
        return entries

    def close(self) -> None:
        """Kill what still runs."""
        for number in range(len(self._children)):
            self.kill(number)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of the queue."""
    return tmp_path / "q.db"


@pytest.fixture
def url(path: Path) -> str:
    """With a short lease."""
    return f"sqlite:///{path}?lease=1"


@pytest.fixture
def processes(tmp_path: Path, url: str) -> Iterator[Processes]:
    """Children on the same queue."""
    children = Processes(tmp_path, url)
    yield children
    children.close()


async def drained(queue: MessageQueue) -> list[str]:
    """Everything in it, acknowledged."""
    got: list[Delivery] = []
    while await queue.size():
        batch = await asyncio.wait_for(queue.pop_many(500), 10)
        assert await queue.ack_many(batch) == []
        got += batch
    return [delivery.expect().id for delivery in got]


def names(entries: list[Entry], word: str) -> set[str]:
    """Of the events with this word."""
    return {entry.name for entry in entries if entry.word == word}


# -- kills


async def test_workers_killed_at_random_moments_lose_nothing(processes: Processes, url: str, path: Path) -> None:
    """5,000 events, 100 keys, 2 processes, 5 kills: lost 0, duplicates at most a batch a kill, every key in order."""
    dice = random.Random(5)
    async with open_queue(url) as queue:
        for start in range(0, _EVENTS, 500):
            await queue.push_many([event(number) for number in range(start, start + 500)])
        alive = [processes.start("handle"), processes.start("handle")]
        for kill in range(1, _KILLS + 1):
            await processes.until("done", kill * _EVENTS // (_KILLS + 2))
            victim = dice.choice(alive)
            processes.kill(victim)
            alive[alive.index(victim)] = processes.start("handle")
        await _until_empty(queue)
        entries = processes.ledger()
        every = {f"{number}" for number in range(_EVENTS)}
        assert names(entries, "got") == every, "lost 0, phantom 0"
        # killed between an ack and writing it down, a worker leaves no more than its batch unwritten
        assert len(every - names(entries, "done")) <= _KILLS * _BATCH
        duplicates = sum(entry.word == "got" for entry in entries) - _EVENTS
        assert duplicates <= _KILLS * _BATCH, f"{duplicates} duplicates"
        _check_order(entries)
    audit(path)


async def _until_empty(queue: MessageQueue) -> None:
    """Nothing waits and nothing is held: all of it was acknowledged."""
    async with asyncio.timeout(60):
        while (stats := await queue.stats()).waiting or stats.in_flight:
            await asyncio.sleep(0.02)


def _check_order(entries: list[Entry]) -> None:
    """The events of each key were handed out for the first time in their order."""
    last: dict[int, int] = {}
    seen: set[str] = set()
    for entry in entries:
        if entry.word == "got" and entry.name not in seen:
            seen.add(entry.name)
            number = int(entry.name)
            assert last.get(number % 100, -1) < number, f"{number} was handed out after a later one of its key"
            last[number % 100] = number


async def test_a_killed_producer_loses_nothing_that_was_accepted(processes: Processes, url: str, path: Path) -> None:
    """Killed at random moments: all of it is there, in order, and at most the batch whose answer it did not see."""
    for _ in range(_KILLS):
        producer = processes.start("produce")
        await processes.until("accepted", 300, producer)
        processes.kill(producer)
        accepted = [entry.name for entry in processes.ledger(producer)]
        async with open_queue(f"{url}&order=none") as queue:
            stored = await drained(queue)
        assert stored == [f"{number}" for number in range(len(stored))]
        assert len(stored) - len(accepted) in {0, 10}
        audit(path)


async def test_a_silent_owner_that_comes_back_starts_anew(url: str, path: Path) -> None:
    """After its lease everything it held is others'; what it is handed then is its own again."""
    async with open_queue(url) as sleeper, open_queue(url) as other:
        await sleeper.push_many([event(number) for number in range(10)])
        stale = await sleeper.pop_many(10)
        taken: list[Delivery] = []
        while len(taken) < 10:
            taken += await asyncio.wait_for(other.pop_many(10), 10)
        assert await other.ack_many(taken[5:]) == []
        await other.release(taken[:5])
        mine = await asyncio.wait_for(sleeper.pop_many(10), 10)
        assert await sleeper.ack_many(stale) == stale
        assert len(mine) == 5
        assert [delivery.times for delivery in mine] == [2] * 5
        assert await sleeper.ack_many(mine) == []
    audit(path)


# -- a full disk


async def test_a_file_that_may_not_grow_refuses_pushes_and_goes_on_when_it_may(
    processes: Processes, url: str, path: Path
) -> None:
    """RLIMIT_FSIZE: a typed error at once, nothing lost, no restart."""
    child = processes.start("outgrow", 400_000)
    await processes.end(child)
    entries = processes.ledger(child)
    assert "refused" in {entry.word for entry in entries}
    async with open_queue(f"{url}&order=none") as queue:
        stored = await drained(queue)
    assert names(entries, "accepted") == set(stored) - ({"0"} - names(entries, "acked"))
    audit(path)


@contextmanager
def small_disk(directory: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(directory)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"can't mount a small disk: {mounted.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


async def push_until_refused(queue: MessageQueue, start: int) -> tuple[list[str], QueueUnavailable]:
    """The ids that were accepted, and the refusal."""
    accepted: list[str] = []
    while True:
        try:
            await queue.push(event(start + len(accepted)))
        except QueueUnavailable as error:
            return accepted, error
        accepted.append(f"{start + len(accepted)}")


async def test_a_full_disk_refuses_pushes_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """QueueUnavailable at once, which says that nothing was stored; with room again everything goes on; lost 0."""
    with small_disk(tmp_path / "disk") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * 500_000)
        async with open_queue(f"sqlite:///{disk}/q.db?order=none") as queue:
            await queue.push_many([event(number) for number in range(20)])
            held = await queue.pop_many(10)
            accepted, refusal = await push_until_refused(queue, 20)
            assert "the disk is full" in str(refusal)
            assert not refusal.may_have_been_stored
            with pytest.raises(PushFailed) as failed:
                await queue.push_many([event(number) for number in range(10_000, 10_600)])
            assert {type(error) for error in failed.value.errors.values()} == {QueueUnavailable}
            ballast.unlink()
            await queue.push(event(9_999))
            assert await queue.ack_many(held) == []
            stored = await drained(queue)
        assert sorted(stored) == sorted([*(f"{number}" for number in range(10, 20)), *accepted, "9999"])
        audit(disk / "q.db")


async def test_acks_go_on_while_the_disk_is_full(tmp_path: Path) -> None:
    """What was settled in the log makes room in it: acks are written over it, although a push finds no room."""
    with small_disk(tmp_path / "disk") as disk:
        async with open_queue(f"sqlite:///{disk}/q.db?order=none") as queue:
            for start in range(0, 400, 10):
                await queue.push_many([event(number) for number in range(start, start + 10)])
                held = await queue.pop_many(10)
                if start < 390:
                    await queue.ack_many(held)
            with (disk / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
                while True:
                    ballast.write(b"x" * 4096)
            large = Message(type="t", id="large", source="/s", data="x" * 3_000_000)
            push, ack = await asyncio.gather(queue.push(large), queue.ack_many(held), return_exceptions=True)
            assert isinstance(push, QueueUnavailable), "one transaction of both failed, so each was tried alone"
            assert ack == [], "a push that finds no room takes no ack with it"
            assert await queue.size() == 0
        audit(disk / "q.db")


# -- other processes


async def test_a_lock_that_is_held_too_long_is_an_error_with_a_name(
    url: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QueueUnavailable, nothing stored; and it goes on afterwards."""
    monkeypatch.setattr(_sqlite_schema, "BUSY_SECONDS", 0.1)
    async with open_queue(url) as queue:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(QueueUnavailable, match="locked by another process") as locked:
                await queue.push(event(1))
            assert not locked.value.may_have_been_stored
            assert await queue.size() == 0, "looking needs no lock"
            other.execute("ROLLBACK")
        await queue.push(event(2))
        assert await drained(queue) == ["2"]


async def test_an_event_of_another_process_comes_within_milliseconds(processes: Processes, url: str) -> None:
    """An idle worker looks at the file each 5 ms at most."""
    async with open_queue(url) as queue:
        processes.start("pace", 200)
        arrived: dict[str, int] = {}
        while len(arrived) < 200:
            got = await asyncio.wait_for(queue.pop_many(100), 30)
            arrived |= dict.fromkeys((delivery.expect().id for delivery in got), time.monotonic_ns())
            await queue.ack_many(got)
    entries = processes.ledger()
    waits = [arrived[entry.name] - entry.time for entry in entries if entry.word == "pushed"]
    assert statistics.median(waits) < 15e6, f"{statistics.median(waits) / 1e6:.1f} ms"
