"""What a plugin author overrides, and what every group of the suite stands on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, ClassVar, NoReturn, TypeVar

import pytest
import pytest_asyncio

from ..base import NO_CAPABILITY, Capability, MessageQueue
from ..delayed import DelayedQueue
from ..errors import ConfigurationError, Unsupported
from ..message import Delivery, Limits
from . import waiting
from .process import OwnerProcess
from .skipped import SkippedGroups

_T = TypeVar("_T")
MakeQueue = Callable[..., MessageQueue]
"""Makes an unopened queue, a new owner, over the same store on each call; keywords are options (capacity, lease, …)."""


class Owners:
    """Opens queues for one test, skips the test where the queue can't do what it is about, and closes them all."""

    def __init__(self, make_queue: MakeQueue, request: pytest.FixtureRequest) -> None:
        self._make = make_queue
        self._request = request
        self._skipped = SkippedGroups.of(request.config)
        self._skipped.begins(request)
        self._made: list[MessageQueue] = []
        self._stack = contextlib.AsyncExitStack()

    async def open(
        self, needs: Capability = NO_CAPABILITY, *, limits: Limits | None = None, **options: Any
    ) -> MessageQueue:
        """A new owner, opened. Skips the test when a capability in `needs` is not declared or an option not known."""
        given = {name: value for name, value in options.items() if value is not None}
        try:
            queue = self._new(**given)
        except (ConfigurationError, Unsupported, TypeError):
            if not given:
                raise
            await self._check(await self._enter(self._new()), needs)
            self.skip(f"no option {' or '.join(given)}")
        queue.limits = limits or queue.limits
        await self._enter(queue)
        await self._check(queue, needs)
        if given.get("capacity") is not None and queue.capacity is None:
            self.skip("no capacity")
        return queue

    async def retrying(self, needs: Capability = NO_CAPABILITY, **options: Any) -> MessageQueue:
        """The same as the dispatcher assembles it: a queue without DELAY inside a DelayedQueue."""
        queue = await self.open(needs, **options)
        return queue if Capability.DELAY in queue.capabilities else await self._enter(DelayedQueue(queue))

    async def process(self, queue: MessageQueue, imports: Sequence[str]) -> OwnerProcess:
        """A real process that owns the same queue, opened by its URL."""
        assert queue.url is not None
        return await self._stack.enter_async_context(OwnerProcess(queue.url.raw, imports))

    def skip(self, *reasons: str) -> NoReturn:
        """Skip the running test and print the reasons at the end of the run."""
        self._skipped.skip(self._request, reasons)

    async def close(self) -> None:
        """Close every owner that was opened, the last first."""
        await self._stack.aclose()

    def _new(self, **options: Any) -> MessageQueue:
        if not callable(self._make):
            waiting.broken("make_queue returns a function that makes a queue", f"it returned {self._make!r:.200}")
        queue = self._make(**options)
        if not isinstance(queue, MessageQueue):
            waiting.broken("the function that make_queue returns makes a MessageQueue", f"this is {queue!r:.200}")
        if any(queue is one for one in self._made):
            waiting.broken("each call of the function that make_queue returns makes a new owner", "the same came twice")
        self._made.append(queue)
        return queue

    async def _enter(self, queue: MessageQueue) -> MessageQueue:
        self._stack.push_async_callback(queue.close)
        await queue.open()
        return queue

    async def _check(self, queue: MessageQueue, needs: Capability) -> None:
        if missing := needs & ~queue.capabilities:
            self.skip(*(f"no {one.name}" for one in missing))


class Suite:
    """The hooks of a plugin author: one fixture to override, and class attributes that have good defaults."""

    pytestmark: ClassVar[Sequence[pytest.MarkDecorator]] = [pytest.mark.asyncio(loop_scope="function")]

    lease: ClassVar[float | None] = 1.0
    """Seconds, given as the option `lease` where an owner's death is awaited; None: the queue has no such option."""
    delay: ClassVar[float] = 0.5
    """Seconds that delayed messages and retries wait; a queue with coarse timers may want more."""
    patience: ClassVar[float] = 10.0
    """Seconds after which something that must happen counts as not happening."""
    shared: ClassVar[bool] = True
    """Whether two owners made by one `make_queue` see the same messages. False: each is a queue of its own."""
    other_processes: ClassVar[bool] = True
    """Whether its URL opens the same queue in another process, too. Never asked of a LOCAL queue."""
    keys_move: ClassVar[bool] = True
    """False where a key, or an event without one, stays with one owner as long as he lives, as with partitions."""
    acks_within: ClassVar[float] = 0.0
    """Seconds until an ack that has returned outlives its process. Above 0 where it is stored behind our back."""
    counts_exactly: ClassVar[bool] = True
    """False where `Delivery.times` is only a lower bound."""
    child_imports: ClassVar[Sequence[str]] = ()
    """Modules that another process imports before it opens the queue by URL, so that they register its scheme."""

    @pytest.fixture
    def make_queue(self) -> MakeQueue:
        """Override this: a function that makes a new, unopened owner of one and the same queue on each call.

        Each test must get a queue of its own: a fresh name, file or server. The function takes options as keywords
        (capacity=3, lease=1.0, order="none", group="a") and raises TypeError or ConfigurationError for one the queue
        does not have; the tests that need it are skipped.
        """
        raise NotImplementedError("override the fixture make_queue: return a function that makes an unopened queue")

    async def inject(self, queue: MessageQueue, raw: bytes) -> object:
        """Override to put raw bytes, that no `push` would write, into the queue's store. NotImplemented: can't."""
        return NotImplemented

    async def ready(self, *owners: MessageQueue) -> None:
        """Override where an owner takes a while to get its share after its first pop: wait until all have theirs."""

    @pytest_asyncio.fixture(loop_scope="function")
    async def owners(self, make_queue: MakeQueue, request: pytest.FixtureRequest) -> AsyncIterator[Owners]:
        """Opens queues for the test and closes them after it."""
        owners = Owners(make_queue, request)
        try:
            yield owners
        finally:
            await self.soon(owners.close(), "close() ends whatever state its queue is in")

    # -- what the groups share

    async def soon(self, awaitable: Awaitable[_T], duty: str) -> _T:
        """`waiting.soon` with this queue's patience."""
        __tracebackhide__ = True
        return await waiting.soon(awaitable, duty, self.patience)

    async def popped(self, queue: MessageQueue, count: int, duty: str, *, limit: int | None = None) -> list[Delivery]:
        """`waiting.popped` with this queue's patience and its lease on top."""
        __tracebackhide__ = True
        return await waiting.popped(queue, count, duty, self.patience + (self.lease or 0), limit)

    async def eventually(self, look: Callable[[], Awaitable[_T]], wanted: Callable[[_T], bool], duty: str) -> _T:
        """`waiting.eventually` with this queue's patience."""
        __tracebackhide__ = True
        return await waiting.eventually(look, wanted, duty, self.patience)

    async def two_owners(
        self, owners: Owners, needs: Capability = NO_CAPABILITY, **options: Any
    ) -> tuple[MessageQueue, MessageQueue]:
        """Two owners of one queue; skips where each owner is a queue of its own."""
        first = await owners.open(needs, **options)
        if not self.shared:
            owners.skip("one owner a queue")
        return first, await owners.open(needs, **options)

    async def across_processes(self, owners: Owners, needs: Capability, **options: Any) -> MessageQueue:
        """A queue that another process can open by its URL; skips where there is none."""
        queue = await owners.open(needs, **options)
        if queue.url is None or not self.other_processes or Capability.LOCAL in queue.capabilities:
            owners.skip("no other process")
        return queue

    async def expired(
        self, owners: Owners, *names: str, key: str | None = None
    ) -> tuple[MessageQueue, list[Delivery], MessageQueue, list[Delivery]]:
        """A silent owner with stale deliveries of these events, and the owner who was handed them after its lease."""
        if self.lease is None:
            owners.skip("no lease")
        zombie, heir = await self.two_owners(owners, Capability.ACK, lease=self.lease)
        if zombie.lease is not None and zombie.lease > self.lease + self.patience:
            duty = f"make_queue opens the queue with the option lease={self.lease:g} it is given, or refuses it"
            waiting.broken(duty, f"its lease is {zombie.lease:g} s, longer than the test would wait")
        await zombie.push_many([waiting.event(name, key=key) for name in names])
        stale = await self.popped(zombie, len(names), "pop hands out what was pushed")
        fresh = await self.popped(heir, len(names), "ACK: what a silent owner held goes to others after its lease")
        return zombie, stale, heir, fresh


async def cancelled(task: asyncio.Task[_T]) -> _T | None:
    """Cancel a task and wait for its end; its result when it was faster."""
    task.cancel()
    await asyncio.wait([task])
    return None if task.cancelled() else task.result()


async def first_of(*works: Coroutine[Any, Any, None]) -> None:
    """Run these side by side until the first has ended, cancel the others, and raise what any of them raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()
