"""The suite works for a plugin author who only imports it, in a project of his own."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

from queues.conformance import QueueConformance

_HIS_TESTS = """
import pytest
from queues.conformance import QueueConformance
from tests.four_methods import FourMethods, Shelf

class TestMine(QueueConformance):
    @pytest.fixture
    def make_queue(self):
        shelf = Shelf()
        return lambda **options: FourMethods(shelf, **options)

class TestForgetful(QueueConformance):
    pass
"""


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (project / "test_mine.py").write_text(_HIS_TESTS)
    (project / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = strict\nasyncio_default_fixture_loop_scope = session\nfilterwarnings = error\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    without = ["-p", "no:timeout", "-p", "no:hypothesispytest"]
    return subprocess.run([*command, *without, *arguments], cwd=project, capture_output=True, text=True, check=False)


def test_a_subclass_with_one_fixture_passes_in_strict_mode(tmp_path: Path) -> None:
    """With pytest and pytest-asyncio alone; what was skipped is printed, with the reason, in one line."""
    ran = run(tmp_path, "-k", "TestMine")
    assert ran.returncode == 0, ran.stdout
    [line] = [line for line in ran.stdout.splitlines() if line.startswith("TestMine: skipped groups: ")]
    for skipped in ("fencing (no ACK)", "delaying (no DELAY)", "corrupt (no inject())", "groups (no GROUPS"):
        assert skipped in line


def test_a_subclass_without_the_fixture_is_told_so(tmp_path: Path) -> None:
    """Nothing passes by accident."""
    ran = run(tmp_path, "-k", "TestForgetful", "-x")
    assert ran.returncode != 0
    assert "override the fixture make_queue" in ran.stdout


def test_no_group_hides_a_method_of_another() -> None:
    """The groups are one class in the end; two methods of one name would be one."""
    groups = [group for group in QueueConformance.__mro__ if group.__module__.startswith("queues.conformance.")]
    names = Counter(name for group in groups for name in vars(group) if not name.startswith("__"))
    assert [name for name, count in names.items() if count > 1] == []


def test_every_test_states_its_rule() -> None:
    """In its docstring."""
    tests = [name for name in dir(QueueConformance) if name.startswith("test_")]
    assert [name for name in tests if not getattr(QueueConformance, name).__doc__] == []
