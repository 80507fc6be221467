"""Where a Redis is and how to get there: a server, a socket file, the master that sentinels name, a cluster's node."""

from __future__ import annotations

import inspect
import os
import re
import ssl
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import attrs
from redis import exceptions as client
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection

from .clock import patience
from .errors import ConfigurationError, QueueUnavailable, escape
from .url import QueueURL, Seconds

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
# CLIENT SETINFO is one more command that a user would have to be allowed
_NAMELESS = (
    {"driver_info": None}
    if "driver_info" in inspect.signature(AbstractConnection.__init__).parameters
    else {"lib_name": None, "lib_version": None}
)


class Server:
    """Makes connections to wherever the queue is now. `name` is for errors, without secrets."""

    def __init__(self, url: QueueURL, options: ServerOptions) -> None:
        self._kind, self._tls = _kind_of(url)
        self._url, self._options = url, options
        self.name: str = f"{url.scheme.removesuffix('+stream')}://{','.join(url.hosts) or url.path}"
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

    @property
    def timeout(self) -> float:
        """Seconds to get a reply."""
        return self._options.timeout

    async def connect(self) -> AbstractConnection:
        """A new connection to a server that was looked at, logged in; whoever uses it sees to timeouts.

        Raises what the client raises, and what `check` does.
        """
        if self._kind == "unix":
            return await self._opened(UnixDomainSocketConnection(path=self._url.path, **self._settings()), 1)
        last: Exception = client.ConnectionError("no host")
        candidates = await self._candidates()
        for host, port in candidates:
            try:
                connection = await self._opened(self._to(host, port, self._settings()), len(candidates))
            except (client.ConnectionError, client.TimeoutError, OSError) as error:
                last = error
                if not _unreachable(error):
                    raise
            else:
                self._at = (host, port)
                return connection
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
        numbers = re.match(r"(\d+)\.(\d+)", version)
        if numbers is None or (int(numbers[1]), int(numbers[2])) < _OLDEST:
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
        """What the first sentinel says that answers and knows; it is asked first the next time."""
        service = self._service()
        last: Exception | None = None
        for host, port in list(self._hosts):
            try:
                found = await self._ask(host, port, service)
            except (client.RedisError, OSError) as error:
                last = last or error
                continue
            if found is not None:
                self._hosts.sort(key=lambda address: address != (host, port))
                return _text(found[0]), int(found[1])
        raise last or client.ConnectionError(f"the sentinels know no service {escape(service)!r}")

    async def _ask(self, host: str, port: int, service: str) -> Any:
        sentinel = self._to(host, port, self._sentinel_settings())
        try:
            async with patience(self._options.connect_timeout / len(self._hosts)):
                await sentinel.connect()  # type: ignore[no-untyped-call]  # the client has no types there
                await sentinel.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)
                return await sentinel.read_response()
        except client.AuthenticationError as error:
            ours = "?sentinel_username= and ?sentinel_password_env= are for the sentinels"
            raise client.AuthenticationError(f"sentinel {host}:{port}: {error}; {ours}") from error
        finally:
            await sentinel.disconnect(nowait=True)

    def _service(self) -> str:
        return PurePosixPath(self._url.path).parts[1]

    # -- settings

    def _to(self, host: str, port: int, settings: dict[str, Any]) -> Connection:
        if not self._tls:
            return Connection(host=host, port=port, **settings)
        connection = SSLConnection(host=host, port=port, **settings)
        connection.ssl_context.context = self._trusted()
        return connection

    async def _opened(self, connection: AbstractConnection, of: int) -> AbstractConnection:
        """Connected, logged in and looked at, within its part of the time for all candidates."""
        try:
            async with patience(self._options.connect_timeout / of):
                await connection.connect()  # type: ignore[no-untyped-call]  # the client has no types there
                await connection.send_command("HELLO", 2)
                greeting: Any = await connection.read_response()
            self.check(greeting)
        except TimeoutError:
            silent = self._tls and not connection.is_connected
            await connection.disconnect(nowait=True)
            raise client.TimeoutError("no answer, or none with TLS; redis:// is without" if silent else "") from None
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    def _settings(self) -> dict[str, Any]:
        return {
            **self._login,
            "socket_timeout": None,  # it costs more than the rest of a trip; there is one timeout for a whole call
            "socket_connect_timeout": None,
            "protocol": 2,
            "retry": None,  # nothing is sent twice
            **_NAMELESS,
        }

    def _sentinel_settings(self) -> dict[str, Any]:
        options = self._options
        password = _from_environment(options.sentinel_password_env)
        return {**self._settings(), "username": options.sentinel_username, "password": password, "db": 0}

    def _trusted(self) -> ssl.SSLContext:
        """Whom we believe, and who we are: read for each connection, because certificates are renewed."""
        options = self._options
        try:
            context = ssl.create_default_context(cafile=options.ca_file)
            if options.cert_file:
                context.load_cert_chain(options.cert_file, options.key_file, password="")  # or it asks on the terminal
        except OSError as error:
            files = "?ca_file=, ?cert_file= or ?key_file="
            raise ConfigurationError(f"{self.name}: what {files} names can't be used: {error}") from error
        return context

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
        self._check_files()

    def _check_files(self) -> None:
        options = attrs.asdict(self._options, filter=lambda field, value: field.name.endswith("_file") and bool(value))
        for name, path in options.items():
            if not self._tls:
                raise ConfigurationError(f"{self._url}: certificates are for rediss://")
            if not Path(path).is_file():
                raise ConfigurationError(f"?{name}={escape(path)}: there is no such file")
        if "key_file" in options and "cert_file" not in options:
            raise ConfigurationError("?key_file= belongs to a certificate: ?cert_file=")


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
