"""How one route of a switch stands: what is left in it, and whether it can be retired."""

from __future__ import annotations

from typing import Any

from attrs import asdict, frozen

from queues.admin import Value
from queues.base import Capability, MessageQueue, QueueStats, name_of
from queues.errors import ConfigurationError, NotificationError
from queues.url import DEAD

from .inventory import figures_of
from .screen import duration

_NUMBERS = ("waiting", "in_flight", "delayed", "dead")


@frozen
class Standing:
    """name: of the route; queue: where it leads, without secrets; written: whether the flag names it, None: the flag
    can't be read. figures: None when it can't be asked; trouble: why.
    """

    name: str
    queue: str
    written: bool | None
    figures: QueueStats | None = None
    trouble: str = ""

    @property
    def left(self) -> int | None:
        """Events in it, dead letters apart; None: it can't say."""
        if self.figures is None or self.figures.in_flight is None:
            return None
        return self.figures.waiting + self.figures.in_flight + (self.figures.delayed or 0)

    @property
    def retire(self) -> str:
        """Whether it can be retired: `yes`, or why not."""
        if self.written is not False:
            return "no, it is written" if self.written else "unknown, the flag can't be read"
        if self.left is None:
            return "unknown, it does not say what is in flight" if self.figures else "unknown, it does not answer"
        if self.left:
            return f"no, {self.left:,} left"
        dead = self.figures.dead if self.figures is not None else None
        return "yes" if not dead else f"yes, but for {dead:,} dead letter{'' if dead == 1 else 's'}"

    @property
    def is_done(self) -> bool:
        """Whether it is written, or can be retired as it is."""
        return self.written is True or self.retire == "yes"

    def row(self) -> dict[str, Value]:
        """For a table."""
        written = {True: "yes", False: "no", None: "?"}[self.written]
        numbers: dict[str, Value] = {name: getattr(self.figures, name, None) for name in _NUMBERS}
        age = None if self.figures is None else self.figures.oldest_age
        return {
            "route": self.name,
            "written": written,
            **numbers,
            "oldest": None if age is None else duration(age),
            "retire": self.retire,
            "queue": self.queue,
        }

    def facts(self) -> dict[str, Any]:
        """For programs."""
        figures = asdict(self.figures) if self.figures is not None else {}
        return {
            "route": self.name, "queue": self.queue, "written": self.written, **figures,
            "retire": self.retire, "trouble": self.trouble,
        }  # fmt: skip

    def line(self) -> str:
        """For a log."""
        if self.figures is None:
            return f"{self.name}: {self.trouble}"
        figures = ", ".join(f"{name} {value}" for name, value in figures_of(self.figures))
        return f"{self.name}{' (written)' if self.written else ''}: {figures}, retire {self.retire}"


class View:
    """Looks at one route, opened beside the switch: also while another one is down, and again when it is back."""

    def __init__(self, name: str, queue: MessageQueue) -> None:
        self._name, self._queue = name, queue
        self._dead: MessageQueue | None = None
        self._is_open = False

    async def look(self, written: str | None) -> Standing:
        """How it stands now."""
        standing = Standing(self._name, name_of(self._queue), None if written is None else written == self._name)
        if Capability.LOCAL in self._queue.capabilities:
            return _with(standing, trouble="it lives inside each process, and can't be seen from here")
        try:
            return _with(standing, figures=await self._figures())
        except NotificationError as error:
            return _with(standing, trouble=str(error))

    async def _figures(self) -> QueueStats:
        if not self._is_open:
            await self._queue.open()
            self._is_open = True
        figures = await self._queue.stats()
        if figures.dead is not None:
            return figures
        return QueueStats(**{**asdict(figures), "dead": await self._dead_letters()})

    async def _dead_letters(self) -> int | None:
        """Where its figures leave them out; nobody knows for one without a sibling."""
        if self._dead is None:
            try:
                dead = self._queue.sibling(DEAD)
            except ConfigurationError:
                return None
            await dead.open()
            self._dead = dead
        return await self._dead.size()

    async def close(self) -> None:
        """Let go of it."""
        if self._dead is not None:
            await self._dead.close()
        if self._is_open:
            await self._queue.close()


def _with(standing: Standing, *, figures: QueueStats | None = None, trouble: str = "") -> Standing:
    return Standing(standing.name, standing.queue, standing.written, figures, trouble)
