"""Order by key across all consumers of a list: while an owner holds events of a key, nobody else is handed one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define

from ._redis_batch import Batch, Change, Item, newest_first
from ._redis_link import Link
from ._redis_list_owner import GRAVE_MS, REAPED_AT_ONCE, Owner
from ._redis_scripts import Argument, Command, Script
from .message import Delivery

_CLAIM, _SETTLE = Script.named("keyed_claim"), Script.named("keyed_settle")
_LOOK = Script.named("keyed_look")
_REAP, _PROMOTE = Script.named("keyed_reap"), Script.named("keyed_promote")


@define(eq=False)
class KeyedOwner(Owner):
    """As Owner, with scripts that read each event's key and park what has to wait for it."""

    def claim(self, number: int, limit: int) -> tuple[Command, Command]:
        keys = self.keys
        batch = keys.batch(self.name, number)
        names = (
            keys.waiting,
            keys.own(self.name),
            batch,
            keys.leases,
            keys.delayed,
            keys.order,
            keys.parked_total,
            keys.seq,
        )
        claim = _CLAIM(names, self.name, self.lease_ms, limit, number, keys.parked, keys.own(""))
        return claim, ("LRANGE", batch, 0, -1)

    def claimed(self, number: int, answer: Sequence[Any], events: Sequence[bytes]) -> tuple[int, list[Delivery]]:
        count, due, *keys = answer
        if not count:
            return due, []
        deliveries = self.received(number, events)
        self.batches[number].keys = keys
        return due, deliveries

    def look(self, number: int) -> tuple[Command, Command]:
        """And if the claim has not come yet, it is void: later events of its keys will have been handed out by then."""
        keys, batch = self.keys, self.keys.batch(self.name, number)
        look = _LOOK((keys.own(self.name), batch, keys.leases), number, self.name, self.lease_ms)
        return look, ("LRANGE", batch, 0, -1)

    def found(self, number: int, answer: Any, events: Sequence[bytes]) -> list[Delivery]:
        marks, *keys = answer
        deliveries = super().found(number, marks, events)
        if deliveries:
            self.batches[number].keys = keys
        return deliveries

    async def wait(self, link: Link, number: int, seconds: float) -> list[Delivery] | None:
        """A blocking look that changes nothing: which event may be taken, only a claim can say."""
        waiting = self.keys.waiting
        [event] = await link.call(("BLMOVE", waiting, waiting, "RIGHT", "RIGHT", seconds))
        return [] if event is None else None

    def settle(self, change: Change, dead: str | None) -> Command:
        keys = self.keys
        names = [*self.settled(change, dead), keys.order, keys.parked_total]
        return _SETTLE(names, *change.heads(), keys.parked, *_items(change))

    def promote(self) -> Command:
        keys = self.keys
        return _PROMOTE((keys.waiting, keys.delayed, keys.order, keys.parked_total), keys.parked)

    def reap_command(self, owner: str, numbers: Sequence[int], how: int) -> Command:
        keys = self.keys
        names = [*self.reaped(owner, numbers), keys.order, keys.parked_total]
        return _REAP(names, owner, how, GRAVE_MS, REAPED_AT_ONCE, *numbers, keys.parked)


def _items(change: Change) -> list[Argument]:
    """For every delivery what becomes of it and its key; last those that go back to the head, the newest first."""
    places = {batch: number for number, batch in enumerate(change.positions, 1)}
    special = {item.delivery: item for item in change.items}
    arguments: list[Argument] = []
    back: list[Delivery] = []
    for delivery in change.deliveries:
        item = special.get(delivery)
        if item is not None and (item.what == "r" or (item.what == "w" and _key(delivery))):
            back.append(delivery)
        else:
            arguments += _item(places, delivery, item)
    for delivery in newest_first(back):
        arguments += _item(places, delivery, special[delivery])
    return arguments


def _item(places: Mapping[Batch, int], delivery: Delivery, item: Item | None) -> tuple[Argument, ...]:
    place = places[delivery.receipt.batch], delivery.receipt.position + 1
    if item is None:
        return (*place, "a", 0, _key(delivery), b"")
    return (*place, item.what, item.delay, _key(delivery), item.event)


def _key(delivery: Delivery) -> bytes:
    """The key in the server's eyes, which reads it in its own way."""
    batch, position = delivery.receipt
    return batch.keys[position] if batch.keys else b""
