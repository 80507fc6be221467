"""A web service: dispatch in a request, workers in the same process, and a probe. Needs starlette and uvicorn.

PORT=8000 python examples/05_web_service.py             # or: uvicorn --app-dir examples 05_web_service:app
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from notification import CorruptMessage, EventDispatcher, QueueError, event


@event("order.placed")
class OrderPlaced:
    order_id: str
    quantity: int


dispatcher = EventDispatcher(os.environ.get("NOTIFICATION_QUEUE", "channel://"))  # sqlite:///orders.db survives a crash


@dispatcher.on(OrderPlaced)
async def confirm(placed: OrderPlaced) -> None:
    print(f"confirmed {placed.quantity} x {placed.order_id}", flush=True)


async def place_order(request: Request) -> JSONResponse:
    try:
        sent = await dispatcher.dispatch(OrderPlaced(**await request.json()))
    except (ValueError, TypeError, CorruptMessage) as wrong:  # no JSON, not these fields, not of these types
        return JSONResponse({"error": str(wrong)}, 422)
    except QueueError as trouble:  # full or out of reach: the client may try again
        return JSONResponse({"error": str(trouble)}, 503)
    return JSONResponse({"id": sent.id}, 202)


async def healthz(_: Request) -> JSONResponse:
    health = await dispatcher.health()
    return JSONResponse({"waiting": health.lag, "error": health.last_error}, 200 if health.ready else 503)


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    async with dispatcher:  # leaving finishes what was accepted, or hands it back to the queue
        await dispatcher.start(workers=4)
        yield


app = Starlette(routes=[Route("/orders", place_order, methods=["POST"]), Route("/healthz", healthz)], lifespan=lifespan)

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
# prints:
#   confirmed 2 x A-1
