"""`notification run` with several processes, --reload and --health: real processes, real signals."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from notification.cli.lifeline import Lifeline

from .shell import APP, PATIENCE, QUEUE, Shell, first_line, until

AT_QUEUE = ("--queue", QUEUE)
TWO = ("run", "app", *AT_QUEUE, "--processes", "2", "--workers", "3")
TELLS_ITS_PID = APP.replace('print(f"mailed', 'import os; print(f"{os.getpid()} mailed').replace(
    "@dispatcher.on", 'import os, pathlib; pathlib.Path(f"pid-{os.getpid()}").touch()\n@dispatcher.on'
)


def pids(shell: Shell) -> set[int]:
    """Of all processes that have imported the app, alive or not."""
    return {int(path.name.removeprefix("pid-")) for path in shell.directory.glob("pid-*")}


def alive(pid: int) -> bool:
    """Whether it runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def start(shell: Shell, *words: str, app: str = TELLS_ITS_PID) -> subprocess.Popen[str]:
    """A parent with its children up."""
    (shell.directory / "app.py").write_text(app)
    process = shell.start(*words)
    assert first_line(process)
    return process


def send(shell: Shell, number: int) -> None:
    lines = "".join(
        f'{{"type": "order.shipped", "data": {{"account_id": {n}, "order_id": "A-{n}"}}}}\n' for n in range(number)
    )
    assert shell("send", "--file", "-", *AT_QUEUE, "--app", "app.py", stdin=lines).returncode == 0


def test_two_processes_handle_events_and_end_with_one_report(shell: Shell) -> None:
    """One signal to the parent stops all in order."""
    (shell.directory / "app.py").write_text(TELLS_ITS_PID)
    send(shell, 200)
    process = shell.start(*TWO)
    assert first_line(process) == (
        "app: 2 processes of 3 workers, 1 handler on sqlite:///events.db?queue=events (Ctrl-C stops in order)\n"
    )
    until(lambda: shell.stats()["settled"] == 200)
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert out.splitlines()[-1] == "stopped: 200 handled, 0 retried, 0 dead"
    assert not any(map(alive, pids(shell)))


def test_a_process_that_dies_is_started_again(shell: Shell) -> None:
    """And what it had is handled by another one; the report counts the death."""
    process = start(shell, *TWO)
    until(lambda: len(pids(shell)) >= 2)
    first = pids(shell)
    until(lambda: all(map(alive, first)))
    victim = min(first)
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(pids(shell) - {victim}) >= 2)
    send(shell, 20)
    until(lambda: shell.stats()["settled"] == 20)
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert f"process {victim} was killed by SIGKILL; another one takes its place" in errors
    assert out.splitlines()[-1].endswith("; a process died 1 time")


def test_children_end_when_their_parent_is_killed(shell: Shell) -> None:
    """Nobody would stop them later."""
    process = start(shell, *TWO)
    until(lambda: len(pids(shell)) == 2)
    process.kill()
    until(lambda: not any(map(alive, pids(shell))))


async def test_a_parent_that_dies_with_words_unread_is_gone_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the line ends with an error in place of nothing."""
    ours, theirs = socket.socketpair()
    stopped: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: stopped.append(number))
    ours.setblocking(False)
    lifeline = Lifeline(ours)

    async def look() -> dict[str, object]:
        return {"ready": True}

    theirs.send(b"go")
    async with lifeline.held({}, look):
        theirs.close()
        while not stopped:
            await asyncio.sleep(0)
    assert stopped == [signal.SIGTERM]
    ours.close()


def test_a_second_signal_leaves_at_once_with_all_processes(shell: Shell) -> None:
    """Also when a handler would not end."""
    app = TELLS_ITS_PID.replace("async def mail", "def mail").replace(
        "import os; print(", "__import__('time').sleep(1000); print("
    )
    (shell.directory / "app.py").write_text(app)
    send(shell, 4)
    process = start(shell, *TWO, app=app)
    until(lambda: shell.stats()["in_flight"] >= 2)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    until(lambda: process.stderr is not None and "stopping in order" in process.stderr.readline())
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 128 + signal.SIGINT
    until(lambda: not any(map(alive, pids(shell))))


@pytest.mark.parametrize(
    ("app", "code", "text"),
    [
        ("raise RuntimeError('boom')\n", 1, "RuntimeError: boom"),
        ("number = 7\n", 2, "app has no 'dispatcher'"),
    ],
)
def test_an_app_that_never_comes_up_is_given_up(shell: Shell, app: str, code: int, text: str) -> None:
    """With its own words, and its own exit code."""
    (shell.directory / "app.py").write_text(app)
    done = shell(*TWO)
    assert (done.returncode, done.stdout) == (code, "")
    assert text in done.stderr
    assert "supervisor.py" not in done.stderr


def test_the_url_is_not_on_the_command_line_of_the_children(shell: Shell) -> None:
    """It may hold a password, and command lines are for all to see."""
    start(shell, "run", "app", "--queue", f"{QUEUE}?lease=31", "--processes", "2")
    until(lambda: len(pids(shell)) == 2)
    assert all(b"lease" not in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids(shell))


def test_reload_starts_again_when_a_file_changes(shell: Shell) -> None:
    """With the new code; a file that doesn't import is told, and waited for."""
    process = start(shell, "run", "app", *AT_QUEUE, "--reload")
    assert process.stdout is not None
    (shell.directory / "app.py").write_text("1 / 0\n")
    assert process.stderr is not None
    until(lambda: process.stderr is not None and "ZeroDivisionError" in process.stderr.readline())
    (shell.directory / "app.py").write_text(APP.replace("mailed", "newly mailed"))
    send(shell, 1)
    assert first_line(process) == "newly mailed A-0\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert out.splitlines()[-1].startswith("stopped: 1 handled")


# -- health


def ask(port: int, path: str) -> tuple[int, Any]:
    """Status and body; 0 while nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, None
    except OSError:
        return 0, None


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@pytest.mark.parametrize("processes", ["1", "2"])
def test_health_is_answered_over_http(shell: Shell, processes: str) -> None:
    """For probes: alive and ready, of all processes."""
    port = free_port()
    start(shell, "run", "app", *AT_QUEUE, "--processes", processes, "--health", str(port))
    until(lambda: ask(port, "/readyz")[0] == 200)
    status, health = ask(port, "/healthz")
    assert (status, health["live"], health["ready"]) == (200, True, True)
    assert ask(port, "/elsewhere")[0] == 404


def test_a_blocked_event_loop_is_not_alive(shell: Shell) -> None:
    """An async handler that never suspends stops everything, so the probe says so."""
    port = free_port()
    blocking = APP.replace("print(", "__import__('time').sleep(60); print(")
    start(shell, "run", "app", *AT_QUEUE, "--health", str(port), app=blocking)
    until(lambda: ask(port, "/healthz")[0] == 200)
    send(shell, 1)
    until(lambda: ask(port, "/healthz")[0] == 503)


def test_a_port_in_use_is_told(shell: Shell) -> None:
    """In a line, before anything is handled."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for processes in ("1", "2"):
            done = shell("run", "app", *AT_QUEUE, "--processes", processes, "--health", str(port))
            assert done.returncode == 2
            assert f"notification: can't listen on 127.0.0.1:{port}: Address already in use" in done.stderr


# -- logs


def test_logs_go_to_a_file_as_json(shell: Shell) -> None:
    """One object a line, with the event's id and type."""
    (shell.directory / "app.py").write_text(
        APP.replace('print(f"mailed', 'raise ValueError(f"mailed').replace(", flush=True", "")
    )
    send(shell, 1)
    process = shell.start("run", "app", *AT_QUEUE, "--log-file", "run.log", "--log-format", "json")
    log = shell.directory / "run.log"
    until(lambda: log.exists() and "ValueError" in log.read_text())
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=PATIENCE)
    assert errors == ""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert all(re.fullmatch(r"\d{4}-.*\+00:00", line["time"]) for line in lines)
    assert any(line["logger"] == "notification.handlers" and line["level"] == "warning" for line in lines)


def test_run_reports_in_json(shell: Shell) -> None:
    """The line at the start and the one at the end, for programs."""
    (shell.directory / "app.py").write_text(APP)
    send(shell, 1)
    process = shell.start("run", "app", *AT_QUEUE, "--format", "json")
    assert json.loads(first_line(process))["handlers"] == 1
    assert first_line(process) == "mailed A-0\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=PATIENCE)
    assert json.loads(out)["handled"] == 1
