"""Events that witnesses exchange with us: what we write, and what the CloudEvents SDK writes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from notification import DeadLetter, Message, event


@event("witness.seen")
class Seen:
    """What is handled. A negative number fails."""

    number: int = 0


SOME_TIME = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
"""In every event: where there is none the SDK takes the present."""
WRITTEN = {
    "as short as can be": Message(type="a", id="1", source="/s", time=SOME_TIME),
    "data": Message(type="order.shipped", id="é-1", source="/shop", time=SOME_TIME, data={"ü": [1.5, None]}),
    "everything": Message(
        type="order.shipped", id="1", source="urn:shop", time=SOME_TIME, key="a-7",
        data={}, headers={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "x1": ""},
        version=3, attempt=2, deliveries=1, handlers=("mail", "archive"), not_before=datetime(2020, 1, 3, tzinfo=UTC),
    ),
    "bytes": Message(type="image.taken", id="1", source="/camera", time=SOME_TIME, data=b"\x00\xff"),
    "a dead letter": Message(
        type="a", id="1", source="/s", time=SOME_TIME, data="x", first_error="E: 1",
        dead=DeadLetter(reason="attempts", error="E: 5", handler="mail", attempts=5, origin="orders"),
    ),
}  # fmt: skip
"""Messages of ours."""
FOREIGN: list[dict[str, Any]] = [
    {"id": "short"},
    {"id": "named", "datacontenttype": "application/json", "subject": "s", "dataschema": "https://example.org/s"},
    {"id": "keyed", "time": SOME_TIME, "partitionkey": "k"},
    {"id": "extended", "traceparent": "00-1-2-01", "sampled": True, "tries": 3},
]
"""Attributes of theirs, beside the required ones."""
