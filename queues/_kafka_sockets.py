"""Sockets that keep for the client what it would lose."""

from __future__ import annotations

import ssl
from socket import socket
from typing import Any, Final

from ._kafka_client import KafkaNetSocket

SETTING: Final = "notification://direct"
"""The `proxy_url` with which a client gets these sockets; no proxy is in the way."""


_READ = 1 << 18
"""Bytes to take at once. Each call gives up the interpreter, and waits to get it back."""


class _DataFirst(socket):
    """The client drops what arrived together with the end of a connection: why a login was refused, for one.

    So one read is all that there is until the selector says that there is more. And the client leaves sockets that did
    not get far to the garbage collector, which complains of those that are open.
    """

    _has_read = False

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        if self._has_read and not self._held():
            self._has_read = False
            raise BlockingIOError
        data = super().recv(max(buflen, _READ), flags)
        self._has_read = bool(data)
        return data

    def _held(self) -> int:
        """Bytes of which the selector knows nothing."""
        return 0

    def __repr__(self) -> str:
        """The client's selector makes one for each wait, and throws it away."""
        return f"<{type(self).__name__} {self.fileno()}>"

    def __del__(self) -> None:
        self.close()


class TLSSocket(_DataFirst, ssl.SSLSocket):
    """The client forgets to close those whose handshake failed."""

    def _held(self) -> int:
        return self.pending()

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
