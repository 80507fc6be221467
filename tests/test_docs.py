"""What the documents say is true: their code runs, their commands work, their targets exist."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import evolve

from notification import DeadLetter, Message, open_queue

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    "README.md", "MIGRATION.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "queues/README.md", "examples/README.md",
    "examples/queue_plugin/README.md",
]  # fmt: skip


def blocks(language: str) -> list[tuple[str, int, str]]:
    """Every fenced block of a language: document, line, text."""
    found = []
    for name in DOCUMENTS:
        text = (ROOT / name).read_text()
        for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            found.append((name, text.count("\n", 0, match.start()) + 2, match[1]))
    return found


PYTHON = blocks("python")
PROGRAMS = [block for block in PYTHON if "QueueConformance" not in block[2]]
SUITES = [block for block in PYTHON if "QueueConformance" in block[2]]
TESTS = [block for block in PROGRAMS if "def test_" in block[2]]
COMMANDS = [
    line
    for name, _, text in blocks("sh")
    for line in text.splitlines()
    if line.strip() and "queue_plugin" not in name  # that package has a test of its own
]


@pytest.mark.parametrize("block", PROGRAMS, ids=lambda block: f"{block[0]}:{block[1]}")
def test_every_program_in_a_document_runs(block: tuple[str, int, str], tmp_path: Path) -> None:
    """A block is a program of its own."""
    program = tmp_path / "program.py"
    program.write_text(block[2])
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_the_first_program_prints_what_it_says(tmp_path: Path) -> None:
    """The README's fifteen lines handle their event."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAMS[0][2]], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "order A-1 is on its way to account 7\n"


@pytest.mark.parametrize("block", SUITES, ids=lambda block: f"{block[0]}:{block[1]}")
def test_the_queue_of_a_document_passes_the_suite_beside_it(block: tuple[str, int, str], tmp_path: Path) -> None:
    """The class and its test, taken from the page, work together."""
    document, line, suite = block
    queue = [text for name, at, text in PROGRAMS if name == document and at < line and "(MessageQueue)" in text][-1]
    (tmp_path / "conftest.py").write_text(queue)
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    (tmp_path / "test_my_queue.py").write_text(suite)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("make ")])
def test_every_make_target_in_a_document_exists(line: str) -> None:
    """`make -n` knows it."""
    target = shlex.split(line, comments=True)[1]
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", TESTS, ids=lambda block: f"{block[0]}:{block[1]}")
def test_every_test_in_a_document_passes(block: tuple[str, int, str], tmp_path: Path) -> None:
    """A block with tests is a test file of its own."""
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    )
    (tmp_path / "test_block.py").write_text(block[2])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("notification ")])
def test_every_command_in_a_document_works(line: str, tmp_path: Path) -> None:
    """On a queue with a dead letter; what runs until Ctrl-C runs until Ctrl-C."""
    (tmp_path / "shop.py").write_text(PROGRAMS[0][2])
    (tmp_path / "events.ndjson").write_text('{"type": "order.shipped", "data": {"account_id": 7, "order_id": "A-1"}}\n')
    asyncio.run(_bury(tmp_path))
    words = shlex.split(line.replace(" ID ", " a-1 "), comments=True)
    environment = {**os.environ, "EDITOR": "sed -i s/7/8/"}
    with subprocess.Popen(
        [sys.executable, "-m", *words], cwd=tmp_path, env=environment, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            if {"run", "--watch", "--follow"} & set(words):
                assert process.stdout is not None
                assert process.stdout.readline()
                process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode in {0, 128 + signal.SIGINT, -signal.SIGINT}, errors
    assert "Traceback" not in errors


async def _bury(directory: Path) -> None:
    dead = DeadLetter(reason="attempts", error="ConnectionError: no answer", handler="tell_the_customer")
    data = {"account_id": 7, "order_id": "A-1"}
    died = [evolve(dead, time=datetime.now(UTC)), DeadLetter(reason="rejected")]
    async with open_queue(f"sqlite:///{directory}/events.db") as queue:
        await queue.push(Message(type="order.shipped", id="b", source="/shop", data=data))
    async with open_queue(f"sqlite:///{directory}/events.db?queue=events.dead&order=none") as queue:
        for number, why in enumerate(died, 1):
            message = Message(type="order.shipped", id=f"a-{number}", source="/shop", data=data, dead=why)
            await queue.push(message)


def test_links_between_documents_lead_somewhere() -> None:
    """Every relative link names a file."""
    for name in DOCUMENTS:
        for link in re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text()):
            assert ((ROOT / name).parent / link).exists(), f"{name} links to {link}"
