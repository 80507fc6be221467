"""What the documents say is true: their code runs, their commands work, their targets exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = ["README.md", "MIGRATION.md", "ARCHITECTURE.md", "CONTRIBUTING.md"]


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
COMMANDS = [line for _, _, text in blocks("sh") for line in text.splitlines() if line.strip()]


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


def test_the_queue_of_the_readme_passes_the_suite_of_the_readme(tmp_path: Path) -> None:
    """The class and its test, taken from the page, work together."""
    [queue] = [text for name, _, text in PROGRAMS if name == "README.md" and "class MyQueue" in text]
    [(_, _, suite)] = SUITES
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


@pytest.mark.parametrize("line", [line for line in COMMANDS if re.match(r"notification (send|stats)", line)])
def test_every_command_in_a_document_works(line: str, tmp_path: Path) -> None:
    """It ends well on an empty queue."""
    (tmp_path / "events.ndjson").write_text('{"type": "order.shipped", "data": {"account_id": 7, "order_id": "A-1"}}\n')
    words = shlex.split(line, comments=True)
    done = subprocess.run([sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_links_between_documents_lead_somewhere() -> None:
    """Every relative link names a file."""
    for name in DOCUMENTS:
        for link in re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text()):
            assert (ROOT / link).exists(), f"{name} links to {link}"
