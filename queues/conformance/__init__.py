"""The public test suite of queues: every backend, ours or a plugin's, passes it.

    import pytest
    from queues.conformance import QueueConformance

    class TestMyQueue(QueueConformance):
        @pytest.fixture
        def make_queue(self, tmp_path):
            return lambda **options: MyQueue(tmp_path / "store", **options)

It needs pytest and pytest-asyncio, in any mode: `pip install 'notification-dispatcher[conformance]'`. The docstring of
`QueueConformance` lists its groups and what can be overridden; the page "How to write a queue", `queues/README.md`,
goes through both.
"""

try:
    import pytest
    import pytest_asyncio  # noqa: F401  # said here, once, instead of in the first group that needs it
except ImportError as _error:
    raise ImportError(
        f"queues.conformance can't import {_error.name}: pip install 'notification-dispatcher[conformance]'",
        name=_error.name,
    ) from _error

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
    """Subclass it under a name that begins with Test, and override the fixture `make_queue`.

    `make_queue` returns a function. Each call of that makes an unopened owner of one and the same queue; each test gets
    a queue of its own (a fresh name, file or server). Its keywords are options: `capacity=3`, `lease=1.0`, `group="a"`,
    `order="none"`. For one the queue does not have it raises TypeError or ConfigurationError, and the tests about that
    option are skipped. Best it opens by URL: then the tests in other processes, and those of siblings, run too.

    A group is a file of this package; `pytest -k` takes a word of a test's name. What was skipped, and why, is printed
    at the end of the run. A failing test says which duty of the contract was not met.

    ==============  ==================  =========================================================================
    group           runs for            the rule
    ==============  ==================  =========================================================================
    basics          every queue         what goes in comes out, whole, once, in order, to whoever waits
    batches         every queue         as good as one at a time; nothing waits for a batch to fill
    closing         every queue         whoever waits is woken by QueueClosed; with ACK, what was held goes back
    cancelling      every queue         a cancelled pop loses nothing and hands out nothing twice
    nacking         every queue         back to the queue, once, unchanged or as the message given
    releasing       every queue         back uncounted and in order; with ACK or KEYED to the head
    moving          every queue         stored there, then settled here; if it was not stored there, not settled
    taking          every queue         those that match, in order; the others stay as they were
    size caps       all but LOCAL       an event over the limit is refused or corrupt, one at the limit is whole
    stats           every queue         what it can't say is None; what it says is true
    capacity        option `capacity`   push waits as long as it is told, and nothing else is ever held up
    browsing        where it can be     look at what waits, take nothing
    corrupt         hook `inject`       bytes that are no event come out with their reason, and harm nobody
    redelivery      ACK                 what an owner did not settle comes back after its death, and only that
    fencing         ACK                 whoever lost a delivery can do nothing to it any more, and is told so
    reopening       DURABLE             what push accepted is there after everything was closed or killed
    delaying        DELAY               not handed out before its time, and holding up nobody until then
    keyed           KEYED               a key is with one owner at a time, and its order holds
    groups          GROUPS              each group sees every event; what one does again is its own affair
    ==============  ==================  =========================================================================

    Attributes, with their defaults:

    - `lease = 1.0`: seconds, given as the option `lease` where an owner's death is awaited. None: no such option.
    - `delay = 0.5`: seconds that delayed messages and retries wait. More for coarse timers.
    - `patience = 10.0`: seconds after which what must happen counts as not happening.
    - `shared = True`: False where two owners from one `make_queue` don't see the same messages.
    - `other_processes = True`: False where the URL does not open the same queue in another process.
    - `child_imports = ()`: modules that another process imports before it opens the URL, to register its scheme. Not
      needed with an entry point.
    - `keys_move = True`: False where a key, or an event without one, stays with an owner as long as that lives, as with
      partitions.
    - `acks_within = 0.0`: seconds until an ack that has returned outlives its process. Above 0 where it is stored
      later, behind our back.
    - `counts_exactly = True`: False where `Delivery.times` is only a lower bound.

    Methods to override:

    - `async inject(queue, raw)`: put raw bytes into the store that no `push` would write. It enables the group corrupt.
    - `async ready(*owners)`: wait until all have their share, where that takes a while after the first pop.
    """
