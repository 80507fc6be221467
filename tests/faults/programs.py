"""Starting child programs, killing them, and waiting for what their ledgers say."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from queues.message import Message
from queues.registry import open_queue

from .homes import Home
from .ledger import Ledger, Ledgers

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")
FILE = Home("sqlite")
WORKERS, PREFETCH = 8, 16
HELD = 2 * PREFETCH + WORKERS
"""The most that one process with so many workers holds, fetched and not settled."""
REPEATED = WORKERS + PREFETCH
"""The most of it that may be handled a second time after its death, or after a cut."""
BATCH = 500
"""The most that a process moves at once from the spill."""


def wait_until(condition: Callable[[], T], seconds: float = 60.0, what: str = "") -> T:
    """The first true answer; fails after so many seconds."""
    end = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < end, f"never came true in {seconds} s: {what or condition}"
        time.sleep(0.01)
    return answer


class Child:
    """One process of ours; its output goes to files beside its ledger."""

    def __init__(self, program: str, url: str, directory: Path, name: str, options: dict[str, Any]) -> None:
        self.name = name
        self._out, self._err = directory / f"{name}.out", directory / f"{name}.err"
        with self._out.open("ab") as out, self._err.open("ab") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"tests.faults.{program}", url, str(directory), name, json.dumps(options)],
                cwd=ROOT, stdout=out, stderr=err, env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip

    @property
    def output(self) -> str:
        return self._out.read_text()

    @property
    def errors(self) -> str:
        return self._err.read_text()

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def stopped(self) -> bool:
        """Whether every thread of it stands still."""
        states = [
            path.read_text().rpartition(")")[2].split()[0]
            for path in Path(f"/proc/{self.process.pid}/task").glob("*/stat")
        ]
        return all(state == "T" for state in states)

    def ready(self) -> Child:
        """Wait until it consumes."""
        return self.says("ready")

    def says(self, word: str) -> Child:
        """Wait for this in its output."""
        wait_until(lambda: word in self.output or not self.alive, what=f"{self.name} is {word}: {self.errors}")
        assert self.alive, self.errors
        return self

    def kept_waiting(self) -> float:
        """Seconds in which it could have run and others had the machine; to be asked until its end is waited for."""
        return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[1]) / 1e9

    def signal(self, number: signal.Signals) -> float:
        """Send a signal; the moment in which it was sent."""
        self.process.send_signal(number)
        return time.monotonic()

    def kill(self) -> float:
        """SIGKILL, and wait until it is gone."""
        moment = self.signal(signal.SIGKILL)
        self.process.wait(30)
        return moment

    def stop(self, seconds: float = 60.0) -> dict[str, Any]:
        """SIGTERM; what it says at the end."""
        self.signal(signal.SIGTERM)
        self.process.wait(seconds)
        return self.said()

    def said(self) -> dict[str, Any]:
        """The line of JSON at its end."""
        assert self.process.returncode == 0, self.errors
        answer: dict[str, Any] = json.loads(self.output.splitlines()[-1])
        return answer

    def finished(self, seconds: float = 120.0) -> None:
        """Wait for its own end."""
        assert self.process.wait(seconds) == 0, self.errors


class Theatre:
    """A queue, a directory of ledgers, and the processes of one test."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url, self.directory = url, directory
        self.children: list[Child] = []
        self._ledgers, self._own = Ledgers(directory), Ledger(directory, "test")
        self._numbers = itertools.count(1)

    def worker(self, **options: Any) -> Child:
        """A worker process, not yet ready."""
        return self._child("worker", {"workers": 4, **options})

    def producer(self, **options: Any) -> Child:
        """A producer process."""
        return self._child("producer", options)

    def owners(self, **options: Any) -> Child:
        """A process of several owners who only pop and ack, not yet ready."""
        return self._child("owners", options)

    def service(self, **options: Any) -> Child:
        """A process of the service that does the same on every queue, see `swap`; not yet ready."""
        return self._child("swap", options)

    def write(self, stage: str, id_: str) -> None:
        """What the test itself did."""
        self._own.write(stage, id_)

    def _child(self, program: str, options: dict[str, Any]) -> Child:
        child = Child(program, self.url, self.directory, f"{program}{next(self._numbers)}", options)
        self.children.append(child)
        return child

    def lines(self, *stages: str) -> list[dict[str, Any]]:
        """What was written down, in the order of time."""
        return self._ledgers.lines(*stages)

    def count(self, stage: str) -> int:
        """Different events that came to this stage."""
        return len(self._ledgers.ids(stage))

    def ids(self, stage: str) -> set[str]:
        """The events that came to this stage."""
        return self._ledgers.ids(stage)

    def running(self, child: Child) -> list[str]:
        """Events that this process has begun and not ended."""
        return self._ledgers.running(child.name)

    def handles(self, more: int) -> None:
        """Wait until so many more are handled."""
        goal = self.count("ended") + more
        wait_until(lambda: self.count("ended") >= goal, what=f"{more} more")

    def goes_on(self, within: float, held: int) -> None:
        """Wait until dispatches are accepted, and more is handled than the `held` that the workers may have had ready:
        not until what is dispatched now is handled, for that may have much before it.
        """
        sent, ended = self.count("sent"), self.count("ended")
        wait_until(
            lambda: self.count("sent") > sent and self.count("ended") > ended + held,
            within,
            "dispatching and consuming",
        )

    def handles_all(self, left: Callable[[], set[str]]) -> None:
        """Wait until none of these is left; fails when nothing of them is handled for a minute."""
        while ids := left():
            wait_until(partial(self._was_handled, ids), what=f"everything is handled; {len(ids)} are not")

    def _was_handled(self, ids: set[str]) -> bool:
        return not ids.isdisjoint(self.ids("ended"))

    def dead_letters(self) -> list[Message]:
        """What is among the dead letters; written into a ledger too."""
        found = asyncio.run(self._browse())
        ledger = Ledger(self.directory, f"dead{next(self._numbers)}")
        for letter in found:
            assert letter.dead is not None
            ledger.write("dead", letter.id, letter.key, reason=letter.dead.reason)
        return found

    async def _browse(self) -> list[Message]:
        url = open_queue(self.url).url
        assert url is not None
        async with open_queue(url.sibling("dead")) as queue:
            return [message async for message in queue.browse()]

    def freeze(self, child: Child) -> None:
        """SIGSTOP; with SQLite not within a commit: stopped there, a process keeps the lock of the file."""
        while True:
            child.signal(signal.SIGSTOP)
            wait_until(lambda: child.stopped)
            if self._can_be_written():
                return
            child.signal(signal.SIGCONT)
            time.sleep(0.01)

    def _can_be_written(self) -> bool:
        if not self.url.startswith("sqlite:"):
            return True
        with closing(sqlite3.connect(self.directory / "events.db", timeout=1.0, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            connection.execute("ROLLBACK")
            return True

    def finish(self) -> list[dict[str, Any]]:
        """Stop every worker; what each says."""
        return [child.stop() for child in self.children if child.alive]


@contextmanager
def theatre(directory: Path, home: Home = FILE, **options: object) -> Iterator[Theatre]:
    """A theatre on a queue of its own, whose ledgers are in this directory. At the end no process is left."""
    stage = Theatre(home.url(directory, **options), directory)
    try:
        yield stage
    finally:
        for child in stage.children:
            if child.alive:
                child.signal(signal.SIGCONT)
                child.kill()
