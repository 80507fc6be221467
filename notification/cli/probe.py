"""Health over HTTP, for orchestrators: GET /healthz and /readyz."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import orjson
from attrs import frozen

from queues.errors import ConfigurationError, escape

Look = Callable[[], Awaitable[Mapping[str, object]]]
_PATIENCE = 2.0
"""Seconds in which the event loop has to answer; one that is blocked is not alive."""
_ASKS_FOR = {"/healthz": "live", "/readyz": "ready"}


@frozen
class Probe:
    """Where to listen."""

    host: str
    port: int

    @classmethod
    def at(cls, address: str) -> Probe:
        """`8080` and `:8080` are on this machine only, `0.0.0.0:8080` for others too. Raises ConfigurationError."""
        host, _, port = address.rpartition(":")
        if not port.isdecimal() or not 0 <= int(port) < 65536:
            raise ConfigurationError(f"--health {escape(address, 80)} is no address; write 8080 or 0.0.0.0:8080")
        return cls(host.strip("[]") or "127.0.0.1", int(port))

    @contextmanager
    def answering(self, look: Look) -> Iterator[int]:
        """Answer with what `look` says, asked in this event loop; yields the port.

        200 when it is live (or ready), else 503. Raises ConfigurationError when the port is in use.
        """
        try:
            server = _Server((self.host, self.port), _answer_of(look, asyncio.get_running_loop()))
        except OSError as error:
            raise ConfigurationError(f"can't listen on {self.host}:{self.port}: {error.strerror or error}") from None
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="health", daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


def _answer_of(look: Look, loop: asyncio.AbstractEventLoop) -> type[BaseHTTPRequestHandler]:
    async def ask() -> Mapping[str, object]:
        return await look()

    class Answer(BaseHTTPRequestHandler):
        timeout = 5
        server_version, sys_version = "notification", ""

        def do_GET(self) -> None:
            wanted = _ASKS_FOR.get(self.path.partition("?")[0])
            if wanted is None:
                self.send_error(404)
                return
            asked = asyncio.run_coroutine_threadsafe(ask(), loop)
            try:
                health = asked.result(_PATIENCE)
            except TimeoutError:
                asked.cancel()
                health = {"live": False, "ready": False, "last_error": "the event loop does not answer"}
            body = orjson.dumps(health)
            self.send_response(200 if health[wanted] else 503)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
            """A probe each second is nothing to log."""

    return Answer
