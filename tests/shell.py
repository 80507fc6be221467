"""The command as a shell runs it, in a directory with an app."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from notification.cli import main

COMMAND = [sys.executable, "-m", "notification"]
QUEUE = "sqlite:///events.db"
PATIENCE = 20.0

APP = """
from notification import EventDispatcher, event

@event("order.shipped", key="account_id")
class OrderShipped:
    account_id: int
    order_id: str

dispatcher = EventDispatcher("sqlite:///code.db")
other = EventDispatcher("sqlite:///other.db", grace=2)
number = 7

@dispatcher.on(OrderShipped)
@other.on(OrderShipped)
async def mail(shipped: OrderShipped) -> None:
    print(f"mailed {shipped.order_id}", flush=True)
"""


_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(["tests.shell", "queues.sqlite", "queues.kafka"])


def _become(words: list[str], directory: Path, environment: dict[str, str], streams: list[Path]) -> None:
    """The command, in a process that was forked for it."""
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    for number, (path, flags) in enumerate(zip(streams, (os.O_RDONLY, *2 * (os.O_WRONLY | os.O_CREAT,)), strict=True)):
        os.dup2(os.open(path, flags), number)
    sys.argv = words
    sys.path.insert(0, str(directory))  # as `python -m` does
    sys.stdin, sys.stdout = os.fdopen(0, encoding="utf-8"), os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    main()


class Shell:
    """Runs the command in a directory of its own, without the caller's NOTIFICATION_ variables."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started: list[subprocess.Popen[str]] = []
        ours = {name: value for name, value in os.environ.items() if not name.startswith("NOTIFICATION_")}
        self.environment = {name: value for name, value in ours.items() if name not in {"COLUMNS", "LINES"}}

    def __call__(self, *words: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """To its end, in a process forked from one that has imported everything: that is what takes its time."""
        with TemporaryDirectory() as files:
            streams = [Path(files) / name for name in ("in", "out", "err")]
            streams[0].write_text(stdin, encoding="utf-8")
            arguments = (["notification", *words], self.directory, {**self.environment, **environment}, streams)
            process = _FORKED.Process(target=_become, args=arguments)
            process.start()
            process.join(60)
            if process.exitcode is None:
                process.kill()
                process.join()
                raise subprocess.TimeoutExpired(words, 60)
            out, err = (stream.read_text(encoding="utf-8") for stream in streams[1:])
        return subprocess.CompletedProcess(words, process.exitcode, out, err)

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """In the background, with pipes."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [*COMMAND, *words], cwd=self.directory, env={**self.environment, **environment},
            stdin=pipe, stdout=pipe, stderr=pipe, text=True,
        )  # fmt: skip
        self.started.append(process)
        return process

    def on_terminal(self, *words: str, columns: int = 80, keys: str = "", **environment: str) -> tuple[int, str]:
        """On a terminal of that width, where somebody types `keys`; its exit code and what the screen was sent."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = subprocess.Popen(
            [*COMMAND, *words], cwd=self.directory, stdin=theirs, stdout=theirs, stderr=theirs,
            env={**self.environment, "TERM": "xterm", **environment},
        )  # fmt: skip
        os.close(theirs)
        os.write(ours, keys.encode())
        shown = b""
        while chunk := _read(ours):
            shown += chunk
        os.close(ours)
        return process.wait(PATIENCE), re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode()).replace("\r\n", "\n")

    def stats(self, queue: str = QUEUE) -> dict[str, Any]:
        """What `stats --format json` says."""
        done = self("stats", "--queue", queue, "--format", "json")
        assert done.returncode == 0, done.stderr
        figures: dict[str, Any] = json.loads(done.stdout)
        return figures

    def end(self) -> None:
        """Kill what still runs."""
        for process in self.started:
            process.kill()
            for stream in (process.stdin, process.stdout, process.stderr):  # not read: others may hold them open
                if stream is not None:
                    stream.close()
            process.wait()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    (tmp_path / "app.py").write_text(APP)
    shell = Shell(tmp_path)
    yield shell
    shell.end()


def until(state: Callable[[], object]) -> None:
    """Wait for a state that must come."""
    end = time.monotonic() + PATIENCE
    while not state():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # Linux says so when the other side is closed
        return b""
