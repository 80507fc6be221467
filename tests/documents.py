"""What stands in the documents, and a queue in the state that they speak of."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from attrs import evolve

from notification import DeadLetter, Message, open_queue

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    "README.md", "MIGRATION.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "queues/README.md", "examples/README.md",
    "examples/queue_plugin/README.md",
]  # fmt: skip


def blocks(language: str) -> list[tuple[str, int, str]]:
    """Every fenced block of a language: document, line, text."""
    found = []
    for name in DOCUMENTS:
        text = (ROOT / name).read_text()
        for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            found.append((name, text.count("\n", 0, match.start()) + 2, match[1]))
    return found


async def fill(url: str) -> None:
    """Let an event wait in this queue, and, elsewhere than in a file, another one be delayed; two are dead."""
    dead = DeadLetter(reason="attempts", error="ConnectionError: no answer", handler="tell_the_customer")
    data = {"account_id": 7, "order_id": "A-1"}
    died = [evolve(dead, time=datetime.now(UTC)), DeadLetter(reason="rejected")]
    message = Message(type="order.shipped", id="b", source="/shop", data=data)
    async with open_queue(url) as queue:
        await queue.push(message)
        await queue.release([await queue.pop()])  # a group of a stream begins with its first pop
        if not url.startswith("sqlite"):
            await queue.push(evolve(message, id="c", not_before=datetime.now(UTC) + timedelta(hours=1)))
        assert queue.url is not None
        letters = queue.url.sibling("dead")
    async with open_queue(letters) as queue:
        for number, why in enumerate(died, 1):
            await queue.push(evolve(message, id=f"a-{number}", dead=why))
