"""A dispatcher on a queue of this process and a clock that the test moves, and what it did, to be asserted."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any, Protocol, Self, TypeVar, overload

from queues.errors import ConfigurationError, QueueClosed
from queues.message import Message

from ..dispatcher import EventDispatcher
from . import expectation
from .expectation import Wanted
from .recording import Dispatch, Record, Run
from .rehearsal import Rehearsal
from .rest import Activity
from .virtual_clock import VirtualClock

E = TypeVar("E")
_GRACE = 0.01
"""Seconds, on the test's clock, from leaving a tester to the moment when nothing is waited for any more."""


class EventTester:
    """Inside `async with EventTester(dispatcher) as tester:` the dispatcher works, with all its handlers, settings and
    middleware, on a queue of this process and a clock of its own; afterwards it is what it was before.

    The same code runs as in production: workers, order by key, retries, dead letters. Events travel as JSON, so that
    what a real queue would refuse is refused here. The application dispatches through the same object as always; its
    own `start()`, `stop()` and `async with dispatcher` change nothing while it is tested. `dispatch_soon` works from
    any thread, `blocking()` from any but the test's own, where it would wait for itself: call what uses it by
    `await asyncio.to_thread(...)`. Await `settle()` where production would `join()`, which also waits for retries and
    delays that only `clock.advance()` brings about.

    dispatcher: not open. workers: events at a time; 0 only dispatches. now: the time at which the clock begins, an
    aware datetime; None: the machine's. patience: real seconds in which everything that is due must be handled. hang:
    real seconds without progress after which `clock.advance()` moves on past a handler; see there. clock: that of
    another tester, to move both at once; then `now`, `patience` and `hang` are that one's.

    Entering raises ConfigurationError when the dispatcher is open or tested already, and whatever `start()` raises.
    Leaving stops in order, cuts off what hangs, and takes no longer for it than a few times `hang`; a plain function
    that never ends stays in its thread. What was recorded can be asserted afterwards, too.

    The assertions take values of fields, which must be equal. A field named like one of their own parameters (`times`,
    `handler`, `reason`) can't be given: look at it in what they return.
    """

    def __init__(
        self, dispatcher: EventDispatcher, *, workers: int = 1, now: datetime | None = None, patience: float = 5.0,
        hang: float = 0.5, clock: VirtualClock | None = None,
    ) -> None:  # fmt: skip
        self.clock: VirtualClock = clock if clock is not None else VirtualClock(now, patience=patience, hang=hang)
        """The dispatcher's time; `await tester.clock.advance("2h")` moves it, `tester.clock.now()` tells it."""
        self._dispatcher, self._workers = dispatcher, workers
        self._record = Record(self.clock)
        self._own = dispatcher._life
        self._rehearsal: Rehearsal | None = None
        self._activity: Activity | None = None

    async def __aenter__(self) -> Self:
        if self._rehearsal is not None:
            raise ConfigurationError("an EventTester is entered once; make another one")
        self._own = self._dispatcher._life
        self._rehearsal = Rehearsal.of(self._own, self.clock.onlookers, self._record)
        self._dispatcher._life = self._rehearsal
        try:
            await self._dispatcher.start(self._workers)
        except BaseException:
            self._dispatcher._life = self._own
            raise
        self._activity = Activity(self._rehearsal.opened()[0])
        self.clock.rest.activities.append(self._activity)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._rehearsal is not None
        assert self._activity is not None
        self._record.leaving = True
        try:
            await self.clock.finish(asyncio.ensure_future(self._rehearsal.end(_GRACE)), _GRACE)
        finally:
            self.clock.rest.activities.remove(self._activity)
            self._dispatcher._life = self._own

    async def settle(self) -> None:
        """Wait, in real time, until everything that is due now has been handled. Delays and retries that lie in the
        future stay there.

        Raises AssertionError, naming the handlers that still run, after `patience` seconds; QueueClosed before the
        tester is entered and after it is left.
        """
        if self._rehearsal is None:
            raise QueueClosed("the tester is not entered: `async with EventTester(dispatcher) as tester:`")
        self._rehearsal.opened()
        await self.clock.rest.reached()
        self._rehearsal.opened()  # or what ended it would look like rest

    # -- what happened

    @property
    def dispatched(self) -> list[Dispatch]:
        """What the queue accepted, in order: what handlers dispatched, too, and delayed events at once."""
        return self._record.dispatched

    @property
    def runs(self) -> list[Run]:
        """The runs of handlers, in the order in which they ended."""
        return self._record.runs

    @property
    def dead(self) -> list[Message]:
        """The dead letters, in order: each with the `reason`, `handler` and `error` of its death in `.dead`."""
        return self._record.dead

    # -- what should have happened

    @overload
    def assert_dispatched(self, event: type[E], /, *, times: int | None = None, **fields: object) -> E: ...
    @overload
    def assert_dispatched(self, event: str, /, *, times: int | None = None, **fields: object) -> Message: ...
    def assert_dispatched(self, event: type[Any] | str, /, *, times: int | None = None, **fields: object) -> Any:
        """At least one such event was dispatched, or exactly `times`. Returns the last one.

        event: its class, or a type name for those without one, which are found by the members of their data and
        returned as messages. Raises AssertionError, which says what was dispatched; ConfigurationError for a field
        that the class does not have.
        """
        __tracebackhide__ = True
        wanted = Wanted.of(event, fields)
        found = [each for each in self.dispatched if wanted.is_met_by(each.message)]
        if expectation.met(found, times):
            return wanted.event_in(found[-1].message)
        raise AssertionError(expectation.of_dispatches(wanted, found, self.dispatched, times))

    def assert_not_dispatched(self, event: type[Any] | str, /, **fields: object) -> None:
        """No such event was dispatched. Raises AssertionError, which shows it."""
        __tracebackhide__ = True
        wanted = Wanted.of(event, fields)
        if found := [each for each in self.dispatched if wanted.is_met_by(each.message)]:
            raise AssertionError(expectation.unwanted(wanted, found))

    def assert_handled(
        self, event: type[Any] | str, /, *, handler: str | None = None, times: int | None = None, **fields: object
    ) -> Run:
        """At least one run for such an event ended well, or exactly `times`. Returns the last one.

        handler: the name of the one that ran; None: any. Raises AssertionError, which says what ran and why it failed;
        ConfigurationError for a handler that is not registered.
        """
        __tracebackhide__ = True
        wanted = Wanted.of(event, fields)
        expectation.check_handler(handler, self._dispatcher.handlers)
        runs = [run for run in self.runs if wanted.is_met_by(run.message) and handler in {None, run.handler}]
        found = [run for run in runs if run.error is None]
        if expectation.met(found, times):
            return found[-1]
        raise AssertionError(expectation.of_runs(wanted, handler, found, runs=runs, record=self._record, times=times))

    def assert_dead(
        self, event: type[Any] | str, /, *, reason: str | None = None, handler: str | None = None,
        times: int | None = None, **fields: object,
    ) -> Message:  # fmt: skip
        """At least one dead letter of such an event was written, or exactly `times`. Returns the last one.

        reason: one word: `attempts`, `fatal`, `rejected`, `expired`, `unknown`, `corrupt`; None: any. handler: in which
        it died. Raises AssertionError, which says what is among the dead letters; ConfigurationError for a handler
        that is not registered.
        """
        __tracebackhide__ = True
        wanted = Wanted.of(event, fields)
        expectation.check_handler(handler, self._dispatcher.handlers)
        found = [letter for letter in self.dead if wanted.is_met_by(letter) and _died_of(letter, reason, handler)]
        if expectation.met(found, times):
            return found[-1]
        raise AssertionError(expectation.of_letters(wanted, reason, handler, found, letters=self.dead, times=times))


def _died_of(letter: Message, reason: str | None, handler: str | None) -> bool:
    assert letter.dead is not None
    return reason in {None, letter.dead.reason} and handler in {None, letter.dead.handler}


class OpenTester(Protocol):
    """What the pytest fixture `event_tester` is: `tester = await event_tester(dispatcher, workers=2)`.

    The parameters are those of `EventTester`; it is left when the test is over.
    """

    async def __call__(
        self,
        dispatcher: EventDispatcher,
        *,
        workers: int = 1,
        now: datetime | None = None,
        patience: float = 5.0,
        hang: float = 0.5,
        clock: VirtualClock | None = None,
    ) -> EventTester:
        """Enter a tester of this dispatcher."""
        ...  # fmt: skip
