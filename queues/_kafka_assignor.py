"""How a group shares out its partitions: each keeps what it has, and claims nothing that it has lost."""

from __future__ import annotations

from typing import Any

from ._kafka_client import CooperativeStickyAssignor


class Assignor(CooperativeStickyAssignor):  # type: ignore[misc]  # the client has no types
    """kafka-python 3.0.12 claims what its last completed join gave it, although its membership has ended since; the
    leader of the group may then take that from its new owner without waiting for him. Here it is what it has.
    """

    def __init__(self, consumer: Any = None) -> None:
        super().__init__()
        self.consumer: Any = consumer
        self._member = ""

    def on_assignment(self, *assignment: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # its stubs are of an older client
        super().on_assignment(*assignment)
        self._member = self.consumer.group_metadata().member_id

    def metadata(self, topics: Any) -> Any:
        now = self.consumer.group_metadata()
        is_member = now.generation_id >= 0 and now.member_id == self._member
        self.member_assignment = sorted(self.consumer.assignment()) if is_member else []
        return super().metadata(topics)
