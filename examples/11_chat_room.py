"""A chat: order per room, rooms side by side, and a sender that bursts.

The room is the key. What people say in one room is delivered in the order in which it was dispatched, one message at a
time, while other rooms go on; `dispatch_many` hands over a burst in one trip to the queue.
"""

import asyncio
from collections import Counter, defaultdict

from notification import EventDispatcher, event

ROOMS = ("chess", "cooking", "gardening")


@event("room.message", key="room")
class RoomMessage:
    room: str
    sender: str
    number: int


dispatcher = EventDispatcher("channel://")
delivered: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
busy: Counter[str] = Counter()
busiest: Counter[str] = Counter()


@dispatcher.on(RoomMessage)
async def deliver(said: RoomMessage) -> None:
    busy[said.room] += 1
    await asyncio.sleep(0.001)  # a socket takes its time
    busiest["rooms"] = max(busiest["rooms"], len(+busy))
    busiest["messages of one room"] = max(busiest["messages of one room"], busy[said.room])
    delivered[said.room, said.sender].append(said.number)
    busy[said.room] -= 1


async def chat(sender: str, room: str) -> None:
    for number in range(20):
        await dispatcher.dispatch(RoomMessage(room, sender, number))


async def main() -> None:
    async with dispatcher:
        await dispatcher.start(workers=16)
        burst = [RoomMessage(room, "bot", number) for number in range(50) for room in ROOMS]
        people = [chat(sender, room) for sender in ("ann", "bob") for room in ROOMS]
        await asyncio.gather(dispatcher.dispatch_many(burst), *people)
        await dispatcher.join()
    print(f"{sum(map(len, delivered.values()))} messages, in order:", all(n == sorted(n) for n in delivered.values()))
    print("at once:", dict(busiest))


if __name__ == "__main__":
    asyncio.run(main())

# prints:
#   270 messages, in order: True
#   at once: {'rooms': 3, 'messages of one room': 1}
