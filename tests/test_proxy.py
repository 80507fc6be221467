"""The network that tests make bad does exactly what it was told."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest

from .proxy import Proxy


class Echo:
    """Says everything back; `heard` is what each connection said, a read a piece."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.port = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while said := await reader.read(1 << 16):
                self.heard.append(said)
                writer.write(said)
        except OSError:
            pass
        writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    echo = Echo()
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    echo.port = server.sockets[0].getsockname()[1]
    yield echo
    server.close()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[Proxy]:
    async with Proxy(echo.port) as proxy:
        yield proxy


class Caller:
    """A client of the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def says(self, what: bytes) -> bytes:
        """What comes back."""
        self.writer.write(what)
        return await asyncio.wait_for(self.reader.readexactly(len(what)), 5)

    async def hears(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(1 << 16), 5)


async def call(proxy: Proxy) -> Caller:
    return Caller(*await asyncio.open_connection("127.0.0.1", proxy.port))


async def test_what_is_said_comes_through_both_ways_and_is_counted(proxy: Proxy) -> None:
    """Without a fault the proxy changes nothing."""
    caller = await call(proxy)
    big = bytes(range(256)) * 4096
    assert await caller.says(b"hello") == b"hello"
    assert await caller.says(big) == big
    assert (proxy.connections, proxy.open, proxy.up.count, proxy.down.count) == (1, 1, 5 + len(big), 5 + len(big))
    caller.writer.close()


async def test_an_end_is_passed_on_after_what_was_said_before(proxy: Proxy) -> None:
    """A half-closed connection still brings the answer."""
    caller = await call(proxy)
    caller.writer.write(b"last words")
    caller.writer.write_eof()
    assert await caller.reader.read() == b"last words"
    caller.writer.close()
    while proxy.open:
        await asyncio.sleep(0.001)


async def test_latency_delays_each_byte_and_does_not_limit_how_many_are_on_the_way(proxy: Proxy) -> None:
    """20 messages at 50 ms a way take little more than one does, and keep their order."""
    proxy.up.delay, proxy.down.delay, proxy.down.jitter = 0.05, 0.02, 0.02
    caller = await call(proxy)
    began = time.monotonic()
    for number in range(20):
        caller.writer.write(b"%02d" % number)
        await asyncio.sleep(0.001)
    said = await asyncio.wait_for(caller.reader.readexactly(40), 5)
    assert 0.07 <= time.monotonic() - began < 0.7
    assert said == b"".join(b"%02d" % number for number in range(20))
    caller.writer.close()


async def test_a_cut_resets_those_that_stand_and_takes_new_ones(proxy: Proxy, echo: Echo) -> None:
    """An RST, at once."""
    caller = await call(proxy)
    assert await caller.says(b"a") == b"a"
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        await caller.hears()
    other = await call(proxy)
    assert await other.says(b"b") == b"b"
    assert echo.heard == [b"a", b"b"]
    caller.writer.close()
    other.writer.close()


@pytest.mark.parametrize("offset", [0, 1, 7, 10])
@pytest.mark.parametrize("resets", [True, False])
async def test_a_cut_after_so_many_bytes_lets_exactly_these_through(proxy: Proxy, offset: int, resets: bool) -> None:
    """Not one more and not one less, and the next connection is whole."""
    proxy.resets = resets
    proxy.down.cut_after = offset
    caller = await call(proxy)
    caller.writer.write(b"0123456789")
    heard = b""
    try:
        while said := await caller.hears():
            heard += said
    except ConnectionResetError:
        assert resets
    assert heard == b"0123456789"[:offset]
    other = await call(proxy)
    assert await other.says(b"whole") == b"whole"
    caller.writer.close()
    other.writer.close()


async def test_what_is_cut_on_the_way_up_never_reaches_the_server(proxy: Proxy, echo: Echo) -> None:
    """The server hears the part before the cut."""
    proxy.resets = False
    proxy.up.cut_after = 4
    caller = await call(proxy)
    caller.writer.write(b"0123456789")
    assert await caller.reader.read() in {b"", b"0123"}
    assert b"".join(echo.heard) == b"0123"
    caller.writer.close()


async def test_slices_arrive_one_by_one(proxy: Proxy, echo: Echo) -> None:
    """A receiver reads each byte on its own."""
    proxy.up.slices = 1
    caller = await call(proxy)
    assert await caller.says(b"0123456789") == b"0123456789"
    assert len(echo.heard) > 3
    caller.writer.close()


async def test_silence_holds_everything_and_keeps_connections_until_it_ends(proxy: Proxy, echo: Echo) -> None:
    """Nothing is heard, nothing is lost, new connections are taken and hear nothing either."""
    caller = await call(proxy)
    proxy.silence()
    other = await call(proxy)
    caller.writer.write(b"a")
    other.writer.write(b"b")
    for silent in (caller, other):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(silent.reader.read(1), 0.05)
    assert echo.heard == []
    proxy.resume()
    assert (await caller.hears(), await other.hears()) == (b"a", b"b")
    caller.writer.close()
    other.writer.close()


async def test_it_refuses_and_listens_again_on_its_port(proxy: Proxy) -> None:
    """Connections that stand go on meanwhile."""
    caller = await call(proxy)
    assert await caller.says(b"a") == b"a"
    await proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await call(proxy)
    assert await caller.says(b"b") == b"b"
    await proxy.listen()
    other = await call(proxy)
    assert await other.says(b"c") == b"c"
    caller.writer.close()
    other.writer.close()


async def test_where_nobody_listens_behind_it_its_clients_are_reset(proxy: Proxy) -> None:
    """As a load balancer without a server does it."""
    async with Proxy(1) as nowhere:
        caller = await call(nowhere)
        with pytest.raises(ConnectionResetError):
            await caller.hears()
        caller.writer.close()


async def test_it_ends_although_it_is_silent_and_clients_are_connected(echo: Echo) -> None:
    """A test that fails in the middle of a fault leaves nothing behind."""
    async with Proxy(echo.port) as proxy:
        callers = [await call(proxy)]
        callers[0].writer.write(bytes(1 << 20))
        proxy.silence()
        callers.append(await call(proxy))
    assert proxy.open == 0
    for caller in callers:
        caller.writer.close()


async def test_in_a_thread_it_serves_those_who_block(echo: Echo) -> None:
    """A program without an event loop, or one whose loop is blocked, goes through it as well."""

    def talk(proxy: Proxy) -> bytes:
        with socket.create_connection(("127.0.0.1", proxy.port), 5) as connection:
            connection.sendall(b"hello")
            heard = connection.recv(5)
            proxy.cut()
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
            return heard

    with Proxy(echo.port).in_thread() as proxy:
        assert await asyncio.to_thread(talk, proxy) == b"hello"
        await proxy.refuse()
        await proxy.listen()
        caller = await call(proxy)
        assert await caller.says(b"a") == b"a"
        caller.writer.close()
