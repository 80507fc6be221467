"""Two services read the same topic of Kafka, each as a group of its own: both see every event, each at its own pace.

More processes of a service share its events, those of one key always in order. Make the topic first:
notification queue create kafka://localhost:9092/orders
python examples/14_two_groups.py kafka://localhost:9092/orders        # or NOTIFICATION_QUEUE=kafka://…
"""

import asyncio
import os
import sys

from notification import EventDispatcher, NotificationError, event

TOPIC = "".join(sys.argv[1:2]) or os.environ.get("NOTIFICATION_QUEUE") or sys.exit("say where: kafka://localhost/topic")
mail = EventDispatcher(f"{TOPIC}?group=mail")
search = EventDispatcher(f"{TOPIC}?group=search")


@event("article.changed", key="article")
class ArticleChanged:
    article: str
    title: str


@mail.on(ArticleChanged)
async def tell(change: ArticleChanged) -> None:
    print(f"mail, process {os.getpid()}: {change.article} is called {change.title!r} now")


@search.on(ArticleChanged)
async def index(change: ArticleChanged) -> None:
    print(f"search, process {os.getpid()}: {change.article} is found under {change.title!r}")


async def serve(service: EventDispatcher) -> None:
    async with service:
        await service.start(workers=4)
        await service.join()  # until its group has handled all there is; a real service would run() instead


async def main() -> None:
    async with mail:  # whoever dispatches is in no group: every group gets it
        for title in ("Draft", "Final"):
            await mail.dispatch(ArticleChanged("a-1", title))
    process = await asyncio.create_subprocess_exec(sys.executable, __file__, TOPIC, "mail")
    await process.wait()
    await serve(search)  # begins later, and misses nothing


try:
    asyncio.run(serve(mail) if sys.argv[2:] == ["mail"] else main())
except NotificationError as error:
    sys.exit(f"no topic there: {error}")
# prints:
#   mail, process …: a-1 is called 'Draft' now
#   mail, process …: a-1 is called 'Final' now
#   search, process …: a-1 is found under 'Draft'
#   search, process …: a-1 is found under 'Final'
