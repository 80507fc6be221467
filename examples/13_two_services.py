"""Two services share a Redis: each has a queue of its own, and whoever wants something of it dispatches into that.

Here they are two processes. A handler may run twice; with ?dedup= what it dispatches under its own id is stored once.
python examples/13_two_services.py redis://localhost:6379/0             # or NOTIFICATION_QUEUE=redis://localhost:6379/0
"""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE

from notification import Context, EventDispatcher, QueueError, event

REDIS = "".join(sys.argv[1:2]) or os.environ.get("NOTIFICATION_QUEUE") or sys.exit("say where: redis://localhost:6379")
billing = EventDispatcher(f"{REDIS}?queue=examples:billing&dedup=1h")
shop = EventDispatcher(f"{REDIS}?queue=examples:shop&dedup=1h")


@event("order.placed")
class OrderPlaced:
    order_id: str


@event("order.paid")
class OrderPaid:
    order_id: str


@billing.on(OrderPlaced)
async def take_money(order: OrderPlaced, ctx: Context) -> None:
    print(f"process {os.getpid()} takes the money for {order.order_id}", flush=True)
    await shop.dispatch(OrderPaid(order.order_id), id=f"{ctx.id}-paid")


@shop.on(OrderPaid)
async def pack(paid: OrderPaid) -> None:
    print(f"process {os.getpid()} packs {paid.order_id}")


async def main() -> None:
    async with billing, shop:  # opens both for dispatch; handlers run where their dispatcher is started
        if sys.argv[2:] == ["billing"]:
            await billing.start()
            await asyncio.to_thread(sys.stdin.read)  # until the shop is gone
            return
        process = await asyncio.create_subprocess_exec(sys.executable, __file__, REDIS, "billing", stdin=PIPE)
        await shop.start()
        await billing.dispatch(OrderPlaced("A-1"))
        await billing.join()
        await shop.join()
        await process.communicate(b"")


try:
    asyncio.run(main())
except QueueError as error:
    sys.exit(f"no Redis there: {error}")
# prints:
#   process … takes the money for A-1
#   process … packs A-1
