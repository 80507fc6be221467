"""Making clients of Kafka: with the reason when there is no way to a broker, and nothing left behind."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from ._kafka_client import KafkaConnectionManager, KafkaNetClient, NetworkSelector, client
from ._kafka_mend import keep_answers
from ._kafka_sockets import SETTING

keep_answers()  # before there are clients, in several threads

_T = TypeVar("_T")
_FOR_GOOD = (
    client.SaslAuthenticationFailedError,
    client.UnsupportedSaslMechanismError,
    client.IllegalSaslStateError,
    client.InvalidReceiveError,
    ssl.SSLCertVerificationError,
)
_LATE = (client.RequestTimedOutError, client.KafkaTimeoutError)
_SETUP_SECONDS = 3.0
"""For one attempt at a connection; the client would take 10 to 30 s, which is how long it would miss a network that is
back, and for ever where TLS gets no answer.
"""


def connected(make: Callable[..., _T], settings: Mapping[str, Any], *, topics: Iterable[str] = ()) -> _T:
    """`make(**settings)`, a KafkaProducer, KafkaConsumer or KafkaAdminClient. Blocks while it looks for a broker.

    settings: of `Brokers`, or made of those. topics: those whose partitions are known from the start. What it raises
    has as its cause why the last connection failed, and has come at once where no waiting heals that. Then its threads
    and sockets are gone.
    """
    network: Network = settings["kafka_client"]
    network.topics = topics
    try:
        return make(**settings)
    except BaseException as error:
        network.close()
        if network.reason is not None and error is not network.reason:
            raise error from network.reason
        raise


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what it came from: the client hands some on as an argument."""
    while error is not None:
        yield error
        inner = error.args[0] if error.args else None
        error = error.__cause__ or error.__context__ or (inner if isinstance(inner, BaseException) else None)


def wants_certificate(error: BaseException) -> bool:
    """Whether a broker has ended the connection for want of a certificate of ours."""
    said = str(error).upper().replace(" ", "_")
    return isinstance(error, ssl.SSLError) and ("BAD_CERTIFICATE" in said or "CERTIFICATE_REQUIRED" in said)


class Network:
    """Where one client gets its connections from. trust: what TLS is made of, asked for each; None is without."""

    def __init__(self, trust: Callable[[], ssl.SSLContext] | None = None) -> None:
        self.trust = trust
        self.topics: Iterable[str] = ()
        self.reason: BaseException | None = None
        """Why the last connection failed; None once one has come about."""
        self._client: Any = None

    def __call__(self, **configs: Any) -> Any:
        setup = int(_SETUP_SECONDS * 1000)
        configs |= {
            "proxy_url": SETTING,
            "socket_connection_setup_timeout_ms": setup,
            "socket_connection_setup_timeout_max_ms": setup,
        }
        net = NetworkSelector(**configs)
        self._client = KafkaNetClient(net, _Connections(net, self, **configs), **configs)
        # 3.0.12 does not pass it on, so that asking for a topic would create it
        self.cluster.config["allow_auto_create_topics"] = False
        return self._client

    @property
    def cluster(self) -> Any:
        """What the client knows of brokers, topics and partitions: a ClusterMetadata, for any thread to read."""
        return self._client.cluster

    def wake(self) -> None:
        """Have a producer's thread look for what it was given; from any thread."""
        self._client.wakeup()

    def close(self) -> None:
        """Let go of what a client began that was not made in the end."""
        if self._client is not None:
            with contextlib.suppress(Exception):  # some of it was never there
                self._client.close()


class _Connections(KafkaConnectionManager):  # type: ignore[misc]  # the client has no types
    """Knows why the last connection failed, and gives up on its first broker where trying again is of no use."""

    def __init__(self, net: Any, network: Network, **configs: Any) -> None:
        super().__init__(net, **configs)
        self._loop, self._network = net, network
        self._refused: dict[Any, BaseException] = {}
        self._known: set[Any] = set()

    def bootstrap(self, timeout_ms: float | None = None, refresh: bool = True) -> None:
        """What the first broker is asked includes our topics: asked later, they take a tenth of a second."""
        first = self.bootstrap_async(timeout_ms, refresh)
        for topic in self._network.topics:
            self._network.cluster.add_topic(topic)
        self.run(first)

    def get_connection(self, node_id: Any, *args: Any, **kwargs: Any) -> Any:
        if (refused := self._refused.pop(node_id, None)) is not None and self.cluster.is_bootstrap(node_id):
            raise refused
        if self._network.trust is not None:
            self.config["ssl_context"] = self._network.trust()
        connection = super().get_connection(node_id, *args, **kwargs)
        if connection not in self._known:
            self._watch(node_id, connection)
            self._limit(connection, kwargs.get("timeout_ms"))
        return connection

    def _watch(self, node_id: Any, connection: Any) -> None:
        """Learn why it ended."""
        self._known.add(connection)
        connection.init_future.add_callback(lambda _: self._came_about())
        connection.init_future.add_errback(lambda error: self._failed(node_id, error))
        connection.close_future.add_errback(lambda error: self._failed(node_id, error))
        connection.close_future.add_both(lambda _: self._known.discard(connection))

    def _limit(self, connection: Any, timeout_ms: float | None) -> None:
        seconds = _SETUP_SECONDS if timeout_ms is None else min(_SETUP_SECONDS, timeout_ms / 1000)

        async def give_up() -> None:
            await self._loop.sleep(seconds)
            if not connection.init_future.is_done:
                connection.close(client.KafkaTimeoutError(f"no answer within {seconds:.1f} s"))

        alarm = self._loop.call_soon(give_up)
        connection.init_future.add_both(lambda _: self._loop.cancel(alarm))

    def _came_about(self) -> None:
        self._network.reason = None

    def _failed(self, node_id: Any, error: BaseException) -> None:
        if self._network.reason is None or not isinstance(error, _LATE):  # the last attempt has little time
            self._network.reason = error
        if any(isinstance(cause, _FOR_GOOD) or wants_certificate(cause) for cause in causes_of(error)):
            self._refused[node_id] = error
