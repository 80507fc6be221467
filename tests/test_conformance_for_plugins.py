"""The suite works for a plugin author who only imports it, in a project of his own, from the installed wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from queues.conformance import QueueConformance
from queues.conformance.suite import Suite

_ROOT = Path(__file__).resolve().parents[1]
_HIS_TESTS = """
import pytest
import queues
from queues.conformance import QueueConformance
from four_methods import FourMethods, Shelf

class TestMine(QueueConformance):
    @pytest.fixture
    def make_queue(self):
        shelf = Shelf()
        return lambda **options: FourMethods(shelf, **options)

class TestForgetful(QueueConformance):
    pass

class TestInstance(QueueConformance):
    @pytest.fixture
    def make_queue(self):
        return FourMethods(Shelf())

class TestOneForAll(QueueConformance):
    @pytest.fixture
    def make_queue(self):
        queue = FourMethods(Shelf())
        return lambda **options: queue

class TestCoroutine(QueueConformance):
    @pytest.fixture
    def make_queue(self):
        return lambda **options: "a queue"

class Hasty(FourMethods):
    async def pop_many(self, limit):
        return []

class TestHasty(QueueConformance):
    patience = 0.2

    @pytest.fixture
    def make_queue(self):
        return lambda **options: Hasty(Shelf(), **options)

class TestApart(QueueConformance):
    patience = 0.2

    @pytest.fixture
    def make_queue(self):
        return lambda **options: FourMethods(Shelf(), **options)

def test_the_wheel_is_used():
    print(queues.__file__)
"""
_NOT_FOR_STRANGERS = """
import sys

for name in ("tests", "hypothesis"):
    sys.modules[name] = None  # an import of it fails
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what the wheel has in it."""
    built, unpacked = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*pip, *offline, "--wheel-dir", built, _ROOT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [archive] = built.glob("*.whl")
    zipfile.ZipFile(archive).extractall(unpacked)
    return unpacked


def run(wheel: Path, project: Path, *arguments: str, mode: str = "strict") -> subprocess.CompletedProcess[str]:
    (project / "test_mine.py").write_text(_HIS_TESTS)
    (project / "conftest.py").write_text(_NOT_FOR_STRANGERS)
    shutil.copy(_ROOT / "tests" / "four_methods.py", project)
    (project / "pytest.ini").write_text(
        f"[pytest]\nasyncio_mode = {mode}\nasyncio_default_fixture_loop_scope = session\nfilterwarnings = error\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    without = ["-p", "no:timeout", "-p", "no:hypothesispytest", "-p", "no:anyio"]
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    return subprocess.run(
        [*command, *without, *arguments], cwd=project, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_a_subclass_with_one_fixture_passes(wheel: Path, tmp_path: Path, mode: str) -> None:
    """With pytest and pytest-asyncio alone; what was skipped is printed, with the reason, in one line."""
    ran = run(wheel, tmp_path, "-k", "TestMine or wheel", "-s", mode=mode)
    assert ran.returncode == 0, ran.stdout
    assert str(wheel / "queues" / "__init__.py") in ran.stdout
    [line] = [line for line in ran.stdout.splitlines() if line.startswith("TestMine: skipped groups: ")]
    for skipped in ("fencing (no ACK)", "delaying (no DELAY)", "corrupt (no inject())", "groups (no GROUPS)"):
        assert skipped in line


def test_the_page_for_authors_is_in_the_wheel(wheel: Path) -> None:
    """Whoever has the suite has the page."""
    assert "# How to write a queue" in (wheel / "queues" / "README.md").read_text()


@pytest.mark.parametrize("missing", ["pytest", "pytest_asyncio"])
def test_without_pytest_the_error_says_what_to_install(wheel: Path, missing: str) -> None:
    """The extra, by its name."""
    program = f"import sys; sys.modules[{missing!r}] = None; import queues.conformance"
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(wheel)}, capture_output=True, text=True
    )
    said = f"ImportError: queues.conformance can't import {missing}: pip install 'notification-dispatcher[conformance]'"
    assert done.stderr.splitlines()[-1] == said


@pytest.mark.parametrize(
    ("name", "only", "said"),
    [
        ("TestForgetful", "empty", "override the fixture make_queue"),
        ("TestInstance", "empty", "make_queue returns a function that makes a queue (it returned <four_methods."),
        ("TestOneForAll", "two_owners", "each call of the function that make_queue returns makes a new owner"),
        ("TestCoroutine", "empty", "the function that make_queue returns makes a MessageQueue (this is 'a queue')"),
        ("TestHasty", "size_counts", "pop hands out every message that push accepted (0 of 3 came out within 1.2 s"),
        ("TestApart", "see_the_same", "where each is a queue of its own: shared = False"),
    ],
)
def test_what_is_wrong_is_said(wheel: Path, tmp_path: Path, name: str, only: str, said: str) -> None:
    """The duty, and what was seen instead."""
    ran = run(wheel, tmp_path, "-k", f"{name} and {only}", "-x")
    assert ran.returncode == 1, ran.stdout
    assert said in ran.stdout


def test_no_group_hides_a_method_of_another() -> None:
    """The groups are one class in the end; two methods of one name would be one."""
    groups = [group for group in QueueConformance.__mro__ if group.__module__.startswith("queues.conformance.")]
    names = Counter(name for group in groups for name in vars(group) if not name.startswith("__"))
    assert [name for name, count in names.items() if count > 1] == []


def test_every_test_states_its_rule() -> None:
    """In its docstring."""
    tests = [name for name in dir(QueueConformance) if name.startswith("test_")]
    assert [name for name in tests if not getattr(QueueConformance, name).__doc__] == []


def test_every_group_and_hook_is_explained() -> None:
    """In the docstring, for help(QueueConformance), and every group on the page, too."""
    page, help_text = (_ROOT / "queues" / "README.md").read_text(), QueueConformance.__doc__ or ""
    bases = [base for base in QueueConformance.__bases__ if base.__module__.startswith("queues.conformance.")]
    for group in [base.__module__.rpartition(".")[2].replace("_", " ") for base in bases]:
        assert group in page
        assert f"\n    {group}  " in help_text
    for hook in [name for name in vars(Suite)["__annotations__"] if name != "pytestmark"]:
        assert f"`{hook} = {getattr(Suite, hook)}`" in help_text
