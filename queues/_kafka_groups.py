"""Which events are a group's: all but those that another group has to do again."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from . import _kafka_wire
from ._kafka_buffers import Place
from .message import Delivery, Limits, Message


@frozen
class GroupReader:
    """Makes deliveries for one group. every: of dead letters, those of all groups."""

    group: str
    limits: Limits
    every: bool = False
    _mark: bytes = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_mark", f'"forgroup":"{self.group}"'.encode())

    def __call__(self, record: Any, place: Place, times: int) -> Delivery | None:
        """None: no event, or another group's."""
        delivery = _kafka_wire.delivery_of(record, place, times, self.limits)
        value = record.value
        if self.every or value is None or b'"forgroup":' not in value or self._mark in value:
            return delivery
        return delivery if delivery is None or delivery.message is None or self.takes(delivery.message) else None

    def takes(self, message: Message) -> bool:
        """Whether this one is for the group."""
        return self.every or message.group in {None, self.group}
