"""From a delivery to the handlers of its event, and from what they did to an outcome."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

import anyio.lowlevel
from attrs import evolve, frozen

from queues.clock import Clock
from queues.errors import CorruptMessage, HandlerSignal, UnknownEvent, escape
from queues.message import CORRUPT_TYPE, Delivery, Message, about
from workers.desk import Desk, is_stray_cancellation
from workers.outcome import DONE, UNTOUCHED, Dead, Failure, Outcome, Untouched, bury, conclude, describe
from workers.retry import Again, RetryPolicy

from .handlers import Handlers, Step, read
from .settings import Unhandled

log: Final = logging.getLogger("notification.handlers")

_MAX_ROUTES = 4096


@frozen
class Route:
    """The steps for events of one type; `single` is set when there is just one."""

    steps: tuple[Step, ...]
    single: Step | None

    def pick(self, message: Message) -> list[Step]:
        """The steps still to run: all, or those whose names the message carries."""
        if not message.handlers:
            return list(self.steps)
        for name in set(message.handlers) - {step.name for step in self.steps}:
            log.warning(
                "event %s (%s) is for handler %s, which is not registered here",
                message.id, message.type, escape(name), extra=about(message, handler=escape(name)),
            )  # fmt: skip
        return [step for step in self.steps if step.name in message.handlers]


class Router:
    """The `Handling` of the pool: it decodes, runs handlers one after another, and concludes."""

    def __init__(
        self, handlers: Handlers, make: Callable[..., Step], clock: Clock, *,
        default: RetryPolicy, unhandled: Unhandled, queue: str = "",
    ) -> None:  # fmt: skip
        self._handlers = handlers
        self._make = make
        self._clock = clock
        self._default = default
        self._unhandled = unhandled
        self._queue = queue
        self._routes: dict[str, Route] = {}

    def route(self, type_name: str) -> Route:
        """The route of a type, worked out once."""
        route = self._routes.get(type_name)
        if route is None:
            steps = tuple(self._make(handler) for handler in self._handlers.of(type_name))
            route = Route(steps, steps[0] if len(steps) == 1 else None)
            if len(self._routes) >= _MAX_ROUTES:
                self._routes.clear()
            self._routes[type_name] = route
        return route

    async def run(self, delivery: Delivery, desk: Desk) -> Outcome:
        """Run what is still to run. Only a cancelled scope gets out of it as an exception."""
        message = delivery.message
        if message is None:
            return self._corrupt(delivery, str(delivery.error))
        route = self._routes.get(message.type) or self.route(message.type)
        step = route.single
        if step is None or message.handlers or desk.todo is not None:
            return await self._run_several(route, delivery, message, desk)
        try:
            argument = read(message, step.spec)
        except CorruptMessage as error:
            return self._corrupt(delivery, str(error))
        desk.begin(step.name, step.timeout)
        try:
            if step.direct is not None:
                await step.direct(argument)
            else:
                await step.invoke(argument, delivery, desk)
        except BaseException as error:  # noqa: BLE001 - a handler may raise anything; none of it may be taken for success
            failure = self._failed(step, delivery, error)
            desk.end()
            return conclude(message, [failure], self._clock.now())
        desk.timeout = None
        return DONE

    async def _run_several(self, route: Route, delivery: Delivery, message: Message, desk: Desk) -> Outcome:
        if desk.todo is None:
            if not route.steps:
                return self._nobody(delivery, message)
            desk.todo = route.pick(message)
            if not desk.todo:
                error = f"none of its handlers is registered: {', '.join(message.handlers)}"
                return self._dead(delivery, "unknown", error)
        while desk.todo:
            step: Step = desk.todo[0]
            await self._run_step(step, delivery, message, desk)
            desk.todo.pop(0)
            if desk.scope.cancel_called:
                await anyio.lowlevel.checkpoint()
        return conclude(message, desk.failures, self._clock.now())

    async def _run_step(self, step: Step, delivery: Delivery, message: Message, desk: Desk) -> None:
        desk.begin(step.name, step.timeout)
        try:
            await step.invoke(step.argument(message), delivery, desk)
        except CorruptMessage as error:
            desk.failures.append(Failure(step.name, error, "corrupt"))
            self._report(desk.failures[-1], delivery)
        except BaseException as error:  # noqa: BLE001 - see run()
            desk.failures.append(self._failed(step, delivery, error))
        desk.end()

    # -- what a failure means

    def interrupted(self, delivery: Delivery, desk: Desk, error: BaseException) -> None:
        """The running handler was cut off at its timeout."""
        message = delivery.expect()
        if desk.todo is None:
            desk.todo = self.route(message.type).pick(message)
        step: Step = desk.todo.pop(0)
        desk.failures.append(self._failure(step, delivery, error))

    def unfinished(self, delivery: Delivery, desk: Desk) -> Outcome:
        """Cut off at the end: untouched if none of its handlers is through, else the rest has to run."""
        message = delivery.expect()
        if desk.todo is None or desk.todo == self.route(message.type).pick(message):
            return UNTOUCHED
        again = [f.handler for f in desk.failures if isinstance(f.verdict, Again)]
        outcome = conclude(message, [f for f in desk.failures if not isinstance(f.verdict, Again)], self._clock.now())
        letters = (*outcome.also, outcome.letter) if isinstance(outcome, Dead) else ()
        names = (*again, *(step.name for step in desk.todo))
        return Untouched(evolve(message, handlers=names, not_before=None), letters)

    def _failed(self, step: Step, delivery: Delivery, error: BaseException) -> Failure:
        """What a handler raised, as a failure. Cancellation that was not the handler's own goes on its way."""
        if isinstance(error, asyncio.CancelledError) and not is_stray_cancellation():
            raise error
        if isinstance(error, KeyboardInterrupt | GeneratorExit):
            raise error
        return self._failure(step, delivery, error)

    def _failure(self, step: Step, delivery: Delivery, error: BaseException) -> Failure:
        message = delivery.expect()
        age = self._clock.wall() - message.time.timestamp()
        failure = Failure(step.name, error, step.policy.decide(error, message.attempt, age))
        self._report(failure, delivery)
        return failure

    def _corrupt(self, delivery: Delivery, reason: str) -> Outcome:
        return self._dead(delivery, "corrupt", reason)

    def _nobody(self, delivery: Delivery, message: Message) -> Outcome:
        """No handler at all: perhaps a newer process has one."""
        error = UnknownEvent(f"no handler is registered for events of type {message.type!r}")
        if self._unhandled == "skip":
            return DONE
        if message.type == CORRUPT_TYPE or self._unhandled == "dead_letter":
            return self._dead(delivery, "unknown", error)
        age = self._clock.wall() - message.time.timestamp()
        verdict = self._default.decide(error, message.attempt, age)
        failure = Failure("", error, verdict if isinstance(verdict, Again) else "unknown")
        self._report(failure, delivery)
        return conclude(message, [failure], self._clock.now())

    def _dead(self, delivery: Delivery, reason: str, error: Exception | str) -> Outcome:
        """A dead letter for an event that no handler saw."""
        message = delivery.expect()
        log.error(
            "event %s (%s, %d bytes) is a dead letter (%s): %s",
            message.id, message.type, delivery.size, reason, describe(error),
            extra=self._about(delivery, reason=reason),
        )  # fmt: skip
        return Dead(bury(message, reason, error, self._clock.now()))

    # -- what is said of it

    def _about(self, delivery: Delivery, **more: object) -> dict[str, object]:
        return about(delivery.expect(), event_bytes=delivery.size, queue=self._queue, **more)

    def _report(self, failure: Failure, delivery: Delivery) -> None:
        """One line a failed run. One that a handler asked for is no fault, and only of interest when debugging."""
        message, error = delivery.expect(), failure.error
        who = f"handler {failure.handler}" if failure.handler else "the search for a handler"
        extra = self._about(delivery, handler=failure.handler, error_type=type(error).__name__)
        asked = isinstance(error, HandlerSignal)
        if isinstance(failure.verdict, Again):
            log.log(
                logging.DEBUG if asked else logging.WARNING,
                "%s failed on event %s (%s), run %d: %s; again in %.2f s",
                who, message.id, message.type, message.attempt, describe(error), failure.verdict.delay,
                exc_info=error if log.isEnabledFor(logging.DEBUG) and not asked else None,
                extra=extra | {"again_in": failure.verdict.delay},
            )  # fmt: skip
        else:
            log.error(
                "%s failed on event %s (%s), run %d, the last (%s): %s",
                who, message.id, message.type, message.attempt, failure.verdict, describe(error),
                exc_info=None if asked else error, extra=extra | {"reason": failure.verdict},
            )  # fmt: skip


def order_of(handlers: Sequence[str]) -> str:
    """The strictest order that one of the handlers asks for: key, process or none."""
    return min(handlers, key=("key", "process", "none").index, default="none")
