"""The users' test kit: handlers, retries, delays and dead letters without a server and without waiting.

    async with EventTester(dispatcher) as tester:
        await dispatcher.dispatch(OrderShipped(account_id=7, order_id="A-1"))
        await tester.settle()
        await tester.clock.advance("2h")
        tester.assert_handled(OrderShipped, order_id="A-1")

pytest has it as the fixture `event_tester`. `context()` makes what a handler that is called directly wants.
"""

from .directly import LooseContext, context
from .recording import Dispatch, Run
from .tester import EventTester, OpenTester
from .virtual_clock import VirtualClock

__all__ = ["Dispatch", "EventTester", "LooseContext", "OpenTester", "Run", "VirtualClock", "context"]
