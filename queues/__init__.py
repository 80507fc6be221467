"""Queues for events: the contract, the wire form, the registry and the backends."""

from .base import Capability, MessageQueue, QueueStats
from .clock import Clock
from .message import CORRUPT_TYPE, DeadLetter, Delivery, Limits, Message, Nack
from .registry import open_admin, open_queue, register_queue
from .url import QueueURL

__all__ = [
    "CORRUPT_TYPE",
    "Capability",
    "Clock",
    "DeadLetter",
    "Delivery",
    "Limits",
    "Message",
    "MessageQueue",
    "Nack",
    "QueueStats",
    "QueueURL",
    "open_admin",
    "open_queue",
    "register_queue",
]
