"""Dispatch typed events through a queue to workers that retry, dead-letter and never lose them.

It logs below `notification`: `.dispatcher`, `.handlers`, `.workers` and `.queues`; a line a transition, none for an
event that went well. Records on an event have the fields event_id, event_type, attempt, and where known handler,
event_bytes, queue, reason and error_type; never its data or its key. No handler is set up.
"""

from .packages import check_packages

check_packages()

from queues import wire
from queues.admin import Change, QueueAdmin, QueueInfo, Share, no_such_queue
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
from queues.registry import open_admin, open_queue, register_queue
from queues.switch import SwitchQueue
from queues.url import QueueURL, Seconds
from workers.retry import RetryPolicy

from .blocking import BlockingDispatcher
from .config import Setting, effective_settings
from .context import CallNext, Context, Middleware
from .degradation import Degradation
from .dispatcher import EventDispatcher
from .event import event
from .report import Dispatched, Health, StopReport

__all__ = [
    "BlockingDispatcher",
    "CallNext",
    "Capability",
    "Change",
    "ConfigurationError",
    "Context",
    "CorruptMessage",
    "DeadLetter",
    "Degradation",
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
    "QueueAdmin",
    "QueueClosed",
    "QueueError",
    "QueueFull",
    "QueueInfo",
    "QueueStats",
    "QueueURL",
    "QueueUnavailable",
    "Reject",
    "RetryLater",
    "RetryPolicy",
    "Seconds",
    "Setting",
    "Share",
    "StopReport",
    "SwitchQueue",
    "UnknownEvent",
    "UnknownQueue",
    "Unsupported",
    "effective_settings",
    "event",
    "no_such_queue",
    "open_admin",
    "open_queue",
    "register_queue",
    "wire",
]
