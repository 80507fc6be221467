"""How a group shares out its partitions: each keeps what it has, and claims nothing that it has lost."""

from __future__ import annotations

from typing import Any

from ._kafka_client import CooperativeStickyAssignor


class Assignor(CooperativeStickyAssignor):  # type: ignore[misc]  # the client has no types
    """kafka-python 3.0.12 goes on claiming the partitions of a membership that has ended, and the leader of the group
    may then take them from their new owner without waiting for him. Here a claim ends with its generation.
    """

    def __init__(self, consumer: Any = None) -> None:
        super().__init__()
        self.consumer: Any = consumer

    def metadata(self, topics: Any) -> Any:
        if self.consumer is None or self.consumer.group_metadata().generation_id != self.generation:
            self.member_assignment = None
        return super().metadata(topics)
