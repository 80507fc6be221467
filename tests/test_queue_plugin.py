"""The queue in examples/queue_plugin, as a stranger has it: installed, opened by its URL, and killed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_PACKAGE = Path(__file__).resolve().parents[1] / "examples" / "queue_plugin"
_PROGRAM = """
import asyncio
import sys

from notification import Context, EventDispatcher, RetryPolicy, event

url, role = sys.argv[1:]
dispatcher = EventDispatcher(url, retry=RetryPolicy(attempts=2, initial=0.01))


@event("probe.job")
class Job:
    name: str


@dispatcher.on(Job)
async def handle(job: Job, ctx: Context) -> None:
    print("runs", job.name, ctx.attempt, flush=True)
    if job.name == "hopeless" or (job.name == "shaky" and ctx.attempt == 1):
        raise ValueError(f"{job.name} fails")
    if role == "hangs":
        await asyncio.Event().wait()


async def main() -> None:
    async with dispatcher:
        if role != "heir":
            await dispatcher.dispatch_many([Job("calm"), Job("shaky"), Job("hopeless")][:1 if role == "hangs" else 3])
        await dispatcher.start(workers=2)
        await dispatcher.join()
        stats = await dispatcher.stats()
        print("stands", stats.waiting, stats.in_flight, stats.dead)


asyncio.run(main())
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the package in it, as pip puts it there."""
    target = tmp_path_factory.mktemp("site")
    source = shutil.copytree(_PACKAGE, tmp_path_factory.mktemp("source") / "package")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*pip, *offline, "--target", target, source], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def environment(installed: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(installed)}


def run(installed: Path, place: Path, role: str, query: str = "") -> str:
    """The program, to its end, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _PROGRAM, f"maildir:///{place}{query}", role],
        cwd=place, env=environment(installed), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def started(installed: Path, place: Path, role: str, query: str) -> Iterator[subprocess.Popen[str]]:
    """The program, under way; killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, f"maildir:///{place}{query}", role],
        cwd=place, env=environment(installed), stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def test_its_own_tests_pass_where_only_the_package_is(installed: Path, tmp_path: Path) -> None:
    """From a directory with nothing but its tests; it skips what it does not declare, and no more."""
    shutil.copytree(_PACKAGE / "tests", tmp_path / "tests")
    shutil.copy(_PACKAGE / "pyproject.toml", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path, env=environment(installed), capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    [line] = re.findall(r"^TestMaildirQueue: skipped groups: (.*)$", done.stdout, re.MULTILINE)
    whole, _, in_part = line.partition("; in part: ")
    assert set(whole.split(", ")) == {"groups (no GROUPS)", "keyed (no KEYED)", "delaying (no DELAY)"}
    assert set(re.findall(r"\((.*?)\)", in_part)) == {
        "no DELAY", "no option capacity", "no option dedup", "no count of what was settled", "no LOCAL", "no positions",
    }  # fmt: skip


def test_a_dispatcher_works_on_it_by_its_url(installed: Path, tmp_path: Path) -> None:
    """Handled, retried, and dead: the entry point is all that makes the scheme known."""
    printed = run(installed, tmp_path, "all").splitlines()
    assert sorted(printed) == [
        "runs calm 1", "runs hopeless 1", "runs hopeless 2", "runs shaky 1", "runs shaky 2", "stands 0 0 1",
    ]  # fmt: skip
    [letter] = (tmp_path / "events.dead" / "new").iterdir()
    assert '"deadlast":"ValueError: hopeless fails"' in letter.read_text()


def test_an_event_comes_back_after_its_worker_was_killed(installed: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle of its handler; another process runs it after the lease."""
    with started(installed, tmp_path, "hangs", "?lease=1s") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "runs calm 1\n"
        process.kill()
    assert run(installed, tmp_path, "heir", "?lease=1s").splitlines() == ["runs calm 1", "stands 0 0 0"]
