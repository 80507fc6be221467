"""From a URL to a queue: our own backends, those registered by a call, and those of installed plugins."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from .base import MessageQueue
from .errors import ConfigurationError, MissingDependency, UnknownQueue
from .url import QueueURL, did_you_mean

QueueFactory = Callable[[QueueURL], MessageQueue]
"""Makes a queue for a URL, unopened. Raises ConfigurationError."""

ENTRY_POINTS = "notification.queues"
"""The entry-point group in which a plugin package names its schemes: `myscheme = "package.module:factory"`."""

REDIS = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
"""The ways to a Redis; with `+stream` behind them they lead to a stream."""

_BUILT_IN = {
    "channel": "queues.channel:ChannelQueue.from_url",
    "sqlite": "queues.sqlite:SQLiteQueue.from_url",
    **dict.fromkeys(REDIS, "queues.redis_list:RedisListQueue.from_url"),
    **dict.fromkeys([f"{way}+stream" for way in REDIS], "queues.redis_stream:RedisStreamQueue.from_url"),
}
_registered: dict[str, QueueFactory] = {}


def register_queue(scheme: str, factory: QueueFactory, *, replace: bool = False) -> None:
    """Make `open_queue` call `factory` for URLs of this scheme, in this process.

    factory: makes a queue, unopened, from the parsed URL; a class whose constructor takes one will do. Raises
    ConfigurationError when the scheme is taken, unless `replace`, and when no URL can have it.
    """
    QueueURL.parse(f"{scheme}://")
    if not replace and scheme in _known():
        raise ConfigurationError(f"{scheme}:// is registered already; replace=True takes its place")
    _registered[scheme] = factory


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


def _factory(scheme: str) -> QueueFactory:
    if scheme in _registered:
        return _registered[scheme]
    if scheme in _BUILT_IN:
        return _load(EntryPoint(scheme, _BUILT_IN[scheme], ENTRY_POINTS))
    for plugin in entry_points(group=ENTRY_POINTS, name=scheme):
        return _load(plugin)
    known = _known()
    raise UnknownQueue(
        f"no queue is registered for {scheme}://{did_you_mean(scheme, known)}; there are {', '.join(sorted(known))}. "
        f"A plugin names its scheme in the entry-point group {ENTRY_POINTS!r}, or calls register_queue()"
    )


def _load(entry: EntryPoint) -> QueueFactory:
    module, _, attribute = entry.value.partition(":")
    try:
        factory: object = import_module(module)
        for name in attribute.split("."):
            factory = getattr(factory, name)
    except ImportError as error:
        raise MissingDependency(f"{entry.name}:// needs {error.name}: {error}") from error
    except AttributeError as error:
        raise ConfigurationError(f"the entry point {entry.name} = {entry.value!r} names nothing: {error}") from error
    return factory  # type: ignore[return-value]  # a plugin's word; open_queue uses it as one


def _known() -> set[str]:
    return {*_BUILT_IN, *_registered, *(plugin.name for plugin in entry_points(group=ENTRY_POINTS))}
