"""Dead letters in Redis: what is said and done when something else lies where they belong."""

from __future__ import annotations

import asyncio

import pytest
from attrs import frozen

from notification import ConfigurationError, EventDispatcher, Message, RetryPolicy, open_queue

from .redis_forms import FORMS, formed
from .redis_server import Redis

GRACE = 0.5


@frozen
class Place:
    """A queue of some form, and the key of its dead letters."""

    server: Redis
    url: str
    name: str

    @property
    def dead(self) -> str:
        return f"{{{self.name}}}.dead"

    def occupy(self) -> None:
        """Something else lies there."""
        self.server.admin.set(self.dead, "mine")

    def names_both(self, text: str | None) -> bool:
        """Whether an error says whose dead letters belong where."""
        return f"'{self.dead}', the key of the dead letters of '{self.name}'" in (text or "")


@pytest.fixture(params=FORMS)
def place(redis: Redis, request: pytest.FixtureRequest) -> Place:
    url = formed(redis, request.param, lease="2s")
    return Place(redis, url, url.partition("queue=")[2].partition("&")[0])


def failing(url: str) -> EventDispatcher:
    """A dispatcher whose only handler fails for good."""
    dispatcher = EventDispatcher(url, retry=RetryPolicy(attempts=1), grace=GRACE)

    @dispatcher.on("dead.*")
    async def fail(message: Message) -> None:
        raise ValueError(message.id)

    return dispatcher


async def test_something_else_under_the_key_of_the_dead_letters_is_an_error_at_start(place: Place) -> None:
    """Before anything is handled; whoever only dispatches is not concerned."""
    place.occupy()
    async with failing(place.url) as dispatcher:
        with pytest.raises(ConfigurationError) as refused:
            await dispatcher.start(workers=2)
        assert place.names_both(str(refused.value))
        await dispatcher.dispatch(Message(type="dead.a", id="e", source="/s"))
        assert await dispatcher.size() == 1


async def test_something_else_under_the_name_of_a_queue_is_an_error_at_open(place: Place) -> None:
    """With that name."""
    place.server.admin.set(place.name, "mine")
    with pytest.raises(ConfigurationError, match=f"'{place.name}'"):
        await open_queue(place.url).open()


async def test_what_comes_under_the_key_of_the_dead_letters_later_is_an_outage_of_theirs(place: Place) -> None:
    """Workers go on, nothing that died is acked, `stop()` ends within its grace; when the key is free it is written."""
    async with failing(place.url) as dispatcher:
        await dispatcher.start(workers=2)
        place.occupy()
        await dispatcher.dispatch(Message(type="dead.a", id="e", source="/s"))
        async with asyncio.timeout(10):
            while not place.names_both((health := await dispatcher.health()).last_error):
                await asyncio.sleep(0.01)
        assert health.lag == 0, "the queue itself is well"
        began = asyncio.get_running_loop().time()
        await dispatcher.stop()
        assert asyncio.get_running_loop().time() - began < GRACE + 2
    place.server.admin.delete(place.dead)
    if "at-most-once" in place.url:
        return
    async with failing(place.url) as dispatcher:
        await dispatcher.start(workers=2)
        async with asyncio.timeout(10):
            await dispatcher.join()
        assert (await dispatcher.stats()).dead == 1
