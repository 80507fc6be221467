"""The event of these tests: what its handler does is written in it."""

from __future__ import annotations

from notification import event


@event("faults.job", key="account")
class Job:
    """work: seconds of handling. act: something worse, see `worker`."""

    account: int
    seq: int
    work: float = 0.0
    act: str = ""
