"""Kafka for tests: brokers on free ports of this machine, and gone when the tests are, however those end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self
from urllib.parse import quote

import pytest

from .kafka_broker import JARS, JAVA, Broker, free_port, new_id
from .kafka_client import InvalidReplicationFactorError, KafkaAdminClient, NewTopic
from .proxy import Proxy
from .redis_server import until

SIBLINGS = (".dead", ".delay.1m", ".delay.1h", ".delay.1d")
"""Topics beside a queue's own."""
_SETTINGS: dict[str, object] = {
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "DIRECT",
    "auto.create.topics.enable": False,
    "broker.heartbeat.interval.ms": 200,
    "broker.session.timeout.ms": 1000,  # a broker that was killed is let in again after this long
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 500,
    "log.cleaner.dedupe.buffer.size": 4 << 20,
    "log.index.size.max.bytes": 1 << 20,
    "log.segment.bytes": 16 << 20,
    "num.io.threads": 2,
    "num.network.threads": 2,
    "offsets.topic.num.partitions": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 1,
}


class Kafka:
    """What tests use: `bootstrap`, "host:port", with commas where there are several; URLs; an `admin`, outside of any
    event loop.
    """

    def __init__(self, bootstrap: str, *, same: Kafka | None = None) -> None:
        self.bootstrap = bootstrap
        self._same = same
        self._admin: KafkaAdminClient | None = None

    @property
    def admin(self) -> KafkaAdminClient:
        """May do everything. Blocks: not in an event loop that something else has to run in."""
        if self._same is not None:
            return self._same.admin
        if self._admin is None:
            self._admin = KafkaAdminClient(bootstrap_servers=self.bootstrap.split(","), reconnect_backoff_max_ms=200)
        return self._admin

    def url(self, topic: str | None = None, **options: Any) -> str:
        """The URL of this topic, or of a name that nobody else has and that is not created.

        Its group, where none is given, has the name of the topic: in one that all share, tests that run at the same
        time would have to wait for each other.
        """
        topic = topic or unique()
        options = {"group": topic} | options
        query = "&".join(f"{option}={quote(str(value), safe='/:{},')}" for option, value in options.items())
        return f"kafka://{self.bootstrap}/{topic}?{query}"

    def create(
        self,
        topic: str | None = None,
        *,
        partitions: int = 3,
        replication: int = -1,
        siblings: bool = True,
        **configs: Any,
    ) -> str:
        """Create this topic, or one with a new name, and those beside it; its name. configs: `_` for `.`.

        Returns when every partition has a leader. The topics beside it have one partition. On a machine that has a lot
        to do a broker is shut out for a moment, when its heartbeats came late: it is asked again.
        """
        topic = topic or unique()
        given = {name.replace("_", "."): str(value) for name, value in configs.items()}
        topics = [NewTopic(topic, partitions, replication, topic_configs=given)]
        if siblings:
            topics += [NewTopic(topic + sibling, 1, replication) for sibling in SIBLINGS]
        until(lambda: self._created(topics), lambda: f"no broker takes {topic}")
        self.admin.wait_for_topics([each.name for each in topics])
        return topic

    def in_sync(self) -> bool:
        """Whether every partition has all its replicas: then one of three brokers may be away, and not before."""
        partitions = [one for topic in self.admin.describe_topics() for one in topic["partitions"]]
        return all(set(one["isr_nodes"]) == set(one["replica_nodes"]) for one in partitions)

    def _created(self, topics: Sequence[NewTopic]) -> bool:
        try:
            self.admin.create_topics(topics)
        except InvalidReplicationFactorError as error:
            if "fenced" in str(error):
                return False
            raise
        return True

    def close(self) -> None:
        """Let go of the admin; the next use makes another. Idempotent."""
        admin, self._admin = self._admin, None
        if admin is not None:
            admin.close()


class KafkaServer(Kafka):
    """Brokers of our own, in `nodes`; with one, it is its own controller. settings: of server.properties, `_` for `.`.

    proxied: each has a proxy in front as well, in `proxies`; `proxied.url()` leads through them, and so do the brokers
    those that came that way. listeners: more of them, a protocol by name ({"SASL": "SASL_PLAINTEXT"}); `at("SASL")` has
    their URLs. With three brokers any one may be killed, with two only the second. Data outlive `kill` and `start`.
    """

    def __init__(
        self, *, brokers: int = 1, proxied: bool = False, listeners: Mapping[str, str] | None = None, **settings: Any
    ) -> None:
        self._protocols = {"DIRECT": "PLAINTEXT", **(listeners or {}), **({"PROXIED": "PLAINTEXT"} if proxied else {})}
        self._ports = [{name: free_port() for name in [*self._protocols, "CONTROLLER"]} for _ in range(brokers)]
        self.proxies: list[Proxy] = []
        self._resources = contextlib.ExitStack()
        if proxied:
            self.proxies = [self._resources.enter_context(Proxy(ports["PROXIED"]).in_thread()) for ports in self._ports]
        given = {name.replace("_", "."): value for name, value in settings.items()}
        cluster = new_id()
        self.nodes = [
            Broker(number + 1, self._addresses("DIRECT")[number], cluster, self._properties(number) | given)
            for number in range(brokers)
        ]
        super().__init__(",".join(self._addresses("DIRECT")))

    @property
    def node(self) -> Broker:
        """The only one, or the first."""
        return self.nodes[0]

    @property
    def proxy(self) -> Proxy:
        """In front of the only one, or the first."""
        return self.proxies[0]

    @property
    def proxied(self) -> Kafka:
        """The same, reached through the proxies."""
        return self.at("PROXIED")

    def at(self, listener: str) -> Kafka:
        """The same, reached at this listener."""
        return Kafka(",".join(self._addresses(listener)), same=self)

    @property
    def log(self) -> str:
        """Warnings and errors that they wrote so far."""
        return "".join(node.log for node in self.nodes)

    def start(self, *, wait: bool = True) -> Self:
        """Start all, and wait until they answer."""
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes if wait else ():
            node.wait()
        return self

    def kill(self) -> None:
        """SIGKILL to all. What they had written stays."""
        self.close()
        for node in self.nodes:
            node.kill()

    def restart(self) -> None:
        """End one after another in order and start it with its data on the same ports; two of three always run."""
        self.close()
        for node in self.nodes:
            node.restart()

    def pause(self) -> None:
        """SIGSTOP to all."""
        for node in self.nodes:
            node.pause()

    def resume(self) -> None:
        for node in self.nodes:
            node.resume()

    def stop(self) -> None:
        """End all and forget their data. Idempotent."""
        self.close()
        for node in self.nodes:
            node.stop()
        self._resources.close()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _addresses(self, listener: str) -> list[str]:
        if listener == "PROXIED":
            return [f"127.0.0.1:{proxy.port}" for proxy in self.proxies]
        return [f"127.0.0.1:{ports[listener]}" for ports in self._ports]

    def _properties(self, number: int) -> dict[str, object]:
        count, ports = len(self._ports), self._ports[number]
        voters = range(count if count % 2 else count - 1)
        names = [name for name in ports if number in voters or name != "CONTROLLER"]
        copies = min(count, 3)
        return {
            **_SETTINGS,
            "node.id": number + 1,
            "process.roles": "broker,controller" if number in voters else "broker",
            "controller.quorum.voters": ",".join(f"{n + 1}@127.0.0.1:{self._ports[n]['CONTROLLER']}" for n in voters),
            "listeners": ",".join(f"{name}://127.0.0.1:{ports[name]}" for name in names),
            "advertised.listeners": ",".join(f"{name}://{self._addresses(name)[number]}" for name in self._protocols),
            "listener.security.protocol.map": ",".join(
                f"{name}:{protocol}" for name, protocol in [*self._protocols.items(), ("CONTROLLER", "PLAINTEXT")]
            ),
            "default.replication.factor": copies,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
        }


Start = Callable[..., KafkaServer]


@pytest.fixture
def kafka_server() -> Iterator[Start]:
    """Starts brokers of the test's own: `kafka_server(brokers=3, proxied=True, message_max_bytes=2000)`."""
    need_kafka()
    with contextlib.ExitStack() as servers:
        yield lambda **settings: servers.enter_context(KafkaServer(**settings))


def need_kafka() -> None:
    """Skip the test on a machine without Java or Kafka; fail it where the whole suite must run."""
    if shutil.which(JAVA[0]) is not None and (JARS / "complete").exists():
        return
    why = "there is no Kafka here: install Java 17 or later and Maven, then `make servers`"
    if os.environ.get("CI", "").lower() in {"true", "1"}:
        pytest.fail(why)
    pytest.skip(why)


def unique() -> str:
    """A topic's name that nobody else has."""
    return f"t-{uuid.uuid4().hex[:12]}"


def main() -> None:
    """`python -m tests.kafka_server` runs a broker until ^C, and prints its address."""
    with contextlib.suppress(KeyboardInterrupt), KafkaServer() as server:
        print(server.bootstrap, flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
