"""Sockets that keep for the client what it would lose."""

from __future__ import annotations

import ssl
from socket import socket
from typing import Any, Final

from ._kafka_client import KafkaNetSocket

SETTING: Final = "notification://direct"
"""The `proxy_url` with which a client gets these sockets; no proxy is in the way."""


class _DataFirst(socket):
    """The client drops what arrived together with the end of a connection: why a login was refused, for one.

    And it leaves sockets that did not get far to the garbage collector, which complains of those that are open.
    """

    _has_read = False

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        has_read, self._has_read = self._has_read, False
        data = super().recv(buflen, flags)
        if has_read and not data:
            raise BlockingIOError
        self._has_read = bool(data)
        return data

    def __del__(self) -> None:
        self.close()


class TLSSocket(_DataFirst, ssl.SSLSocket):
    """The client forgets to close those whose handshake failed."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError:
            self.close()
            raise


class _Direct(KafkaNetSocket):  # type: ignore[misc]  # the client has no types
    """The way that the client takes with our setting."""

    SCHEMES = (SETTING.partition(":")[0],)

    def socket(self, family: int = -1, sock_type: int = -1, proto: int = -1) -> _DataFirst:
        return _DataFirst(family, sock_type, proto)

    async def sock_connect(self, net: Any, sock: _DataFirst, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super().sock_connect(net, sock, *args, **kwargs)
        except BaseException:
            sock.close()  # the client forgets it
            raise
