"""The ladder of dispatch: what is put around a queue, and around the way to it, for when it takes no events."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from attrs import evolve, frozen

from queues.base import Capability, MessageQueue, name_of
from queues.clock import Clock
from queues.errors import ConfigurationError
from queues.fallback import DroppingQueue, FailFastQueue, FallbackQueue, Letterbox
from queues.message import Message
from queues.switch import SwitchQueue
from workers.lanes import Lanes
from workers.pool import Pool

from .assembly import PoolMaker, build_dead, complete, key_of
from .context import Send
from .degradation import NO_DEGRADATION, Degradation
from .handlers import Handlers, read
from .inline import Inline, InlineSender
from .sender import BatchSender, DirectSender, Sender
from .settings import Settings


@frozen
class Ladder:
    """What one dispatcher needs to build it, once for each time that it is opened."""

    settings: Settings
    handlers: Handlers
    clock: Clock
    send: Send

    @property
    def degradation(self) -> Degradation:
        """What the dispatcher was told, or that there is none."""
        return self.settings.degradation or NO_DEGRADATION

    def letterbox(self, queue: MessageQueue) -> Letterbox:
        """Where its dead letters go, opened when they are needed. Raises ConfigurationError when there is no place."""
        return Letterbox(build_dead(queue, self.settings.dead_letter, self.clock), partial(_mark, queue))

    def around(self, queue: MessageQueue, letterbox: Letterbox | None) -> MessageQueue:
        """The queue with what keeps dispatching going, not open yet. Raises ConfigurationError."""
        told = self.degradation
        if told.spill is None and isinstance(queue, SwitchQueue) and queue.strict:
            raise ConfigurationError(
                f"a strict {queue.name} refuses events while it changes routes, and needs a spill to keep them: "
                "EventDispatcher(…, degradation=Degradation(spill='/var/spool/…')), or strict=False"
            )
        if told.spill is not None:
            return FallbackQueue(
                queue, told.spill, when_full=told.when_full, on_change=told.on_change, letterbox=letterbox,
                complete=complete,
            )  # fmt: skip
        if told.on_full == "drop_oldest":
            return DroppingQueue(queue, _needed(queue, letterbox))
        if (told.inline or told.on_change is not None) and Capability.LOCAL not in queue.capabilities:
            return FailFastQueue(queue, told.on_change)
        return queue

    def sender(self, queue: MessageQueue, fallback: FallbackQueue | None, pool: Callable[[], Pool | None]) -> Sender:
        """The way to the opened queue. pool: the workers of this dispatcher, once there are any."""
        told, clock = self.degradation, self.clock
        waits = told.on_full != "inline"
        sender: Sender
        if Capability.LOCAL in queue.capabilities and fallback is None:
            sender = DirectSender(queue, clock, waits=waits)
        else:
            sender = BatchSender(queue, clock, fallback=fallback, waits=waits, inline=told.runs_inline)
        if not told.runs_inline:
            return sender
        router = PoolMaker(self.settings, self.handlers, clock, self.send, 0).router(queue)
        own = Lanes(clock, key_of(queue, self.handlers), lambda: None)
        return InlineSender(sender, Inline(router, clock, partial(_lanes_of, pool, own)), told)


def _lanes_of(pool: Callable[[], Pool | None], own: Lanes) -> Lanes:
    """Those in which the workers run, or our own while there are none."""
    found = pool()
    return found.inbox.lanes if found is not None else own


def _needed(queue: MessageQueue, letterbox: Letterbox | None) -> Letterbox:
    if Capability.LOCAL not in queue.capabilities:
        raise ConfigurationError(
            f"on_full='drop_oldest' on {name_of(queue)} needs a spill, whose oldest events are dropped; without one "
            "only channel:// can do it. Write Degradation(spill='/var/spool/…', on_full='drop_oldest')"
        )
    assert letterbox is not None
    return letterbox


def _mark(queue: MessageQueue, letter: Message) -> Message:
    """Where it died: on the way to this queue. Its data are JSON, as they are in every dead letter."""
    letter, url = read(letter, None), queue.url
    assert letter.dead is not None
    origin = url.name if url is not None else name_of(queue)
    return evolve(letter, dead=evolve(letter.dead, origin=origin, group=(url.group if url is not None else None) or ""))
