"""Testing one's handlers: no server, and no waiting, for the test moves the clock. Needs pytest and pytest-asyncio.

pytest examples/10_testing.py            # or: python examples/10_testing.py
"""

import pytest

from notification import Context, EventDispatcher, RetryLater, RetryPolicy, event
from notification.testing import OpenTester, context

pytestmark = pytest.mark.asyncio


@event("invoice.due")
class InvoiceDue:
    invoice_id: str
    mailbox: str


dispatcher = EventDispatcher("sqlite:///events.db", retry=RetryPolicy(attempts=3, initial=60, max=600))


@dispatcher.on(InvoiceDue)
async def remind(due: InvoiceDue, ctx: Context) -> None:
    if due.mailbox == "full":
        raise ConnectionError("mailbox full")
    if ctx.attempt == 1:
        raise RetryLater(7200, "greylisted")


async def test_a_greylisted_reminder_goes_out_after_two_hours(event_tester: OpenTester) -> None:
    tester = await event_tester(dispatcher)
    await dispatcher.dispatch(InvoiceDue("I-1", "ada"))
    await tester.settle()
    assert isinstance(tester.runs[0].error, RetryLater)
    await tester.clock.advance("2h")
    tester.assert_handled(InvoiceDue, handler="remind", invoice_id="I-1")


async def test_a_full_mailbox_ends_among_the_dead_letters(event_tester: OpenTester) -> None:
    tester = await event_tester(dispatcher)
    await dispatcher.dispatch(InvoiceDue("I-2", "full"))
    await tester.clock.advance("20m")
    tester.assert_dead(InvoiceDue, reason="attempts", invoice_id="I-2")
    assert [run.attempt for run in tester.runs] == [1, 2, 3]


async def test_a_handler_is_a_function_like_any_other() -> None:
    await remind(InvoiceDue("I-3", "bob"), context(attempt=2))
    with pytest.raises(ConnectionError):
        await remind(InvoiceDue("I-4", "full"), context())


# prints:
#   ... … [100%]
#   3 passed in …
