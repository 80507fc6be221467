"""Middleware: one trace from the request to the handlers. Needs opentelemetry-sdk.

`on_dispatch` writes the current span into the event's headers, as `traceparent`; around a handler the middleware goes
on from there, in whatever process it runs, so the handler's span is a child of the one that dispatched.
"""

import asyncio

from attrs import evolve
from opentelemetry import trace
from opentelemetry.propagate import extract, inject
from opentelemetry.sdk.trace import TracerProvider

from notification import CallNext, Context, EventDispatcher, Message, event

tracer = trace.get_tracer("shop")


class Traced:
    def on_dispatch(self, message: Message) -> Message:
        inject(headers := dict(message.headers))
        return evolve(message, headers=headers)

    async def __call__(self, message: Message, ctx: Context, call_next: CallNext) -> None:
        with tracer.start_as_current_span(f"{ctx.handler} {ctx.type}", extract(ctx.headers), trace.SpanKind.CONSUMER):
            await call_next()


@event("order.placed")
class OrderPlaced:
    order_id: str


dispatcher = EventDispatcher("channel://", middleware=[Traced()])


@dispatcher.on(OrderPlaced)
async def confirm(placed: OrderPlaced, ctx: Context) -> None:
    _, trace_id, parent_id, _ = ctx.headers["traceparent"].split("-")
    here = trace.get_current_span().get_span_context()
    print(f"{placed.order_id}: in the trace of the request:", trace.format_trace_id(here.trace_id) == trace_id)
    print(f"{placed.order_id}: in a span of its own:", trace.format_span_id(here.span_id) != parent_id)


async def main() -> None:
    trace.set_tracer_provider(TracerProvider())  # and .add_span_processor(...) with your exporter
    async with dispatcher:
        await dispatcher.start(workers=2)
        with tracer.start_as_current_span("POST /orders"):
            await dispatcher.dispatch(OrderPlaced("A-1"))
        await dispatcher.join()


if __name__ == "__main__":
    asyncio.run(main())

# prints:
#   in the trace of the request: True
#   in a span of its own: True
