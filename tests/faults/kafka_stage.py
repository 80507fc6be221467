"""A theatre on Kafka: load while something happens, and what has to be true after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .checker import Verdict, check
from .programs import Child, Theatre, wait_until

RATE = 500
"""Events a second."""
WORKERS, PREFETCH = 8, 64
REPEATED = WORKERS + PREFETCH
"""The most that may be handled a second time after a death: what is in hand, and what is finished and not committed,
which takes a tenth of a second.
"""
SESSION = 2.0
"""Seconds after which the partitions of a silent process go to others, in tests that wait for it."""


def busy_worker(stage: Theatre) -> Child:
    """A worker process, not yet ready."""
    return stage.worker(workers=WORKERS, prefetch=PREFETCH)


@contextmanager
def load(stage: Theatre, events: int, *, keys: int = 100, work: float = 0.002) -> Iterator[None]:
    """Dispatch at `RATE` while what is inside goes on, and until so many were accepted; then have all handled."""
    enough = stage.directory / "enough"
    producer = stage.producer(count=events, keys=keys, rate=RATE, work=work, until=str(enough))
    stage.handles(200)
    yield
    wait_until(lambda: stage.count("sent") >= events, 300, "enough were accepted")
    enough.touch()
    producer.finished()
    stage.handles_all(lambda: stage.ids("sent") - stage.ids("ended"))


def consumes_again(stage: Theatre, within: float) -> None:
    """Wait until something is handled that nobody has dispatched yet."""
    before = set(stage.ids("trying"))
    wait_until(lambda: stage.ids("ended") - before, within, "dispatching and consuming")


def judged(stage: Theatre, events: int, duplicates: float) -> Verdict:
    """Stop the workers: nothing lost, all keys in order, no more than so many duplicates."""
    stage.finish()
    verdict = check(stage.directory)
    assert verdict.sent >= events
    assert (verdict.lost, verdict.phantom, verdict.stuck, verdict.inversions) == ([], [], [], [])
    assert verdict.duplicates <= duplicates
    assert stage.dead_letters() == []
    return verdict
