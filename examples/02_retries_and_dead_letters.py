"""Retries and dead letters: what becomes of an event whose handler fails.

A handler that raises runs again, as its policy says. RetryLater says when by itself; Reject, and the exceptions in
`fatal`, say never. What failed for good is a dead letter, in the queue beside yours, with the reason.
"""

import asyncio
import logging
import tempfile

from notification import Context, EventDispatcher, Reject, RetryLater, RetryPolicy, event, open_queue


@event("manuscript.accepted")
class ManuscriptAccepted:
    title: str
    author: str


dispatcher = EventDispatcher(retry=RetryPolicy(attempts=3, initial=0.01, fatal=(LookupError,)))


@dispatcher.on(ManuscriptAccepted)
async def congratulate(accepted: ManuscriptAccepted, ctx: Context) -> None:
    match accepted.author:
        case "busy" if ctx.attempt == 1:
            raise RetryLater(0.05, "the mail server says: not now")
        case "offline":
            raise ConnectionError("no answer")
        case "gone":
            raise LookupError("there is no such mailbox")
        case "anonymous":
            raise Reject("nobody to congratulate")
    print(f"{accepted.title}: told in run {ctx.attempt}")


async def main() -> None:
    logging.getLogger("notification").setLevel(logging.CRITICAL)  # it tells of every failure; here we look ourselves
    with tempfile.TemporaryDirectory() as directory:
        dispatcher.use(queue := f"sqlite:///{directory}/events.db")
        async with dispatcher:
            await dispatcher.start(workers=1)
            authors = {"Emma": "busy", "Ulysses": "offline", "Faust": "gone", "Beowulf": "anonymous"}
            await dispatcher.dispatch_many([ManuscriptAccepted(title, author) for title, author in authors.items()])
            await dispatcher.join()
        async with open_queue(f"{queue}?queue=events.dead") as dead_letters:
            letters = [letter async for letter in dead_letters.browse()]  # in the order in which they died
    for letter in sorted(letters, key=lambda letter: letter.time):
        assert letter.dead is not None
        print(f"{letter.data['title']}: dead in run {letter.dead.attempts}, {letter.dead.error}")


if __name__ == "__main__":
    asyncio.run(main())

# prints:
#   Emma: told in run 2
#   Ulysses: dead in run 3, ConnectionError: no answer
#   Faust: dead in run 1, LookupError: there is no such mailbox
#   Beowulf: dead in run 1, Reject: nobody to congratulate
