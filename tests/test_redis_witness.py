"""Programs that share no code with us see in Redis what we say is there: redis-cli and the CloudEvents SDK."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from notification import EventDispatcher, Message, RetryPolicy, open_queue, wire

from .cloud_events import FOREIGN, SOME_TIME, WRITTEN, Seen
from .redis_cli import redis_cli
from .redis_server import Redis

REQUIRED = '{"specversion":"1.0","type":"witness.seen","source":"/shell","id":"s-1"}'
LIST, STREAM = "redis", "redis+stream"


class Service:
    """A dispatcher with a handler that keeps what it got."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.dispatcher = EventDispatcher(url, **settings)
        self.seen: list[Seen] = []
        self.ids: list[str] = []
        self.dispatcher.on(Seen)(self._see)
        self.dispatcher.on("witness.*")(self._note)

    async def _see(self, seen: Seen) -> None:
        if seen.number < 0:
            raise ValueError("negative")
        self.seen.append(seen)

    async def _note(self, message: Message) -> None:
        self.ids.append(message.id)

    async def work(self) -> None:
        """Until nothing waits."""
        async with self.dispatcher:
            await self.dispatcher.start()
            await self.dispatcher.join()


def named(redis: Redis, scheme: str = LIST) -> tuple[str, str]:
    """A queue of our own: its URL and its name."""
    url = redis.queue(scheme=scheme)
    return url, url.rpartition("queue=")[2]


def cli(redis: Redis, *words: str) -> str:
    return redis_cli(redis.url, *words)


# -- redis-cli and a list


async def test_a_handler_gets_what_redis_cli_pushed(redis: Redis) -> None:
    """An LPUSH of an event with the required attributes and no others is a dispatch."""
    url, name = named(redis)
    assert cli(redis, "LPUSH", name, REQUIRED) == "1"
    service = Service(url)
    await service.work()
    assert (service.seen, service.ids) == ([Seen()], ["s-1"])
    assert cli(redis, "LLEN", name) == "0"


async def test_redis_cli_wakes_a_worker_that_waits(redis: Redis) -> None:
    """It takes no look at intervals."""
    url, name = named(redis)
    async with open_queue(url) as queue:
        pop = asyncio.ensure_future(queue.pop())
        while not redis.admin.keys(f"{{{name}}}:own:*"):
            await asyncio.sleep(0.005)
        cli(redis, "LPUSH", name, REQUIRED)
        delivery = await asyncio.wait_for(pop, 10)
        assert delivery.expect().id == "s-1"
        await queue.ack_many([delivery])


async def test_redis_cli_shows_what_waits_under_the_name_of_the_queue(redis: Redis) -> None:
    """LLEN counts it, LRANGE shows the CloudEvents JSON, the oldest last, and there is no other key."""
    url, name = named(redis)
    async with EventDispatcher(url) as dispatcher:
        sent = [await dispatcher.dispatch(Seen(number)) for number in range(3)]
    assert cli(redis, "LLEN", name) == "3"
    shown = [json.loads(line) for line in cli(redis, "LRANGE", name, "0", "-1").splitlines()]
    assert [one["id"] for one in shown] == [one.id for one in reversed(sent)]
    assert shown[0] | {"source": "", "time": ""} == {
        "specversion": "1.0", "type": "witness.seen", "source": "", "id": sent[2].id, "time": "", "data": {"number": 2}
    }  # fmt: skip
    assert cli(redis, "KEYS", f"*{name}*") == name


async def test_redis_cli_counts_the_dead_letters_in_their_list(redis: Redis) -> None:
    """They are in `{name}.dead`, readable, with the reason."""
    url, name = named(redis)
    cli(redis, "LPUSH", name, REQUIRED[:-1] + ',"data":{"number":-1}}')
    await Service(url, retry=RetryPolicy(attempts=1)).work()
    assert cli(redis, "LLEN", f"{{{name}}}.dead") == "1"
    letter = json.loads(cli(redis, "LRANGE", f"{{{name}}}.dead", "0", "-1"))
    assert (letter["id"], letter["deadreason"], letter["deadlast"]) == ("s-1", "attempts", "ValueError: negative")


async def test_garbage_in_the_list_is_a_dead_letter_with_its_bytes(redis: Redis) -> None:
    """It stops nobody, and what was beside it is settled for good."""
    url, name = named(redis)
    garbage = [b"garbage", b'{"specversion":"1.0"}', b"[1,2]", b"\x00\xff", b""]
    for one in garbage:
        redis.admin.lpush(name, REQUIRED, one)
    service = Service(url)
    await service.work()
    assert len(service.seen) == len(garbage)
    assert cli(redis, "LLEN", name) == "0"
    async with open_queue(f"{url}.dead&order=none") as dead:
        assert [message.data async for message in dead.browse()] == garbage


async def test_what_is_settled_at_the_same_moment_is_settled(redis: Redis) -> None:
    """Calls that settle parts of one batch side by side undo nothing of each other."""
    url, name = named(redis)
    async with open_queue(url) as queue:
        await queue.push_many([Message(type="a", id=str(number), source="/s") for number in range(9)])
        deliveries = await queue.pop_many(9)
        assert len(deliveries) == 9
        lost = await asyncio.gather(*(queue.ack_many(deliveries[at : at + 3]) for at in (0, 3, 6)))
        assert lost == [[], [], []]
        assert (await queue.stats()).in_flight == 0
    assert cli(redis, "LLEN", name) == "0"
    assert cli(redis, "KEYS", f"*{name}}}:own:*") == ""


async def test_redis_cli_shows_what_is_delayed_and_when_it_is_due(redis: Redis) -> None:
    """ZCARD counts it; the score is the time in milliseconds."""
    url, name = named(redis)
    async with EventDispatcher(url) as dispatcher:
        await dispatcher.dispatch(Seen(1), delay=3600)
    assert cli(redis, "LLEN", name) == "0"
    assert cli(redis, "ZCARD", f"{{{name}}}:delayed") == "1"
    member, due = cli(redis, "ZRANGE", f"{{{name}}}:delayed", "0", "-1", "WITHSCORES").splitlines()
    assert json.loads(member.partition(" ")[2])["type"] == "witness.seen"
    assert abs(int(due) / 1000 - datetime.now(UTC).timestamp() - 3600) < 60


async def test_redis_cli_shows_who_works(redis: Redis) -> None:
    """ZCARD of the leases counts the processes that hold events; when they have stopped there is none."""
    url, name = named(redis)
    async with open_queue(url) as queue:
        await queue.push(Message(type="a", id="1", source="/s"))
        await queue.pop()
        assert cli(redis, "ZCARD", f"{{{name}}}:leases") == "1"
    assert cli(redis, "ZCARD", f"{{{name}}}:leases") == "0"
    assert cli(redis, "LLEN", name) == "1"


async def test_dead_letters_come_back_when_whoever_took_them_died(redis: Redis) -> None:
    """Nobody consumes dead letters: whoever opens their queue next finds all of them."""
    url, name = named(redis)
    letters = f"{url}.dead&order=none&lease=100ms"
    killed = open_queue(letters)
    await killed.open()
    await killed.push_many([Message(type="a", id=str(number), source="/s") for number in range(3)])
    assert len(await killed.take(lambda message: True, 2)) == 2
    assert cli(redis, "LLEN", f"{{{name}}}.dead") == "1"
    while cli(redis, "LLEN", f"{{{name}}}.dead") != "3":
        async with open_queue(letters) as another:
            found = [message.id async for message in another.browse()]
    assert found == ["0", "1", "2"]
    await killed.close()


async def test_redis_cli_sees_no_lease_of_one_who_took_and_left(redis: Redis) -> None:
    """A queue that was emptied leaves nothing but its count."""
    url, name = named(redis)
    async with open_queue(url) as queue:
        await queue.push(Message(type="a", id="1", source="/s"))
        await queue.ack_many(await queue.take(lambda message: True, 1))
    assert cli(redis, "KEYS", f"*{name}*") == f"{{{name}}}:settled"


async def test_redis_cli_counts_what_waits_behind_an_event_of_its_key(redis: Redis) -> None:
    """Parked beside the list while somebody has an event of the key, and handed out afterwards."""
    url, name = named(redis)
    async with open_queue(f"{url}&order=key") as ours, open_queue(f"{url}&order=key") as theirs:
        await ours.push_many([Message(type="a", id=str(number), source="/s", key="k") for number in range(3)])
        [first] = await ours.pop_many(1)
        pop = asyncio.ensure_future(theirs.pop())
        while cli(redis, "GET", f"{{{name}}}:parked") != "2":
            await asyncio.sleep(0.005)
        assert cli(redis, "LLEN", name) == "0"
        assert await ours.size() == 2
        await ours.ack_many([first])
        second = await asyncio.wait_for(pop, 10)
        assert second.expect().id == "1"
        await theirs.ack_many([second])


# -- redis-cli and a stream


async def test_a_handler_gets_what_redis_cli_added_to_the_stream(redis: Redis) -> None:
    """`XADD name * event JSON` is a dispatch."""
    url, name = named(redis, STREAM)
    cli(redis, "XADD", name, "*", "event", REQUIRED)
    service = Service(url)
    await service.work()
    assert (service.seen, service.ids) == ([Seen()], ["s-1"])
    assert cli(redis, "XLEN", name) == "0"


async def test_redis_cli_shows_the_events_of_the_stream(redis: Redis) -> None:
    """XRANGE has them, the oldest first, each in the field `event`."""
    url, name = named(redis, STREAM)
    async with EventDispatcher(url) as dispatcher:
        sent = [await dispatcher.dispatch(Seen(number)) for number in range(3)]
    lines = cli(redis, "XRANGE", name, "-", "+").splitlines()
    assert lines[1::3] == ["event"] * 3
    assert [json.loads(line)["id"] for line in lines[2::3]] == [one.id for one in sent]


async def test_a_group_that_redis_cli_made_gets_what_others_have_handled(redis: Redis) -> None:
    """A service that starts late misses nothing from then on, and the stream keeps nothing longer than for it."""
    url, name = named(redis, STREAM)
    for group in ("early", "late"):
        cli(redis, "XGROUP", "CREATE", name, group, "0", "MKSTREAM")
    cli(redis, "XADD", name, "*", "event", REQUIRED)
    for left, group in ((1, "early"), (0, "late")):
        service = Service(f"{url}&group={group}")
        await service.work()
        assert service.ids == ["s-1"]
        assert cli(redis, "XLEN", name) == str(left)


# -- the CloudEvents SDK


@pytest.mark.parametrize("message", WRITTEN.values(), ids=WRITTEN)
async def test_the_sdk_reads_what_we_write(redis: Redis, message: Message) -> None:
    """The same attributes and the same data, from the bytes that lie in the list."""
    url, name = named(redis)
    async with open_queue(url) as queue:
        await queue.push(message)
    [raw] = redis.admin.lrange(name, 0, -1)
    read = JSONFormat().read(None, raw)
    assert isinstance(read, CloudEvent)
    assert (read.get_type(), read.get_id(), read.get_source()) == (message.type, message.id, message.source)
    assert read.get_data() == message.data
    assert read.get_time() == message.time
    assert read.get_extension("partitionkey") == message.key
    assert {name: read.get_extension(name) for name in message.headers} == message.headers
    assert wire.decode(JSONFormat().write(read)) == message


async def test_we_read_what_the_sdk_writes(redis: Redis) -> None:
    """Its structured form, pushed by a foreign program, reaches the handler."""
    url, name = named(redis)
    every = {"type": "witness.seen", "source": "/sdk", "specversion": "1.0"}
    for number, attributes in enumerate(FOREIGN):
        written = CloudEvent(every | attributes, {"number": number} if number else None)
        cli(redis, "LPUSH", name, JSONFormat().write(written).decode())
    service = Service(f"{url}&order=process")
    await service.work()
    assert service.seen == [Seen(number) for number in range(len(FOREIGN))]
    assert service.ids == [attributes["id"] for attributes in FOREIGN]


async def test_attributes_of_the_sdk_arrive(redis: Redis) -> None:
    """What we have no field for is in the headers, as text."""
    url, name = named(redis)
    attributes: dict[str, Any] = {
        "specversion": "1.0", "type": "witness.seen", "source": "/sdk", "id": "s-1", "subject": "s", "sampled": True,
        "tries": 3, "partitionkey": "k", "time": SOME_TIME,
    }  # fmt: skip
    cli(redis, "LPUSH", name, JSONFormat().write(CloudEvent(attributes, b"\x00\xff")).decode())
    async with open_queue(url) as queue:
        delivery = await queue.pop()
        message = delivery.expect()
        await queue.ack_many([delivery])
    assert (message.key, message.time, message.data) == ("k", attributes["time"], b"\x00\xff")
    assert message.headers == {"subject": "s", "sampled": "true", "tries": "3"}
