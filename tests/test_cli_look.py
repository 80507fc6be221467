"""`notification peek` and `stats --watch`: looking without taking, on terminals and without."""

from __future__ import annotations

import json
import signal

import pytest

from notification import QueueStats, wire
from notification.cli.stats import rates_between

from .shell import PATIENCE, QUEUE, Shell, first_line, until

AT_QUEUE = ("--queue", QUEUE)


@pytest.fixture
def filled(shell: Shell) -> Shell:
    """A queue in which three events wait."""
    lines = (
        '{"type": "order.shipped", "id": "e-1", "key": "7", "data": {"n": 1}}\n'
        '{"type": "order.placed", "id": "e-2", "data": {"text": "' + "long " * 40 + '"}}\n'
        '{"type": "parcel.lost", "id": "e-3", "data": "caf\\u00e9\\u0007"}\n'
    )
    assert shell("send", "--file", "-", *AT_QUEUE, stdin=lines).returncode == 0
    return shell


# -- peek


def test_peek_shows_what_waits_and_takes_nothing(filled: Shell) -> None:
    """Time, type, key, id and data, whole where there is no terminal; control characters are escaped."""
    for _ in range(2):
        done = filled("peek", *AT_QUEUE)
        assert (done.returncode, done.stderr) == (0, "")
        rows = [line.split("  ", 4) for line in done.stdout.splitlines()]
        assert [row[1:4] for row in rows] == [
            ["order.shipped", "7", "e-1"], ["order.placed", "-", "e-2"], ["parcel.lost", "-", "e-3"],
        ]  # fmt: skip
        assert rows[0][4] == '{"n":1}'
        assert len(rows[1][4]) > 200
        assert rows[2][4] == '"café\\u0007"'
    assert filled.stats()["waiting"] == 3


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--type", "order.*"], ["e-1", "e-2"]),
        (["--limit", "2"], ["e-1", "e-2"]),
        (["--since", "1h"], ["e-1", "e-2", "e-3"]),
        (["--since", "2100-01-01T00:00:00+00:00"], []),
        (["--from", "2"], ["e-3"]),
    ],
)
def test_peek_shows_what_was_asked_for(filled: Shell, words: list[str], found: list[str]) -> None:
    """As whole events, for programs."""
    done = filled("peek", *AT_QUEUE, *words, "--format", "json")
    assert [wire.decode(line.encode()).id for line in done.stdout.splitlines()] == found


def test_peek_says_when_there_is_nothing_and_when_there_is_more(filled: Shell) -> None:
    """On stderr; a pattern that fits nothing is exit code 1, as with grep, an empty queue is not."""
    done = filled("peek", *AT_QUEUE, "--type", "nothing.*")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("that fits 'nothing.*'\n")
    assert filled("peek", *AT_QUEUE, "--limit", "1").stderr == "the first 1; --limit 0 shows all\n"
    empty = filled("peek", "--queue", f"{QUEUE}?queue=empty")
    assert (empty.returncode, empty.stdout) == (0, "")
    assert empty.stderr.startswith("nothing waits in ")


def test_peek_follows_what_arrives(filled: Shell) -> None:
    """Until Ctrl-C."""
    process = filled.start("peek", *AT_QUEUE, "--follow", "--type", "order.*", "--format", "json")
    assert [wire.decode(first_line(process).encode()).id for _ in range(2)] == ["e-1", "e-2"]
    filled("send", "order.shipped", "1", "--id", "e-4", *AT_QUEUE)
    assert wire.decode(first_line(process).encode()).id == "e-4"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (130, "")


@pytest.mark.parametrize("command", [["peek", "--limit", "0", *AT_QUEUE], ["dead", "ls", *AT_QUEUE]])
def test_a_reader_that_goes_away_ends_it_quietly(filled: Shell, command: list[str]) -> None:
    """As in `notification peek | head -1`."""
    process = filled.start(*command)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, errors = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors


@pytest.mark.parametrize("columns", [80, 40])
def test_a_line_of_peek_fits_the_terminal(filled: Shell, columns: int) -> None:
    """Cut with an ellipsis, never wrapped."""
    code, shown = filled.on_terminal("peek", *AT_QUEUE, columns=columns)
    lines = shown.splitlines()
    assert code == 0
    assert len(lines) == 3
    assert all(len(line) <= columns for line in lines)
    assert lines[1].endswith("…")


# -- stats --watch


def test_watched_stats_are_a_line_a_look_without_a_terminal(shell: Shell) -> None:
    """With the rates at which events come in and are handled; Ctrl-C ends it."""
    shell("send", "a", *AT_QUEUE)
    process = shell.start("stats", "--watch", "--interval", "0.1", "--format", "json", *AT_QUEUE)
    assert json.loads(first_line(process))["arrived_per_second"] is None
    shell("send", "b", *AT_QUEUE)
    looks: list[dict[str, float]] = []

    def arrived() -> bool:
        looks.append(json.loads(first_line(process)))
        return looks[-1]["arrived_per_second"] > 0

    until(arrived)
    assert looks[-1]["waiting"] == 2
    assert looks[-1]["settled_per_second"] == 0
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    text = shell.start("stats", "--watch", *AT_QUEUE)
    assert first_line(text).startswith("waiting 2, in flight 0, delayed 0, dead 0, oldest ")


def test_rates_are_what_came_in_and_what_left_in_a_second() -> None:
    """Events that wait, run or are delayed have come in and not left."""
    before = QueueStats(waiting=10, in_flight=2, delayed=3, settled=100)
    now = QueueStats(waiting=5, in_flight=1, delayed=3, settled=120)
    rates = rates_between(before, now, 2.0)
    assert (rates.arrived, rates.settled) == (7.0, 10.0)
    assert rates_between(before, QueueStats(waiting=5), 2.0).settled is None
