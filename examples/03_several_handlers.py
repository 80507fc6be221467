"""Several handlers of one event: each succeeds and fails on its own.

Only the one that failed runs again, and one that gives up leaves a dead letter that names it. A plain `def` is a
handler too; it runs in a thread.
"""

import asyncio
import logging
from decimal import Decimal

from attrs import frozen

from notification import Context, EventDispatcher, Reject, RetryPolicy, event


@event("order.paid")
@frozen
class OrderPaid:
    order_id: str
    amount: Decimal


dispatcher = EventDispatcher("channel://", retry=RetryPolicy(attempts=3, initial=0.01))


@dispatcher.on(OrderPaid)
async def mail_the_receipt(paid: OrderPaid) -> None:
    print(f"receipt: {paid.amount} for {paid.order_id}")


@dispatcher.on(OrderPaid)
def reserve_the_goods(paid: OrderPaid, ctx: Context) -> None:
    if ctx.attempt == 1:
        raise TimeoutError("the warehouse does not answer")
    print(f"warehouse: goods for {paid.order_id} reserved in run {ctx.attempt}")


@dispatcher.on(OrderPaid, name="loyalty")
async def add_points(paid: OrderPaid) -> None:
    raise Reject(f"{paid.amount} is too little for points")


async def main() -> None:
    logging.getLogger("notification").setLevel(logging.CRITICAL)  # it would tell of both failures
    async with dispatcher:
        await dispatcher.start(workers=2)
        await dispatcher.dispatch(OrderPaid("A-1", Decimal("9.90")))
        await dispatcher.join()
        async for letter in dispatcher.dead_letters.browse():
            assert letter.dead is not None
            print(f"dead: {letter.dead.handler}, {letter.dead.error}")


if __name__ == "__main__":
    asyncio.run(main())

# prints:
#   receipt: 9.90 for A-1
#   warehouse: goods for A-1 reserved in run 2
#   dead: loyalty, Reject: 9.90 is too little for points
