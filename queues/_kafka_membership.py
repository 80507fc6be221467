"""Whether what we hold is ours still: each commit that the broker accepts proves it for the length of a session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ._kafka_poll import Poller
from .clock import Clock, patience
from .errors import QueueUnavailable

_PROOF_SECONDS = 10.0


class Membership:
    """lease: the session's timeout in seconds. What was not proved for so long, others may have."""

    def __init__(self, poller: Poller, lease: float, clock: Clock) -> None:
        self._poller, self._lease, self._clock = poller, lease, clock
        self._proofs: list[tuple[float, asyncio.Future[None]]] = []
        self._until = 0.0

    async def sure(self) -> None:
        """Returns at once, unless there was a silence. Raises QueueUnavailable."""
        if self._clock.monotonic() >= self._until and self._poller.books.ledgers:
            await self.proof()

    async def proof(self) -> None:
        """Returns once a commit was accepted that was sent from now on, or nothing is ours. Raises QueueUnavailable."""
        proof: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._proofs.append((self._clock.monotonic(), proof))
        self._poller.prove()
        try:
            async with patience(_PROOF_SECONDS):
                await proof
        except TimeoutError:
            raise QueueUnavailable("the broker does not say whether what we hold is ours still") from None

    def proved(self, began: float) -> None:
        """A commit that was sent at this time was accepted."""
        self._until = max(self._until, began + self._lease)
        self._end(lambda asked: asked <= began)

    def close(self) -> None:
        """Wake whoever waits."""
        self._end(lambda asked: True)

    def _end(self, which: Callable[[float], bool]) -> None:
        for asked, proof in self._proofs:
            if which(asked) and not proof.done():
                proof.set_result(None)
        self._proofs = [(asked, proof) for asked, proof in self._proofs if not proof.done()]
