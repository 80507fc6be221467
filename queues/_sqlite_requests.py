"""What is asked of the thread that owns the file, and how each request reads its answer."""

from __future__ import annotations

import asyncio
import sqlite3
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

from attrs import define, field

from .errors import NotificationError

COLUMNS = (
    "kind", "n", "queue", "owner", "receipt", "now", "wall", "until", "most", "each", "span", "bytes", "other",
    "deliveries", "args", "bodies",
)  # fmt: skip
"""Of the view `request`, in its order."""
Row = tuple[Any, ...]
ANSWERS = """
    SELECT n, value, lost, more, wake, json_group_array(seq), json_group_array(times), json_group_array(length(body)),
        group_concat(body, '') FROM (
            SELECT a.*, m.seq, CAST(m.times AS INTEGER) AS times, CAST(coalesce(m.body, '') AS BLOB) AS body
            FROM answer AS a LEFT JOIN chosen AS c ON c.n = a.n LEFT JOIN message AS m ON m.seq = c.seq
            ORDER BY a.n, c.seq
        ) GROUP BY n"""
_ROW = f"({', '.join('?' * len(COLUMNS))})"


class Answer(NamedTuple):
    """What a transaction says to its request `n`; the procedures give the meaning. The last four are of a hand-out."""

    n: int
    value: int
    lost: bytes | None
    more: int | None
    wake: float | None
    seqs: bytes
    times: bytes
    sizes: bytes
    bodies: bytes | None


NO_ANSWER = Answer(0, 0, None, None, None, b"[]", b"[]", b"[]", None)
NOT_YET = object()
"""The result of a request that goes on waiting."""


def row(kind: str | None, n: int | None = None, **values: Any) -> Row:
    """One row of a transaction."""
    values["kind"], values["n"] = kind, n
    return tuple(map(values.get, COLUMNS))


def run(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Run rows as one transaction."""
    width = 1 << (len(rows) - 1).bit_length()  # few widths: each is a statement that has to be prepared once
    values = [value for each in (*rows, *[row(None)] * (width - len(rows))) for value in each]
    connection.execute(f"INSERT INTO request VALUES {', '.join([_ROW] * width)}", values)  # noqa: S608 - question marks


@define(eq=False)
class Request:
    """Asked in an event loop and answered there, once. `result` or `error` is set by the thread.

    given_up: nobody waits for it any more. It is run all the same, unless it is `droppable` and still waits.
    """

    droppable: ClassVar[bool] = False
    given_up: bool = field(default=False, init=False)
    result: Any = field(default=NOT_YET, init=False)
    error: NotificationError | None = field(default=None, init=False)
    loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False)
    future: asyncio.Future[Any] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.future = self.loop.create_future()

    @property
    def done(self) -> bool:
        """Whether the thread has finished with it."""
        return self.result is not NOT_YET or self.error is not None

    def has_news(self) -> bool:
        """Whether `deliver` has something to tell although it is not done."""
        return False

    def deliver(self) -> None:
        """Called in the event loop once it is done."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


@define(eq=False)
class Call(Request):
    """A function of the connection, run between transactions. With the result NOT_YET it runs again after a change."""

    function: Callable[[sqlite3.Connection], Any]
    droppable: ClassVar[bool] = True


@define(eq=False)
class Written(Request):
    """A request that is a row of a transaction. Rows of one transaction run in the order of their `rank`.

    again: it got nothing, and has reason to try again at once.
    """

    rank: ClassVar[int] = 1
    again: bool = field(default=False, init=False)

    @property
    def answered(self) -> bool:
        """Whether it has to read an answer."""
        return True

    @abstractmethod
    def row(self, n: int) -> Row:
        """Its row, made anew for each transaction."""

    @abstractmethod
    def read(self, answer: Answer) -> None:
        """Set `result`, or leave it to wait."""
