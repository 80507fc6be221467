"""One call after another on a connection: whatever happens to callers, server and network, no reply is another's."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import pytest

from queues._redis_link import Link, finished
from queues._redis_scripts import Script
from queues.errors import QueueClosed, QueueError, QueueUnavailable

from .proxy import Proxy
from .redis_link import linked
from .redis_server import Redis, Start

COUNT = Script.of("return redis.call('INCR', KEYS[1])")
COUNT_TWICE = Script.of("return redis.call('INCRBY', KEYS[1], 2)")
KEYS = ("counter", "counter-2", "counter-3", "counter-4")


class Network(Proxy):
    """The network before the shared server; `url` is that server's, over this network."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        super().__init__(place.port or 6379, place.hostname or "localhost")
        self.login, self.path = place.netloc.rpartition("@")[0], place.path

    @property
    def url(self) -> str:
        return f"redis://{self.login}@127.0.0.1:{self.port}{self.path}"


@pytest.fixture
async def proxy(redis: Redis) -> AsyncIterator[Network]:
    redis.admin.delete(*KEYS)
    async with Network(redis.url) as proxy:
        yield proxy
    redis.admin.delete(*KEYS)


def count(redis: Redis, key: str = "counter") -> int:
    """How often it was counted at the server."""
    return int(redis.admin.get(key) or 0)


def through(proxy: Network, **options: str) -> str:
    return f"{proxy.url}?{'&'.join(f'{name}={value}' for name, value in options.items())}"


@asynccontextmanager
async def somebody(says: Callable[[bytes], bytes]) -> AsyncIterator[int]:
    """The port of a server that greets like Redis and then answers what this function says."""

    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while heard := await reader.read(1 << 16):
            if b"HELLO" in heard:
                heard = heard.partition(b"HELLO\r\n$1\r\n2\r\n")[2]
                writer.write(b"*4\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$4\r\nmode\r\n$7\r\ncluster\r\n")
            if heard:
                writer.write(says(heard))
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(
        lambda *streams: serving.add(asyncio.ensure_future(serve(*streams))), "127.0.0.1"
    )
    yield server.sockets[0].getsockname()[1]
    server.close()
    await asyncio.gather(*serving)


# -- callers that go away


async def test_a_thousand_cancelled_calls_lose_no_command_and_cross_no_reply(
    redis: Redis, proxy: Network, caplog: pytest.LogCaptureFixture
) -> None:
    """Each call runs to its end once, whoever waits for it; those that are not cancelled get their own replies."""
    proxy.up.jitter = proxy.down.jitter = 0.0005
    async with AsyncExitStack() as links:
        each = [await links.enter_async_context(linked(through(proxy))) for _ in KEYS]
        cancelled = await asyncio.gather(*(_cancelled_calls(link, key) for link, key in zip(each, KEYS, strict=True)))
    for (gone, answered), key in zip(cancelled, KEYS, strict=True):
        assert answered == sorted(set(answered))
        assert len(answered) < count(redis, key) <= len(answered) + gone  # cancelled before it began, or after
    assert sum(gone for gone, _ in cancelled) >= 1000
    assert proxy.connections == len(KEYS)
    gc.collect()
    assert not [line for line in caplog.records if line.levelno >= logging.WARNING]


async def _cancelled_calls(link: Link, key: str) -> tuple[int, list[int]]:
    """How many callers were cancelled, and what the others counted."""
    dice = random.Random(key)
    answered: list[int] = []

    async def caller(number: int) -> None:
        counted, echo = await link.call(("INCR", key), ("ECHO", number))
        answered.append(counted)
        assert echo == b"%d" % number

    callers: list[asyncio.Task[None]] = []
    for number in range(450):
        callers.append(asyncio.ensure_future(caller(number)))
        await asyncio.sleep(dice.random() * 0.003 if number % 3 else 0)
        dice.choice(callers[-10:]).cancel()
    ended = await asyncio.gather(*callers, return_exceptions=True)
    assert not [end for end in ended if isinstance(end, Exception)]
    return sum(isinstance(end, asyncio.CancelledError) for end in ended), answered


async def test_a_call_that_was_begun_runs_once_although_its_caller_is_cancelled(redis: Redis, proxy: Network) -> None:
    """And what it brought can be collected by somebody else."""
    async with linked(through(proxy)) as link:
        proxy.silence()
        task = link.begin(("INCR", "counter"))
        waiting = asyncio.ensure_future(finished(task))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        proxy.resume()
        assert await finished(task) == [1]
    assert count(redis) == 1


async def test_a_failure_that_nobody_waits_for_is_not_reported_by_the_event_loop(
    redis: Redis, proxy: Network, caplog: pytest.LogCaptureFixture
) -> None:
    """No `Task exception was never retrieved`: the caller went away, and the next call will tell."""
    async with linked(through(proxy)) as link:
        task = link.begin(("NOSUCH",))
        await asyncio.wait([task])
        del task
        gc.collect()
    assert not [line for line in caplog.records if line.levelno >= logging.WARNING]


# -- a bad network


@pytest.mark.parametrize("resets", [True, False])
async def test_a_reply_that_is_cut_at_any_byte_is_never_taken_for_another_one(
    redis: Redis, proxy: Network, resets: bool
) -> None:
    """The call ends as unknown, was run once and is not sent again; the next one gets its own reply."""
    proxy.resets = resets
    size = len(b":1\r\n" + b"*2\r\n$1\r\na\r\n$1\r\nb\r\n" + b"$6\r\ncut-00\r\n")
    redis.admin.delete("list")
    redis.admin.rpush("list", "a", "b")
    async with linked(through(proxy)) as link:
        for offset in range(size):
            await link.call(("PING",))
            proxy.down.cut_after = offset
            with pytest.raises(QueueUnavailable) as caught:
                await link.call(("INCR", "counter-2"), ("LRANGE", "list", 0, -1), ("ECHO", f"cut-{offset:02}"))
            assert caught.value.may_have_been_stored
            assert await link.call(("ECHO", f"next-{offset}")) == [b"next-%d" % offset]
            assert count(redis, "counter-2") == offset + 1
        assert link.breaks == size
    redis.admin.delete("list")


@pytest.mark.parametrize("resets", [True, False])
async def test_a_command_that_is_cut_at_any_byte_is_run_once_or_not_at_all(
    redis: Redis, proxy: Network, resets: bool
) -> None:
    """Half a command is none, and nothing is sent again."""
    proxy.resets = resets
    size = len(b"*2\r\n$4\r\nINCR\r\n$7\r\ncounter\r\n")
    async with linked(through(proxy)) as link:
        for offset in range(size + 1):
            await link.call(("PING",))
            before, proxy.up.cut_after = count(redis), offset
            with pytest.raises(QueueUnavailable) as caught:
                await link.call(("INCR", "counter"))
            assert caught.value.may_have_been_stored
            assert await link.call(("ECHO", f"next-{offset}")) == [b"next-%d" % offset]
            assert count(redis) - before in ({0, 1} if offset == size else {0})


async def test_replies_and_commands_in_pieces_of_a_byte_are_the_same(proxy: Network) -> None:
    """However the network slices it."""
    proxy.up.slices = proxy.down.slices = 1
    async with linked(through(proxy)) as link:
        for number in range(20):
            text = bytes([number]) * number * 10
            assert await link.call(("ECHO", text), ("PING",), ("ECHO", number)) == [text, b"PONG", b"%d" % number]
    assert proxy.connections == 1


async def test_silence_ends_a_call_in_time_and_its_late_reply_is_nobodys(redis: Redis, proxy: Network) -> None:
    """The command may have been run; the next call goes over a new connection."""
    async with linked(through(proxy, timeout="100ms", connect_timeout="100ms")) as link:
        proxy.silence()
        began = time.monotonic()
        with pytest.raises(QueueUnavailable, match="no answer in time") as caught:
            await link.call(("INCR", "counter"))
        assert time.monotonic() - began < 1.1
        assert caught.value.may_have_been_stored
        with pytest.raises(QueueUnavailable) as caught:
            await link.call(("INCR", "counter"))
        assert not caught.value.may_have_been_stored  # there was nobody to send it to
        proxy.resume()
        assert await link.call(("ECHO", "late")) == [b"late"]
    assert count(redis) in {0, 1}


async def test_a_reply_that_trickles_has_no_more_time_than_a_whole_one(proxy: Network) -> None:
    """The timeout is for the call, not for each piece of it."""
    async with linked(through(proxy, timeout="200ms")) as link:
        proxy.down.delay, proxy.down.slices = 0.0, 1
        big = b"x" * 2_000_000
        began = time.monotonic()
        with pytest.raises(QueueUnavailable, match="no answer in time"):
            await link.call(*[("ECHO", big)] * 5)
        assert time.monotonic() - began < 1.2


async def test_a_blocking_command_has_its_time_beside_the_timeout(proxy: Network) -> None:
    """`block` is added: a wait at the server is no silence."""
    async with linked(through(proxy, timeout="100ms"), block=0.5) as link:
        assert await link.call(("BLPOP", "nothing-here", "0.3")) == [None]


async def test_nothing_was_sent_where_nobody_listens(proxy: Network) -> None:
    """So nothing can have been stored; it goes on when somebody does."""
    async with linked(through(proxy)) as link:
        await proxy.refuse()
        proxy.cut()
        with pytest.raises(QueueUnavailable) as caught:
            await link.call(("INCR", "counter"))
        assert not caught.value.may_have_been_stored
        await proxy.listen()
        assert await link.call(("INCR", "counter")) == [1]


# -- a server that restarts, forgets, or talks nonsense


async def test_a_server_that_hung_up_while_nothing_was_asked_is_met_again_without_an_error(redis_server: Start) -> None:
    """A restart between two calls is nobody's business, also when the event loop had no time to see it."""
    server = redis_server(persistence="always")
    async with linked(server.url) as link:
        await link.call(("SET", "x", "y"))
        server.restart()
        assert await link.call(("GET", "x")) == [b"y"]
        server.restart()
        await asyncio.sleep(0.01)
        assert await link.call(("GET", "x")) == [b"y"]
        assert link.breaks == 0


async def test_a_script_that_the_server_forgot_is_loaded_again_and_run_once(redis: Redis, proxy: Network) -> None:
    """Also beside others that it knows: nothing runs twice, and a read behind it sees what it did."""
    async with linked(through(proxy)) as link:
        for round_ in range(1, 4):
            redis.admin.script_flush()
            assert await link.call(COUNT(["counter"])) == [round_]
        redis.admin.script_flush()
        await link.call(COUNT(["counter"]))
        both = await link.call(
            COUNT(["counter"]), ("GET", "counter-2"), COUNT_TWICE(["counter-2"]), ("INCR", "counter"),
            ("GET", "counter-2"), COUNT(["counter"]),
        )  # fmt: skip
        assert both == [5, None, 2, 6, b"2", 7]
    assert (count(redis), count(redis, "counter-2")) == (7, 2)


async def test_scripts_that_a_user_may_not_load_are_told(redis: Redis) -> None:
    """Instead of being asked for again and again."""
    redis.admin.script_flush()
    async with linked(redis.user("short", "~*", "+evalsha", "+incr")) as link:
        with pytest.raises(QueueUnavailable, match="'script"):
            await link.call(COUNT(["counter"]))


async def test_the_first_refusal_of_a_call_is_raised_and_what_ran_beside_it_is_not_denied(redis: Redis) -> None:
    """`may_have_been_stored` where another command of the call was run; the connection goes on."""
    async with linked(redis.url) as link:
        for commands, ran in (([("LLEN", "x"), ("NOSUCH",)], False), ([("DEL", "x"), ("NOSUCH",)], True)):
            with pytest.raises(QueueUnavailable, match="NOSUCH") as caught:
                await link.call(*commands)
            assert caught.value.may_have_been_stored is ran
        assert link.breaks == 0


async def test_a_transaction_that_fails_is_no_success(redis: Redis) -> None:
    """An error inside EXEC's reply, or one that kept it from running."""
    redis.admin.set("a-string", "x")
    async with linked(redis.url) as link:
        done = await link.call(("MULTI",), ("GET", "a-string"), ("EXEC",))
        assert done[-1] == [b"x"]
        with pytest.raises(QueueUnavailable, match="something else than a queue") as caught:
            await link.call(("MULTI",), ("DEL", "x"), ("LPUSH", "a-string", "y"), ("EXEC",))
        assert caught.value.may_have_been_stored
        with pytest.raises(QueueUnavailable) as caught:
            await link.call(("MULTI",), ("DEL", "x"), ("NOSUCH",), ("EXEC",))
        assert not caught.value.may_have_been_stored
    redis.admin.delete("a-string")


async def test_what_nobody_asked_for_is_no_reply() -> None:
    """A connection on which the server speaks unasked is given up before the next call."""
    asked = 0

    def says(heard: bytes) -> bytes:
        nonlocal asked
        asked += 1
        return b"+%d\r\n+unasked\r\n" % asked

    async with somebody(says) as port, linked(f"redis+cluster://127.0.0.1:{port}") as link:
        assert [await link.call(("A",)) for _ in range(3)] == [[b"1"], [b"2"], [b"3"]]


async def test_nonsense_is_an_outage_that_may_have_stored() -> None:
    """What is no reply at all ends the connection."""
    async with somebody(lambda _: b"HTTP/1.1 400\r\n\r\n") as port, linked(f"redis+cluster://127.0.0.1:{port}") as link:
        with pytest.raises(QueueUnavailable) as caught:
            await link.call(("A",))
        assert caught.value.may_have_been_stored


async def test_a_node_that_sends_us_round_in_circles_is_given_up() -> None:
    """After a few turns, with an error; nothing was run."""
    turns = 0
    home: list[int] = []

    def says(heard: bytes) -> bytes:
        nonlocal turns
        turns += 1
        return b"-MOVED 1 :%d\r\n" % home[0]

    async with somebody(says) as port, linked(f"redis+cluster://127.0.0.1:{port}") as link:
        home.append(port)
        with pytest.raises(QueueUnavailable, match="again and again") as caught:
            await link.call(("GET", "x"))
        assert not caught.value.may_have_been_stored
    assert 1 < turns < 10


# -- the end


async def test_close_waits_for_what_was_begun_and_refuses_what_comes_after(redis: Redis, proxy: Network) -> None:
    """Every call that was begun is run; closing twice is closing once."""
    proxy.down.delay = 0.01
    async with linked(through(proxy)) as link:
        begun = [link.begin(("INCR", "counter")) for _ in range(5)]
        await asyncio.gather(link.close(), link.close())
        assert [await finished(task) for task in begun] == [[number] for number in range(1, 6)]
        with pytest.raises(QueueClosed):
            await link.call(("PING",))
    assert count(redis) == 5


async def test_close_ends_in_time_although_nobody_answers(proxy: Network) -> None:
    """It waits for one timeout, and calls that could not be sent are refused."""
    async with linked(through(proxy, timeout="100ms")) as link:
        proxy.silence()
        begun = [link.begin(("PING",)) for _ in range(5)]
        await asyncio.sleep(0)
        began = time.monotonic()
        await link.close()
        assert time.monotonic() - began < 1
        for task, error in zip(begun, [QueueUnavailable, *[QueueClosed] * 4], strict=True):
            with pytest.raises(error):
                await finished(task)


async def test_the_client_retries_nothing_by_itself(redis: Redis, proxy: Network) -> None:
    """Its retries would send what is not idempotent twice; a server that is away is asked once a call."""
    async with linked(through(proxy)) as link:
        assert link._connection is not None
        assert link._connection.retry.get_retries() == 0
        for _ in range(3):
            await link.call(("PING",))
            proxy.down.cut_after = 0
            with pytest.raises(QueueError):
                await link.call(("INCR", "counter"))
    assert count(redis) == 3
    assert proxy.connections == 3
