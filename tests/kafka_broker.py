"""One process of Kafka for tests: a broker, mostly its own controller, on ports and in a directory of its own."""

from __future__ import annotations

import base64
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from .kafka_client import KafkaAdminClient, KafkaError
from .redis_server import PATIENCE, end_with_us, until

VERSION = "4.1.0"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "notification-dispatcher"
JARS = CACHE / f"kafka-{VERSION}"
"""Where .ci/kafka puts them."""
ARCHIVE = JARS / "classes.jsa"
"""Classes as the JVM wants them in memory: half the time of a start. One that doesn't fit the JVM is left aside."""
JAVA = (
    str(Path(os.environ["JAVA_HOME"], "bin", "java")) if os.environ.get("JAVA_HOME") else "java",
    "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)  # fmt: skip
STARTS = 60.0
"""Seconds that a broker may take at most until it answers, on a machine that has a lot to do."""
_PORTS = range(20_000, 32_000)
"""Below those that connections going out take: a port is still free when its broker comes back."""


class Broker:
    """A process that can be started, killed and started again with its data on the same ports.

    address: "host:port" of its first listener. It answers when `start` returns.
    """

    flags: Sequence[str] = (f"-XX:SharedArchiveFile={ARCHIVE}", "-Xshare:auto", "-Xlog:disable", "-Xlog:all=error")
    """Of the JVM."""

    def __init__(self, node: int, address: str, cluster: str, settings: Mapping[str, object]) -> None:
        self.node, self.address = node, address
        self.directory = Path(tempfile.mkdtemp(prefix="kafka-"))
        self.settings = {**settings, "log.dirs": self.directory / "data"}
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: subprocess.Popen[bytes] | None = None
        self._format(cluster)

    @property
    def pid(self) -> int:
        assert self._process is not None, "it does not run"
        return self._process.pid

    @property
    def log(self) -> str:
        """Warnings and errors that it wrote so far."""
        return (self.directory / "log").read_text() if (self.directory / "log").exists() else ""

    def start(self, *, wait: bool = True) -> None:
        """Start it, with its data if it has any, and wait until it answers."""
        assert self._process is None, "it runs already"
        properties = self.directory / "server.properties"
        properties.write_text("".join(f"{name}={_escaped(value)}\n" for name, value in self.settings.items()))
        classes = self.directory / "classes"  # ninety names, too long to be seen in each error
        classes.write_text(f'-cp "{":".join(map(str, sorted(JARS.glob("*.jar"))))}"')
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*JAVA, *self.flags, f"@{classes}", "kafka.Kafka", str(properties)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory,
                start_new_session=True,  # a ^C is for the tests, which then end it
            )  # fmt: skip
        self._watch = end_with_us(self.pid, self.directory)
        if wait:
            self.wait()

    def wait(self) -> None:
        """Until it answers and the controller has let it in."""
        until(self._answers, lambda: f"the broker does not answer: {self.log[-2000:]}", patience=STARTS)

    def kill(self) -> None:
        """SIGKILL. What it had written stays; `start` reads it again."""
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """End it in order: it hands its partitions to others, where there are any."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """End it in order and start it with its data on the same ports."""
        self.terminate()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it and forget its data. Idempotent."""
        self._end(signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _format(self, cluster: str) -> None:
        """What `kafka-storage format` writes, in less than its 0.7 s."""
        data = self.directory / "data"
        data.mkdir()
        facts = {"version": 1, "cluster.id": cluster, "node.id": self.node, "directory.id": new_id()}
        (data / "meta.properties").write_text("".join(f"{name}={value}\n" for name, value in facts.items()))

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the broker ended: {self.log[-2000:]}"
        if not _listens(self.address):  # cheaper than to ask
            return False
        try:
            admin = KafkaAdminClient(bootstrap_servers=self.address, bootstrap_timeout_ms=2000, request_timeout_ms=2000)
        except (KafkaError, OSError):
            return False
        try:
            return any(broker["broker_id"] == self.node for broker in admin.describe_cluster()["brokers"])
        except (KafkaError, OSError):
            return False
        finally:
            admin.close()

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        assert self._watch is not None
        self._watch.kill()  # first: a number that was waited for may belong to another process soon
        self._watch.communicate()
        self._process.send_signal(number)
        if number is not signal.SIGKILL:
            self._process.send_signal(signal.SIGCONT)
        self._process.wait(PATIENCE)
        self._process = self._watch = None


def new_id() -> str:
    """A random id as Kafka writes them."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "x", 1)


def free_port() -> int:
    """A port of this machine that nobody listens on now, nor will by chance while its broker is away."""
    while True:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port := random.choice(_PORTS)))
            except OSError:
                continue
            return port


def _listens(address: str) -> bool:
    host, _, port = address.partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def _escaped(value: object) -> str:
    """As a properties file has it."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text.replace("\\", "\\\\").replace("\n", "\\n")
