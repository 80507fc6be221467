"""Redis with more around it: encrypted, as a cluster, watched by sentinels."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import pytest
from redis.exceptions import ResponseError

from .redis_server import Redis, RedisServer, free_port, need_redis, until

SERVICE = "mymaster"
SLOTS = 16384


class TLSServer(RedisServer):
    """Speaks TLS only, with this certificate and its key in files. Wants none of its clients."""

    def __init__(self, certificate: Path, key: Path) -> None:
        super().__init__(tls_cert_file=certificate, tls_key_file=key, tls_ca_cert_file=certificate)
        self.settings |= {"port": 0, "tls-port": self.port, "tls-auth-clients": "no"}
        self.url = f"rediss://127.0.0.1:{self.port}/0"


@attrs.frozen
class Authority:
    """Signs certificates, in a directory; `file` is what to trust."""

    directory: Path

    @property
    def file(self) -> Path:
        return self.directory / "ca.crt"

    def certificate(self, host: str = "127.0.0.1", days: int = 2, *, self_signed: bool = False) -> tuple[Path, Path]:
        """A certificate for this address, and its key. days: how long it is good from now on; -1 is over."""
        key, request, signed = (self.directory / f"{host}{days}{self_signed}.{end}" for end in ("key", "csr", "crt"))
        names = self.directory / "names"
        names.write_text(
            f"subjectAltName=IP:{host}\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
            "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n"
        )
        _openssl("req", "-new", *_NEW_KEY, "-keyout", key, "-subj", "/CN=redis", "-out", request)
        ours = ("-CA", self.file, "-CAkey", self.directory / "ca.key", "-CAcreateserial")
        signer = ("-signkey", key) if self_signed else ours
        _openssl("x509", "-req", "-in", request, *signer, "-days", days, "-extfile", names, "-out", signed)
        return signed, key


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Signs certificates for the tests; skips them where there is no openssl."""
    need_redis()
    need_redis("openssl", "openssl")
    authority = Authority(tmp_path_factory.mktemp("authority"))
    key = authority.directory / "ca.key"
    use = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
    _openssl("req", "-x509", *_NEW_KEY, "-keyout", key, "-subj", "/CN=ours", *use, "-days", 2, "-out", authority.file)
    return authority


@pytest.fixture(scope="session")
def redis_node() -> Iterator[Redis]:
    """A cluster of one node, which many tests share."""
    need_redis()
    with Node() as node:
        node.own(0, SLOTS - 1)
        until(node.is_up)
        yield node


@pytest.fixture
def redis_cluster() -> Iterator[list[Node]]:
    """A cluster of three nodes."""
    need_redis()
    with ExitStack() as nodes:
        cluster = [nodes.enter_context(Node()) for _ in range(3)]
        for number, node in enumerate(cluster):
            node.do("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            node.own(number * SLOTS // 3, (number + 1) * SLOTS // 3 - 1)
        for node in cluster[1:]:
            cluster[0].do("CLUSTER", "MEET", "127.0.0.1", node.port, node.bus)
        until(lambda: all(node.is_up(nodes=3) for node in cluster))
        yield cluster


class Node(RedisServer):
    """A node of a cluster."""

    def __init__(self) -> None:
        self.bus = free_port()
        super().__init__(cluster_enabled="yes", cluster_port=self.bus, cluster_require_full_coverage="no")
        self.url = f"redis+cluster://127.0.0.1:{self.port}"

    def do(self, *words: object) -> Any:
        """Run a command on this very node; text as it comes."""
        command: Any = self.admin.execute_command
        return command(*words)

    def own(self, first: int, last: int) -> None:
        """Be responsible for these slots."""
        self.do("CLUSTER", "ADDSLOTSRANGE", first, last)

    def is_up(self, nodes: int = 1) -> bool:
        """Whether it takes commands and knows so many nodes, each with slots."""
        return b"cluster_state:ok" in self.do("CLUSTER", "INFO") and len(self.owners()) == nodes

    def owns(self, slot: int) -> bool:
        """Whether that slot is this node's, as it knows itself."""
        return any(part[0] <= slot <= part[1] and part[2][1] == self.port for part in self.do("CLUSTER", "SLOTS"))

    def owners(self) -> set[str]:
        """The nodes with slots, as this one knows them."""
        return {part[2][2].decode() for part in self.do("CLUSTER", "SLOTS")}


@attrs.frozen
class Sentinel:
    """A master, its replica and a sentinel that watches both."""

    master: RedisServer
    replica: RedisServer
    watcher: RedisServer

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.watcher.port}/{SERVICE}"

    def current(self) -> int:
        """The port of the master, as the sentinel says."""
        command: Any = self.watcher.admin.execute_command
        return int(command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])

    def fail_over(self) -> None:
        """The two change places; returns when they have."""
        until(self._accepts)
        until(lambda: self.current() == self.replica.port)
        until(lambda: _replication(self.replica, "role") == "master")
        retire: Any = self.master.admin.execute_command  # what the sentinel does itself some ten seconds later
        retire("REPLICAOF", "127.0.0.1", self.replica.port)
        retire("CLIENT", "KILL", "TYPE", "normal")

    def _accepts(self) -> bool:
        """Whether the sentinel begins now: it has to know the replica."""
        command: Any = self.watcher.admin.execute_command
        try:
            return bool(command("SENTINEL", "FAILOVER", SERVICE))
        except ResponseError:
            return False


@pytest.fixture
def redis_sentinel() -> Iterator[Sentinel]:
    need_redis()
    with ExitStack() as servers:
        master = servers.enter_context(RedisServer(repl_diskless_sync_delay=0))
        replica = servers.enter_context(RedisServer(replicaof=("127.0.0.1", master.port)))
        until(
            lambda: _replication(replica, "master_link_status") == "up"
        )  # a sentinel looks for replicas when it begins, then each 10 s
        yield Sentinel(master, replica, servers.enter_context(Watcher(master.port)))


class Watcher(RedisServer):
    """A sentinel."""

    flags = ("--sentinel",)

    def __init__(self, master: int, **settings: Any) -> None:
        super().__init__(**settings)
        for name in ("save", "appendonly", "bind"):
            self.settings.pop(name)
        self.lines = [
            f"sentinel monitor {SERVICE} 127.0.0.1 {master} 1",
            f"sentinel down-after-milliseconds {SERVICE} 1000",
            f"sentinel failover-timeout {SERVICE} 2000",
        ]


def _replication(server: RedisServer, fact: str) -> object:
    info: Any = server.admin.info("replication")
    return info.get(fact)


def _openssl(*words: object) -> None:
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
