"""One connection to Redis. What was begun on it is finished, whoever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import hiredis
from redis import exceptions as client
from redis.asyncio.connection import AbstractConnection

from ._redis_errors import ERRORS, meaning
from ._redis_scripts import Command, text_of
from ._redis_server import Server
from .errors import QueueClosed

_TURNS = 5
"""Redirections and reloads after which a call is given up."""
_WRONG_SERVER = (client.ReadOnlyError, client.MasterDownError, client.ClusterDownError)


class Link:
    """Runs calls one at a time, each in a task of its own: a command that is cancelled loses the event in its reply.

    block: seconds for which its commands may wait at the server. Reconnects with the next call after a failure, and
    never sends a command twice that may have been run.
    """

    def __init__(self, server: Server, *, block: float = 0.0) -> None:
        self._server, self._block = server, block
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
        task = asyncio.ensure_future(self._run(commands))
        self._under_way.add(task)
        task.add_done_callback(self._over)
        return task

    async def open(self) -> None:
        """Connect and look at the server. Raises ConfigurationError for what no waiting heals."""
        try:
            async with self._lock:
                connection = await self._connected()
                [greeting] = await self._exchange(connection, [("HELLO", 2)])
        except ERRORS as error:
            raise meaning(error, self._server.name, sent=False, opening=True) from error
        if isinstance(greeting, client.ResponseError):
            raise meaning(greeting, self._server.name, sent=False, opening=True)
        self._server.check(greeting)

    async def close(self) -> None:
        """Wait for what is under way and disconnect. Idempotent."""
        self._closed = True
        if self._under_way:
            await asyncio.wait(set(self._under_way))
        await self._disconnect()

    def _over(self, task: asyncio.Task[list[Any]]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # a caller that went away does not ask for it

    # -- in the task

    async def _run(self, commands: Sequence[Command]) -> list[Any]:
        async with self._lock:
            sent = False
            for _ in range(_TURNS):
                try:
                    sent = False
                    connection = await self._connected()
                    sent = True
                    replies = await self._exchange(connection, commands)
                except ERRORS as error:
                    await self._broken()
                    raise meaning(error, self._server.name, sent=sent) from error
                except BaseException:
                    await self._broken()
                    raise
                if not await self._must_repeat(connection, commands, replies):
                    return replies
            raise meaning(client.TryAgainError("redirected again and again"), self._server.name, sent=False)

    async def _exchange(self, connection: AbstractConnection, commands: Sequence[Command]) -> list[Any]:
        await connection.send_packed_command([_pack(command) for command in commands], False)
        replies: list[Any] = []
        for _ in commands:
            try:
                replies.append(await connection.read_response(disable_decoding=True))
            except client.ResponseError as error:
                replies.append(error)
        return replies

    async def _must_repeat(
        self, connection: AbstractConnection, commands: Sequence[Command], replies: Sequence[Any]
    ) -> bool:
        """Whether nothing was run, for a reason that is gone now. Raises what the server refused for another one."""
        refused = next((reply for reply in replies if isinstance(reply, client.ResponseError)), None)
        if refused is None:
            return False
        if isinstance(refused, client.NoScriptError):
            texts = {text for command in commands if (text := text_of(command))}
            await self._exchange(connection, [("SCRIPT", "LOAD", text) for text in texts])
            return True
        if isinstance(refused, client.MovedError) and self._server.is_cluster:
            self._server.moved(refused)
            await self._disconnect()
            return True
        if isinstance(refused, _WRONG_SERVER):
            self._server.forget()
            await self._broken()
        raise meaning(refused, self._server.name, sent=True)

    async def _connected(self) -> AbstractConnection:
        if self._closed:
            raise QueueClosed(f"{self._server.name}: the queue is closed")
        connection = self._connection
        if connection is not None and _is_alive(connection):
            return connection
        await self._disconnect()
        self._connection = await self._server.connect(block=self._block)
        return self._connection

    async def _broken(self) -> None:
        self.breaks += 1
        await self._disconnect()

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*ERRORS):
                await connection.disconnect(nowait=True)


def _pack(command: Command) -> bytes:
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub knows tuples of one element only
    return packed


def _is_alive(connection: AbstractConnection) -> bool:
    """Whether the server has not hung up meanwhile: then nothing is sent on it, and nobody has to wonder."""
    reader = connection._reader  # the client has no other way to ask without reading
    return connection.is_connected and reader is not None and not reader.at_eof() and reader.exception() is None


async def finished(task: asyncio.Task[list[Any]]) -> list[Any]:
    """Its result; cancelling this leaves the task alone."""
    await asyncio.wait([task])
    try:
        return task.result()
    except asyncio.CancelledError:
        raise QueueClosed("the event loop ends") from None
