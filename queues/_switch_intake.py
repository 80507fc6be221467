"""The way into a switch: each batch to the route that is written now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ._switch_choice import Choice, Gate
from ._switch_route import Route
from .base import Capability
from .errors import ConfigurationError, PushFailed, QueueError, Unsupported
from .message import Message


class Intake:
    """choose: your flag. strict: it may say `hold`, and a route is written once all others are empty."""

    def __init__(self, routes: Mapping[str, Route], choose: Callable[[], str], *, strict: bool) -> None:
        self.choice = Choice(choose, routes, may_hold=strict)
        self._routes = routes
        self._gate = Gate(self.choice, routes) if strict else None
        self._lacking: Route | None = None
        self.adopt()

    def adopt(self) -> None:
        """See what the routes can do."""
        every = self._routes.values()
        self._lacking = next((one for one in every if Capability.DELAY not in one.queue.capabilities), None)

    async def check(self) -> None:
        """Raises ConfigurationError when a strict switch could never know that a route is empty."""
        if self._gate is not None:
            for route in self._routes.values():
                if route.is_open and not await route.can_tell():
                    raise ConfigurationError(
                        f"{route} does not say what is in flight, so a strict switch can't know when it is empty; "
                        "leave strict out, or use another queue"
                    )

    async def push(self, message: Message, timeout: float | None) -> None:
        """As `MessageQueue.push`."""
        if message.not_before is not None and (refused := self._refusal(message)) is not None:
            raise refused
        with (await self._written()).taking() as queue:
            await queue.push(message, timeout=timeout)

    async def push_many(self, messages: Sequence[Message], timeout: float | None) -> None:
        """As `MessageQueue.push_many`. All go one way."""
        if self._lacking is not None and (errors := self._refusals(messages)):
            await self._push_others(messages, errors, timeout)
        with (await self._written()).taking() as queue:
            await queue.push_many(messages, timeout=timeout)

    async def _written(self) -> Route:
        return self._routes[self.choice.read()] if self._gate is None else await self._gate.pass_to()

    # -- what a route could not keep, no route is given

    def _refusals(self, messages: Sequence[Message]) -> dict[int, QueueError]:
        return {
            index: refused
            for index, message in enumerate(messages)
            if message.not_before is not None and (refused := self._refusal(message)) is not None
        }

    def _refusal(self, message: Message) -> Unsupported | None:
        if self._lacking is None or message.not_before is None or message.not_before <= self.choice.clock.now():
            return None
        return Unsupported(
            f"{self._lacking} can't keep an event until {message.not_before.isoformat()}: dispatch it without a delay, "
            "or let all routes be queues with DELAY"
        )

    async def _push_others(
        self, messages: Sequence[Message], errors: dict[int, QueueError], timeout: float | None
    ) -> None:
        places = [index for index in range(len(messages)) if index not in errors]
        try:
            if places:
                await self.push_many([messages[index] for index in places], timeout)
        except PushFailed as failed:
            errors |= {places[index]: error for index, error in failed.errors.items()}
        raise PushFailed(errors)
