"""`python -m tests.faults.swap URL DIRECTORY NAME JSON`: a service that takes orders or ships them.

JSON: place: so many orders, and end; customers; rate, a second. Without `place` it ships until SIGTERM; workers;
prefetch. It does not know what its queue is; what becomes of an order is written in it, so that `expected` knows, too.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from notification import Context, EventDispatcher, Message, Reject, RetryLater, RetryPolicy, event

from .ledger import Ledger

AT_A_TIME = 20
WORK = 0.01
SOON, LATER = 0.1, 1.0
"""Seconds that a retry asks for: less, and more, than a process keeps one back before it gives it to the queue."""
DELAYS = (0.5, 0.9, 1.3, 1.7)
"""Of the orders of a customer who has them sent later."""
PLANS = {11: "again", 13: "soon", 17: "later", 19: "reject", 23: "fail", 29: "fatal", 31: "no archive"}
"""What the handlers do, by a divisor of the order's number. No plan: ship it."""
_NONSENSE = "CorruptMessage: the data is no event 'swap.order' (Order): customer: expected a string, got an integer"
DEATHS = {
    "reject": {("rejected", "ship", "Reject: sold out")},
    "fail": {("attempts", "ship", "ValueError: no address")},
    "fatal": {("fatal", "ship", "LookupError: no such street")},
    "no archive": {("attempts", "archive", "OSError: the archive is full")},
    "unknown": {("unknown", "", "UnknownEvent: no handler is registered for events of type 'swap.unheard'")},
    "corrupt": {("corrupt", "ship", _NONSENSE), ("corrupt", "archive", _NONSENSE)},
}
"""The reason, the handler and the last error of its dead letters, by plan: one for each handler."""


@event("swap.order", key="customer")
class Order:
    """number: of this customer."""

    customer: str
    number: int
    plan: str = ""


@event("swap.note")
class Note:
    """Without a key: no order."""

    plan: str = ""


@frozen
class Placed:
    """What is dispatched. delay: seconds."""

    id: str
    event: Order | Note | Message
    delay: float = 0.0

    @property
    def plan(self) -> str:
        return self.event.plan if not isinstance(self.event, Message) else self.id.partition("-")[0]


@frozen
class Outcome:
    """What is left of a run. effects: ids of what was shipped, and of what was archived; order: by customer, the ids as
    they were shipped; dead: by id, what the letters say, see DEATHS.
    """

    effects: dict[str, frozenset[str]]
    order: dict[str, list[str]]
    dead: dict[str, set[tuple[str, str, str]]]


def orders(count: int, customers: int) -> list[Placed]:
    """In this order: mostly of customers who want it now, some without any, some for later, some that are nonsense."""
    placed: list[Placed] = []
    for customer in range(customers // 4):
        late = [Order(f"late{customer}", number) for number in range(len(DELAYS))]
        placed += [Placed(f"late-{customer}-{one.number}", one, DELAYS[one.number]) for one in late]
    for number in range(count):
        round_, customer = divmod(number, customers)
        plan = next((plan for divisor, plan in PLANS.items() if number % divisor == divisor - 1), "")
        if number % 7 == 3:
            placed.append(Placed(f"note-{number}", Note(plan)))
        else:
            placed.append(Placed(f"order-{number}", Order(f"c{customer}", round_, plan)))
    for number in range(3):
        placed.append(Placed(f"unknown-{number}", Message(type="swap.unheard", source="/swap", id=f"unknown-{number}")))
        nonsense: Any = {"customer": 7}
        corrupt = Message(type="swap.order", source="/swap", id=f"corrupt-{number}", data=nonsense, key=f"x{number}")
        placed.append(Placed(corrupt.id, corrupt))
    return placed


def expected(placed: Iterable[Placed]) -> Outcome:
    """Of a run that loses nothing and confuses no order."""
    shipped, archived, dead = set[str](), set[str](), dict[str, set[tuple[str, str, str]]]()
    order: dict[str, list[str]] = defaultdict(list)
    for one in placed:
        if one.plan in DEATHS:
            dead[one.id] = DEATHS[one.plan]
        if one.plan not in DEATHS or one.plan == "no archive":
            shipped.add(one.id)
            if isinstance(one.event, Order):
                order[one.event.customer].append(one.id)
        if one.plan not in {"no archive", "unknown", "corrupt"}:
            archived.add(one.id)
    return Outcome({"ship": frozenset(shipped), "archive": frozenset(archived)}, dict(order), dead)


def seen(lines: Sequence[dict[str, Any]], letters: Iterable[Message]) -> Outcome:
    """What the ledgers say of effects, in the order of time, and what is among the dead letters; repeats removed."""
    order: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        if line["stage"] == "ended" and line["key"] is not None and line["id"] not in order[line["key"]]:
            order[line["key"]].append(line["id"])
    dead: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
    for letter in letters:
        assert letter.dead is not None
        dead[letter.id].add((letter.dead.reason, letter.dead.handler, letter.dead.error))
    return Outcome(
        {
            "ship": frozenset(line["id"] for line in lines if line["stage"] == "ended"),
            "archive": frozenset(line["id"] for line in lines if line["stage"] == "archived"),
        },
        {key: ids for key, ids in order.items() if ids},
        dict(dead),
    )


def apart(wanted: Outcome, found: Outcome) -> list[str]:
    """What is not as wanted, one line for each event or customer."""
    told: list[str] = []
    for handler, ids in wanted.effects.items():
        told += [f"{handler}: {id_} is missing or too much" for id_ in sorted(ids ^ found.effects[handler])]
    for customer in sorted(wanted.order.keys() | found.order.keys()):
        right, had = wanted.order.get(customer), found.order.get(customer)
        told += [f"{customer}: {had}, not {right}"] if right != had else []
    for id_ in sorted(wanted.dead.keys() | found.dead.keys()):
        why, said = wanted.dead.get(id_), found.dead.get(id_)
        told += [f"{id_}: dead of {said}, not {why}"] if why != said else []
    return told


# -- the service


class Shop:
    """Handlers on a queue that they know nothing of."""

    def __init__(self, url: str, ledger: Ledger, **settings: Any) -> None:
        retry = RetryPolicy(attempts=4, initial=0.05, max=0.2, fatal=(LookupError,))
        self.dispatcher = EventDispatcher(url, retry=retry, hold=(SOON + LATER) / 2, **settings)
        self._ledger = ledger
        kinds: tuple[type[Order | Note], ...] = (Order, Note)
        for kind in kinds:
            self.dispatcher.on(kind, name="ship")(self.ship)
            self.dispatcher.on(kind, name="archive")(self.archive)

    async def ship(self, order: Order | Note, ctx: Context) -> None:
        seq = order.number if isinstance(order, Order) else 0
        self._ledger.write("began", ctx.id, ctx.key, seq, attempt=ctx.attempt)
        await asyncio.sleep(WORK)
        if order.plan == "again" and ctx.attempt < 3:
            raise ConnectionError("try again")
        if order.plan in {"soon", "later"} and ctx.attempt == 1:
            raise RetryLater(SOON if order.plan == "soon" else LATER)
        if order.plan == "reject":
            raise Reject("sold out")
        if order.plan == "fail":
            raise ValueError("no address")
        if order.plan == "fatal":
            raise LookupError("no such street")
        self._ledger.write("ended", ctx.id, ctx.key, seq)

    async def archive(self, order: Order | Note, ctx: Context) -> None:
        if order.plan == "no archive":
            raise OSError("the archive is full")
        self._ledger.write("archived", ctx.id, ctx.key)


async def place(dispatcher: EventDispatcher, ledger: Ledger, placed: Sequence[Placed], rate: float) -> None:
    """Dispatch all, those of a customer one after another."""

    async def send(one: Placed) -> None:
        key = one.event.customer if isinstance(one.event, Order) else None
        ledger.write("trying", one.id, key)
        await dispatcher.dispatch(one.event, id=one.id, delay=one.delay, timeout=30)
        ledger.write("sent", one.id, key)

    began = time.monotonic()
    for start in range(0, len(placed), AT_A_TIME):
        batch = placed[start : start + AT_A_TIME]
        for keys in _apart(batch):
            await asyncio.gather(*map(send, keys))
        await asyncio.sleep(max(0.0, began + start / rate - time.monotonic()))


def _apart(batch: Sequence[Placed]) -> list[list[Placed]]:
    """In groups of which each has one order of a customer at most."""
    groups: list[list[Placed]] = []
    counts: dict[str, int] = defaultdict(int)
    for one in batch:
        key = one.event.customer if isinstance(one.event, Order) else one.id
        counts[key] += 1
        groups.extend([] for _ in range(counts[key] - len(groups)))
        groups[counts[key] - 1].append(one)
    return groups


async def main(url: str, directory: Path, name: str, options: dict[str, Any]) -> None:
    """Place them all and end, or ship until the first signal."""
    ledger = Ledger(directory, name)
    if count := options.get("place"):
        shop = Shop(url, ledger)
        async with shop.dispatcher:
            await place(shop.dispatcher, ledger, orders(count, options["customers"]), options["rate"])
        return
    shop = Shop(url, ledger, prefetch=options["prefetch"])
    running = asyncio.ensure_future(shop.dispatcher.run(options["workers"]))
    while not (await shop.dispatcher.health()).ready:
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    report = await running
    print(json.dumps({"handled": report.handled}))


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])))
