"""One broker for a whole run of the tests, however many processes that has: the first starts it, the last ends it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .kafka_broker import STARTS
from .kafka_server import Kafka, KafkaServer, need_kafka
from .redis_server import until


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """The broker that most tests share, each with topics of its own. `TEST_KAFKA_BROKERS=host:port` names another."""
    with contextlib.ExitStack() as stack:
        address = os.environ.get("TEST_KAFKA_BROKERS")
        if not address:
            need_kafka()
            root = tmp_path_factory.getbasetemp()
            address = stack.enter_context(shared(root.parent if "PYTEST_XDIST_WORKER" in os.environ else root))
        stack.callback((broker := Kafka(address)).close)
        yield broker


@contextlib.contextmanager
def shared(directory: Path) -> Iterator[str]:
    """The address of the broker that all who name this directory share. It ends after the last of them, also if killed.

    Who uses it holds a shared lock, which the system lets go with the process; its keeper waits for the exclusive one.
    """
    with (directory / "kafka.users").open("a") as users:
        with (directory / "kafka.starting").open("a") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            fcntl.flock(users, fcntl.LOCK_SH)
            if not (address := directory / "kafka.address").exists():
                _begin(directory)
            log = directory / "kafka.log"
            until(address.exists, lambda: f"no broker: {log.read_text()[-2000:]}", patience=STARTS)
        yield address.read_text()


def _begin(directory: Path) -> None:
    """Start a keeper that is nobody's child: whoever began it may be gone before the others."""
    keeper = '"$@" </dev/null >"$0" 2>&1 &'
    subprocess.run(
        ["/bin/sh", "-c", keeper, str(directory / "kafka.log"), sys.executable, "-m", __name__, str(directory)],
        check=True, start_new_session=True, cwd=Path(__file__).parent.parent,
    )  # fmt: skip


def keep(directory: Path) -> None:
    """Run a broker for as long as anybody uses it."""
    with (directory / "kafka.users").open() as users, KafkaServer(broker_session_timeout_ms=9000) as server:
        (written := directory / "kafka.new").write_text(server.bootstrap)
        written.rename(directory / "kafka.address")
        fcntl.flock(users, fcntl.LOCK_EX)
        (directory / "kafka.address").unlink(missing_ok=True)


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
