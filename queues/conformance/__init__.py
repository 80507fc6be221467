"""The public test suite of queues: every backend, ours or a plugin's, passes it.

    from queues.conformance import QueueConformance

    class TestMyQueue(QueueConformance):
        @pytest.fixture
        def make_queue(self, tmp_path):
            return lambda **options: MyQueue(tmp_path / "store", **options)

Where two queues that were made so do not see the same messages, as with one that keeps them in itself, write
`shared = False` beside the fixture.

It needs pytest and pytest-asyncio, in any mode. Groups that a queue skips, because it does not declare a capability or
does not know an option, are printed at the end of the run with the reason. What else can be overridden stands in
`queues.conformance.suite.Suite`.
"""

import pytest

_GROUPS = (
    "basics", "batches", "closing", "cancelling", "capacity", "redelivery", "fencing", "nacking", "releasing",
    "moving", "delaying", "keyed", "taking", "corrupt", "browsing", "stats", "reopening", "size_caps", "groups",
)  # fmt: skip
# so that a failing assert shows both sides, as in any test file
pytest.register_assert_rewrite(*(f"{__name__}.{group}" for group in _GROUPS))

from .basics import Basics  # noqa: E402  # the registration above must come first, here and below
from .batches import Batches  # noqa: E402
from .browsing import Browsing  # noqa: E402
from .cancelling import Cancelling  # noqa: E402
from .capacity import Capacity  # noqa: E402
from .closing import Closing  # noqa: E402
from .corrupt import Corrupt  # noqa: E402
from .delaying import Delaying  # noqa: E402
from .fencing import Fencing  # noqa: E402
from .groups import Groups  # noqa: E402
from .keyed import Keyed  # noqa: E402
from .moving import Moving  # noqa: E402
from .nacking import Nacking  # noqa: E402
from .redelivery import Redelivery  # noqa: E402
from .releasing import Releasing  # noqa: E402
from .reopening import Reopening  # noqa: E402
from .size_caps import SizeCaps  # noqa: E402
from .stats import Stats  # noqa: E402
from .suite import MakeQueue, Owners  # noqa: E402
from .taking import Taking  # noqa: E402

__all__ = ["MakeQueue", "Owners", "QueueConformance"]


class QueueConformance(
    Basics, Batches, Closing, Cancelling, Capacity, Redelivery, Fencing, Nacking, Releasing,
    Moving, Delaying, Keyed, Taking, Corrupt, Browsing, Stats, Reopening, SizeCaps, Groups,
):  # fmt: skip
    """Subclass it under a name that begins with Test, and override the fixture `make_queue`."""
