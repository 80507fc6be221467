"""Dispatching from threads, and from programs that have no event loop."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from notification import (
    ConfigurationError,
    CorruptMessage,
    Dispatched,
    EventDispatcher,
    NotificationError,
    PushFailed,
    QueueClosed,
    QueueFull,
    QueueUnavailable,
)
from tests.four_methods import FourMethods, Shelf
from tests.reference_queue import ReferenceQueue, Store
from tests.stage import Breakable, Note, Stage, turns, until

ROOT = Path(__file__).resolve().parents[1]


# -- dispatch_soon


async def test_dispatch_soon_takes_events_from_any_thread() -> None:
    """In the order of each thread; on_done is called in the event loop."""
    done: list[Any] = []
    async with Stage() as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            stage.ran.append(note.text)

        await stage.start()

        def told(result: Any) -> None:
            asyncio.get_running_loop()
            done.append(result)

        def work(name: str) -> None:
            for number in range(200):
                stage.dispatcher.dispatch_soon(Note(f"{name}{number:03}"), on_done=told)

        threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        await stage.ran_in_all(600)
        for name in "abc":
            assert [text for text in stage.ran if text[0] == name] == [f"{name}{number:03}" for number in range(200)]
        await until(lambda: len(done) == 600)
        assert all(isinstance(result, Dispatched) for result in done)
        for thread in threads:
            thread.join()


async def test_what_is_wrong_with_the_event_is_raised_where_it_was_dispatched() -> None:
    """Not later in a log."""
    async with Stage() as stage, stage.dispatcher as dispatcher:
        with pytest.raises(CorruptMessage):
            dispatcher.dispatch_soon(Note(3))  # type: ignore[arg-type]  # as a slip would have it


async def test_how_many_may_be_on_their_way_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is QueueFull, at once."""
    monkeypatch.setattr("notification.offloop.MAX_SOON", 5)
    async with Stage() as stage, stage.dispatcher as dispatcher:
        for _ in range(5):
            dispatcher.dispatch_soon(Note())
        with pytest.raises(QueueFull, match="on their way from dispatch_soon"):
            dispatcher.dispatch_soon(Note())
        await until(dispatcher.size)
        dispatcher.dispatch_soon(Note())


async def test_a_failure_goes_to_on_done() -> None:
    """The exception in the place of the Dispatched; others of the batch are not touched."""
    done: list[Any] = []
    queue = Breakable(ReferenceQueue(Store()))
    async with Stage(queue) as stage, stage.dispatcher as dispatcher:
        queue.broken = {"push"}
        dispatcher.dispatch_soon(Note("lost"), on_done=done.append)
        await until(lambda: done)
        queue.broken.clear()
        dispatcher.dispatch_soon(Note("fine"), on_done=done.append)
        await until(lambda: len(done) == 2)
        assert isinstance(done[0], QueueUnavailable)
        assert isinstance(done[1], Dispatched)


async def test_without_on_done_a_failure_is_an_error_in_the_log_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """With id and type, without the payload."""
    queue = Breakable(ReferenceQueue(Store()))
    async with Stage(queue) as stage, stage.dispatcher as dispatcher:
        queue.broken = {"push"}
        dispatcher.dispatch_soon(Note("secret payload"))
        await until(lambda: "from dispatch_soon was not accepted" in caplog.text)
        assert "(stage.note)" in caplog.text
        assert "the cable is out" in caplog.text
        assert "secret payload" not in caplog.text
        assert dispatcher._life.opened()[0].soon.failed == 1


async def test_an_on_done_that_fails_is_logged_and_the_others_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """It is the user's code."""
    done: list[Any] = []

    def broken(result: object) -> None:
        raise LookupError("no such order")

    async with Stage() as stage, stage.dispatcher as dispatcher:
        dispatcher.dispatch_soon(Note(), on_done=broken)
        dispatcher.dispatch_soon(Note(), on_done=done.append)
        await until(lambda: done)
        assert "no such order" in caplog.text


async def test_what_was_dispatched_soon_is_in_the_queue_when_stop_returns() -> None:
    """Even if stop comes right after it."""
    store = Store()
    async with Stage(ReferenceQueue(store)) as stage:
        await stage.dispatcher.start(workers=0)
        for number in range(2500):
            stage.dispatcher.dispatch_soon(Note(str(number)))
        await stage.stop(5)
    assert len(store.records) == 2500


async def test_what_was_dispatched_soon_and_waits_for_room_is_handled_before_the_end() -> None:
    """A local queue is drained after everything is in it."""
    async with Stage("channel://?capacity=1") as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            await turns(20)
            stage.ran.append(note.text)

        await stage.start()
        for number in range(20):
            stage.dispatcher.dispatch_soon(Note(str(number)))
        report = await stage.stop(30)
        assert stage.ran == [str(number) for number in range(20)]
        assert report.handled == 20


async def test_join_waits_for_what_was_dispatched_soon() -> None:
    """It is on its way to the queue."""
    async with Stage() as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            stage.ran.append(note)

        await stage.start()
        stage.dispatcher.dispatch_soon(Note())
        await stage.settled()
        assert len(stage.ran) == 1


async def test_a_handlers_dispatch_soon_may_wait_for_room() -> None:
    """It holds up no worker."""
    queue = FourMethods(Shelf(), capacity=1)
    done: list[Any] = []
    dispatcher = EventDispatcher(queue, dead_letter=FourMethods(Shelf()))

    @dispatcher.on(Note)
    async def read(note: Note) -> None:
        if note.text == "first":
            for number in range(5):
                dispatcher.dispatch_soon(Note(str(number)), on_done=done.append)

    async with dispatcher:
        await dispatcher.start()
        await dispatcher.dispatch(Note("first"))
        await until(lambda: len(done) == 5)
        assert [type(result) for result in done] == [Dispatched] * 5
        await dispatcher.join()


# -- blocking


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program of its own, with our rooms importable, that has 60 seconds."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments], cwd=ROOT, text=True, capture_output=True, timeout=60,
        check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


HEAD = """
import sys, threading
from notification import *

@event("off.note")
class Note:
    text: str

dispatcher = EventDispatcher(sys.argv[1])
"""


def test_a_plain_script_dispatches_and_ends(tmp_path: Path) -> None:
    """No loop of its own, nothing to close: what was accepted is there for another process."""
    url = f"sqlite:///{tmp_path / 'events.db'}"
    script = python(
        HEAD
        + """
with dispatcher.blocking() as blocking:
    sent = blocking.dispatch(Note("one"), key="k", headers={"a": "b"})
    assert sent.via == "queue", sent
    assert len(blocking.dispatch_many([Note("two"), Note("three")])) == 2
with dispatcher.blocking() as again:
    again.dispatch(Note("four"))
try:
    again.dispatch(object())
except UnknownEvent:
    print("ok")
""",
        url,
    )
    assert (script.returncode, script.stdout, script.stderr) == (0, "ok\n", "")
    worker = python(
        HEAD
        + """
import asyncio
async def main():
    got = []
    async def read(note):
        got.append(note.text)
    dispatcher.on(Note)(read)
    await dispatcher.start()
    await dispatcher.join()
    await dispatcher.stop()
    print(*sorted(got))
asyncio.run(main())
""",
        url,
    )
    assert (worker.returncode, worker.stdout, worker.stderr) == (0, "four one three two\n", "")


def test_threads_may_begin_at_the_same_moment(tmp_path: Path) -> None:
    """As in a threaded web server: one opens it, all use it."""
    script = python(
        HEAD
        + """
errors, barrier = [], threading.Barrier(8)
def view(number):
    barrier.wait()
    try:
        with dispatcher.blocking() as blocking:
            for _ in range(20):
                blocking.dispatch(Note(str(number)))
    except BaseException as error:
        errors.append(repr(error))
threads = [threading.Thread(target=view, args=(n,)) for n in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
import asyncio
with dispatcher.blocking() as blocking:
    size = asyncio.run_coroutine_threadsafe(dispatcher.size(), blocking._loop).result()
print(errors, size)
""",
        f"sqlite:///{tmp_path / 'events.db'}",
    )
    assert (script.returncode, script.stdout, script.stderr) == (0, "[] 160\n", "")


def test_a_child_after_a_fork_opens_its_own(tmp_path: Path) -> None:
    """And one that was opened before says so instead of hanging."""
    script = python(
        HEAD
        + """
import os, warnings
warnings.simplefilter("ignore")
early = EventDispatcher(sys.argv[1])
with early.blocking() as blocking:
    blocking.dispatch(Note("parent"))
if os.fork() == 0:
    try:
        with early.blocking():
            pass
    except ConfigurationError as error:
        print("refused:", error)
    with dispatcher.blocking() as blocking:
        blocking.dispatch(Note("child"))
    print("sent", flush=True)
    sys.exit()
os.wait()
""",
        f"sqlite:///{tmp_path / 'events.db'}",
    )
    assert script.returncode == 0, script.stderr
    assert script.stdout.splitlines() == [
        "refused: the dispatcher was opened before this process forked; open it in each child", "sent",
    ]  # fmt: skip


async def test_threads_beside_a_loop_use_the_loop_in_which_it_was_opened() -> None:
    """A queue, a sender, a pool belong to one loop."""
    async with Stage() as stage, stage.dispatcher as dispatcher:

        def view() -> str:
            with dispatcher.blocking() as blocking:
                blocking.dispatch_many([Note("a"), Note("b")])
                return blocking.dispatch(Note("c")).id

        sent = await asyncio.to_thread(view)
        assert sent
        assert await dispatcher.size() == 3


async def test_inside_its_own_loop_blocking_is_refused() -> None:
    """It would wait for itself."""
    async with Stage() as stage, stage.dispatcher as dispatcher:
        with dispatcher.blocking() as blocking:
            with pytest.raises(ConfigurationError, match="await dispatch"):
                blocking.dispatch(Note())
            with pytest.raises(ConfigurationError, match="await dispatch"):
                blocking.dispatch_many([Note()])
        await turns()


def test_once_its_loop_has_ended_blocking_says_so() -> None:
    """Instead of waiting for ever."""
    dispatcher = EventDispatcher()

    async def open_it() -> None:
        await dispatcher.start(workers=0)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(open_it())
    with dispatcher.blocking() as blocking, pytest.raises(QueueClosed, match="runs no more"):
        blocking.dispatch(Note())
    loop.run_until_complete(dispatcher.stop())
    loop.close()
    with pytest.raises(QueueClosed, match="stopped"), dispatcher.blocking():
        pass


def test_a_queue_that_cannot_be_opened_is_told_and_may_work_later(tmp_path: Path) -> None:
    """In the thread that asked."""
    script = python(
        HEAD
        + """
bad = EventDispatcher("sqlite:////nowhere/at/all/events.db")
try:
    with bad.blocking():
        pass
except NotificationError as error:
    print(type(error).__name__)
bad.use(sys.argv[1])
with bad.blocking() as blocking:
    print(blocking.dispatch(Note("x")).via)
""",
        f"sqlite:///{tmp_path / 'events.db'}",
    )
    assert script.returncode == 0, script.stderr
    name, via = script.stdout.splitlines()
    assert issubclass(getattr(sys.modules["notification"], name), NotificationError)
    assert via == "queue"


def test_push_failed_reaches_the_blocking_caller(tmp_path: Path) -> None:
    """Errors are the same as with await."""
    dispatcher = EventDispatcher(f"sqlite:///{tmp_path / 'events.db'}?capacity=1")
    with dispatcher.blocking() as blocking:
        blocking.dispatch(Note("1"))
        with pytest.raises(QueueFull):
            blocking.dispatch(Note("2"), timeout=0.01)
        with pytest.raises(PushFailed):
            blocking.dispatch_many([Note("3")], timeout=0.01)
        asyncio.run_coroutine_threadsafe(dispatcher.stop(), dispatcher._life.opened()[0].loop).result()
