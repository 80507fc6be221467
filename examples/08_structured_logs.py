"""Middleware: every log line of a handler carries the id of its event. Needs structlog.

A middleware is wrapped around every run of a handler. This one binds the event to the logger's context, so that no
handler has to think of it; handlers in threads inherit it. What a handler raises comes through `call_next()`.
"""

import asyncio
import logging

import structlog

from notification import CallNext, Context, EventDispatcher, Message, RetryLater, event

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@event("manuscript.accepted")
class ManuscriptAccepted:
    title: str


async def logged(message: Message, ctx: Context, call_next: CallNext) -> None:
    with structlog.contextvars.bound_contextvars(event_id=ctx.id, handler=ctx.handler, attempt=ctx.attempt):
        try:
            await call_next()
        except Exception as error:
            log.warning("failed", error=str(error))
            raise
        log.info("handled")


dispatcher = EventDispatcher("channel://", middleware=[logged])


@dispatcher.on(ManuscriptAccepted)
def typeset(accepted: ManuscriptAccepted, ctx: Context) -> None:
    if ctx.attempt == 1:
        raise RetryLater(0.01, "no paper")
    log.info("typeset", title=accepted.title)


async def main() -> None:
    processors = [structlog.contextvars.merge_contextvars, structlog.stdlib.add_log_level]
    structlog.configure([*processors, structlog.processors.JSONRenderer(sort_keys=True)])
    logging.getLogger("notification").setLevel(logging.ERROR)  # its own lines say the same of the retry
    async with dispatcher:
        await dispatcher.start(workers=2)
        await dispatcher.dispatch(ManuscriptAccepted("Emma"), id="m-1")
        await dispatcher.join()


if __name__ == "__main__":
    asyncio.run(main())

# prints:
#   {"attempt": 1, "error": "no paper", "event": "failed", "event_id": "m-1", "handler": "typeset", "level": "warning"}
#   {"attempt": 2, "event": "typeset", "event_id": "m-1", "handler": "typeset", "level": "info", "title": "Emma"}
#   {"attempt": 2, "event": "handled", "event_id": "m-1", "handler": "typeset", "level": "info"}
