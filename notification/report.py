"""What the dispatcher tells its users: where an event went, how things stand, what was left at the end."""

from __future__ import annotations

from attrs import frozen


@frozen
class Dispatched:
    """An accepted event: its id, and `via`, the way it went: to the `queue`; into the `spill`, from where it follows to
    the queue; or `inline`: it was handled where it was dispatched.
    """

    id: str
    via: str = "queue"


@frozen
class StopReport:
    """What a dispatcher did until it stopped, in events of this process.

    handled, retried, dead: runs that went well, runs put off, dead letters written. released: fetched or started and
    handed back, uncounted. abandoned: left in a thread that could not be stopped, or lost with an in-process queue.
    spilled: still in the spill, for the next process that uses it.
    """

    handled: int = 0
    retried: int = 0
    dead: int = 0
    released: int = 0
    abandoned: int = 0
    spilled: int = 0


@frozen
class Health:
    """For probes. live: restart the process when this is False. ready: dispatch and consuming work now; with a spill
    that has room, or `inline`, dispatch alone is enough: a service goes on while its queue is down.

    degraded: the queue is out of reach, or events still go to the spill. spilled: events in the spill of this process.
    last_pop_age: seconds since the queue last answered a fetch; 0 while no event waits or all workers are busy; None:
    no workers or no answer yet. lag: events waiting in the queue; None when it can't be asked. lost_leases: events that
    were handled elsewhere too. in_threads: plain handlers beyond their timeout. last_error: of the queue, empty when
    all is well.
    """

    live: bool
    ready: bool
    degraded: bool = False
    spilled: int = 0
    last_pop_age: float | None = None
    lag: int | None = None
    lost_leases: int = 0
    in_threads: int = 0
    last_error: str = ""
