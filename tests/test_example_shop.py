"""The example is true to its word: every line of a file is accounted for, killed or not."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from notification import Message, open_queue

ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / "examples" / "shop_events.ndjson"
WEBHOOKS = ROOT.parent / "shared" / "data" / "github-webhooks.ndjson"
QUICK = "sqlite:///run/shop.db?lease=1s&dedup=1d"
"""The example's own queue with a shorter lease, so that what a killed process held is back soon."""
PATIENCE = 60.0


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "examples.replay", *words]


def replay(directory: Path, *words: str, code: int = 0) -> str:
    """Run it to its end; what it printed."""
    done = subprocess.run(
        command(*words), cwd=directory, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert "\x1b" not in done.stdout
    return done.stdout


def figures(printed: str) -> dict[str, int]:
    """The summary's numbers by name."""
    names = "lines read|handled|dead|broken lines|not accounted for"
    found = re.findall(rf"^ *({names}) +([\d,]+)", printed, re.MULTILINE)
    return {name: int(number.replace(",", "")) for name, number in found}


async def dead_letters(directory: Path) -> list[Message]:
    """What is in the queue of dead letters."""
    async with open_queue(f"sqlite:///{directory}/run/shop.db?queue=events.dead") as queue:
        return [message async for message in queue.browse()]


def journal(directory: Path) -> Iterator[dict[str, object]]:
    """Every run of a handler, as the example wrote it down before the event was acknowledged."""
    [path] = (directory / "run").glob("*.journal")
    for line in path.read_bytes().splitlines():
        yield orjson.loads(line)


class Killed:
    """The example as a process that is killed once its handlers ran so many times."""

    def __init__(self, directory: Path, *words: str) -> None:
        self.directory = directory
        self.process = subprocess.Popen(
            command(*words), cwd=directory, env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def after(self, runs: int, signal_: signal.Signals = signal.SIGKILL) -> int:
        """Kill it then. The exit code."""
        end = time.monotonic() + PATIENCE
        while self._runs() < runs:
            assert time.monotonic() < end
            assert self.process.poll() is None, "it ended before it could be killed"
            time.sleep(0.005)
        self.process.send_signal(signal_)
        return self.process.wait(PATIENCE)

    def _runs(self) -> int:
        return sum(path.read_bytes().count(b"\n") for path in (self.directory / "run").glob("*.journal"))


async def test_every_event_that_ships_is_handled_or_dead_for_its_reason(tmp_path: Path) -> None:
    """Flaky ones come through by retries, poison ends with a reason each."""
    printed = replay(tmp_path)
    lines = SHIPPED.read_bytes().count(b"\n")
    expected = {"lines read": lines, "handled": lines - 8, "dead": 8, "broken lines": 0, "not accounted for": 0}
    assert figures(printed) == expected
    assert "32 of them after a retry" in printed
    reasons = Counter((letter.type, letter.dead.reason) for letter in await dead_letters(tmp_path) if letter.dead)
    assert reasons == {
        ("parcel.shipped", "attempts"): 3,
        ("parcel.shipped", "fatal"): 2,
        ("payment.captured", "rejected"): 2,
        ("order.placed", "corrupt"): 1,
    }
    for type_, reason in reasons:
        assert re.search(rf"{type_} +{reason}", printed)


@pytest.mark.skipif(not WEBHOOKS.exists(), reason="the webhooks are not part of the project")
def test_every_webhook_is_handled_by_a_handler_of_a_pattern(tmp_path: Path) -> None:
    """Types that nobody wrote a class for, bodies of up to 27 KB."""
    expected = {"lines read": 341, "handled": 341, "dead": 0, "broken lines": 0, "not accounted for": 0}
    assert figures(replay(tmp_path, str(WEBHOOKS))) == expected


def test_broken_lines_are_counted_and_told(tmp_path: Path) -> None:
    """Lines read = handled + dead + broken; the exit code says that some were."""
    lines = ['{"type":"user.created","data":{"id":1}}', "", "broken", '{"data":1}', '{"type":"order.placed","data":{}}']
    (tmp_path / "mine.ndjson").write_text("\n".join(lines))
    printed = replay(tmp_path, "mine.ndjson", code=1)
    assert figures(printed) == {"lines read": 4, "handled": 1, "dead": 1, "broken lines": 2, "not accounted for": 0}
    assert "3: not JSON" in printed
    assert "4: the attribute 'type' is missing" in printed


def test_a_file_can_be_replayed_again(tmp_path: Path) -> None:
    """Its events get new ids in every run, whatever ids they came with."""
    line = '{"specversion":"1.0","type":"user.created","id":"1","source":"/s","data":{}}\n'
    (tmp_path / "mine.ndjson").write_text(line * 3)
    assert [figures(replay(tmp_path, "mine.ndjson"))["handled"] for _ in range(2)] == [3, 3]


def test_the_queue_can_be_another_one(tmp_path: Path) -> None:
    """One URL, not the code."""
    printed = replay(tmp_path, "--queue", "channel://", "--workers", "50")
    assert (figures(printed)["dead"], figures(printed)["not accounted for"]) == (8, 0)


async def test_nothing_is_lost_when_it_is_killed_and_started_again(tmp_path: Path) -> None:
    """Twice kill -9 in the middle; then every line was handled or is a dead letter, by two counts."""
    for runs in (300, 900):
        assert Killed(tmp_path, "--queue", QUICK).after(runs) == -signal.SIGKILL
    printed = replay(tmp_path, "--queue", QUICK)
    lines = SHIPPED.read_bytes().count(b"\n")
    assert "still in the queue from a run that was killed or stopped" in printed
    expected = {"lines read": lines, "handled": lines - 8, "dead": 8, "broken lines": 0, "not accounted for": 0}
    assert figures(printed) == expected
    well = {entry["line"] for entry in journal(tmp_path) if entry.get("well")}
    dead = {int(letter.id.rpartition("-")[2]) for letter in await dead_letters(tmp_path)}
    assert well | dead == set(range(1, lines + 1))
    assert len(dead) == 8


def test_killed_events_run_again_and_settled_ones_do_not(tmp_path: Path) -> None:
    """At least once is not at random: only what was in somebody's hands at the kill runs twice."""
    Killed(tmp_path, "--queue", QUICK, "--workers", "4").after(600)
    replay(tmp_path, "--queue", QUICK)
    runs = Counter((entry["line"], entry["handler"]) for entry in journal(tmp_path) if entry.get("well"))
    assert sum(number - 1 for number in runs.values()) <= 50


def test_stopped_by_a_signal_it_goes_on_without_waiting_for_a_lease(tmp_path: Path) -> None:
    """What it held was handed back."""
    assert Killed(tmp_path).after(400, signal.SIGINT) == 128 + signal.SIGINT
    printed = replay(tmp_path)
    assert "are held by whoever took them" not in printed
    assert figures(printed)["not accounted for"] == 0


@pytest.mark.parametrize("words", [["nowhere.ndjson"], ["--workers", "0"], ["--queue", "sqlit:///x.db"]])
def test_wrong_usage_is_told_in_a_line(tmp_path: Path, words: list[str]) -> None:
    """And exits with 2."""
    done = subprocess.run(command(*words), cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_two_processes_are_not_at_the_same_run(tmp_path: Path) -> None:
    """The second one says so."""
    first = Killed(tmp_path)
    try:
        while not list((tmp_path / "run").glob("*.journal")):
            time.sleep(0.005)
        first.process.send_signal(signal.SIGSTOP)  # or it may be through before the second one begins
        second = subprocess.run(command(), cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
        assert second.returncode == 2
        assert "another process is at this run" in second.stderr
    finally:
        first.process.kill()
        first.process.wait()
