"""Dispatch typed events through a queue to workers that retry, dead-letter and never lose them."""

from .packages import check_packages

check_packages()

from queues import wire
from queues.base import Capability, MessageQueue, QueueStats
from queues.errors import (
    ConfigurationError,
    CorruptMessage,
    HandlerSignal,
    MissingDependency,
    NotificationError,
    PushFailed,
    QueueClosed,
    QueueError,
    QueueFull,
    QueueUnavailable,
    Reject,
    RetryLater,
    UnknownEvent,
    UnknownQueue,
    Unsupported,
)
from queues.message import DeadLetter, Delivery, Message, Nack
from queues.registry import open_queue, register_queue
from queues.url import QueueURL, Seconds
from workers.retry import RetryPolicy

from .blocking import BlockingDispatcher
from .context import CallNext, Context, Middleware
from .dispatcher import EventDispatcher
from .event import event
from .report import Dispatched, Health, StopReport

__all__ = [
    "BlockingDispatcher",
    "CallNext",
    "Capability",
    "ConfigurationError",
    "Context",
    "CorruptMessage",
    "DeadLetter",
    "Delivery",
    "Dispatched",
    "EventDispatcher",
    "HandlerSignal",
    "Health",
    "Message",
    "MessageQueue",
    "Middleware",
    "MissingDependency",
    "Nack",
    "NotificationError",
    "PushFailed",
    "QueueClosed",
    "QueueError",
    "QueueFull",
    "QueueStats",
    "QueueURL",
    "QueueUnavailable",
    "Reject",
    "RetryLater",
    "RetryPolicy",
    "Seconds",
    "StopReport",
    "UnknownEvent",
    "UnknownQueue",
    "Unsupported",
    "event",
    "open_queue",
    "register_queue",
    "wire",
]
