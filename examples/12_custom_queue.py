"""A queue of your own: four methods. This one hands out what is urgent first, by the header `priority`, 0 to 9.

Retries, dead letters, deadlines and shutdown work on it at once. queue_plugin/ has one as a package of its own.
"""

import asyncio
import itertools

from notification import Delivery, EventDispatcher, Message, MessageQueue, QueueClosed, event, register_queue, wire


class UrgentFirst(MessageQueue):
    def __init__(self) -> None:
        self._waiting: asyncio.PriorityQueue[tuple[str, int, bytes]] = asyncio.PriorityQueue()
        self._count = itertools.count()
        self._closed = False

    async def push(self, message: Message, *, timeout: float | None = None) -> None:
        if self._closed:
            raise QueueClosed("this queue is closed")
        self._waiting.put_nowait((message.headers.get("priority", "5"), next(self._count), wire.encode(message)))

    async def pop(self) -> Delivery:
        *_, raw = await self._waiting.get()
        if self._closed:
            await self.close()
            raise QueueClosed("this queue is closed")
        return wire.delivery_of(raw, None, limits=self.limits)

    async def size(self) -> int:
        return self._waiting.qsize()

    async def close(self) -> None:
        self._closed = True
        self._waiting.put_nowait(("", 0, b""))  # wakes one who waits, who wakes the next one


@event("patient.arrived")
class PatientArrived:
    name: str


async def main() -> None:
    register_queue("urgent", lambda url: UrgentFirst())
    dispatcher = EventDispatcher("urgent://")
    dispatcher.on(PatientArrived)(print)
    async with dispatcher:
        for name, priority in {"Ann": "5", "Bob": "9", "Cleo": "0"}.items():
            await dispatcher.dispatch(PatientArrived(name), headers={"priority": priority})
        await dispatcher.start(workers=1)
        await dispatcher.join()


if __name__ == "__main__":
    asyncio.run(main())

# prints:
#   PatientArrived(name='Cleo')
#   PatientArrived(name='Ann')
#   PatientArrived(name='Bob')
