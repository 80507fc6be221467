"""What operators do with a queue: make it, see which there are, look at one, delete it, ask who lags behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from attrs import field, frozen

from .base import QueueStats
from .errors import ConfigurationError, Unsupported
from .url import QueueURL

Value = str | int | float | bool | None
"""Of a fact: what fits one cell of a table. None: there is nothing to say."""


@frozen
class NoOptions:
    """Of a queue that is made in one way only."""


@frozen
class Change:
    """What `create` or `delete` did to one store of events.

    name: of the store; done: one word, such as `created`, `exists`, `grown`, `emptied` or `deleted`; note: figures, and
    what the operator has to know.
    """

    name: str
    done: str
    note: str = ""


@frozen
class Share:
    """A part of what a consumer group has not settled: the events of one partition, or those that one consumer has.

    lag: how many events; partition: None where there are none; owner: the consumer that has it, None: nobody; group:
    None where there are none. The shares of a group together are what waits and what is in flight.
    """

    lag: int
    partition: int | None = None
    owner: str | None = None
    group: str | None = None


@frozen
class QueueInfo:
    """One queue, as operators see it.

    name: of the queue; stats: its figures, for the URL's group where there are groups; facts: what else there is to
    say, in the backend's words and in the order to show it; tables: the same of its parts, as rows under a title, and
    only from `describe`.
    """

    name: str
    stats: QueueStats
    facts: Mapping[str, Value] = field(factory=dict)
    tables: Mapping[str, Sequence[Mapping[str, Value]]] = field(factory=dict)


class QueueAdmin:
    """Administration of one queue and of what lies beside it: its dead letters, its delayed events.

    A plugin overrides what makes sense for its broker; the rest raises Unsupported. All methods are called from one
    event loop and never block it; they raise QueueErrors and ConfigurationErrors. A queue that does not exist is a
    ConfigurationError that names the command, see `no_such_queue`. url: of the queue; the constructor connects to
    nothing.
    """

    options: ClassVar[type] = NoOptions
    """An attrs class, the options of `create`. The command makes a flag of each field: by its name, its type (`int`,
    `float`, `bool`, `str`, `Literal[…]`, `Seconds`, each with `| None`), its default, and `metadata={"help": …}`."""

    def __init__(self, url: QueueURL) -> None:
        self.url: QueueURL = url

    async def open(self) -> None:
        """Connect. Raises ConfigurationError, QueueUnavailable."""

    async def close(self) -> None:
        """Let go of everything. Idempotent."""

    async def create(self, options: Any) -> Sequence[Change]:
        """Make the queue and what lies beside it; what exists already is told. options: an instance of the class."""
        raise self._unable("create queues: there is nothing to make before the first event")

    async def list(self) -> Sequence[QueueInfo]:
        """The queues of this place, by name, without those that lie beside another one."""
        raise self._unable("list queues")

    async def describe(self) -> QueueInfo:
        """The queue of the URL, in full."""
        raise self._unable("describe a queue")

    async def delete(self) -> Sequence[Change]:
        """Delete all events, dead letters and delayed ones too, for good. Raises QueueError while it is consumed."""
        raise self._unable("delete queues")

    async def lag(self, *, own: bool = False) -> Sequence[Share]:
        """What each consumer group has before it, partition by partition. own: of the URL's group only."""
        raise self._unable("tell lag")

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _unable(self, what: str) -> Unsupported:
        return Unsupported(f"{self.url.scheme}:// can't {what}")


def no_such_queue(url: QueueURL, missing: str = "the queue") -> ConfigurationError:
    """The error of the queue of this url that was not made yet. missing: what of it is not there."""
    return ConfigurationError(f"{url}: {missing} does not exist; `notification queue create '{url}'` makes it")


def counted(number: int, thing: str = "event") -> str:
    """`1 event`, `2 events`, `12,000 events`: for the note of a change."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
