"""A TCP proxy in front of any server, where a test makes the network bad: slow, cut, silent, in slices."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Self

_CHUNK = 1 << 16
_HELD = 64
"""Chunks on the way that are slow; a sender waits when there are more."""
_RESET = struct.pack("ii", 1, 0)
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Way:
    """One direction. Set any of it at any time; it holds for what comes next.

    delay, jitter: seconds that each byte takes, and up to so many more; order is kept and throughput is not limited.
    slices: bytes a piece, 0 for as they come. cut_after: so many bytes go on, then the connection is cut, once;
    None for never. count: bytes that went on so far.
    """

    def __init__(self) -> None:
        self.delay = self.jitter = 0.0
        self.slices = 0
        self.cut_after: int | None = None
        self.count = 0

    def takes(self) -> float:
        return self.delay + random.uniform(0, self.jitter)

    def admitted(self, chunk: bytes) -> tuple[bytes, bool]:
        """As much of it as goes on, and whether the connection is cut after that."""
        if self.cut_after is None:
            return chunk, False
        chunk, cut = chunk[: self.cut_after], len(chunk) >= self.cut_after
        self.cut_after = None if cut else self.cut_after - len(chunk)
        return chunk, cut


class Proxy:
    """Listens on a free `port` of this machine and passes everything on to host:port.

    `up` is the way to the server, `down` the way back. connections: how many were made so far. resets: whether a cut is
    a reset; else it is an end in order. In a test's own event loop: `async with Proxy(port) as proxy`; beside it, in a
    thread, where its methods may be called from anywhere: `with Proxy(port).in_thread() as proxy`.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.up, self.down = Way(), Way()
        self.connections = 0
        self.resets = True
        self.port = 0
        self._target = (host, port)
        self._open: dict[asyncio.Task[None], _Connection] = {}
        self._going = asyncio.Event()

    @property
    def open(self) -> int:
        """Connections that stand now."""
        return len(self._open)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._going.set()
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self._going.set()
        while self._open:
            self.resets = True
            self._cut()
            await asyncio.wait(list(self._open))

    @contextlib.contextmanager
    def in_thread(self) -> Iterator[Self]:
        """Run in a thread with an event loop of its own."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="proxy", daemon=True)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self.__aenter__(), loop).result()
            try:
                yield self
            finally:
                asyncio.run_coroutine_threadsafe(self.__aexit__(), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def cut(self) -> None:
        """Cut every connection now; what was on the way is lost. New ones are taken."""
        self._there(self._cut)

    def silence(self) -> None:
        """Pass nothing on, either way; connections stay, new ones are taken and hear nothing."""
        self._there(self._going.clear)

    def resume(self) -> None:
        """End the silence: what was said meanwhile goes on now."""
        self._there(self._going.set)

    async def refuse(self) -> None:
        """Take no new connections; those that stand go on."""
        self._there(self._server.close)

    async def listen(self) -> None:
        """Take connections again, on the same port."""
        if asyncio.get_running_loop() is self._loop:
            await self._listen()
        else:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._listen(), self._loop))

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def _cut(self) -> None:
        for connection in self._open.values():
            connection.cut()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = _Connection(self, self._going)
        task = asyncio.ensure_future(connection.run((reader, writer), self._target))
        self._open[task] = connection
        task.add_done_callback(self._open.pop)

    def _there(self, act: Callable[[], object]) -> None:
        """Do it in our loop, and return when it is done."""
        if _running() is self._loop:
            act()
            return
        done: Future[object] = Future()
        self._loop.call_soon_threadsafe(lambda: done.set_result(act()))
        done.result()


class _Connection:
    """A client's, and ours to the server."""

    def __init__(self, proxy: Proxy, going: asyncio.Event) -> None:
        self._proxy, self._going = proxy, going
        self._writers: list[asyncio.StreamWriter] = []

    async def run(self, client: Streams, target: tuple[str, int]) -> None:
        """Until both ways have ended."""
        self._writers.append(client[1])
        await self._going.wait()
        try:
            server = await asyncio.open_connection(*target)
        except OSError:
            self.cut()
        else:
            self._writers.append(server[1])
            if client[1].is_closing():
                self.cut()
            else:
                await self._serve(client, server)
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, client: Streams, server: Streams) -> None:
        for writer in self._writers:
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        up, down = self._pass(client[0], server[1], self._proxy.up), self._pass(server[0], client[1], self._proxy.down)
        await asyncio.gather(up, down)

    def cut(self) -> None:
        for writer in self._writers:
            if self._proxy.resets and not writer.is_closing():
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()
            else:
                writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
        """Until its source ends or the connection is cut."""
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_HELD)
        sending = asyncio.ensure_future(self._send(held, writer, way))
        due = 0.0
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                due = max(due, asyncio.get_running_loop().time() + way.takes())
                await held.put((due, chunk))
        await held.put((due, b""))
        await sending

    async def _send(self, held: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, way: Way) -> None:
        loop, chunk = asyncio.get_running_loop(), b"?"
        with contextlib.suppress(OSError):
            while True:
                due, chunk = await held.get()
                if due > loop.time():
                    await asyncio.sleep(due - loop.time())
                await self._going.wait()
                if not chunk:
                    writer.write_eof()
                    return
                await self._write(chunk, writer, way)
        while chunk:  # nobody to send it to: its source must not wait
            _, chunk = await held.get()

    async def _write(self, chunk: bytes, writer: asyncio.StreamWriter, way: Way) -> None:
        chunk, cut = way.admitted(chunk)
        size = way.slices or len(chunk) or 1
        for start in range(0, len(chunk), size):
            if writer.is_closing():
                raise ConnectionResetError
            piece = chunk[start : start + size]
            way.count += len(piece)
            writer.write(piece)
            await writer.drain()
            if size < len(chunk):
                await asyncio.sleep(0)  # the receiver reads this piece before the next one
        if cut:
            self.cut()


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
