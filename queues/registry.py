"""From a URL to a queue: our own backends, those registered by a call, and those of installed plugins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from .admin import QueueAdmin
from .base import MessageQueue
from .errors import ConfigurationError, MissingDependency, UnknownQueue, Unsupported
from .url import QueueURL, did_you_mean

QueueFactory = Callable[[QueueURL], MessageQueue]
"""Makes a queue for a URL, unopened. Raises ConfigurationError."""

AdminFactory = Callable[[QueueURL], QueueAdmin]
"""Makes the administration of the queue of a URL, unopened; the class will do. Raises ConfigurationError."""

ENTRY_POINTS = "notification.queues"
"""The entry-point group in which a plugin package names its schemes: `myscheme = "package.module:factory"`."""
ADMINS = "notification.admins"
"""The entry-point group of their administration, by the same names."""

REDIS = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
"""The ways to a Redis; with `+stream` behind them they lead to a stream."""

_BUILT_IN = {
    "channel": "queues.channel:ChannelQueue.from_url",
    "sqlite": "queues.sqlite:SQLiteQueue.from_url",
    "kafka": "queues.kafka:KafkaQueue.from_url",
    **dict.fromkeys(REDIS, "queues.redis_list:RedisListQueue.from_url"),
    **dict.fromkeys([f"{way}+stream" for way in REDIS], "queues.redis_stream:RedisStreamQueue.from_url"),
}
_BUILT_IN_ADMINS = {
    "kafka": "queues._kafka_admin:KafkaAdmin",
    "sqlite": "queues._sqlite_admin:SQLiteAdmin",
    **dict.fromkeys(REDIS, "queues._redis_admin:RedisListAdmin"),
    **dict.fromkeys([f"{way}+stream" for way in REDIS], "queues._redis_admin:RedisStreamAdmin"),
}
_registered: dict[str, QueueFactory] = {}
_registered_admins: dict[str, AdminFactory] = {}


def register_queue(
    scheme: str, factory: QueueFactory, *, admin: AdminFactory | None = None, replace: bool = False
) -> None:
    """Make `open_queue` call `factory` for URLs of this scheme, and `open_admin` call `admin`, in this process.

    factory: makes a queue, unopened, from the parsed URL; a class whose constructor takes one will do. admin: the same
    for its administration. Raises ConfigurationError when the scheme is taken, unless `replace`, and when no URL can
    have it.
    """
    QueueURL.parse(f"{scheme}://")
    if not replace and scheme in _known():
        raise ConfigurationError(f"{scheme}:// is registered already; replace=True takes its place")
    _registered[scheme] = factory
    _registered_admins.pop(scheme, None)
    if admin is not None:
        _registered_admins[scheme] = admin


def open_queue(url: str | QueueURL) -> MessageQueue:
    """The queue that a `url` names, not open yet: `async with` it, or await its `open()`, before use.

    Raises UnknownQueue, MissingDependency and other ConfigurationErrors.
    """
    if isinstance(url, str):
        url = QueueURL.parse(url)
    queue = _factory(url.scheme)(url)
    if not isinstance(queue, MessageQueue):
        raise ConfigurationError(f"the factory of {url.scheme}:// made a {type(queue).__name__}, not a MessageQueue")
    queue.url = url
    queue.limits = url.limits
    return queue


MessageQueue.opener = open_queue


def open_admin(url: str | QueueURL) -> QueueAdmin:
    """The administration of the queue that a `url` names, not open yet: `async with` it before use.

    Raises Unsupported for a queue without one, UnknownQueue, MissingDependency and other ConfigurationErrors.
    """
    if isinstance(url, str):
        url = QueueURL.parse(url)
    factory = _admin_factory(url.scheme)
    if factory is None:
        _factory(url.scheme)  # an unknown scheme is told as such
        why = "its queues live and die with their process" if url.scheme == "channel" else "its backend publishes none"
        raise Unsupported(f"{url.scheme}:// has no administration: {why}")
    admin = factory(url)
    if not isinstance(admin, QueueAdmin):
        raise ConfigurationError(f"the admin of {url.scheme}:// made a {type(admin).__name__}, not a QueueAdmin")
    return admin


def _factory(scheme: str) -> QueueFactory:
    if scheme in _registered:
        return _registered[scheme]
    factory: QueueFactory | None = _published(scheme, _BUILT_IN, ENTRY_POINTS)
    if factory is not None:
        return factory
    known = _known()
    raise UnknownQueue(
        f"no queue is registered for {scheme}://{did_you_mean(scheme, known)}; there are {', '.join(sorted(known))}. "
        f"A plugin names its scheme in the entry-point group {ENTRY_POINTS!r}, or calls register_queue()"
    )


def _admin_factory(scheme: str) -> AdminFactory | None:
    if scheme in _registered:  # what replaces a queue does not inherit its administration
        return _registered_admins.get(scheme)
    factory: AdminFactory | None = _published(scheme, _BUILT_IN_ADMINS, ADMINS)
    return factory


def _published(scheme: str, built_in: Mapping[str, str], group: str) -> Any:
    """What one of ours or a plugin names for this scheme; None: nobody does."""
    if scheme in built_in:
        return _load(EntryPoint(scheme, built_in[scheme], group))
    for plugin in entry_points(group=group, name=scheme):
        return _load(plugin)
    return None


def _load(entry: EntryPoint) -> object:
    module, _, attribute = entry.value.partition(":")
    try:
        found: object = import_module(module)
        for name in attribute.split("."):
            found = getattr(found, name)
    except ImportError as error:
        raise MissingDependency(f"{entry.name}:// needs {error.name}: {error}") from error
    except AttributeError as error:
        raise ConfigurationError(f"the entry point {entry.name} = {entry.value!r} names nothing: {error}") from error
    return found


def _known() -> set[str]:
    return {*_BUILT_IN, *_registered, *(plugin.name for plugin in entry_points(group=ENTRY_POINTS))}
