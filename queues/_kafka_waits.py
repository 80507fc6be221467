"""What was read and has to wait in this process: for its time, or behind a retry of its key."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ._kafka_books import Books
from ._parking import Parking
from .clock import Alarm, Clock
from .message import Delivery, Nack

_BATCH = 500
_SOON = 1.0


class Waits:
    """put_back: what is due goes there. keyed: a retry holds its key."""

    def __init__(
        self, books: Books, put_back: Callable[[Sequence[Delivery]], None], clock: Clock, *, keyed: bool
    ) -> None:
        self._books, self._put_back, self._clock, self._keyed = books, put_back, clock, keyed
        self._parking = Parking()
        self._alarm: Alarm | None = None
        self._stopped = False

    def __len__(self) -> int:
        return len(self._parking)

    def may_pass(self, delivery: Delivery) -> bool:
        """Not while it is not due, or a retry holds its key: then it waits here."""
        message = delivery.message
        if message is not None and message.not_before is not None:
            later = message.not_before.timestamp() - self._clock.wall()
            if later > 0:
                self._park(Nack(delivery, later), keyed=False)
                return False
        return bool(self._parking.let_pass([delivery]))

    def add(self, nack: Nack) -> None:
        """A retry waits for its time."""
        self._park(nack, keyed=self._keyed)

    def drop_lost(self) -> None:
        """Forget what is another owner's."""
        gone = [one for one in self._parking.deliveries() if one.receipt.ledger.over or one.receipt.ledger.leaving]
        self._put_back(self._parking.drop(gone))

    def retries(self) -> list[Nack]:
        """What was handed back and waits for its time, with the seconds that are left to it; handed out once more."""
        now = self._clock.monotonic()
        retries = [
            Nack(nack.delivery, max(0.0, due - now))
            for due, nack in self._parking.waits()
            if nack.delivery.expect().not_before is None
        ]
        self._take([nack.delivery for nack in retries])
        return retries

    def idle_for_now(self) -> bool:
        """Whether something waits, and nothing is due soon."""
        due = self._parking.earliest()
        return due is not None and due - self._clock.monotonic() >= _SOON

    def take_farthest(self, which: Callable[[Delivery], bool]) -> list[Delivery]:
        """The half of these that is due last, handed out."""
        taken = self._parking.take_farthest(which)
        self._take(taken)
        return taken

    def stop(self) -> None:
        """Nothing falls due any more."""
        self._stopped = True
        if self._alarm is not None:
            self._alarm.cancel()

    def _take(self, deliveries: Sequence[Delivery]) -> None:
        with self._books.lock:
            for delivery in deliveries:
                serial = delivery.receipt.ledger.take(delivery.receipt.offset)
                delivery.receipt = delivery.receipt._replace(serial=serial)

    def _park(self, nack: Nack, *, keyed: bool) -> None:
        self._parking.add(self._clock.monotonic() + nack.delay, nack, keyed=keyed)
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        due = self._parking.earliest()
        if due is not None and not self._stopped:
            self._alarm = self._clock.call_at(due, self._ring)

    def _ring(self) -> None:
        due = self._parking.due(self._clock.monotonic(), _BATCH)
        self._put_back([nack.delivery for nack in due] + self._parking.free_keys(due))
        self._set_alarm()
