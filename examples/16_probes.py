"""Liveness and readiness for an orchestrator, and dispatching that goes on while the queue is away. Needs starlette.

python examples/16_probes.py
"""

import asyncio
import logging

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from notification import Degradation, EventDispatcher, event


@event("order.placed", key="order_id")
class OrderPlaced:
    order_id: str


plan = Degradation(spill="spill", on_change=lambda state: print("now", state))
dispatcher = EventDispatcher("redis://127.0.0.1:1/0?order=key", degradation=plan)  # a Redis that is down


async def livez(_: Request) -> Response:
    """Restart the process when this fails: what it runs on is broken."""
    health = await dispatcher.health()
    return JSONResponse({"live": health.live}, 200 if health.live else 503)


async def readyz(_: Request) -> Response:
    """Send no requests here for now; but a queue that is away is no reason: what is dispatched is kept."""
    health = await dispatcher.health()
    stuck = health.last_pop_age is not None and health.last_pop_age > 60 and not health.degraded
    body = {"degraded": health.degraded, "spilled": health.spilled, "lag": health.lag}
    return JSONResponse(body, 503 if stuck or not health.live else 200)


app = Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz)])


async def main() -> None:
    async with dispatcher, httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as probe:
        sent = await dispatcher.dispatch(OrderPlaced("A-1"))
        print(f"accepted, via the {sent.via}")
        for path in ("/livez", "/readyz"):
            answer = await probe.get(path)
            print(path, answer.status_code, answer.text)


if __name__ == "__main__":
    logging.disable(logging.ERROR)
    asyncio.run(main())
# prints:
#   now spilling
#   accepted, via the spill
#   /livez 200 {"live":true}
#   /readyz 200 {"degraded":true,"spilled":1,"lag":null}
