"""Looking at a switch: its figures are those of all routes, and what waits is what waits in any of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from ._switch_browse import in_turn, together
from ._switch_figures import each, total
from ._switch_route import Route
from .base import MessageQueue, QueueStats, name_of
from .errors import ConfigurationError, QueueError
from .message import Message


class Looking(MessageQueue):
    """The part of a switch that changes nothing."""

    @property
    @abstractmethod
    def _every(self) -> Sequence[Route]:
        """The routes. Raises QueueClosed."""

    @property
    @abstractmethod
    def _written(self) -> str:
        """The route that is written, as far as is known."""

    async def size(self) -> int:
        """Of the routes that answer. Raises QueueUnavailable when the one that is written does not, or none does."""
        sizes = await each(self._every, lambda queue: queue.size())
        errors = {name: answer for name, answer in sizes.items() if isinstance(answer, QueueError)}
        if errors and (len(errors) == len(sizes) or self._written in errors):
            raise errors.get(self._written) or next(iter(errors.values()))
        return sum(answer for answer in sizes.values() if isinstance(answer, int))

    async def stats(self) -> QueueStats:
        """All routes together. Raises QueueUnavailable when one does not answer."""
        answers = await self.stats_by_route()
        for answer in answers.values():
            if isinstance(answer, QueueError):
                raise answer
        return total([answer for answer in answers.values() if isinstance(answer, QueueStats)])

    async def stats_by_route(self) -> dict[str, QueueStats | QueueError]:
        """How each route stands, or why it can't be asked."""
        return await each(self._every, lambda queue: queue.stats())

    def browse(self, *, since: datetime | str | None = None, follow: bool = False) -> AsyncIterator[Message]:
        """One route after another; with `follow` all at once. `since` is a time: positions are of one queue."""
        if isinstance(since, str):
            raise ConfigurationError(
                f"the position {since!r} is of one queue, and this is a {name_of(self)}; name that one"
            )
        views = [route.opened().browse(since=since, follow=follow) for route in self._every]
        return together(views) if follow else in_turn(views)
