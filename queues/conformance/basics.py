"""The four methods: what goes in comes out, whole, once, in order, to whoever waits."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import attrs

from ..base import Capability, MessageQueue
from ..message import DeadLetter
from .suite import Owners, Suite, first_of
from .waiting import event, events, ids, some

_WHOLE = event(
    "whole",
    type="order.shipped ✓",
    source="/conformance/søurce",
    data={"text": "grüße 日本 🚚", "nested": {"list": [1, 2.5, None, True, {"deep": []}], "empty": {}}},
    time=datetime(2024, 2, 29, 23, 59, 59, 123456, UTC),
    key="clé-7",
    headers={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tenant": "a b"},
    attempt=3,
    handlers=("mail", "audit"),
    version=2,
    first_error="ValueError: first",
    dead=DeadLetter(
        "attempts", error="boom", handler="mail", attempts=3,
        time=datetime(2024, 3, 1, 0, 0, 0, 1, UTC), origin="orders", group="billing", position="2:1044",
    ),
)  # fmt: skip
_DATA: list[object] = [
    None,
    "",
    "text \u2028 é 𝄞",
    0,
    -1,
    2**53,
    1.5,
    True,
    [],
    {},
    [None, [[]]],
    b"",
    b"\x00\xff{",
    "x" * 70_000,
]


class Basics(Suite):
    """Group: basics."""

    async def test_a_message_comes_out_as_it_went_in(self, owners: Owners) -> None:
        """Every attribute of a message survives the way through the queue."""
        queue = await owners.open()
        await queue.push(_WHOLE)
        [delivery] = await self.popped(queue, 1, "pop hands out what push accepted")
        assert delivery.message is not None, f"a well-formed message is handed out decoded, not as {delivery.error}"
        for field in ("type", "id", "source", "data", "time", "key", "headers", "attempt", "handlers", "version",
                      "first_error", "dead"):  # fmt: skip
            came, went = getattr(delivery.message, field), getattr(_WHOLE, field)
            assert came == went, f"Message.{field} comes out as it went in"
        assert delivery.times == 1, "Delivery.times is 1 at the first hand-out"

    async def test_data_of_every_kind_survives(self, owners: Owners) -> None:
        """JSON values and bytes come out equal and of the same type, None and the empty ones too."""
        queue = await owners.open()
        await queue.push_many([event(f"d{i}", key="k", data=data) for i, data in enumerate(_DATA)])
        deliveries = await self.popped(queue, len(_DATA), "pop hands out every message that push accepted")
        for delivery, data in zip(deliveries, _DATA, strict=True):
            came = delivery.expect().data
            assert (type(came), came) == (type(data), data), "data comes out equal and of the same type"

    async def test_an_object_travels_by_reference_only_where_local(self, owners: Owners) -> None:
        """LOCAL hands over the very object; any other queue hands over a value of its own."""
        queue = await owners.open()
        data: dict[str, object] = {"mutable": ["before"]}
        await queue.push(event("e", data=data))
        data["mutable"] = ["after"]
        [delivery] = await self.popped(queue, 1, "pop hands out what push accepted")
        if Capability.LOCAL in queue.capabilities:
            assert delivery.expect().data is data, "LOCAL: data travels by reference"
        else:
            assert delivery.expect().data == {"mutable": ["before"]}, (
                "without LOCAL push keeps the encoded event (queues.wire.encode), so what the producer "
                "changes afterwards does not reach the consumer"
            )

    async def test_local_takes_any_object(self, owners: Owners) -> None:
        """LOCAL: data need not have a JSON form."""
        queue = await owners.open(Capability.LOCAL)
        data = object()
        await queue.push(event("e", data=data))
        [delivery] = await self.popped(queue, 1, "pop hands out what push accepted")
        assert delivery.expect().data is data, "LOCAL: any object travels, by reference"

    async def test_messages_of_a_key_come_out_in_the_order_they_went_in(self, owners: Owners) -> None:
        """First in, first out, within a key and producer."""
        queue = await owners.open()
        sent = events(20, key="k")
        for message in sent:
            await queue.push(message)
        got = await self.popped(queue, 20, "pop hands out every message that push accepted")
        assert ids(got) == [message.id for message in sent], "messages of a key come out in the order they went in"

    async def test_a_waiting_pop_gets_the_next_message(self, owners: Owners) -> None:
        """Pop waits, and push wakes it."""
        queue = await owners.open()
        waiting = asyncio.ensure_future(self.popped(queue, 1, "push wakes a waiting pop"))
        await asyncio.sleep(0)
        await queue.push(event("e"))
        assert ids(await waiting) == ["e"], "a waiting pop gets the message that arrives"

    async def test_each_of_many_waiting_pops_gets_a_message_of_its_own(self, owners: Owners) -> None:
        """A message goes to one pop; no waiting pop is forgotten."""
        queue = await owners.open()
        waiting = [asyncio.ensure_future(queue.pop()) for _ in range(5)]
        await asyncio.sleep(0)
        for message in events(5):
            await queue.push(message)
        got = await self.soon(asyncio.gather(*waiting), "as many waiting pops as messages are all woken")
        assert sorted(ids(got)) == [f"e{i}" for i in range(5)], "each message goes to exactly one pop"
        assert len({id(delivery) for delivery in got}) == 5, "each hand-out is a Delivery of its own"

    async def test_consuming_may_be_announced(self, owners: Owners) -> None:
        """begin() says what is missing for consuming; it takes nothing, and may be called again."""
        queue = await owners.open()
        await queue.push(event("e"))
        await queue.begin()
        assert await queue.size() == 1, "begin() hands out nothing"
        await queue.begin()
        assert ids(await self.popped(queue, 1, "pop hands out what was pushed, after begin() too")) == ["e"]

    async def test_two_owners_see_the_same_messages(self, owners: Owners) -> None:
        """What one pushed, the other is handed."""
        first, second = await self.two_owners(owners)
        await first.push(event("e"))
        duty = "what one owner pushed, another is handed (where each is a queue of its own: shared = False)"
        assert ids(await self.popped(second, 1, duty)) == ["e"], duty

    async def test_two_owners_share_the_messages(self, owners: Owners) -> None:
        """Every message goes to one of the owners, none to both."""
        first, second = await self.two_owners(owners)
        got: list[str] = []

        async def consume(queue: MessageQueue) -> None:
            while len(got) < 30:
                deliveries = await some(queue, 4)
                got.extend(ids(deliveries))
                await queue.ack_many(deliveries)

        await self.ready(first, second)
        await first.push_many(events(30))
        await self.soon(first_of(consume(first), consume(second)), "every message reaches some owner")
        assert sorted(got) == sorted(message.id for message in events(30)), "no message goes to two owners"

    async def test_size_counts_what_waits(self, owners: Owners) -> None:
        """Pushed messages count, handed-out ones don't."""
        queue = await owners.open()
        await queue.push_many(events(3))
        await self.eventually(queue.size, lambda size: size == 3, "size() counts the three that wait")
        deliveries = await self.popped(queue, 3, "pop hands out every message that push accepted")
        await self.eventually(queue.size, lambda size: size == 0, "size() leaves out what was handed out")
        await queue.ack_many(deliveries)
        await self.eventually(queue.size, lambda size: size == 0, "size() is 0 when all is settled")

    async def test_pushing_does_not_change_the_message(self, owners: Owners) -> None:
        """A message is a value: the queue may keep it, not alter it."""
        queue = await owners.open()
        before = attrs.asdict(_WHOLE)
        await queue.push(_WHOLE)
        before["wire"] = _WHOLE.wire
        assert attrs.asdict(_WHOLE) == before, "push leaves the message as it is"

    async def test_a_delivery_is_at_home_where_it_came_from(self, owners: Owners) -> None:
        """In this queue, or in one of several that this one is made of: what is settled there is settled here."""
        queue = await owners.open()
        await queue.push_many(events(2))
        deliveries = await self.popped(queue, 2, "pop hands out every message that push accepted")
        home = queue.home_of(deliveries[0])
        assert home.home_of(deliveries[0]) is home, "home_of() gives the queue where a delivery came from"
        assert await home.ack_many(deliveries[:1]) == [], "a delivery is settled where it came from"
        assert await queue.ack_many(deliveries[1:]) == []
        await self.eventually(queue.size, lambda size: size == 0, "size() is 0 when all is settled")

    async def test_what_survives_a_restart_is_not_gone_with_the_process(self, owners: Owners) -> None:
        """LOCAL: it is, and is said to be, so that it is handled first at the end."""
        queue = await owners.open()
        if Capability.LOCAL in queue.capabilities:
            assert queue.volatile(), "LOCAL: volatile() says what is gone with the process"
        if Capability.DURABLE in queue.capabilities:
            assert queue.volatile() == [], "DURABLE: volatile() says that nothing is gone with the process"
