"""The pytest fixture `event_tester`.

pytest imports this in every run, of other projects too: so it imports nothing of ours before a test asks for the
fixture. That also leaves the application's own imports to its tests, where coverage sees them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from notification import EventDispatcher
    from notification.testing import EventTester, OpenTester

if importlib.util.find_spec("pytest_asyncio") is None:

    @pytest.fixture(name="event_tester")
    def explanation() -> None:
        """Says what to install."""
        pytest.fail(
            "the fixture event_tester needs pytest-asyncio: pip install pytest-asyncio. "
            "Without it: `async with EventTester(dispatcher) as tester:`",
            pytrace=False,
        )

else:
    import pytest_asyncio

    @pytest_asyncio.fixture(name="event_tester")
    async def testers() -> AsyncIterator[OpenTester]:
        """`tester = await event_tester(dispatcher, workers=2)`: an `EventTester`, left when the test is over."""
        import asyncio  # noqa: PLC0415 - see above: nothing before a test asks
        from contextlib import AsyncExitStack  # noqa: PLC0415

        from notification import ConfigurationError  # noqa: PLC0415
        from notification.testing import EventTester  # noqa: PLC0415

        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:

            async def open_tester(dispatcher: EventDispatcher, **options: Any) -> EventTester:
                if asyncio.get_running_loop() is not loop:
                    raise ConfigurationError(
                        "this test runs in another event loop than its fixtures: write `async with EventTester(...)` "
                        "in it, or give both the same loop_scope"
                    )
                return await stack.enter_async_context(EventTester(dispatcher, **options))

            yield open_tester
