"""Making clients of Kafka: with the reason when there is no way to a broker, and nothing left behind."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from ._kafka_client import KafkaConnectionManager, KafkaNetClient, NetworkSelector, client

_T = TypeVar("_T")
_FOR_GOOD = (client.SaslAuthenticationFailedError, client.UnsupportedSaslMechanismError, client.IllegalSaslStateError)
_SETUP_MS = 3000
"""For one attempt at a connection; the client would take 10 to 30 s, which is how long it would miss a network that is
back.
"""


def connected(make: Callable[..., _T], settings: Mapping[str, Any], *, topics: Iterable[str] = ()) -> _T:
    """`make(**settings)`, a KafkaProducer, KafkaConsumer or KafkaAdminClient. Blocks while it looks for a broker.

    topics: those whose partitions are known from the start. What it raises has as its cause why the last connection
    failed, and has come at once where no waiting heals that. Then its threads and sockets are gone.
    """
    return attached(make, settings, topics=topics)[0]


def attached(make: Callable[..., _T], settings: Mapping[str, Any], *, topics: Iterable[str] = ()) -> tuple[_T, Any]:
    """The same, with what it knows of the cluster: a `kafka.cluster.ClusterMetadata`, for any thread to read."""
    network = _Network(topics)
    try:
        made = make(kafka_client=network, **settings)
    except BaseException as error:
        network.close()
        if network.reason is not None and error is not network.reason:
            raise error from network.reason
        raise
    return made, network.client.cluster


class _Network:
    """Where a client gets its connections from."""

    def __init__(self, topics: Iterable[str]) -> None:
        self.client: Any = None
        self.reason: BaseException | None = None
        self._topics = topics

    def __call__(self, **configs: Any) -> Any:
        configs |= {
            "socket_connection_setup_timeout_ms": _SETUP_MS,
            "socket_connection_setup_timeout_max_ms": _SETUP_MS,
        }
        net = NetworkSelector(**configs)
        self.client = KafkaNetClient(net, _Connections(net, self, **configs), **configs)
        for topic in self._topics:
            self.client.cluster.add_topic(topic)
        return self.client

    def close(self) -> None:
        """Let go of what was begun."""
        if self.client is not None:
            with contextlib.suppress(Exception):  # some of it was never there
                self.client.close()


class _Connections(KafkaConnectionManager):  # type: ignore[misc]  # the client has no types
    """Knows why the last connection failed, and gives up on its first broker where trying again is of no use."""

    def __init__(self, net: Any, network: _Network, **configs: Any) -> None:
        super().__init__(net, **configs)
        self._network = network
        self._refused: dict[Any, BaseException] = {}

    def get_connection(self, node_id: Any, *args: Any, **kwargs: Any) -> Any:
        if (refused := self._refused.pop(node_id, None)) is not None and self.cluster.is_bootstrap(node_id):
            raise refused
        connection = super().get_connection(node_id, *args, **kwargs)
        connection.init_future.add_errback(self._failed, node_id)
        return connection

    def _failed(self, node_id: Any, error: BaseException) -> None:
        self._network.reason = error
        if isinstance(error, _FOR_GOOD) or isinstance(error.__context__, ssl.SSLCertVerificationError):
            self._refused[node_id] = error
