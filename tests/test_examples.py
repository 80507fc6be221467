"""The examples run as they stand, from any directory, and print what they say they print."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Self

import httpx
import pytest

from notification import open_queue, register_queue
from queues.conformance import QueueConformance
from queues.conformance.suite import MakeQueue

from .kafka_server import Kafka
from .redis_server import Start

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
NUMBERED = sorted(EXAMPLES.glob("[0-9][0-9]_*.py"))
WEB = EXAMPLES / "05_web_service.py"
ON_REDIS = EXAMPLES / "13_two_services.py"
ON_KAFKA = EXAMPLES / "14_two_groups.py"
PATIENCE = 60.0
AS_TESTS = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function"]
ORDER = {"order_id": "A-1", "quantity": 2}


def printed_by(path: Path) -> str:
    """What the file says it prints, in the comment at its end."""
    _, found, after = path.read_text().partition("# prints:\n")
    assert found, f"{path.name} does not end with `# prints:` and what it prints"
    lines = after.splitlines()
    assert lines, f"{path.name} prints nothing"
    assert all(line.startswith("#   ") for line in lines), f"{path.name}: more follows what it prints"
    return "".join(line.removeprefix("#   ") + "\n" for line in lines)


def as_pattern(text: str) -> str:
    """`…` stands for anything within a line."""
    return ".*".join(map(re.escape, text.split("…")))


def loaded(name: str) -> ModuleType:
    """An example as a module; no `import` statement can name it."""
    path = EXAMPLES / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"example_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Service:
    """The web service as a process on a port of its own."""

    def __init__(self, directory: Path, queue: str = "channel://", port: int = 0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(WEB)],
            cwd=directory, env={**os.environ, "PORT": str(port), "NOTIFICATION_QUEUE": queue},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.url = self._listening()

    def _listening(self) -> str:
        """The address that uvicorn logs once it listens."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if found := re.search(r"running on (http://\S+)", line):
                return found[1]
        return ""

    def end(self, signal_: signal.Signals | None = None) -> tuple[int, str, str]:
        """Its exit code, what it printed, and what it logged after it began to listen.

        uvicorn prints a line for every request; that is not ours.
        """
        if signal_ is not None:
            self._process.send_signal(signal_)
        printed, logged = self._process.communicate(timeout=PATIENCE)
        own = [line for line in printed.splitlines(keepends=True) if not line.startswith("INFO: ")]
        return self._process.returncode, "".join(own), logged

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


# -- every one


def run(path: Path, directory: Path, *arguments: str) -> str:
    """As a user would run it; nothing but what it prints may be seen."""
    words = AS_TESTS if "import pytest" in path.read_text() else []
    (directory / path.name).write_text(path.read_text())
    done = subprocess.run(
        [sys.executable, "-W", "error", *words, path.name, *arguments],
        cwd=directory, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def serve(_: Path, directory: Path) -> str:
    """A web service is asked, and told to stop."""
    with Service(directory) as service:
        assert httpx.post(f"{service.url}/orders", json=ORDER).status_code == 202
        return service.end(signal.SIGTERM)[1]


RUNS: dict[Path, Callable[[Path, Path], str]] = {path: serve if path == WEB else run for path in NUMBERED}


@pytest.mark.parametrize(
    "path", [path for path in NUMBERED if path not in {ON_REDIS, ON_KAFKA}], ids=lambda path: path.stem
)
def test_an_example_prints_what_it_says(path: Path, tmp_path: Path) -> None:
    """A copy of it, in an empty directory, with warnings as errors."""
    printed = RUNS[path](path, tmp_path)
    assert re.fullmatch(as_pattern(printed_by(path)), printed), printed


@pytest.mark.parametrize("name", ["01_hello", "06_django_view"])
def test_an_example_that_leaves_a_file_can_be_run_again(name: str, tmp_path: Path) -> None:
    """What it left behind changes nothing."""
    path = EXAMPLES / f"{name}.py"
    assert run(path, tmp_path) == run(path, tmp_path)
    assert list(tmp_path.glob("*.db"))


@pytest.mark.parametrize("path", NUMBERED, ids=lambda path: path.stem)
def test_an_example_has_at_most_60_lines(path: Path) -> None:
    """All in: docstring, imports, and what it prints."""
    assert len(path.read_text().splitlines()) <= 60


@pytest.mark.parametrize("path", NUMBERED, ids=lambda path: path.stem)
def test_an_example_stands_alone(path: Path) -> None:
    """It says what it shows, and imports nothing of ours but `notification`."""
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    imports = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imports += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    beside = {other.stem for other in EXAMPLES.glob("*.py")} | {"examples", "queues", "workers", "tests"}
    assert not beside & {name.partition(".")[0] for name in imports}
    assert all(name in {"notification", "notification.testing"} for name in imports if name.startswith("notification"))


def test_examples_are_numbered_without_gaps_and_in_the_index() -> None:
    """In their order; the index names nothing that is not there."""
    assert [int(path.name[:2]) for path in NUMBERED] == list(range(1, len(NUMBERED) + 1))
    index = (EXAMPLES / "README.md").read_text()
    assert re.findall(r"^\| \[(\d\d_\w+\.py)\]\(\1\)", index, re.MULTILINE) == [path.name for path in NUMBERED]
    for link in re.findall(r"\]\(([^)#:]+)\)", index):
        assert (EXAMPLES / link).exists(), link


def test_the_first_example_is_the_program_of_the_readme() -> None:
    """Whoever read the page finds it again."""
    [page, *_] = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    docstring, *program = ast.parse((EXAMPLES / "01_hello.py").read_text()).body
    assert isinstance(docstring, ast.Expr)
    assert list(map(ast.unparse, program)) == list(map(ast.unparse, ast.parse(page).body))


# -- two services and a Redis


def test_the_two_services_print_what_they_say(tmp_path: Path, redis_server: Start) -> None:
    """Twice, on the same server: one run leaves nothing to the next."""
    server = redis_server()
    for _ in range(2):
        printed = run(ON_REDIS, tmp_path, server.url)
        assert re.fullmatch(as_pattern(printed_by(ON_REDIS)), printed), printed
        billing, shop = re.findall(r"process (\d+)", printed)
        assert billing != shop
    assert not server.admin.keys("*:own:*")


# -- two groups and a Kafka


def test_the_two_groups_print_what_they_say(tmp_path: Path, kafka: Kafka) -> None:
    """Twice, in the same topic: each group goes on behind what it has handled."""
    url = f"kafka://{kafka.bootstrap}/{kafka.create()}"
    for _ in range(2):
        printed = run(ON_KAFKA, tmp_path, url)
        assert re.fullmatch(as_pattern(printed_by(ON_KAFKA)), printed), printed
        assert len(set(re.findall(r"process (\d+)", printed))) == 2


@pytest.mark.parametrize(
    ("path", "words"),
    [(ON_REDIS, []), (ON_REDIS, ["redis://127.0.0.1:1/0"]), (ON_KAFKA, []), (ON_KAFKA, ["kafka://127.0.0.1:1/none"])],
    ids=["no Redis", "none there", "no Kafka", "none there"],
)
def test_an_example_says_that_it_needs_a_server(path: Path, words: list[str], tmp_path: Path) -> None:
    """In one line."""
    environment = {name: value for name, value in os.environ.items() if name != "NOTIFICATION_QUEUE"}
    done = subprocess.run(
        [sys.executable, str(path), *words], cwd=tmp_path, env=environment, capture_output=True, text=True,
        timeout=PATIENCE,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"(say where|no (Redis|topic) there): (redis|kafka)://.*\n", done.stderr)


# -- the web service


def test_the_web_service_answers_as_its_docstring_says(tmp_path: Path) -> None:
    """202 for an order, 422 for what is none, 200 for the probe."""
    with Service(tmp_path) as service, httpx.Client(base_url=service.url) as client:
        assert set(client.post("/orders", json=ORDER).json()) == {"id"}
        for wrong in ({"order_id": "A-1"}, {**ORDER, "quantity": "2"}, {**ORDER, "colour": "red"}, [1], "A-1", None):
            refused = client.post("/orders", json=wrong)
            assert (refused.status_code, set(refused.json())) == (422, {"error"})
        assert client.post("/orders", content=b"{").status_code == 422
        probe = client.get("/healthz")
        assert (probe.status_code, probe.json()["error"]) == (200, "")


@pytest.mark.parametrize("queue", ["channel://", "sqlite:///orders.db"])
async def test_a_stopped_web_service_loses_no_order(queue: str, tmp_path: Path) -> None:
    """What it accepted was confirmed before it ended, or waits in the queue for its next start."""
    with Service(tmp_path, queue) as service, httpx.Client(base_url=service.url) as client:
        accepted = [client.post("/orders", json={"order_id": f"A-{n}", "quantity": 1}).json() for n in range(30)]
        client.close()
        code, printed, logged = service.end(signal.SIGTERM)
    assert code in {0, -signal.SIGTERM}
    assert "Application shutdown complete" in logged
    left = 0
    if queue.startswith("sqlite"):
        async with open_queue(f"sqlite:///{tmp_path}/orders.db") as waiting:
            left = await waiting.size()
    assert len(printed.splitlines()) + left == len(accepted) == 30


async def test_the_probe_of_the_web_service_fails_while_its_workers_do_not_work(tmp_path: Path) -> None:
    """503, so that nobody sends requests there."""
    app = loaded("05_web_service").app
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
        assert (await client.get("/healthz")).status_code == 503
        assert (await client.post("/orders", json=ORDER)).status_code == 503


def test_a_port_in_use_ends_the_web_service_with_the_error_of_the_server(tmp_path: Path) -> None:
    """No traceback, and an exit code that says so."""
    with socket.create_server(("127.0.0.1", 0)) as taken, Service(tmp_path, port=taken.getsockname()[1]) as service:
        assert service.url == ""
        code, printed, logged = service.end()
    assert code not in {0, None}
    assert (printed, logged) == ("", "")


# -- the queue


class TestUrgentFirst(QueueConformance):
    """The custom queue of the examples keeps the contract."""

    shared = False

    @pytest.fixture
    def make_queue(self) -> MakeQueue:
        """A new one each time."""
        register_queue("urgent", lambda url: loaded("12_custom_queue").UrgentFirst(), replace=True)
        return lambda **options: open_queue("urgent://")
