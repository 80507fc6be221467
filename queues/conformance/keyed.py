"""KEYED: while an owner holds unsettled deliveries of a key, no other owner gets that key, and its order holds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import attrs

from ..base import Capability, MessageQueue
from ..message import Delivery, Message, Nack
from .suite import Owners, Suite, first_of
from .waiting import event, events, ids, some

_ONE_OWNER = "KEYED: while an owner holds deliveries of a key, no other owner gets that key"
_SEVERAL = "one owner may hold several of a key, in order"
_GOES_ON = "KEYED: a settled or released key goes on, to whoever waits"


class Keyed(Suite):
    """Group: keyed."""

    async def test_a_held_key_goes_to_no_other_owner(self, owners: Owners) -> None:
        """Everything else does, meanwhile."""
        both = await self._both(owners)
        sentinels = [f"s{number}" for number in range(12)]
        await both.first.push_many([*events(4, key="k"), *(event(name, key=name) for name in sentinels)])
        await both.see(sentinels, "other keys go on while one is held")
        of_the_key = [owner for owner, delivery in both.got if delivery.expect().key == "k"]
        assert len(set(map(id, of_the_key))) <= 1, _ONE_OWNER
        assert both.order("e") == sorted(both.order("e")), "KEYED: an owner gets a key's messages in order"

    async def test_what_is_released_bit_by_bit_goes_back_to_its_places(self, owners: Owners) -> None:
        """The oldest first or last, in one call or in many: in its key each event has one place."""
        queue = await owners.open(Capability.KEYED)
        await queue.push_many(events(6, key="k"))
        held = await self.popped(queue, 4, "pop hands out what was pushed")
        for place in (0, 1, 3, 2):
            await queue.release([held[place]])
        got = await self.popped(queue, 6, "what was released comes out again")
        assert ids(got) == [f"e{n}" for n in range(6)], "KEYED: what is released goes back to its place in its key"

    async def test_a_settled_key_goes_on(self, owners: Owners) -> None:
        """With the last ack of its holder, the next of the key goes to any owner, whoever waits."""
        both = await self._both(owners)
        await both.first.push(event("e0", key="k"))
        await both.see(["e0"], "pop hands out what was pushed")
        [(holder, held)] = both.got
        await both.first.push(event("e1", key="k"))
        waiting = asyncio.ensure_future(both.see(["e1"], _GOES_ON))
        await asyncio.sleep(0)
        await holder.ack_many([held])
        await waiting

    async def test_a_released_key_goes_on_with_what_was_released(self, owners: Owners) -> None:
        """Whoever gets the key next gets the released messages first."""
        both = await self._both(owners)
        await both.first.push_many(events(4, key="k"))
        await both.first.release(await self.popped(both.first, 2, _SEVERAL))
        await both.handle(["e0", "e1", "e2", "e3"], _GOES_ON)
        assert both.order("e") == ["e0", "e1", "e2", "e3"], "KEYED: what was released comes before the rest of its key"

    async def test_a_key_goes_on_in_order_after_others_looked_in_vain(self, owners: Owners) -> None:
        """Being looked at by an owner who may not have it moves no message behind later ones."""
        both = await self._both(owners)
        await both.first.push(event("e0", key="k"))
        [running] = await self.popped(both.first, 1, "pop hands out what was pushed")
        await self._look_in_vain(owners, both, event("e1", key="k"))
        waiting = asyncio.ensure_future(both.handle(["e1", "e2"], _GOES_ON, (both.first, both.second)))
        await asyncio.sleep(0)
        await both.first.push(event("e2", key="k"))
        for _ in range(20):  # turns of the event loop, for a queue that wakes whoever waits at once
            await asyncio.sleep(0)
        await both.first.ack_many([running])
        await waiting
        assert both.order("e") == ["e1", "e2"], "KEYED: the messages of a key come in order, whoever gets them"

    async def test_what_was_released_stays_before_the_rest_while_its_key_is_held(self, owners: Owners) -> None:
        """As at stop: what did not start is released while the one before it still runs, and others wait."""
        both = await self._both(owners)
        await both.first.push_many(events(2, key="k"))
        running, fetched = await self.popped(both.first, 2, _SEVERAL)
        await self._look_in_vain(owners, both, event("e2", key="k"))
        await both.first.release([fetched])
        await both.first.ack_many([running])
        await both.handle(["e1", "e2"], _GOES_ON)
        assert both.order("e") == ["e1", "e2"], "KEYED: release puts back before the rest of its key"

    async def test_a_nacked_message_comes_before_the_rest_of_its_key(self, owners: Owners) -> None:
        """At once due, and still first."""
        both = await self._both(owners)
        await both.first.push_many(events(3, key="k"))
        [head] = await self.popped(both.first, 1, "pop hands out what was pushed")
        await both.first.nack_many([Nack(head, message=attrs.evolve(head.expect(), attempt=2))])
        await both.handle(["e0", "e1", "e2"], "a nacked message comes back, and its key goes on behind it")
        assert both.order("e") == ["e0", "e1", "e2"], (
            "KEYED: a nacked message holds its key until it is handed out again"
        )
        assert both.got[0][1].expect().attempt == 2, "nack with a message brings back that message"

    async def test_a_retry_holds_its_key_while_it_waits(self, owners: Owners) -> None:
        """For everyone, its own owner included; other keys go on."""
        queue = await owners.retrying(Capability.KEYED)
        await queue.push_many(events(3, key="k"))
        [head] = await self.popped(queue, 1, "pop hands out what was pushed")
        await queue.nack_many([Nack(head, delay=self.delay, message=attrs.evolve(head.expect(), attempt=2))])
        await queue.push(event("sentinel", key="other"))
        got = await self.popped(queue, 4, "a retry comes back once due, and its key goes on behind it")
        assert ids(got) == ["sentinel", "e0", "e1", "e2"], "KEYED: a waiting retry holds its key, and no other"

    async def test_a_lane_can_be_put_back_in_order(self, owners: Owners) -> None:
        """As a worker does at stop: the head by nack with its remaining delay, those behind it by release."""
        queue = await owners.retrying(Capability.KEYED)
        await queue.push_many(events(4, key="k"))
        head, *behind = await self.popped(queue, 3, _SEVERAL)
        await queue.nack_many([Nack(head, delay=self.delay, message=attrs.evolve(head.expect(), attempt=2))])
        await queue.release(behind)
        await queue.push(event("sentinel", key="other"))
        got = await self.popped(queue, 5, "a lane that was put back comes back")
        assert ids(got) == ["sentinel", "e0", "e1", "e2", "e3"], (
            "KEYED: nack of a lane's head and release of those behind it keep the order of the key"
        )

    async def test_a_delayed_message_does_not_hold_its_key(self, owners: Owners) -> None:
        """Only a retry does; a delayed dispatch takes its place when it falls due."""
        queue = await owners.open(Capability.KEYED | Capability.DELAY)
        await queue.push(event("late", key="k", not_before=queue.clock.now() + timedelta(hours=1)))
        await queue.push(event("now", key="k"))
        got = await self.popped(queue, 1, "a delayed dispatch holds up nobody of its key")
        assert ids(got) == ["now"], "a delayed dispatch holds up nobody of its key"

    async def test_the_key_of_a_dead_owner_is_free_again(self, owners: Owners) -> None:
        """ACK: after its lease another owner gets what it held, and then the rest of the key."""
        if self.lease is None:
            owners.skip("no lease")
        dead, heir = await self.two_owners(owners, Capability.KEYED | Capability.ACK, lease=self.lease)
        await dead.push_many(events(4, key="k"))
        await self.popped(dead, 2, _SEVERAL)
        got = await self.popped(heir, 4, "KEYED: a dead owner's key is free after its lease")
        assert ids(got) == ["e0", "e1", "e2", "e3"], "KEYED: what a dead owner held comes before the rest of its key"

    async def test_two_busy_owners_never_share_a_key(self, owners: Owners) -> None:
        """Under load, with acks and releases mixed: no key at two owners at once, every key in order."""
        both = await self._both(owners)
        ledger = _Ledger(210)
        await both.first.push_many([event(f"{number}", key=f"k{number % 7}") for number in range(ledger.total)])
        await self.soon(first_of(ledger.work(both.first), ledger.work(both.second)), _GOES_ON)
        for key, numbers in ledger.done.items():
            assert numbers == sorted(set(numbers)), f"KEYED: order holds across owners, but of {key} came {numbers}"

    async def _both(self, owners: Owners) -> _Both:
        first, second = await self.two_owners(owners, Capability.KEYED)
        await self.ready(first, second)
        return _Both(first, second, self)

    async def _look_in_vain(self, owners: Owners, both: _Both, message: Message) -> None:
        """The second owner passes by a message whose key the first holds, on his way to one of another key."""
        if not self.keys_move:
            owners.skip("keys stay with an owner")
        await both.first.push_many([message, event("sentinel", key="other")])
        await both.handle(["sentinel"], "other keys go on while one is held", [both.second])
        assert both.order("e") == [], _ONE_OWNER


class _Both:
    """Two owners of one queue, and what came out of them, in order of arrival."""

    def __init__(self, first: MessageQueue, second: MessageQueue, suite: Suite) -> None:
        self.first = first
        self.second = second
        self.got: list[tuple[MessageQueue, Delivery]] = []
        self._suite = suite
        self._pops: dict[MessageQueue, asyncio.Task[Delivery]] = {}

    def order(self, prefix: str) -> list[str]:
        """The ids that begin so, in order of arrival."""
        return [name for name in self._names() if name.startswith(prefix)]

    async def see(self, wanted: Sequence[str], duty: str) -> None:
        """Pop on both until all these came out, and settle nothing. Both go on waiting afterwards."""
        await self._suite.soon(self._until(wanted, (self.second, self.first), ack=False), duty)

    async def handle(self, wanted: Sequence[str], duty: str, who: Sequence[MessageQueue] = ()) -> None:
        """The same, each acked as it comes; only on those of `who`, in this order, if given."""
        await self._suite.soon(self._until(wanted, who or (self.second, self.first), ack=True), duty)

    async def _until(self, wanted: Sequence[str], who: Sequence[MessageQueue], *, ack: bool) -> None:
        while not set(wanted) <= set(self._names()):
            await asyncio.wait([self._pop(owner) for owner in who], return_when=asyncio.FIRST_COMPLETED)
            for owner, pop in list(self._pops.items()):
                if pop.done():
                    del self._pops[owner]
                    self.got.append((owner, pop.result()))
                    if ack:
                        await owner.ack_many([pop.result()])

    def _pop(self, owner: MessageQueue) -> asyncio.Task[Delivery]:
        """The one pop of this owner that waits. It is never cancelled: that is another group's subject."""
        if owner not in self._pops:
            self._pops[owner] = asyncio.ensure_future(owner.pop())
            # the last one ends when its owner closes, and nobody asks how
            self._pops[owner].add_done_callback(lambda pop: pop.cancelled() or pop.exception())
        return self._pops[owner]

    def _names(self) -> list[str]:
        return ids([delivery for _, delivery in self.got])


class _Ledger:
    """Which owner holds which key, and what was done of each, in order."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done: dict[str, list[int]] = {}
        self._holder: dict[str, MessageQueue] = {}

    async def work(self, queue: MessageQueue) -> None:
        """Pop, check, ack the first half of each batch and release the rest, until all is done."""
        while sum(map(len, self.done.values())) < self.total:
            batch = await some(queue, 8)
            keys = {delivery.expect().key or "" for delivery in batch}
            for key in keys:
                assert self._holder.setdefault(key, queue) is queue, "KEYED: no key is at two owners at once"
            await asyncio.sleep(0)
            half = (len(batch) + 1) // 2
            for delivery in batch[:half]:
                self.done.setdefault(delivery.expect().key or "", []).append(int(delivery.expect().id))
            for key in keys:
                del self._holder[key]
            await queue.release(batch[half:])
            await queue.ack_many(batch[:half])
