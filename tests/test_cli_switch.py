"""`notification switch status`: what is left in each route, and which can be retired."""

from __future__ import annotations

import json
import signal

import pytest

from .shell import PATIENCE, Shell, first_line, until

OLD, NEW = "sqlite:///old.db", "sqlite:///new.db"
ROUTES = ("--route", f"old={OLD}", "--route", f"new={NEW}")
SWITCHED = """
import os

from notification import EventDispatcher, SwitchQueue, event

@event("order.shipped")
class OrderShipped:
    order_id: str

dispatcher = EventDispatcher(
    SwitchQueue({"old": "sqlite:///old.db", "new": "sqlite:///new.db"}, lambda: os.environ["WHICH"])
)

@dispatcher.on(OrderShipped)
def mail(shipped: OrderShipped) -> None:
    raise ValueError("no address")
"""


def send(shell: Shell, queue: str, *words: str) -> None:
    done = shell("send", "order.shipped", '{"order_id": "A-1"}', "--queue", queue, *words)
    assert done.returncode == 0, done.stderr


def rows(shell: Shell, *words: str, **environment: str) -> tuple[int, list[dict[str, object]]]:
    """The exit code, and each route as JSON."""
    done = shell("switch", "status", *words, "--format", "json", **environment)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_status_says_what_is_left_in_each_route(shell: Shell) -> None:
    """One line a route; which is written is what the flag says here. Exit code 1 while something is left."""
    send(shell, OLD)
    send(shell, OLD, "--delay", "60")
    send(shell, NEW)
    done = shell("switch", "status", *ROUTES, NOTIFICATION_ROUTE="new")
    assert (done.returncode, done.stderr) == (1, "")
    title, old, new = done.stdout.splitlines()
    assert title.split()[:6] == ["ROUTE", "WRITTEN", "WAITING", "IN", "FLIGHT", "DELAYED"]
    assert old.split()[:6] == ["old", "no", "1", "0", "1", "0"]
    assert "no, 2 left" in old
    assert new.split()[:6] == ["new", "yes", "1", "0", "0", "0"]
    assert "no, it is written" in new


def test_a_route_that_is_empty_and_not_written_can_be_retired(shell: Shell) -> None:
    """Exit code 0, for `until notification switch status; do sleep 5; done`."""
    send(shell, NEW)
    code, [old, new] = rows(shell, *ROUTES, NOTIFICATION_ROUTE="new")
    assert (code, old["retire"], old["written"]) == (0, "yes", False)
    assert (new["retire"], new["written"], new["waiting"]) == ("no, it is written", True, 1)


def test_dead_letters_are_told_apart(shell: Shell) -> None:
    """They are no reason for anybody to consume the route, but one not to delete it."""
    (shell.directory / "switched.py").write_text(SWITCHED)
    send(shell, OLD)
    worker = shell.start("run", "switched.py", WHICH="new")
    until(lambda: '"dead": 1' in shell("stats", "--queue", OLD, "--format", "json").stdout)
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=PATIENCE)
    code, [old, new] = rows(shell, "--app", "switched.py", WHICH="new")
    assert (code, old["dead"], old["retire"]) == (1, 1, "yes, but for 1 dead letter")
    assert new["dead"] == 0
    letters = shell("dead", "ls", "--app", "switched.py", "--format", "json", WHICH="new").stdout.splitlines()
    assert len(letters) == 1
    assert shell("dead", "drop", "--all", "--yes", "--app", "switched.py", WHICH="new").returncode == 0
    assert rows(shell, "--app", "switched.py", WHICH="new")[0] == 0


def test_a_flag_that_can_not_be_read_leaves_nothing_to_be_retired(shell: Shell) -> None:
    """Nobody knows which route is written."""
    done = shell("switch", "status", *ROUTES)
    assert done.returncode == 1
    assert done.stdout.count("unknown, the flag can't be read") == 2
    assert "NOTIFICATION_ROUTE" in done.stderr
    flag = shell.directory / "flag"
    flag.write_text("old\n")
    code, [old, _] = rows(shell, *ROUTES, "--choose", "file:flag")
    assert (code, old["written"]) == (0, True)


def test_a_route_that_is_down_hides_no_other(shell: Shell) -> None:
    """Its row says why; it can't be retired blindly."""
    send(shell, NEW)
    routes = ("--route", "old=redis://127.0.0.1:1/0", "--route", f"new={NEW}", "--route", "memory=channel://")
    done = shell("switch", "status", *routes, NOTIFICATION_ROUTE="new")
    assert done.returncode == 1
    assert done.stdout.count("unknown, it does not answer") == 2
    assert "route old: " in done.stderr
    assert "route memory: it lives inside each process, and can't be seen from here" in done.stderr
    code, [_, new, _] = rows(shell, *routes, NOTIFICATION_ROUTE="new")
    assert (code, new["waiting"]) == (1, 1)


def test_status_watches(shell: Shell) -> None:
    """A line a look where there is no terminal, until Ctrl-C."""
    process = shell.start("switch", "status", *ROUTES, "--watch", "--interval", "0.1", NOTIFICATION_ROUTE="new")
    assert first_line(process).startswith(
        "old: waiting 0, in flight 0, delayed 0, dead 0, oldest -, retire yes; new (wri"
    )
    send(shell, OLD)
    until(lambda: "old: waiting 1" in first_line(process))
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130


def test_status_fits_a_terminal(shell: Shell) -> None:
    """Nothing is wrapped."""
    code, shown = shell.on_terminal("switch", "status", *ROUTES, columns=60, NOTIFICATION_ROUTE="new")
    assert code == 0
    assert all(len(line) <= 60 for line in shown.splitlines())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--queue", OLD], f"{OLD}?queue=events is no switch"),
        (["--route", "sqlite:///old.db"], "write NAME=URL"),
        (["--route", f"old={OLD}", "--choose", "env:"], "--choose: 'env:' names no variable"),
        (["--route", "old=sqlit:///a.db"], "did you mean 'sqlite'"),
    ],
)
def test_what_makes_no_sense_is_refused(shell: Shell, words: list[str], says: str) -> None:
    """Exit code 2."""
    done = shell("switch", "status", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
