"""Administration of a list or a stream: what a user of Redis who may use the queue may do, and no more."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve

from . import _redis_list_look as look
from ._redis_keys import Keys
from ._redis_link import Link
from ._redis_scripts import Argument
from ._redis_server import Server
from ._redis_stream_owner import aside, settled
from .admin import Change, QueueAdmin, QueueInfo, Share, Value, counted
from .base import MessageQueue, QueueStats
from .errors import QueueError, QueueUnavailable, Unsupported
from .redis_list import ListOptions, RedisListQueue
from .redis_stream import GROUP, RedisStreamQueue, StreamOptions
from .url import DEAD, QueueURL

_HANDED_BACK = "released"
"""The consumer under whose name a stream keeps what was handed back."""


class RedisAdmin(QueueAdmin, ABC):
    """What both have in common. Redis has no list of its queues."""

    def __init__(self, url: QueueURL, server: Server) -> None:
        super().__init__(url)
        self._link = Link(server)
        self._keys = Keys.of(url.name)

    async def open(self) -> None:
        await self._link.open()

    async def close(self) -> None:
        await self._link.close()

    async def list(self) -> Sequence[QueueInfo]:
        """Raises Unsupported: to find them, Redis would have to look at every key it has."""
        raise Unsupported(
            f"{self.url.scheme}:// can't list queues: Redis does not know which keys are queues; "
            "`notification queue describe URL` shows one"
        )

    async def delete(self) -> Sequence[Change]:
        """All keys of the queue and of its dead letters, those of each in one step."""
        changes: list[Change] = []
        for url in (self.url, self.url.sibling(DEAD)):
            keys = Keys.of(url.name)
            if consumers := await self._consumers(keys):
                raise QueueError(f"{url.name} is being consumed by {', '.join(consumers)}; stop them first")
            stats = await self._stats(url)
            count = stats.waiting + (stats.in_flight or 0) + (stats.delayed or 0)
            await self._link.call(("DEL", *await self._all_keys(keys)))
            changes.append(Change(url.name, "deleted", counted(count)))
        return changes

    @abstractmethod
    def _queue(self, url: QueueURL) -> MessageQueue:
        """Unopened."""

    @abstractmethod
    async def _consumers(self, keys: Keys) -> Sequence[str]:
        """Those whose lease is not over."""

    @abstractmethod
    async def _all_keys(self, keys: Keys) -> Sequence[Argument]:
        """Those that there may be."""

    async def _stats(self, url: QueueURL) -> QueueStats:
        queue = self._queue(url)
        queue.url = url
        async with queue:
            return await queue.stats()

    async def _alive(self, leases: str) -> dict[str, float]:
        """Who has a lease, and how many seconds are left of it."""
        [(seconds, micros)] = await self._link.call(("TIME",))
        [found] = await self._link.call(("ZRANGE", leases, 0, -1, "WITHSCORES"))
        now = int(seconds) + int(micros) / 1e6
        left = {name.decode(): float(till) / 1000 - now for name, till in zip(found[::2], found[1::2], strict=True)}
        return {name: seconds for name, seconds in left.items() if seconds > 0}


class RedisListAdmin(RedisAdmin):
    """Of a list."""

    def __init__(self, url: QueueURL) -> None:
        self._queue(url)  # what is wrong with the URL is raised here
        super().__init__(url, Server(url, url.read(ListOptions)))

    async def create(self, options: Any) -> Sequence[Change]:
        """Looks whether there is a server, and nothing else under this name."""
        await self._stats(self.url)
        return [Change(self.url.name, "ready", "a list begins with its first event; there is nothing to make")]

    async def describe(self) -> QueueInfo:
        """Its figures, its key, and who has events of it."""
        owners: list[Mapping[str, Value]] = [
            {"owner": one.owner, "in flight": one.lag} for one in await self.lag() if one.owner
        ]
        stats = await self._stats(self.url)
        return QueueInfo(self.url.name, stats, {"key": self._keys.waiting}, {"owners": owners})

    async def lag(self, *, own: bool = False) -> Sequence[Share]:
        """There are no groups: what waits, and what each owner has."""
        waiting, held = await look.lag(self._link, self._keys)
        return [Share(waiting), *(Share(lag, owner=owner) for owner, lag in held.items())]

    def _queue(self, url: QueueURL) -> MessageQueue:
        return RedisListQueue.from_url(url)

    async def _consumers(self, keys: Keys) -> Sequence[str]:
        alive = await self._alive(keys.leases)
        buried = await self._link.call(*(("HEXISTS", keys.own(name), "grave") for name in alive)) if alive else []
        return [name for name, grave in zip(alive, buried, strict=True) if not grave]

    async def _all_keys(self, keys: Keys) -> Sequence[Argument]:
        names: list[Argument] = [
            keys.waiting, keys.leases, keys.delayed, keys.bell, keys.seq, keys.seen, keys.settled,
            keys.order, keys.parked_total,
        ]  # fmt: skip
        [owners, parked] = await self._link.call(("ZRANGE", keys.leases, 0, -1), ("HKEYS", keys.order))
        names += [keys.parked.encode() + key for key in parked]
        for owner in (name.decode() for name in owners):
            [fields] = await self._link.call(("HKEYS", keys.own(owner)))
            names += [keys.own(owner), f"{keys.own(owner)}:more"]
            names += [keys.batch(owner, int(field)) for field in fields if field.isdigit()]
        return names


class RedisStreamAdmin(RedisAdmin):
    """Of a stream. `create` makes the URL's group, so that events are kept for it before it consumes."""

    def __init__(self, url: QueueURL) -> None:
        self._queue(url)  # what is wrong with the URL is raised here
        super().__init__(url, Server(url, url.read(StreamOptions)))
        self._group = url.group or GROUP

    async def create(self, options: Any) -> Sequence[Change]:
        """The stream, if there is none, and the group, which begins at the oldest event."""
        stream, group = self._keys.waiting, self._group
        if group in await self._groups(self._keys):
            return [Change(self.url.name, "exists", f"with the group {group}")]
        await self._link.call(("XGROUP", "CREATE", stream, group, "0", "MKSTREAM"))
        return [Change(self.url.name, "created", f"the group {group}, which begins at the oldest event")]

    async def describe(self) -> QueueInfo:
        """Its figures, its key, its groups, and who has events of it."""
        shares = await self.lag()
        groups = await self._groups(self._keys)
        return QueueInfo(
            self.url.name,
            await self._stats(evolve(self.url, group=self._group)),
            {"key": self._keys.waiting},
            {
                "groups": [
                    {"group": name, "lag": sum(one.lag for one in shares if one.group == name)} for name in groups
                ],
                "consumers": [
                    {"consumer": one.owner, "group": one.group, "in flight": one.lag} for one in shares if one.owner
                ],
            },
        )

    async def lag(self, *, own: bool = False) -> Sequence[Share]:
        """Of each group what waits, and what each of its consumers has."""
        shares: list[Share] = []
        groups = await self._groups(self._keys)
        for group in [name for name in groups if name == self._group or not own]:
            stats = await self._stats(evolve(self.url, group=group))
            shares.append(Share(stats.waiting, group=group))
            shares += [Share(lag, owner=name, group=group) for name, lag in await self._pending(group)]
        return shares

    def _queue(self, url: QueueURL) -> MessageQueue:
        return RedisStreamQueue.from_url(url)

    async def _groups(self, keys: Keys) -> Sequence[str]:
        try:
            [found] = await self._link.call(("XINFO", "GROUPS", keys.waiting))
        except QueueUnavailable as error:
            if "no such key" in str(error):
                return []
            raise
        return [_facts(one)["name"].decode() for one in found]

    async def _pending(self, group: str) -> Sequence[tuple[str, int]]:
        [found] = await self._link.call(("XINFO", "CONSUMERS", self._keys.waiting, group))
        pending = [(_facts(one)["name"].decode(), _facts(one)["pending"]) for one in found]
        return [(name, count) for name, count in pending if name != _HANDED_BACK]

    async def _consumers(self, keys: Keys) -> Sequence[str]:
        return [
            f"{name} of the group {group}"
            for group in await self._groups(keys)
            for name in await self._alive(keys.beside(f"leases:{group}"))
        ]

    async def _all_keys(self, keys: Keys) -> Sequence[Argument]:
        names = [keys.waiting, keys.delayed, keys.bell, keys.seq, keys.seen, settled(keys), aside(keys)]
        for group in await self._groups(keys):
            names += [keys.beside(f"leases:{group}"), keys.beside(f"started:{group}")]
        return names


def _facts(reply: Sequence[Any]) -> dict[str, Any]:
    return {name.decode(): value for name, value in zip(reply[::2], reply[1::2], strict=True)}
