"""What the documents say is true: their code runs, their commands work, their targets exist."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from notification import Message, open_queue
from queues._redis_acl import rules

from .config_tables import missing_from
from .documents import DOCUMENTS, ROOT, blocks, fill
from .kafka_server import Kafka
from .redis_cli import redis_cli
from .redis_server import RedisServer, Start

PYTHON = blocks("python")
PROGRAMS = [block for block in PYTHON if "QueueConformance" not in block[2]]
SUITES = [block for block in PYTHON if "QueueConformance" in block[2]]
TESTS = [block for block in PROGRAMS if "def test_" in block[2]]
COMMANDS = [
    line
    for name, _, text in blocks("sh")
    for line in text.replace("\\\n", " ").splitlines()
    if line.strip() and "queue_plugin" not in name  # that package has a test of its own
]
FILES = {found[1]: text for _, _, text in blocks("toml") if (found := re.match(r"# (\S+\.toml)\n", text))}
"""Files of settings, by the name in their first line."""
FOREIGN = blocks("py")
"""Programs for other frameworks."""
SESSIONS = [block for block in blocks("sh") if block[2].startswith("redis-cli ")]
REDIS = "localhost:6379"
"""Where the documents say that a Redis is."""
KAFKA = "localhost:9092/orders"
"""Where they say that a topic is."""


@pytest.mark.parametrize("block", PROGRAMS, ids=lambda block: f"{block[0]}:{block[1]}")
def test_every_program_in_a_document_runs(
    block: tuple[str, int, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:  # fmt: skip
    """A block is a program of its own; one that names a Redis finds an empty one."""
    program = tmp_path / "program.py"
    program.write_text(_at_ours(block[2], request))
    for name in FILES:
        if name in block[2]:
            write_settings(name, tmp_path, request)
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
def test_every_command_in_a_document_works(line: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """On a queue with a dead letter; what runs until Ctrl-C runs until Ctrl-C."""
    line = _at_ours(line, request)
    (tmp_path / "shop.py").write_text(PROGRAMS[0][2])
    (tmp_path / "events.ndjson").write_text('{"type": "order.shipped", "data": {"account_id": 7, "order_id": "A-1"}}\n')
    asyncio.run(fill(f"sqlite:///{tmp_path}/events.db"))
    for name in FILES:
        if name in line:
            write_settings(name, tmp_path, request)
    words = shlex.split(line.replace(" ID ", " a-1 "), comments=True)
    environment = {**os.environ, "EDITOR": "sed -i s/7/8/"}
    with subprocess.Popen(
        [sys.executable, "-m", *words], cwd=tmp_path, env=environment, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            if {"--watch", "--follow"} & set(words):
                assert process.stdout.readline()
                process.send_signal(signal.SIGINT)
            elif "run" in words:
                assert any("consuming" in line for line in process.stderr)
                process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode in {0, 128 + signal.SIGINT, -signal.SIGINT}, errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("block", SESSIONS, ids=lambda block: f"{block[0]}:{block[1]}")
async def test_every_line_of_redis_cli_in_a_document_works(block: tuple[str, int, str], redis_server: Start) -> None:
    """Line by line on a server where events wait, are handled, delayed and dead, in a list or in a stream."""
    server = redis_server()
    url = server.queue("notification:events")
    if "XLEN" in block[2]:
        url = server.queue("notification:events", scheme="redis+stream", group="mail")
    await fill(url)
    async with open_queue(url) as queue:
        await queue.push(Message(type="order.shipped", id="d", source="/shop"))
        await queue.pop()
        for line in block[2].replace("\\\n", " ").splitlines():
            command, *words = shlex.split(line, comments=True)
            assert command == "redis-cli"
            assert await asyncio.to_thread(redis_cli, server.url, *words) not in {"", "0"}, line


def test_the_readme_has_every_setting() -> None:
    """Ours, and those of earlier programs: their names, kinds, defaults and variables."""
    assert missing_from((ROOT / "README.md").read_text()) == []


@pytest.mark.parametrize("name", FILES)
def test_every_file_of_settings_in_a_document_counts(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:  # fmt: skip
    """A dispatcher is made of it, and opens."""
    write_settings(name, tmp_path, request)
    (tmp_path / "shop.py").write_text(PROGRAMS[0][2])
    program = (
        "import asyncio, shop\nfrom notification import EventDispatcher\nfrom pathlib import Path\n"
        f"async def main():\n    async with EventDispatcher.from_config(Path({name!r})): pass\nasyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", FOREIGN, ids=lambda block: f"{block[0]}:{block[1]}")
def test_every_program_of_another_framework_compiles(block: tuple[str, int, str]) -> None:
    """It is there to be compared with."""
    compile(block[2], block[0], "exec")


def test_the_user_of_the_readme_may_do_what_a_queue_needs(redis_server: Start) -> None:
    """And nothing else: the list of commands is the one that the tests of the queues run under."""
    [line] = [line for line in COMMANDS if "ACL SETUSER" in line]
    *_, user, enabled, password = shlex.split(line)[:6]
    assert (enabled, password) == ("on", ">secret")
    assert sorted(shlex.split(line)[6:]) == sorted(rules("notification:events"))
    server = redis_server()
    redis_cli(server.url, *shlex.split(line)[1:])
    for scheme in ("redis", "redis+stream"):
        server.admin.flushdb()
        url = server.queue("notification:events", scheme=scheme)
        asyncio.run(fill(url.replace("://", f"://{user}:secret@")))


def write_settings(name: str, directory: Path, request: pytest.FixtureRequest) -> None:
    """A file of settings of a document, and the flag that it reads."""
    (directory / name).write_text(_at_ours(FILES[name], request))
    route, *_ = re.findall(r"^(\w+) = \"\w+:/", FILES[name], re.MULTILINE)
    (directory / "route").write_text(f"{route}\n")


def _at_ours(text: str, request: pytest.FixtureRequest) -> str:
    """The same with a server of the tests in place of the one that it names."""
    if KAFKA in text:
        kafka: Kafka = request.getfixturevalue("kafka")
        text = text.replace(KAFKA, f"{kafka.bootstrap}/{kafka.create(partitions=6)}")
    if REDIS not in text:
        return text
    server: RedisServer = request.getfixturevalue("redis_server")()
    return text.replace(REDIS, f"127.0.0.1:{server.port}")


def test_links_between_documents_lead_somewhere() -> None:
    """Every relative link names a file."""
    for name in DOCUMENTS:
        for link in re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text()):
            assert ((ROOT / name).parent / link).exists(), f"{name} links to {link}"
