"""A queue behind a feature flag: it says which one is written, and both are consumed. Needs openfeature-sdk."""

import asyncio
import logging

from openfeature import api
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from notification import EventDispatcher, SwitchQueue, event


@event("order.placed", key="order_id")
class OrderPlaced:
    order_id: str


def turn(route: str) -> None:  # yours is turned in the flag provider's console
    api.set_provider(InMemoryProvider({"event-queue": InMemoryFlag(route, {"old": "old", "new": "new"})}))


def route() -> str:
    return api.get_client().get_string_value("event-queue", "old")  # "old" when the provider can't be asked


switch = SwitchQueue({"old": "sqlite:///old.db", "new": "sqlite:///new.db"}, route)
dispatcher = EventDispatcher(switch)
confirmed: set[str] = set()


@dispatcher.on(OrderPlaced)
async def confirm(placed: OrderPlaced) -> None:
    confirmed.add(placed.order_id)


async def place(order_id: str) -> None:
    await dispatcher.dispatch(OrderPlaced(order_id))
    waiting = {name: await queue.size() for name, queue in switch.routes.items()}
    print(f"{order_id} goes to the {switch.chosen} queue; waiting: {waiting}")


async def main() -> None:
    async with dispatcher:  # no workers yet, so that one sees where the events are
        for order_id, says in {"A-1": "old", "A-2": "new", "A-3": "old"}.items():
            turn(says)
            await place(order_id)
        await dispatcher.start(workers=1)
        await dispatcher.join()
    print("confirmed, from both:", *sorted(confirmed))


if __name__ == "__main__":
    logging.disable(logging.INFO)
    asyncio.run(main())
# prints:
#   A-1 goes to the old queue; waiting: {'old': 1, 'new': 0}
#   A-2 goes to the new queue; waiting: {'old': 1, 'new': 1}
#   A-3 goes to the old queue; waiting: {'old': 2, 'new': 1}
#   confirmed, from both: A-1 A-2 A-3
