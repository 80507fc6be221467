"""One opened stream queue: who it is for its group at the server, what it was handed, and the scripts it calls."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import attrs
from attrs import define, field

from . import wire
from ._redis_keys import Keys
from ._redis_link import Link
from ._redis_list_intake import delay_ms
from ._redis_scripts import Argument, Command, Script
from .clock import Clock
from .message import Delivery, Limits, Nack

_ACK, _MOVE, _RELEASE = Script.named("stream_ack"), Script.named("stream_move"), Script.named("stream_release")
_LOOK, _EXTEND, _LEAVE = Script.named("stream_look"), Script.named("stream_extend"), Script.named("stream_leave")
_PROMOTE, _REAP = Script.named("stream_promote"), Script.named("stream_reap")
_FIELD = b"event"
Settling = Callable[[Sequence[Delivery]], Command]


def _new_name(prefix: str | None) -> str:
    return f"{f'{prefix}-' if prefix else ''}{os.getpid()}-{secrets.token_hex(8)}"


class Receipt(NamedTuple):
    """Which entry, and to which incarnation it was handed: that is what fences it."""

    owner: str
    id: bytes


class Copy(NamedTuple):
    """An event that goes on in place of a delivery. delay_ms: -1 is none. only: the group that it is for."""

    delivery: Delivery
    event: bytes
    delay_ms: int = -1
    only: str = ""


@define(eq=False)
class Owner:
    """Acts under a random name that is never used again: when the server says that its lease was ended, it has lost
    all it held and goes on under a new one.

    lease: seconds. filters: whether copies for other groups are settled unseen. held: by id, what was handed out and is
    not settled. fresh: nothing was handed to this name yet. until: when the lease ends, if nobody renews it. prefix: of
    its names. claim: the most to take over at a time; None: as many as are wanted.
    """

    keys: Keys
    group: str
    lease: float
    limits: Limits
    clock: Clock
    filters: bool
    prefix: str | None = None
    claim: int | None = None
    name: str = field(default=attrs.Factory(lambda self: _new_name(self.prefix), takes_self=True))
    held: dict[bytes, Delivery] = field(factory=dict)
    fresh: bool = True
    until: float = 0.0

    @property
    def leases(self) -> str:
        """Of this group's owners."""
        return self.keys.beside(f"leases:{self.group}")

    @property
    def started(self) -> str:
        """The ids of this group's deliveries that were reported to be about to run."""
        return self.keys.beside(f"started:{self.group}")

    @property
    def _names(self) -> tuple[str, ...]:
        return self.keys.waiting, self.leases, self.started, settled(self.keys)

    @property
    def _lease_ms(self) -> int:
        return int(self.lease * 1000)

    def renewed(self, sent_at: float) -> None:
        """The server has a new lease of ours, which it began after this moment."""
        self.until = max(self.until, sent_at + self.lease)

    def died(self, name: str) -> None:
        """The lease of this name was ended: what it held is lost."""
        if name == self.name:
            self.name, self.held, self.fresh, self.until = _new_name(self.prefix), {}, True, 0.0

    # -- commands

    def look(self, most: int, after: bytes | str = "-", *, sweep: bool = False) -> Command:
        """See stream_look.lua."""
        names = (self.keys.waiting, self.leases, self.started, self.keys.delayed, aside(self.keys), settled(self.keys))
        most = most if self.claim is None else min(most, self.claim)
        return _LOOK(names, self.group, self.name, self._lease_ms, int(self.fresh), most, after, int(sweep))

    def read(self, most: int, block: float | None = None) -> Command:
        """New entries, waiting for the first up to `block` seconds; None: not at all."""
        wait = () if block is None else ("BLOCK", int(block * 1000))
        return (
            "XREADGROUP", "GROUP", self.group, self.name, "COUNT", most, *wait, "STREAMS", self.keys.waiting, ">",
        )  # fmt: skip

    def pending(self, after: bytes | str, most: int) -> Command:
        """What the server takes to be ours."""
        return ("XPENDING", self.keys.waiting, self.group, after, "+", most, self.name)

    def ack(self, ids: Sequence[bytes], *, count: bool = True) -> Command:
        """Done. count: as settled events."""
        return _ACK(self._names, self.group, self.name, int(count), *ids)

    def move(self, copies: Sequence[Copy], to: Keys, *, leaving: bool) -> Command:
        """Done, and on as these copies. leaving: they are settled events."""
        names = (*self._names, to.waiting, to.delayed, to.bell, to.seq, aside(to))
        arguments: list[Argument] = []
        for copy in copies:
            arguments += (copy.delivery.receipt.id, copy.delay_ms, copy.only, copy.event)
        return _MOVE(names, self.group, self.name, int(leaving), *arguments)

    def release(self, ids: Sequence[bytes]) -> Command:
        """Hand back, uncounted."""
        return _RELEASE((self.keys.waiting, self.leases, self.started), self.group, self.name, *ids)

    def extend(self, started: Sequence[bytes] = ()) -> Command:
        """Renew the lease; these are about to run."""
        return _EXTEND((self.leases, self.started), self.name, self._lease_ms, *started)

    def leave(self, name: str, keep: Iterable[bytes] = ()) -> Command:
        """Hand back all that is pending under a name of ours, but for these ids."""
        return _LEAVE(self._names, self.group, name, *keep)

    async def reap(self, link: Link) -> None:
        """Hand back what dead owners hold."""
        more = True
        while more:
            [more] = await link.call(_REAP(self._names, self.group, self._lease_ms))

    # -- what was handed out

    def received(self, entries: Iterable[Sequence[object]]) -> tuple[list[Delivery], list[bytes]]:
        """The deliveries of entries of the server (id, fields and perhaps a count), and ids that are not for us."""
        deliveries: list[Delivery] = []
        foreign: list[bytes] = []
        name, held, limits, group = self.name, self.held, self.limits, self.group
        for entry in entries:
            place: bytes = entry[0]  # type: ignore[assignment]  # as the server's replies are
            times: int = entry[2] if len(entry) > 2 else 1  # type: ignore[assignment]  # as above
            delivery = wire.delivery_of(_event(entry[1]), Receipt(name, place), times, limits)
            message = delivery.message
            if message is not None and message.group is not None and self.filters:
                if message.group != group:
                    foreign.append(place)
                    continue
                delivery.message = attrs.evolve(message, group=None)
            held[place] = delivery
            deliveries.append(delivery)
        self.fresh = False
        return deliveries, foreign

    async def settle(self, link: Link, deliveries: Sequence[Delivery], command: Settling) -> list[Delivery]:
        """Run what settles these in one call. Returns those that were no longer ours; what is settled already is no
        longer looked at.
        """
        name, held = self.name, self.held
        ours = [delivery for delivery in deliveries if held.get(delivery.receipt.id) is delivery]
        lost = [delivery for delivery in deliveries if delivery.receipt.owner != name]
        if not ours:
            return lost
        [answer] = await link.call(command(ours))
        if answer == -1:
            self.died(name)
            return [*lost, *ours]
        for delivery in ours:
            if held.get(delivery.receipt.id) is delivery:  # else it was released, and is ours again already
                del held[delivery.receipt.id]
        return lost

    async def renew(self, link: Link, deliveries: Sequence[Delivery], started: Sequence[bytes] = ()) -> list[Delivery]:
        """Renew the lease. Returns those of the deliveries that were lost."""
        name, now = self.name, self.clock.monotonic()
        if self.held:
            [answer] = await link.call(self.extend(started))
            if answer == -1:
                self.died(name)
            elif name == self.name:
                self.renewed(now)
        return [delivery for delivery in deliveries if delivery.receipt.owner != self.name]


def copy_of(nack: Nack, owner: Owner) -> Copy:
    """What goes on in place of a delivery that is handed back: for this group only, where there are groups."""
    message, only = nack.message or nack.delivery.message, owner.group if owner.filters else ""
    later = max(int(nack.delay * 1000) or -1, -1 if nack.message is None else delay_ms(nack.message, owner.clock))
    if message is None:
        return Copy(nack.delivery, nack.delivery.raw, later)
    return Copy(nack.delivery, wire.encode(attrs.evolve(message, group=only or message.group)), later, only)


def ids_of(deliveries: Iterable[Delivery]) -> list[bytes]:
    """The ids of their entries."""
    return [delivery.receipt.id for delivery in deliveries]


def aside(keys: Keys) -> str:
    """For each group, how many of the delayed events are copies for it alone."""
    return keys.beside("aside")


def settled(keys: Keys) -> str:
    """For each group, how many events it has settled. Not where a list counts them: its name may become a stream's."""
    return keys.beside("groups")


def promote(keys: Keys) -> Command:
    """Move what is due to the stream."""
    return _PROMOTE((keys.waiting, keys.delayed, aside(keys)))


def _event(fields: object) -> bytes:
    """The event of an entry: its field `event`, or its only one; of anything else all that is there."""
    assert isinstance(fields, list)
    if len(fields) == 2 or fields[0] == _FIELD:
        event: bytes = fields[1]
        return event
    named = dict(zip(fields[::2], fields[1::2], strict=False))
    return named[_FIELD] if _FIELD in named else b" ".join(fields)
