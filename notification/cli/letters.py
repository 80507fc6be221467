"""Dead letters: which are meant, why they died, and how they live again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from datetime import datetime

from attrs import define, evolve, field, frozen

from queues.base import MessageQueue
from queues.clock import SYSTEM_CLOCK
from queues.errors import CorruptMessage, PushFailed, Unsupported
from queues.message import CORRUPT_TYPE, EPOCH, DeadLetter, Delivery, Message
from queues.wire import decode

from ..handlers import fits
from .target import Target

_NO_REASON = DeadLetter(reason="unknown")
_BATCH = 500


def death_of(letter: Message) -> DeadLetter:
    """Why it died; for one that somebody put there by hand, that nobody knows."""
    return letter.dead or _NO_REASON


def error_class(letter: Message) -> str:
    """`ValueError`, when the last error was one; else nothing."""
    name = death_of(letter).error.partition(":")[0]
    return name if name.isidentifier() and name[0].isupper() else ""


def cause_of(letter: Message) -> str:
    """`attempts ConnectionError`: the reason, and the class of the last error."""
    return f"{death_of(letter).reason} {error_class(letter)}".rstrip()


@frozen
class Selection:
    """Which letters are meant: those that every criterion given allows. ids are exact, type and cause patterns."""

    ids: Collection[str] = ()
    type: str | None = None
    cause: str | None = None
    since: datetime | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing was asked for, so that all are meant."""
        return not (self.ids or self.type or self.cause or self.since)

    def __call__(self, letter: Message) -> bool:
        return (
            (not self.ids or letter.id in self.ids)
            and (self.type is None or fits(self.type, letter.type))
            and (self.cause is None or _died_of(letter, self.cause))
            and (self.since is None or died_at(letter) >= self.since)
        )

    def __str__(self) -> str:
        parts = [f"id {one}" for one in self.ids]
        parts += [f"{name} {value}" for name, value in (("type", self.type), ("cause", self.cause)) if value]
        parts += [f"since {self.since:%Y-%m-%d %H:%M:%S}Z"] if self.since else []
        return ", ".join(parts)


def _died_of(letter: Message, pattern: str) -> bool:
    death = death_of(letter)
    return any(fits(pattern, text) for text in (death.reason, error_class(letter), cause_of(letter), death.error))


def died_at(letter: Message) -> datetime:
    """When it died; when it was dispatched, if nobody noted that."""
    at = death_of(letter).time
    return at if at is not EPOCH else letter.time


# -- looked at


async def browsed(dead: MessageQueue, selection: Selection) -> AsyncIterator[Message]:
    """Those that are meant, in the order in which they died."""
    async for letter in dead.browse():
        if selection(letter):
            yield letter


async def counted(dead: MessageQueue, selection: Selection) -> int:
    """How many are meant; where a queue can't be browsed, how many there are."""
    try:
        return sum([1 async for _ in browsed(dead, selection)])
    except Unsupported:
        return await dead.size()


# -- alive again


def revived(letter: Message) -> Message:
    """The event as it was dispatched, for the handlers and the consumer group it died in.

    Raises CorruptMessage when it died because it could not be read, and still can't be.
    """
    if letter.type == CORRUPT_TYPE and isinstance(letter.data, bytes):
        return decode(letter.data)
    return evolve(letter.pristine(), handlers=letter.handlers, group=death_of(letter).group or None)


@define
class Moved:
    """What became of them. unreadable: ids of those that stay, because nobody can read them; stopped: why it ended."""

    done: int = 0
    unreadable: set[str] = field(factory=set)
    stopped: str = ""


@frozen
class Undertaker:
    """Takes the letters that are meant out of the dead letters, no more than there were when it began.

    What dies again meanwhile comes last, so it is not taken twice. per_second: None: as fast as it goes. progress: told
    after every batch how many are done. Cancelled in the middle, what was taken and not settled goes back.
    """

    target: Target
    selection: Selection
    per_second: float | None = None
    progress: Callable[[int], None] = lambda done: None
    moved: Moved = field(factory=Moved, init=False)

    async def retry(self, total: int) -> None:
        """Send them back to their queue."""
        await self._each_batch(total, self._send_back)

    async def drop(self, total: int) -> None:
        """Delete them."""
        await self._each_batch(total, self._delete)

    async def replace(self, letter: Message) -> None:
        """Send back the first that is meant as `letter`."""
        for delivery in await self.target.dead.take(self.selection, 1):
            self.moved.done += 1 - len(await self.target.dead.move_many([(delivery, letter)], self.target.queue))

    async def _each_batch(self, total: int, work: Callable[[Sequence[Delivery]], Awaitable[int]]) -> None:
        size = _BATCH if self.per_second is None else max(1, min(_BATCH, int(self.per_second)))
        pause = 0.0 if self.per_second is None else size / self.per_second
        left = total
        while left > 0 and not self.moved.stopped:
            batch = await self.target.dead.take(self._match, min(size, left))
            if not batch:
                break
            left -= len(batch)
            self.moved.done += await work(batch)
            self.progress(self.moved.done)
            if left > 0:
                await SYSTEM_CLOCK.sleep(pause)

    def _match(self, letter: Message) -> bool:
        return letter.id not in self.moved.unreadable and self.selection(letter)

    async def _send_back(self, batch: Sequence[Delivery]) -> int:
        pairs: list[tuple[Delivery, Message]] = []
        for delivery in batch:
            try:
                pairs.append((delivery, revived(delivery.expect())))
            except CorruptMessage:
                self.moved.unreadable.add(delivery.expect().id)
                await self.target.dead.release([delivery])
        try:
            lost = await self.target.dead.move_many(pairs, self.target.queue)
        except PushFailed as failed:
            self.moved.stopped = str(next(iter(failed.errors.values())))
            return len(pairs) - len(failed.errors)
        return len(pairs) - len(lost)

    async def _delete(self, batch: Sequence[Delivery]) -> int:
        return len(batch) - len(await self.target.dead.ack_many(batch))
