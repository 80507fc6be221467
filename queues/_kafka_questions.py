"""Asking brokers about topics and groups, through a client that is replaced when it no longer finds its way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from ._kafka_client import KafkaAdminClient, client
from ._kafka_connect import connected
from ._kafka_options import Brokers

_T = TypeVar("_T")
_NO_COORDINATOR = (
    client.CoordinatorNotAvailableError, client.CoordinatorLoadInProgressError, client.NotCoordinatorError,
)  # fmt: skip
_NO_WAY = (
    client.KafkaConnectionError,
    client.NodeNotReadyError,
    client.UnknownBrokerIdError,  # pyright: ignore[reportAttributeAccessIssue]  # its stubs are of an older client
)
_TRIES, _AGAIN = 30, 0.1
_AGAIN_MS = 1000
"""For finding a broker again; whoever asks about health should not wait for long."""


class Questions:
    """Blocks: for a thread that may, and one of them. Connects with the first question.

    The client asks the coordinator of a group where it once found it, and never looks for another one. So after an
    error that may come of that a new client asks again; for some seconds, where a group has no coordinator at the
    moment: a new cluster makes one only when it is asked.
    """

    def __init__(self, brokers: Brokers) -> None:
        self._settings = brokers.admin()
        self._admin: Any = None

    def ask(self, question: Callable[[Any], _T]) -> _T:
        """What `question` says, which gets a KafkaAdminClient and may be asked again. Raises what the client raises."""
        replaced = False
        for _ in range(_TRIES):
            try:
                return question(self._connected())
            except _NO_COORDINATOR:
                threading.Event().wait(_AGAIN)
            except _NO_WAY:
                if replaced:
                    raise
            self.close()
            replaced = True
        return question(self._connected())

    def close(self) -> None:
        """Let go of the connections. Idempotent."""
        admin, self._admin = self._admin, None
        if admin is not None:
            admin.close()

    def _connected(self) -> Any:
        if self._admin is None:
            self._admin = connected(KafkaAdminClient, self._settings)
            self._settings = {**self._settings, "bootstrap_timeout_ms": _AGAIN_MS}
        return self._admin
