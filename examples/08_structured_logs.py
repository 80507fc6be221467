"""Structured logs: every line about an event carries its id, those of your handlers too. Needs structlog.

The dispatcher's own log records have fields (`event_id`, `event_type`, `handler`, …). A middleware, which is wrapped
around every run of a handler, binds the same to the handler's logger; handlers in threads inherit it.
"""

import asyncio
import logging
import sys

import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.processors import JSONRenderer, format_exc_info
from structlog.stdlib import ExtraAdder, ProcessorFormatter, add_log_level

from notification import CallNext, Context, EventDispatcher, Message, Reject, event

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@event("manuscript.accepted")
class ManuscriptAccepted:
    title: str
    pages: int


async def logged(message: Message, ctx: Context, call_next: CallNext) -> None:
    with bound_contextvars(event_id=ctx.id, handler=ctx.handler):
        await call_next()


dispatcher = EventDispatcher("channel://", middleware=[logged])


@dispatcher.on(ManuscriptAccepted)
def typeset(accepted: ManuscriptAccepted) -> None:
    log.info("typesetting", title=accepted.title)
    if accepted.pages > 700:
        raise Reject("too thick to bind")


async def main() -> None:
    as_json = JSONRenderer(sort_keys=True)
    structlog.configure([merge_contextvars, add_log_level, format_exc_info, as_json])
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(ProcessorFormatter(as_json, foreign_pre_chain=[add_log_level, ExtraAdder(), format_exc_info]))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    async with dispatcher:
        await dispatcher.start(workers=2)
        await dispatcher.dispatch(ManuscriptAccepted("Ulysses", pages=732), id="m-1")
        await dispatcher.join()


if __name__ == "__main__":
    asyncio.run(main())

# prints:
#   {"event": "typesetting", "event_id": "m-1", "handler": "typeset", "level": "info", "title": "Ulysses"}
#   {"attempt": 1, … "event_id": "m-1", … "handler": "typeset", "level": "error", … "reason": "rejected"}
