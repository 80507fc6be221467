"""`dispatch_soon`: from any thread, without waiting.

A driver, a file watcher or an old library calls back in a thread of its own, and must not be held up. `dispatch_soon`
leaves the event to the loop; `on_done` is called there with where it went, or with the error. What is wrong with the
event itself is raised at once, in the thread.
"""

import asyncio
from threading import Thread

from notification import CorruptMessage, Dispatched, EventDispatcher, event


@event("door.opened", key="door")
class DoorOpened:
    door: str
    badge: int


dispatcher = EventDispatcher("channel://")
answers: list[Dispatched | Exception] = []


@dispatcher.on(DoorOpened)
async def write_down(opened: DoorOpened) -> None:
    print(f"{opened.door} opened by {opened.badge}")


def read_badges() -> None:
    """A thread that knows nothing of event loops."""
    try:
        dispatcher.dispatch_soon(DoorOpened("lab", badge="17?"))  # type: ignore[arg-type]  # from a broken reader
    except CorruptMessage as error:
        print(f"refused: {error}")
    dispatcher.dispatch_soon(DoorOpened("lab", badge=17), on_done=answers.append)
    dispatcher.dispatch_soon(DoorOpened("lab", badge=23), on_done=answers.append)


async def main() -> None:
    async with dispatcher:
        await dispatcher.start(workers=2)
        driver = Thread(target=read_badges)
        driver.start()
        await asyncio.to_thread(driver.join)
        await dispatcher.join()
    print(f"{sum(isinstance(answer, Dispatched) for answer in answers)} accepted")


if __name__ == "__main__":
    asyncio.run(main())

# prints:
#   refused: event 'door.opened' (DoorOpened) has no JSON form: badge: expected an integer, got a string
#   lab opened by 17
#   lab opened by 23
#   2 accepted
