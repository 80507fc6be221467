"""Where a Redis is and how to get there: a server, a socket file, the master that sentinels name, a cluster's node."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import attrs
from redis import exceptions as client
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection

from .errors import ConfigurationError, QueueUnavailable, escape
from .url import QueueURL, Seconds

log = logging.getLogger("notification.queues")

_FIVE, _THREE = Seconds(5), Seconds(3)
_PORT, _SENTINEL_PORT = 6379, 26379
_OLDEST = (7, 0)


@attrs.frozen(kw_only=True)
class ServerOptions:
    """connect_timeout: seconds to get a connection. timeout: seconds to get a reply. db: of a `unix://` server.

    ca_file: the authorities to trust with `rediss://`, in place of the system's; cert_file, key_file: our own
    certificate. sentinel_username, sentinel_password_env: for the sentinels themselves.
    """

    connect_timeout: Seconds = _FIVE
    timeout: Seconds = _THREE
    db: int = 0
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    sentinel_username: str | None = None
    sentinel_password_env: str | None = None


Address = tuple[str, int]


class Server:
    """Makes connections to wherever the queue is now. `name` is for errors, without secrets."""

    def __init__(self, url: QueueURL, options: ServerOptions) -> None:
        self._kind, self._tls = _kind_of(url)
        self._url, self._options = url, options
        self.name = f"{url.scheme.removesuffix('+stream')}://{','.join(url.hosts) or url.path}"
        self._hosts = [_address(host, _SENTINEL_PORT if self._kind == "sentinel" else _PORT) for host in url.hosts]
        self._at: Address | None = None
        self._login: dict[str, Any] = {"username": url.username, "password": url.password, "db": self._database()}
        self._check()

    @property
    def database(self) -> int:
        """Its number."""
        return int(self._login["db"])

    @property
    def is_cluster(self) -> bool:
        """Whether its keys are spread over several nodes."""
        return self._kind == "cluster"

    async def connect(self, *, block: float = 0.0) -> AbstractConnection:
        """A new connection, logged in. block: seconds for which its commands may wait at the server.

        Raises what the client raises.
        """
        if self._kind == "unix":
            return await self._opened(UnixDomainSocketConnection(path=self._url.path, **self._settings(block)))
        last: Exception | None = None
        for host, port in await self._candidates():
            try:
                kind: type[Connection] = SSLConnection if self._tls else Connection
                connection = await self._opened(kind(host=host, port=port, **self._settings(block)))
            except (client.ConnectionError, client.TimeoutError, OSError) as error:
                last = error
                if not _unreachable(error):
                    raise
                continue
            self._at = (host, port)
            return connection
        assert last is not None
        raise last

    def moved(self, error: client.MovedError) -> None:
        """The queue is on another node of the cluster: go there next."""
        self._at = (error.host or (self._at or self._hosts[0])[0], error.port)

    def forget(self) -> None:
        """The server has turned out to be the wrong one: ask anew where it is."""
        self._at = None

    def check(self, greeting: Sequence[Any]) -> None:
        """Raise ConfigurationError when what HELLO said shows a server that can't be used."""
        facts = {_text(name): value for name, value in zip(greeting[::2], greeting[1::2], strict=False)}
        version, mode, role = (_text(facts.get(name, "")) for name in ("version", "mode", "role"))
        if tuple(map(int, version.split(".")[:2])) < _OLDEST:
            raise ConfigurationError(f"{self.name} is Redis {version}; 7.0 is the oldest that works")
        if mode == "cluster" and not self.is_cluster:
            raise ConfigurationError(f"{self.name} is a node of a cluster; write redis+cluster://")
        if mode != "cluster" and self.is_cluster:
            raise ConfigurationError(f"{self.name} is no cluster; write redis://")
        if role == "replica" and not self.is_cluster:
            raise QueueUnavailable(f"{self.name} is a read-only replica; name its master, or use redis+sentinel://")

    # -- addresses

    async def _candidates(self) -> list[Address]:
        if self._kind == "sentinel":
            return [await self._master()]
        return list(dict.fromkeys([*([self._at] if self._at else []), *self._hosts]))

    async def _master(self) -> Address:
        """What the first sentinel that answers says."""
        service = self._service()
        last: Exception = client.ConnectionError("no sentinel answers")
        for host, port in self._hosts:
            kind: type[Connection] = SSLConnection if self._tls else Connection
            sentinel = kind(host=host, port=port, **self._sentinel_settings())
            try:
                await sentinel.connect()  # type: ignore[no-untyped-call]  # the client has no types there
                await sentinel.send_command("SENTINEL GET-MASTER-ADDR-BY-NAME", service)
                found = await sentinel.read_response()
            except (client.RedisError, OSError) as error:
                last = error
                continue
            finally:
                await sentinel.disconnect(nowait=True)
            if found is None:
                raise client.ConnectionError(f"the sentinels know no service {service!r}")
            return _text(found[0]), int(found[1])
        raise last

    def _service(self) -> str:
        return PurePosixPath(self._url.path).parts[1]

    # -- settings

    async def _opened(self, connection: AbstractConnection) -> AbstractConnection:
        try:
            await connection.connect()  # type: ignore[no-untyped-call]  # the client has no types there
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    def _settings(self, block: float) -> dict[str, Any]:
        options = self._options
        return {
            **self._login,
            **self._tls_settings(),
            "socket_timeout": block + options.timeout,
            "socket_connect_timeout": options.connect_timeout,
            "protocol": 2,
            "driver_info": None,  # CLIENT SETINFO is one more command that a user would have to be allowed
        }

    def _sentinel_settings(self) -> dict[str, Any]:
        options = self._options
        password = _from_environment(options.sentinel_password_env)
        return {**self._settings(0.0), "username": options.sentinel_username, "password": password, "db": 0}

    def _tls_settings(self) -> dict[str, Any]:
        options = self._options
        if not self._tls:
            return {}
        return {
            "ssl_ca_certs": options.ca_file,
            "ssl_certfile": options.cert_file,
            "ssl_keyfile": options.key_file,
            "ssl_cert_reqs": "required",
            "ssl_check_hostname": True,
        }

    def _database(self) -> int:
        parts = PurePosixPath(self._url.path).parts[1:] if self._kind != "unix" else ()
        number = parts[1:2] if self._kind == "sentinel" else parts
        if len(number) > 1 or (number and not number[0].isdecimal()):
            raise ConfigurationError(
                f"{self._url}: after the host comes the number of a database, as in redis://host/0"
            )
        return int(number[0]) if number else self._options.db

    def _check(self) -> None:
        url, hosts = self._url, len(self._hosts)
        if self._kind == "unix":
            if url.hosts or not url.path:
                raise ConfigurationError(f"{url}: write unix:///path/of/redis.sock")
        elif hosts == 0:
            raise ConfigurationError(f"{url} names no host; write {url.scheme}://localhost:6379")
        elif hosts > 1 and self._kind == "single":
            raise ConfigurationError(f"{url}: several hosts are for redis+sentinel:// and redis+cluster://")
        if self._kind == "sentinel" and len(PurePosixPath(url.path).parts) < 2:
            raise ConfigurationError(f"{url} names no service; write redis+sentinel://host:26379/service")
        if self.is_cluster and self._login["db"]:
            raise ConfigurationError(f"{url}: a cluster has only the database 0")
        if not self._tls and (self._options.ca_file or self._options.cert_file or self._options.key_file):
            raise ConfigurationError(f"{url}: certificates are for rediss://")


def _kind_of(url: QueueURL) -> tuple[str, bool]:
    """`single`, `unix`, `sentinel` or `cluster`, and whether it is encrypted."""
    base, _, kind = url.scheme.removesuffix("+stream").partition("+")
    return ("unix" if base == "unix" else kind or "single"), base == "rediss"


def _address(text: str, port: int) -> Address:
    host, colon, number = text.rpartition(":")
    if colon and number.isdecimal():
        return host.strip("[]"), int(number)
    return text.strip("[]"), port


def _unreachable(error: Exception) -> bool:
    """Whether another host may do better: nobody said anything."""
    return not isinstance(error, client.AuthenticationError | client.BusyLoadingError)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _from_environment(name: str | None) -> str | None:
    if name is None:
        return None
    try:
        return os.environ[name]
    except KeyError:
        raise ConfigurationError(f"?sentinel_password_env={escape(name)}: that variable is not set") from None
