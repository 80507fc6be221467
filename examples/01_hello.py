"""Hello: an event class, a handler, a dispatcher.

The event goes into an SQLite file, a worker takes it out and calls the handler. Run it, then look at the file with
`notification stats --queue sqlite:///events.db`.
"""

import asyncio

from notification import EventDispatcher, event


@event("order.shipped", key="account_id")
class OrderShipped:
    account_id: int
    order_id: str


dispatcher = EventDispatcher("sqlite:///events.db")


@dispatcher.on(OrderShipped)
async def tell_the_customer(shipped: OrderShipped) -> None:
    print(f"order {shipped.order_id} is on its way to account {shipped.account_id}")


async def main() -> None:
    async with dispatcher:  # opens for dispatch; leaving stops in order
        await dispatcher.start(workers=5)  # consumes; returns at once
        await dispatcher.dispatch(OrderShipped(account_id=7, order_id="A-1"))
        await dispatcher.join()  # until everything accepted here is settled


if __name__ == "__main__":
    asyncio.run(main())

# prints:
#   order A-1 is on its way to account 7
