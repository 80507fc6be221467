"""Where Kafka is, how to get there, and everything its client is told, said in so many words."""

from __future__ import annotations

import re
from typing import Any, Final, Literal

import attrs

from ._kafka_client import CooperativeStickyAssignor, has_lz4, has_snappy, has_zstd
from ._kafka_connect import Network
from ._kafka_quiet import keep_quiet
from ._kafka_security import SecurityOptions, Trust, keep_secrets, security
from .errors import ConfigurationError, MissingDependency, escape
from .url import QueueURL, Seconds, check_name

Compression = Literal["none", "gzip", "snappy", "lz4", "zstd"]
Partitioner = Literal["key", "round_robin", "random"]
GROUP: Final = "notification"
"""The group of a URL without ?group=."""
DEFAULT_LIMIT: Final = 1_048_588
"""`max.message.bytes` of a topic that says nothing else."""

_PORT = 9092
_TOPIC = re.compile(r"[A-Za-z0-9._-]+")
_FIVE, _SIX = Seconds(5), Seconds(6)
_INSTALLED = {"gzip": lambda: True, "lz4": has_lz4, "snappy": has_snappy, "zstd": has_zstd}
_REQUEST_SECONDS = 3.0
"""After which a request without a reply is given up with its connection, and repeated on another one; half of `timeout`
where that is more, for brokers that take so long to agree.
"""
_SESSION_TIMEOUT = 0.5
_FETCH_SECONDS = 8.0
_BATCH_BYTES, _REQUEST_BYTES = 1 << 16, 64 << 20
_FRAME_BYTES, _LARGE_FRAME_BYTES = 16 << 20, 100 << 20
_NEVER = 2**31 - 1


@attrs.frozen(kw_only=True)
class KafkaOptions(SecurityOptions):
    """connect_timeout: seconds to reach a broker. timeout: seconds to wait for an answer to a push; after them it goes
    on, its fate unknown. session_timeout: seconds after which the partitions of a silent process go to others.
    compression: of what is pushed; lz4 where it is installed, else gzip, when not given. partitioner: `key` keeps
    events with the same key in one partition; the others ignore it. partitions: `0,1` reads only these, without a
    group. client_rack: read from a replica there. unsettled: the most deliveries that a process has, before it lets
    partitions wait.
    """

    connect_timeout: Seconds = _FIVE
    timeout: Seconds = _FIVE
    session_timeout: Seconds = _SIX
    compression: Compression | None = None
    partitioner: Partitioner = "key"
    partitions: str | None = None
    client_rack: str | None = None
    unsettled: int = 10_000


def located(url: QueueURL) -> QueueURL:
    """The same with the topic of its path as its name: `kafka://host/orders` is `kafka://host?queue=orders`.

    Raises ConfigurationError where it has two names, or one that no topic can have.
    """
    path = url.path.strip("/")
    if path and url.name not in {"events", path}:
        raise ConfigurationError(f"{url} names two topics, in its path and with ?queue=; keep one")
    name = check_name("topic", path or url.name)
    if not _TOPIC.fullmatch(name) or name in {".", ".."}:
        raise ConfigurationError(f"{url}: a topic's name has only A-Z a-z 0-9 . _ -")
    return attrs.evolve(url, path="", name=name)


class Brokers:
    """How to make clients for a queue's brokers, with `connected`. Its repr, `name` and `create` are without secrets.

    name: the brokers, for errors. topic: of the queue. group: of its consumers. partitions: those that `?partitions=`
    names, None for all. url: see `located`. Raises ConfigurationError, MissingDependency.
    """

    def __init__(self, url: QueueURL, options: KafkaOptions) -> None:
        self.url: QueueURL = located(url)
        self.options: KafkaOptions = options
        self.topic: str = self.url.name
        self.group: str = self.url.group or GROUP
        self.hosts: list[str] = [_address(host) for host in url.hosts]
        self.name: str = f"kafka://{','.join(self.hosts)}"
        self.partitions: tuple[int, ...] | None = _numbers(options.partitions)
        self._frame_bytes = _FRAME_BYTES if self.url.limits.event <= 1 << 20 else _LARGE_FRAME_BYTES
        self._check()
        self._compression = _compression(options.compression)
        self._trust = Trust(self.url, options)
        self._security = security(self.url, options)
        keep_secrets()
        keep_quiet()

    @property
    def create(self) -> str:
        """The command that makes the topics."""
        return f"notification queue create {self.name}/{self.topic}"

    @property
    def connect_timeout(self) -> float:
        """Seconds to reach a broker."""
        return self.options.connect_timeout

    def admin(self) -> dict[str, Any]:
        """What one KafkaAdminClient is told; has secrets."""
        return {
            "bootstrap_servers": self.hosts,
            "client_id": "notification",
            "bootstrap_timeout_ms": _ms(self.options.connect_timeout),
            "request_timeout_ms": _ms(max(self.options.timeout / 2, _REQUEST_SECONDS)),
            "reconnect_backoff_ms": 50,
            "reconnect_backoff_max_ms": 1000,  # a broker that is back is used within a second
            "retry_backoff_ms": 100,
            "metadata_max_age_ms": 30_000,  # partitions that were added are seen after so long
            "connections_max_idle_ms": 540_000,
            "max_in_flight_requests_per_connection": 5,
            "receive_message_max_bytes": self._frame_bytes,
            "kafka_client": Network(self._trust.context if self.options.tls else None),
            **self._security,
        }

    def producer(self, limit: int = DEFAULT_LIMIT) -> dict[str, Any]:
        """What one KafkaProducer is told; has secrets. limit: the most bytes that its topics take in a batch.

        A larger record has to be kept from it: a broker refuses that, and then it gives up on all that it has.
        """
        return {
            **self.admin(),
            "acks": "all",
            "enable_idempotence": True,
            "retries": float("inf"),
            # a batch that expires while it is being repeated would stop the client for good: we time out, it does not
            "delivery_timeout_ms": _NEVER,
            "max_block_ms": _ms(self.options.connect_timeout),
            "linger_ms": 0,
            "batch_size": min(_BATCH_BYTES, limit),
            "max_request_size": _REQUEST_BYTES,
            "compression_type": self._compression,
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
        }

    def consumer(self) -> dict[str, Any]:
        """What one KafkaConsumer is told; has secrets. Of the group, unless `partitions` are given."""
        session = _ms(self.options.session_timeout)
        return {
            **self.admin(),
            "group_id": self.group if self.partitions is None else None,
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "isolation_level": "read_committed",
            "partition_assignment_strategy": [CooperativeStickyAssignor],
            "session_timeout_ms": session,
            "heartbeat_interval_ms": min(250, session // 3),  # who comes and goes is noticed with the next one
            "max_poll_interval_ms": 60_000,  # also how long the others wait for one that died in a rebalance
            "max_poll_records": 500,
            "fetch_min_bytes": 1,
            "fetch_max_wait_ms": 500,
            "fetch_max_bytes": self._frame_bytes - (1 << 20),
            "max_partition_fetch_bytes": 1 << 20,
            "request_timeout_ms": _ms(max(self.options.timeout, _FETCH_SECONDS)),
            "client_rack": self.options.client_rack or "",
            "check_crcs": True,
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
        }

    def _check(self) -> None:
        options = self.options
        if not self.hosts:
            raise ConfigurationError(f"{self.url} names no broker; write kafka://localhost:{_PORT}/{self.topic}")
        for name in ("connect_timeout", "timeout", "unsettled"):
            if (value := getattr(options, name)) <= 0:
                raise ConfigurationError(f"?{name}={value:g} must be more than 0")
        if options.session_timeout < _SESSION_TIMEOUT:
            raise ConfigurationError(
                f"?session_timeout={options.session_timeout:g} must be {_SESSION_TIMEOUT:g}s or more"
            )


def _address(host: str) -> str:
    _, colon, port = host.rpartition(":")
    return host if colon and port.isdecimal() else f"{host}:{_PORT}"


def _numbers(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and part.isascii() for part in parts):
        raise ConfigurationError(f"?partitions={escape(text)}: write their numbers, as in ?partitions=0,1")
    return tuple(sorted({int(part) for part in parts}))


def _compression(wanted: Compression | None) -> str | None:
    if wanted is None:
        # the client sums up in Python every byte that it sends: without compression that is half of its work
        return "lz4" if has_lz4() else "gzip"
    if wanted == "none":
        return None
    if not _INSTALLED[wanted]():
        raise MissingDependency(
            f"?compression={wanted} needs a package: pip install 'notification-dispatcher[{wanted}]'"
        )
    return wanted


def _ms(seconds: float) -> int:
    """Whole: the client takes a float and breaks on it later."""
    return max(1, round(seconds * 1000))
