"""One connection to Redis. What was begun on it is finished, whoever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import Sequence
from typing import Any

import hiredis
from redis import exceptions as client
from redis.asyncio.connection import AbstractConnection

from ._redis_errors import ERRORS, is_wrong_server, meaning, refusal
from ._redis_scripts import Command, text_of
from ._redis_server import Server
from .clock import patience
from .errors import ConfigurationError, NotificationError, QueueClosed, QueueUnavailable

_TURNS = 5
"""Redirections and reloads after which a call is given up."""
_READS = frozenset({
    "GET", "HEXISTS", "HGET", "HGETALL", "HKEYS", "LINDEX", "LLEN", "LRANGE", "XLEN", "XPENDING", "XRANGE", "ZCARD",
    "ZRANGE", "ZSCORE",
})  # fmt: skip
"""Asked once more when a script before them had to be: they were to see what it did."""
_NOTHING_RAN = (client.AuthenticationError, client.BusyLoadingError)
"""What the client raises like a broken connection, although the server has answered."""


class Link:
    """Runs calls one at a time, each in a task of its own: a command that is cancelled loses the event in its reply.

    block: seconds for which its commands may wait at the server. Reconnects with the next call after a failure, and
    never sends a command twice that may have been run.
    """

    def __init__(self, server: Server, *, block: float = 0.0) -> None:
        self._server, self._patience = server, block + server.timeout
        self._connection: AbstractConnection | None = None
        self._lock = asyncio.Lock()
        self._under_way: set[asyncio.Task[list[Any]]] = set()
        self._closed = False
        self.breaks = 0
        """Connections that broke so far: what was read or blocked on before may have been served all the same."""

    async def call(self, *commands: Command) -> list[Any]:
        """Send these in one write and return their replies. A caller that is cancelled does not stop them.

        Raises QueueError: the first error that the server replied, or what broke the connection.
        """
        return await finished(self.begin(*commands))

    def begin(self, *commands: Command) -> asyncio.Task[list[Any]]:
        """The same as a task, which runs to its end; await it with `finished`, never directly."""
        task = asyncio.ensure_future(self._run(_Call(commands), closed=self._closed))
        self._under_way.add(task)
        task.add_done_callback(self._over)
        return task

    async def open(self, *commands: Command) -> None:
        """Connect and look at the server, then call these. Raises ConfigurationError for what no waiting heals."""
        await self._run(_Call(commands, opening=True), closed=self._closed)

    async def close(self) -> None:
        """Wait for what was begun, as far as the connection stands, and disconnect. Idempotent."""
        self._closed = True
        if self._under_way:
            await asyncio.wait(set(self._under_way))
        await self._disconnect()

    def _over(self, task: asyncio.Task[list[Any]]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # a caller that went away does not ask for it

    # -- in the task

    async def _run(self, call: _Call, *, closed: bool) -> list[Any]:
        if closed:
            raise QueueClosed(f"{self._server.name}: the queue is closed")
        async with self._lock:
            for _ in range(_TURNS):
                connection = await self._reached(call)
                refused = call.answered(await self._sent(connection, call))
                if refused is None:
                    return call.replies
                await self._mend(connection, call, refused)
        raise QueueUnavailable(f"{self._server.name} redirects again and again", may_have_been_stored=call.ran)

    async def _reached(self, call: _Call) -> AbstractConnection:
        try:
            return await self._connected()
        except ConfigurationError as error:
            if call.opening:
                raise
            # another server than before answers; that may be put right
            raise QueueUnavailable(str(error), may_have_been_stored=call.ran) from error
        except ERRORS as error:
            raise self._meaning(error, call) from error

    async def _sent(self, connection: AbstractConnection, call: _Call, load: Sequence[bytes] = ()) -> list[Any]:
        """What was answered to what is open, or to the loading of scripts."""
        try:
            return await self._exchange(connection, load or call.packed())
        except ERRORS as error:
            await self._broken()
            call.ran = call.ran or not (load or isinstance(error, _NOTHING_RAN))
            raise self._meaning(error, call) from error
        except BaseException:
            await self._broken()
            raise

    async def _exchange(self, connection: AbstractConnection, packed: Sequence[bytes]) -> list[Any]:
        replies: list[Any] = []
        async with patience(self._patience):
            await connection.send_packed_command(packed, False)
            for _ in packed:
                try:
                    replies.append(await connection.read_response(disable_decoding=True))
                except client.ResponseError as error:
                    replies.append(error)
        return replies

    async def _mend(self, connection: AbstractConnection, call: _Call, refused: Exception) -> None:
        """Return when what was refused can be sent once more: the reason is gone. Raises for every other one."""
        if isinstance(refused, client.NoScriptError) and (texts := call.scripts()):
            loaded = await self._sent(connection, call, [_pack(("SCRIPT", "LOAD", text)) for text in texts])
            refused = next(filter(None, map(refusal, loaded)), None) or refused
            if isinstance(refused, client.NoScriptError):
                return
        if isinstance(refused, client.MovedError) and self._server.is_cluster:
            self._server.moved(refused)
            await self._disconnect()
            return
        if is_wrong_server(refused):
            self._server.forget()
            await self._broken()
        raise self._meaning(refused, call) from refused

    def _meaning(self, error: Exception, call: _Call) -> NotificationError:
        return meaning(error, self._server.name, unknown=call.ran, opening=call.opening)

    async def _connected(self) -> AbstractConnection:
        connection = self._connection
        if connection is not None and _is_alive(connection):
            return connection
        await self._disconnect()
        if self._closed:
            raise QueueClosed(f"{self._server.name}: the queue is closed")
        self._connection = await self._server.connect()
        return self._connection

    async def _broken(self) -> None:
        self.breaks += 1
        await self._disconnect()

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*ERRORS):
                await connection.disconnect(nowait=True)


class _Call:
    """Commands, and what was answered so far. ran: some of them may have changed something. opening: see `meaning`."""

    def __init__(self, commands: Sequence[Command], *, opening: bool = False) -> None:
        self.replies: list[Any] = [None] * len(commands)
        self.ran = False
        self.opening = opening
        self._commands = commands
        self._open: Sequence[int] = range(len(commands))
        self._transaction = bool(commands) and commands[-1][0] == "EXEC"

    def packed(self) -> list[bytes]:
        """What is to be sent now."""
        return [_pack(self._commands[at]) for at in self._open]

    def answered(self, replies: Sequence[Any]) -> Exception | None:
        """The first refusal, if any. What ran keeps its reply; what was refused, and what read after it, is open."""
        for at, reply in zip(self._open, replies, strict=True):
            self.replies[at] = reply
        if self._transaction:
            return self._executed()
        errors = [at for at in self._open if isinstance(self.replies[at], client.ResponseError)]
        if not errors:
            return None
        again = {at for at in self._open if at > errors[0] and self._commands[at][0] in _READS}
        self.ran = self.ran or any(at not in errors and self._commands[at][0] not in _READS for at in self._open)
        self._open = sorted(again.union(errors))
        return refusal(self.replies[errors[0]], self._commands[errors[0]])

    def scripts(self) -> set[bytes]:
        """The texts of all its scripts."""
        return {text for command in self._commands if (text := text_of(command))}

    def _executed(self) -> Exception | None:
        """All of a transaction is open again when the server refused to begin with it."""
        results = self.replies[-1]
        self.ran = isinstance(results, list) and not all(map(refusal, results))
        return next(filter(None, map(refusal, [*self.replies[:-1], results])), None)


def _pack(command: Command) -> bytes:
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub knows tuples of one element only
    return packed


def _is_alive(connection: AbstractConnection) -> bool:
    """Whether the server has not hung up meanwhile, nor said what nobody asked for: nothing is sent on it then.

    So nobody has to wonder whether a command was run, and no reply is taken for that of another one.
    """
    reader: Any = connection._reader  # the client has no other way to ask without reading
    writer: Any = connection._writer
    parser: Any = connection._parser
    if not connection.is_connected or reader.at_eof() or reader.exception() or reader._buffer:
        return False
    if parser._reader.has_data():
        return False
    heard = select.poll()  # what the event loop has had no time to read: a system call of a microsecond
    heard.register(writer.get_extra_info("socket").fileno(), select.POLLIN)
    return not heard.poll(0)


async def finished(task: asyncio.Task[list[Any]]) -> list[Any]:
    """Its result; cancelling this leaves the task alone."""
    if not task.done():
        over = asyncio.get_running_loop().create_future()  # asyncio.wait costs a tenth of the trip
        task.add_done_callback(lambda _: _wake(over))
        await over
    try:
        return task.result()
    except asyncio.CancelledError:
        raise QueueClosed("the event loop ends") from None


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
