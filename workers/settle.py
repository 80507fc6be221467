"""Settle: one function of the outcome. It only decides; the trays tell the queue."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import anyio
import anyio.abc
from attrs import define

from queues.base import MessageQueue
from queues.clock import Clock
from queues.message import Delivery, Message, Nack

from .errand import Errand
from .lanes import Lanes
from .lease import Held
from .outcome import DONE, Dead, Done, Outcome, Retry, Untouched
from .supervise import Trouble
from .trays import TrayMaker, Trays


@define
class Counts:
    """What became of events in this process. released: handed back uncounted."""

    handled: int = 0
    retried: int = 0
    dead: int = 0
    released: int = 0


class Settler:
    """Takes outcomes, and has the queue told. What fails stays and is tried again; nothing is acked in its place."""

    def __init__(
        self, queue: MessageQueue, dead: MessageQueue, lanes: Lanes, held: Held, clock: Clock, *,
        hold: float, mark: Callable[[Delivery, Message], Message], progress: Callable[[], None],
    ) -> None:  # fmt: skip
        self.counts: Counts = Counts()
        self._lanes = lanes
        self._hold = hold
        self._mark = mark

        self._make = TrayMaker(queue, dead, lanes, held, clock, progress)
        self._trays = self._make()
        self._ack = self._trays.acks.put
        self._acks: dict[str, Callable[[Delivery], None]] = {}
        self._by_source: dict[str, Trays] = {}
        """Where a queue is made of several: one that is down must not hold up what the others are told."""
        self._telling: anyio.abc.TaskGroup | None = None

    # -- decide

    def add(self, delivery: Delivery, outcome: Outcome) -> None:
        """Decide what the queue has to be told. Pure bookkeeping: the I/O comes later."""
        if outcome is DONE or isinstance(outcome, Done):
            self.counts.handled += 1
            if (source := delivery.source) is None:
                self._ack(delivery)
            else:
                (self._acks.get(source) or self._trays_of(delivery).acks.put)(delivery)
            self._lanes.next(delivery)
        elif isinstance(outcome, Dead):
            self._bury(delivery, outcome)
            self._lanes.next(delivery)
        elif isinstance(outcome, Retry):
            self._retry(delivery, outcome)
        elif isinstance(outcome, Untouched):
            self._put_back(delivery, outcome)

    def _bury(self, delivery: Delivery, outcome: Dead) -> None:
        self.counts.dead += 1 + len(outcome.also)
        move = (delivery, self._mark(delivery, outcome.letter))
        if outcome.also:
            self._run_errand(Errand(self._marked(delivery, outcome.also), move=move))
        else:
            self._trays_of(delivery).moves.put(move)

    def _marked(self, delivery: Delivery, letters: Iterable[Message]) -> tuple[Message, ...]:
        return tuple(self._mark(delivery, letter) for letter in letters)

    def _retry(self, delivery: Delivery, outcome: Retry) -> None:
        self.counts.retried += 1
        self.counts.dead += len(outcome.dead)
        letters = self._marked(delivery, outcome.dead)
        nack = Nack(delivery, outcome.delay, outcome.message)
        if not self._lanes.keyed(outcome.message):
            if letters:
                self._run_errand(Errand(letters, nack=nack))
            else:
                self._trays_of(delivery).nacks.put(nack)
        elif self._hold < math.inf and (outcome.delay > self._hold or delivery.times > 1):
            # One handed out before is counted at our death while it waits here, too; a nack clears it of suspicion.
            self._send_back(nack, letters)
        elif letters:  # once they are written; until then the key stands still, and nothing of it can be acked
            self._run_errand(Errand(letters, hold=(delivery, outcome.message, outcome.delay)))
        else:
            self._lanes.hold(delivery, outcome.message, outcome.delay)

    def _send_back(self, nack: Nack, letters: tuple[Message, ...] = ()) -> None:
        """The head of a lane goes back to the queue, and then those behind it."""
        behind = tuple(self._lanes.clear(nack.delivery))
        self.counts.released += len(behind)
        self._run_errand(Errand(letters, nack=nack, behind=behind, reopens=nack.delivery))

    def _put_back(self, delivery: Delivery, outcome: Untouched) -> None:
        """Not run to its end: to the head of the queue, and with it those that wait behind it in its lane."""
        self.counts.released += 1
        self.counts.dead += len(outcome.dead)
        message = outcome.message or self._lanes.changed_message(delivery)
        keyed = self._lanes.keyed(delivery.expect())
        behind = tuple(self._lanes.clear(delivery)) if keyed else ()
        self.counts.released += len(behind)
        self._run_errand(
            Errand(
                letters=self._marked(delivery, outcome.dead),
                nack=Nack(delivery, 0.0, message) if message is not None else None,
                behind=behind if message is not None else (delivery, *behind),
                reopens=delivery if keyed else None,
            )
        )

    def give_back(self, delivery: Delivery, message: Message, delay: float) -> None:
        """At the end: a head that waits in its lane for a retry goes back with its changed message."""
        self.counts.released += 1
        self._trays_of(delivery).nacks.put(Nack(delivery, delay, message))

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """Fetched and not started: back to the head of the queue."""
        self.counts.released += len(deliveries)
        for delivery in deliveries:
            self._trays_of(delivery).releases.put(delivery)

    def refuse(self, deliveries: Sequence[Delivery]) -> None:
        """Fetched before their keys were back in the queue: they follow."""
        self.counts.released += len(deliveries)
        for group in self._lanes.refuse(deliveries):
            self._run_errand(Errand(behind=tuple(group), reopens=group[0]))

    def make_room(self) -> None:
        """Nothing more may be held here: the retry with the most behind it waits in the queue instead, and they too."""
        if self._hold < math.inf and (head := self._lanes.most_crowded()) is not None:
            self._send_back(Nack(head, self._lanes.remaining(head), head.expect()))

    # -- do

    async def run(self) -> None:
        """Tell the queue what was decided, until cancelled."""
        async with anyio.create_task_group() as self._telling:
            for trays in self._everywhere:
                trays.begin(self._telling)

    def _run_errand(self, errand: Errand) -> None:
        self._trays_of(errand.delivery).errands.put(errand)

    def _trays_of(self, delivery: Delivery) -> Trays:
        source = delivery.source
        if source is None:
            return self._trays
        trays = self._by_source.get(source)
        if trays is None:
            trays = self._by_source[source] = self._make()
            self._acks[source] = trays.acks.put
            if self._telling is not None:
                trays.begin(self._telling)
        return trays

    @property
    def _everywhere(self) -> list[Trays]:
        return [self._trays, *self._by_source.values()]

    @property
    def pending(self) -> bool:
        """Whether anything is still to be told."""
        return any(tray.items for trays in self._everywhere for tray in trays.all)

    @property
    def trouble(self) -> Trouble:
        """What fails at the moment, if anything. Of a queue made of several: only when all of them fail."""
        failing = [trays.failing for trays in (self._by_source.values() or [self._trays])]
        return failing[0] if failing[0] is not None and all(failing) else self._trays.acks.trouble

    @property
    def stuck(self) -> int:
        """How many wait to be told to one of several queues that does not listen, and so brings nothing new."""
        return sum(
            len(tray.items) for trays in self._by_source.values() if trays.failing is not None for tray in trays.all
        )
