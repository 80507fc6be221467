"""Redis servers for tests: started on a free port of this machine, and gone when the tests are, however those end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote

import pytest
import redis as client

from queues._redis_acl import rules

Persistence = Literal["none", "always", "everysec"]
BINARY = shutil.which("redis-server") or str(Path(sys.executable).parent / "redis-server")
PATIENCE = 20.0
PASSWORD = "canary-b1f2"
"""Of users that tests make; never to be seen in a log."""

_KEEPING: dict[Persistence, dict[str, str]] = {
    "none": {"save": "", "appendonly": "no"},
    "always": {"save": "", "appendonly": "yes", "appendfsync": "always"},
    "everysec": {"save": "", "appendonly": "yes", "appendfsync": "everysec"},
}


class Redis:
    """A server that tests use: its `url`, and `admin`, a client that may do everything, outside of any event loop."""

    def __init__(self, url: str, admin: client.Redis) -> None:
        self.url, self.admin = url, admin

    def queue(self, name: str | None = None, *, scheme: str = "redis", user: str | None = None, **options: Any) -> str:
        """The URL of a queue with a name that nobody else has, or with this one. user: `limited`."""
        base = self.limited() if user == "limited" else self.url
        given = {"queue": name or f"q-{uuid.uuid4().hex[:12]}", **options}
        query = "&".join(f"{option}={quote(str(value), safe='/:{}')}" for option, value in given.items())
        return f"{scheme}{base.removeprefix('redis')}?{query}"

    def limited(self) -> str:
        """The URL for a user who may do what a queue needs and nothing else."""
        return self.user("limited", *rules())

    def user(self, name: str, *rules: str) -> str:
        """Make a user with these ACL rules; his URL."""
        command: Callable[..., Any] = self.admin.execute_command
        command("ACL", "SETUSER", name, "reset", "on", f">{PASSWORD}", *rules)
        _, _, place = self.url.rpartition("://")
        return f"redis://{name}:{PASSWORD}@{place.rpartition('@')[2]}"

    def assert_that_the_rules_suffice(self) -> None:
        """The user of `limited` was never refused anything, in all tests."""
        log: Any = self.admin.acl_log()
        refused = [line for line in log if line["username"] == "limited" and line["reason"] in {"command", "key"}]
        assert refused == []


class RedisServer(Redis):
    """A server of our own. settings: of redis.conf, `maxmemory="2mb"`, `_` for `-`, a tuple for several words.

    port: a free one when not given. It keeps its data over `kill` and `start` as far as its persistence does.
    """

    flags: tuple[str, ...] = ()
    """Of the command line."""
    lines: Sequence[str] = ()
    """Of redis.conf, as they are."""

    def __init__(self, *, persistence: Persistence = "none", port: int | None = None, **settings: object) -> None:
        self.port = port or free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="redis-"))
        self.socket = str(self.directory / "s")
        given = {name.replace("_", "-"): value for name, value in settings.items()}
        self.settings: dict[str, object] = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self.directory,
            "unixsocket": self.socket,
            "logfile": self.directory / "log",
            **_KEEPING[persistence],
            **given,
        }
        self.password = str(given["requirepass"]) if "requirepass" in given else None
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: subprocess.Popen[bytes] | None = None
        super().__init__(
            f"redis://127.0.0.1:{self.port}/0", client.Redis(unix_socket_path=self.socket, password=self.password)
        )

    @property
    def pid(self) -> int:
        assert self._process is not None, "it does not run"
        return self._process.pid

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return (self.directory / "log").read_text() if (self.directory / "log").exists() else ""

    def start(self, *, wait: bool = True) -> Self:
        """Start it, and wait until it answers and has read its data."""
        assert self._process is None, "it runs already"
        settings = [f"{name} {_words(value)}" for name, value in self.settings.items()]
        (self.directory / "conf").write_text("\n".join([*settings, *self.lines, ""]))
        self._process = subprocess.Popen(
            [BINARY, str(self.directory / "conf"), *self.flags],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT,
            start_new_session=True,  # a ^C is for the tests, which then end it
        )  # fmt: skip
        self._watch = end_with_us(self.pid, self.directory)
        if wait:
            self.wait()
        return self

    def wait(self) -> None:
        """Until it answers and has read its data."""
        until(self._answers, lambda: f"{BINARY} does not answer: {self.log[-2000:]}")

    def kill(self) -> None:
        """SIGKILL. Its data stay as they are on disk; `start` reads them again."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """End it in order and start it with its data on the same port."""
        self._end(signal.SIGTERM)
        self.start()

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it and forget its data. Idempotent."""
        self._end(signal.SIGKILL)
        self.admin.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"{BINARY} ended: {self.log[-2000:]}"
        with contextlib.suppress(client.RedisError, OSError):
            return bool(self.admin.ping())
        return False

    def _end(self, number: signal.Signals) -> None:
        self.admin.close()
        if self._process is None:
            return
        assert self._watch is not None
        self._watch.kill()  # first: a number that was waited for may belong to another process soon
        self._watch.communicate()
        self._process.send_signal(number)
        if number is not signal.SIGKILL:
            self._process.send_signal(signal.SIGCONT)
        self._process.wait(PATIENCE)
        self._process = self._watch = None


Start = Callable[..., RedisServer]


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    """The server that most tests share, each with a queue of its own. `TEST_REDIS_URL` names another one."""
    url = os.environ.get("TEST_REDIS_URL")
    if url:
        admin = client.Redis.from_url(url)
        yield (shared := Redis(url.partition("?")[0], admin))
        shared.assert_that_the_rules_suffice()
        admin.close()
        return
    need_redis()
    with RedisServer() as server:
        yield server
        server.assert_that_the_rules_suffice()


@pytest.fixture
def redis_server() -> Iterator[Start]:
    """Starts servers of the test's own: `redis_server(persistence="always", maxmemory="2mb")`."""
    need_redis()
    with contextlib.ExitStack() as servers:
        yield lambda **settings: servers.enter_context(RedisServer(**settings))


def need_redis(binary: str = BINARY, package: str = "redis") -> None:
    """Skip the test on a machine without Redis; fail it where the whole suite must run."""
    if shutil.which(binary) is None:
        why = f"there is no {Path(binary).name} here: `apt install {package}` or `brew install {package}`"
        if os.environ.get("CI", "").lower() in {"true", "1"}:
            pytest.fail(why)
        pytest.skip(why)


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(
    state: Callable[[], object], why: Callable[[], str] = lambda: "it did not come", *, patience: float = PATIENCE
) -> None:
    """Wait for a state that must come, outside of an event loop."""
    end = time.monotonic() + patience
    while not state():
        assert time.monotonic() < end, why()
        time.sleep(0.005)


def _words(value: object) -> str:
    """As redis.conf has it: a string, or several one after another."""
    return " ".join(f'"{word}"' for word in (value if isinstance(value, tuple) else (value,)))


def end_with_us(pid: int, directory: Path) -> subprocess.Popen[bytes]:
    """A process that kills that one and clears up when we are gone: its input ends then."""
    return subprocess.Popen(
        ["/bin/sh", "-c", f'read _; kill -9 {pid}; rm -rf "$0"', str(directory)],
        stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
