"""The file itself: whose it is, who may read it, and that nothing in a file that is refused is changed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from queues import _sqlite_file, _sqlite_schema, open_queue
from queues.base import MessageQueue
from queues.clock import SYSTEM_CLOCK
from queues.errors import ConfigurationError, NotificationError, QueueError, QueueUnavailable
from queues.message import Message, Nack
from tests.sqlite_audit import audit

ROOT = os.geteuid() == 0


def url(path: Path) -> str:
    """Of a queue in this file."""
    return f"sqlite:///{path}"


def events(count: int, size: int = 0) -> list[Message]:
    """`count` of them: e0, e1, …"""
    data = "x" * size
    return [Message(type="t", id=f"e{number}", source="/s", key=f"k{number % 3}", data=data) for number in range(count)]


async def fill(path: Path, count: int = 40) -> None:
    """Some events, and a clean end."""
    async with open_queue(url(path)) as queue:
        await queue.push_many(events(count, 500))


async def refusal(path: Path) -> str:
    """Why the file is not opened; afterwards it is byte for byte what it was, with nothing beside it."""
    before = path.read_bytes(), sorted(path.parent.iterdir())
    with pytest.raises(ConfigurationError) as refused:
        async with open_queue(url(path)):
            pass
    assert (path.read_bytes(), sorted(path.parent.iterdir())) == before, "nothing in it is changed"
    return str(refused.value)


# -- who may read it


async def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    """0600, and so are the files beside it, whatever the umask."""
    before = os.umask(0)
    try:
        async with open_queue(url(tmp_path / "q.db")) as queue:
            await queue.push_many(events(1))
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"q.db": 0o600, "q.db-wal": 0o600, "q.db-shm": 0o600}


async def test_a_file_that_everyone_may_write_is_refused(tmp_path: Path) -> None:
    """Whoever can write it can make our handlers run anything they take."""
    path = tmp_path / "q.db"
    await fill(path)
    path.chmod(0o666)
    assert f"chmod o-w {path}" in await refusal(path)


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
async def test_a_symbolic_link_is_refused(tmp_path: Path, suffix: str) -> None:
    """Somebody could have put it there to have another file written."""
    (tmp_path / "victim").write_text("precious")
    Path(f"{tmp_path}/q.db{suffix}").symlink_to(tmp_path / "victim")
    with pytest.raises(ConfigurationError, match="symbolic link"):
        await fill(tmp_path / "q.db")
    assert (tmp_path / "victim").read_text() == "precious"


async def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A directory, a pipe."""
    (tmp_path / "directory.db").mkdir()
    os.mkfifo(tmp_path / "pipe.db")
    for name in ("directory.db", "pipe.db"):
        with pytest.raises(ConfigurationError, match=f"{name} is no regular file"):
            await fill(tmp_path / name)


async def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    """We make no directories: a typing error would make one."""
    with pytest.raises(ConfigurationError, match=f"{tmp_path}/missing is no directory; create it"):
        await fill(tmp_path / "missing" / "q.db")


@pytest.mark.skipif(ROOT, reason="root may write everywhere")
@pytest.mark.parametrize("existing", [False, True])
async def test_a_directory_that_is_not_ours_to_write_is_named(tmp_path: Path, existing: bool) -> None:
    """SQLite needs files beside the database, so one that exists is not enough."""
    directory = tmp_path / "read-only"
    directory.mkdir()
    if existing:
        await fill(directory / "q.db")
    directory.chmod(0o500)
    try:
        with pytest.raises(ConfigurationError, match=f"{directory} is not ours to write"):
            await fill(directory / "q.db")
    finally:
        directory.chmod(0o700)


@pytest.mark.parametrize(
    ("mounts", "kind"),
    [
        ("/dev/sda / ext4 rw 0 0\nserver:/x /data nfs4 rw 0 0", "nfs4"),
        ("server:/x / nfs rw 0 0\n/dev/sdb /data ext4 rw 0 0", None),
        ("/dev/sda / ext4 rw 0 0\nserver:/x /dat nfs rw 0 0", None),
        ("server:/x /data\\040 nfs rw 0 0\n/dev/sda / ext4 rw 0 0", None),
        ("", None),
    ],
)
def test_a_network_file_system_is_known(mounts: str, kind: str | None) -> None:
    """By the longest mount point above the file's directory."""
    assert _sqlite_file.network_file_system(Path("/data/queues"), mounts) == kind


async def test_a_network_file_system_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It may still be right where one machine alone uses it."""
    monkeypatch.setattr(_sqlite_file, "network_file_system", lambda _: "nfs4")
    await fill(tmp_path / "q.db")
    assert "is on nfs4" in caplog.text


# -- whose it is


async def test_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    """Whether it is in WAL mode or not, and whether another program has it open or not."""
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute("CREATE TABLE precious (x)")
        theirs.commit()
        path.chmod(0o600)
        assert "another program" in await refusal(path)
        theirs.execute("PRAGMA journal_mode = WAL")
        theirs.execute("INSERT INTO precious VALUES (1)")
        theirs.commit()
        assert "another program" in await refusal(path)
    assert "another program" in await refusal(path)


@pytest.mark.parametrize("content", [b"precious\n" * 200, b"x", b"SQLite format 3\0" + b"\xff" * 200])
async def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    """Named, with what to do."""
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    path.chmod(0o600)
    assert f"{path} is" in await refusal(path)


async def test_an_empty_file_is_a_new_database(tmp_path: Path) -> None:
    """As mktemp makes one, or a process that was killed at the very start."""
    path = tmp_path / "q.db"
    path.touch(0o600)
    await fill(path)
    audit(path)


async def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    """An older process must not write what it does not understand."""
    path = tmp_path / "q.db"
    await fill(path)
    with closing(sqlite3.connect(path)) as later:
        later.execute("PRAGMA user_version = 99")
    assert "upgrade" in await refusal(path)


async def test_an_older_file_is_migrated_in_one_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And everything in it is still there."""
    path = tmp_path / "q.db"
    await fill(path)
    _next_version(monkeypatch, {1: "ALTER TABLE queue ADD COLUMN note TEXT;\nUPDATE queue SET note = 'migrated';\n"})
    async with open_queue(url(path)) as queue:
        assert await queue.size() == 40
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT note FROM queue").fetchall() == [("migrated",)]
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)


async def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All or nothing."""
    path = tmp_path / "q.db"
    await fill(path)
    with monkeypatch.context() as patched:
        _next_version(patched, {1: "ALTER TABLE queue ADD COLUMN note TEXT;\nINSERT INTO missing VALUES (1);\n"})
        with pytest.raises(NotificationError, match="missing"):
            async with open_queue(url(path)):
                pass
    async with open_queue(url(path)) as queue:
        assert await queue.size() == 40
    with closing(sqlite3.connect(path)) as connection:
        assert "note" not in [row[1] for row in connection.execute("PRAGMA table_info(queue)")]


def _next_version(monkeypatch: pytest.MonkeyPatch, migrations: Mapping[int, str]) -> None:
    monkeypatch.setattr(_sqlite_file, "VERSION", 2)
    monkeypatch.setattr(_sqlite_schema, "MIGRATIONS", migrations)


def test_an_sqlite_that_is_too_old_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says which one is needed."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 37, 2))
    with pytest.raises(ConfigurationError, match=r"needs SQLite 3\.38"):
        _sqlite_schema.connect(tmp_path / "q.db", SYSTEM_CLOCK, "full")


async def test_many_processes_may_make_the_file_at_the_same_moment(tmp_path: Path) -> None:
    """One makes it, the others use it."""
    code = (
        "import asyncio, sys\nfrom queues import Message, open_queue\n"
        "async def main():\n    async with open_queue(sys.argv[1]) as queue:\n"
        "        await queue.push(Message(type='t', id=sys.argv[2], source='/s'))\nasyncio.run(main())"
    )
    path = tmp_path / "q.db"
    children = [subprocess.Popen([sys.executable, "-c", code, url(path), f"e{number}"]) for number in range(6)]
    assert [child.wait(60) for child in children] == [0] * 6
    async with open_queue(url(path)) as queue:
        assert await queue.size() == 6
    audit(path)


async def test_a_file_is_judged_in_one_look(tmp_path: Path) -> None:
    """Half of what is read from before another process made the file, half from after, is nobody's database."""
    path = tmp_path / "q.db"
    other = threading.Thread(target=lambda: _sqlite_schema.connect(path, SYSTEM_CLOCK, "full").close())

    def make_it_between(statement: str) -> None:
        if statement == "PRAGMA user_version" and not other.ident:
            other.start()
            other.join(0.5)  # in one look, it has to wait for us

    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        path.chmod(0o600)
        connection.set_trace_callback(make_it_between)
        _sqlite_schema._set_up(connection, path, SYSTEM_CLOCK, "full")
    other.join()
    async with open_queue(url(path)) as queue:
        assert await queue.size() == 0


# -- damage


async def test_a_copy_cut_at_any_byte_is_refused(tmp_path: Path) -> None:
    """Every cut inside the first two pages or near a page's end, and many others."""
    whole = tmp_path / "whole.db"
    await fill(whole)
    content = whole.read_bytes()
    dice = random.Random(1)
    edges = {page + step for page in range(4096, len(content), 4096) for step in (-1, 0, 1)}
    cuts = {1, 15, 16, 50, 99, 100, 101, 511, 512, len(content) - 1} | edges | set(dice.sample(range(len(content)), 60))
    (tmp_path / "cut").mkdir()
    copy = tmp_path / "cut" / "q.db"
    for cut in sorted(cuts - {0}):
        copy.write_bytes(content[:cut])
        copy.chmod(0o600)
        assert str(copy) in await refusal(copy), f"cut at {cut}"
    copy.write_bytes(content)
    async with open_queue(url(copy)) as queue:
        assert await queue.size() == 40


async def test_a_log_cut_at_any_byte_is_read_as_far_as_it_is_whole(tmp_path: Path) -> None:
    """A copy taken of a living file and its -wal: the events of whole transactions, in order, and sound books."""
    live = tmp_path / "live.db"
    await fill(live, 5)
    dice = random.Random(2)
    async with open_queue(url(live)) as queue:
        for message in events(30)[5:]:
            await queue.push(message)
        content, log = live.read_bytes(), Path(f"{live}-wal").read_bytes()
    seen = set()
    for number, cut in enumerate([0, 31, 32, len(log), *dice.sample(range(len(log)), 25)]):
        copy = tmp_path / f"{number}.db"
        copy.write_bytes(content)
        copy.chmod(0o600)
        Path(f"{copy}-wal").write_bytes(log[:cut])
        async with open_queue(url(copy)) as queue:
            found = [message.id async for message in queue.browse()]
        assert found == [f"e{number}" for number in range(len(found))]
        audit(copy)
        seen.add(len(found))
    assert {5, 30} <= seen


async def test_damage_anywhere_raises_nothing_but_our_errors(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Random bytes in random places: refused, or QueueUnavailable, or worked with; never another exception."""
    whole = tmp_path / "whole.db"
    await fill(whole)
    content = whole.read_bytes()
    dice = random.Random(3)
    for number in range(60):
        damaged = bytearray(content)
        for _ in range(dice.choice([1, 5, 50])):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        copy = tmp_path / f"{number}.db"
        copy.write_bytes(damaged)
        copy.chmod(0o600)
        await _use(copy)
    assert "failed" not in caplog.text, "the thread met nothing that it did not expect"


async def _use(path: Path) -> None:
    try:
        async with open_queue(url(path)) as queue:
            for step in (_look, _push, _handle, _hand_back):
                with contextlib.suppress(QueueError, TimeoutError):
                    await asyncio.wait_for(step(queue), 0.3)
    except (ConfigurationError, QueueUnavailable) as error:
        if str(path) not in str(error):
            pytest.fail(f"the error does not name the file: {error}")


async def _look(queue: MessageQueue) -> None:
    await queue.stats()
    async for message in queue.browse():
        assert message.source


async def _push(queue: MessageQueue) -> None:
    await queue.push_many(events(3))


async def _handle(queue: MessageQueue) -> None:
    for _ in range(5):
        await queue.ack_many(await queue.pop_many(10))


async def _hand_back(queue: MessageQueue) -> None:
    got = await queue.pop_many(5)
    await queue.nack_many([Nack(delivery, 1.0) for delivery in got[:2]])
    await queue.release(got[2:])
