"""The pytest fixture `event_tester`, in projects of other people."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_APP = """
from notification import EventDispatcher, RetryPolicy, event

@event("order.shipped")
class OrderShipped:
    order_id: str

dispatcher = EventDispatcher("sqlite:////nowhere/at/all.db", retry=RetryPolicy(attempts=2))

@dispatcher.on(OrderShipped)
async def tell_the_customer(shipped: OrderShipped) -> None:
    if shipped.order_id == "lost":
        raise ValueError("no such order")
"""

_TESTS = """
import pytest
from app import OrderShipped, dispatcher

@pytest.mark.asyncio
@pytest.mark.parametrize("round", [1, 2])
async def test_shipped(event_tester, round):
    assert not dispatcher.started
    tester = await event_tester(dispatcher, workers=2)
    await dispatcher.dispatch(OrderShipped("A-1"))
    await dispatcher.dispatch(OrderShipped("lost"))
    await tester.settle()
    tester.assert_handled(OrderShipped, order_id="A-1", handler="tell_the_customer", times=1)
    await tester.clock.advance("1m")
    tester.assert_dead(OrderShipped, reason="attempts", order_id="lost")

@pytest.mark.asyncio
async def test_afterwards():
    assert not dispatcher.started
"""

_FAILING = """
import pytest
from app import OrderShipped, dispatcher

@pytest.mark.asyncio
async def test_shipped(event_tester):
    tester = await event_tester(dispatcher)
    tester.assert_dispatched(OrderShipped, order_id="A-1")
"""

_OTHER_LOOP = """
import pytest
from app import OrderShipped, dispatcher

@pytest.mark.asyncio(loop_scope="session")
async def test_shipped(event_tester):
    await event_tester(dispatcher)
"""

_LIGHT = """
import sys

def test_nothing_was_imported():
    assert {"attrs", "notification", "queues", "workers"}.isdisjoint(sys.modules)
"""

_STANDALONE = Path(__file__).resolve().parents[1] / "notification" / "testing" / "plugin.py"


def run(project: Path, tests: str, *arguments: str, mode: str = "strict") -> subprocess.CompletedProcess[str]:
    """pytest in a project with these tests and this plugin, as its entry point loads it: alone."""
    (project / "app.py").write_text(_APP)
    (project / "test_app.py").write_text(tests)
    (project / "notification_pytest.py").write_text(_STANDALONE.read_text())
    (project / "pytest.ini").write_text(
        f"[pytest]\nasyncio_mode = {mode}\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    without = ["-p", "no:timeout", "-p", "no:hypothesispytest", "-p", "no:anyio", "-p", "no:notification"]
    plugin = ["-p", "notification_pytest"]
    return subprocess.run(
        [*command, *without, *plugin, *arguments], cwd=project, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_the_fixture_opens_testers_and_closes_them_after_the_test(tmp_path: Path, mode: str) -> None:
    """In both modes of pytest-asyncio, with nothing but a test of one's own."""
    ran = run(tmp_path, _TESTS, mode=mode)
    assert ran.returncode == 0, ran.stdout
    assert "3 passed" in ran.stdout


def test_a_failed_assertion_points_at_the_test(tmp_path: Path) -> None:
    """Not into the kit, and with what was dispatched."""
    ran = run(tmp_path, _FAILING)
    assert ran.returncode == 1
    assert "OrderShipped(order_id='A-1') was not dispatched; nothing was" in ran.stdout
    assert "test_app.py:8: AssertionError" in ran.stdout
    assert "notification/testing" not in ran.stdout


def test_a_test_in_another_loop_is_told_so(tmp_path: Path) -> None:
    """Before anything hangs."""
    ran = run(tmp_path, _OTHER_LOOP)
    assert ran.returncode == 1
    assert "in another event loop than its fixtures" in ran.stdout


def test_the_plugin_imports_nothing_of_ours(tmp_path: Path) -> None:
    """pytest imports it in every project of the environment: it is quick, and can't fail where ours are shadowed."""
    ran = run(tmp_path, _LIGHT)
    assert ran.returncode == 0, ran.stdout
    (tmp_path / "queues.py").write_text("raise RuntimeError('not for you')")
    assert run(tmp_path, _LIGHT).returncode == 0


def test_without_pytest_asyncio_it_says_what_to_install(tmp_path: Path) -> None:
    """The fixture is there, and fails with that."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, package=None: None if name == 'pytest_asyncio' else find(name, package)\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (tmp_path / "test_it.py").write_text("def test_it(event_tester):\n    pass\n")
    (tmp_path / "notification_pytest.py").write_text(_STANDALONE.read_text())
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio"]
    without = ["-p", "no:timeout", "-p", "no:hypothesispytest", "-p", "no:notification", "-p", "notification_pytest"]
    ran = subprocess.run(
        [*command, *without],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1, ran.stdout
    assert "pip install pytest-asyncio" in ran.stdout
