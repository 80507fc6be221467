"""The command as a shell runs it, in a directory with an app."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
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


class Shell:
    """Runs the command in a directory of its own, without the caller's NOTIFICATION_ variables."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started: list[subprocess.Popen[str]] = []
        ours = {name: value for name, value in os.environ.items() if not name.startswith("NOTIFICATION_")}
        self.environment = {name: value for name, value in ours.items() if name not in {"COLUMNS", "LINES"}}

    def __call__(self, *words: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *words], cwd=self.directory, env={**self.environment, **environment}, input=stdin,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def look(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The same without a process, which takes a second: for what loads no app, starts nothing and reads nothing."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(self.directory)
            patch.setattr(sys, "argv", ["notification", *words])
            for name in os.environ.keys() - self.environment.keys():
                patch.delenv(name)
            with pytest.raises(SystemExit) as end:
                main()
        code = end.value.code
        assert isinstance(code, int)
        return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())

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
