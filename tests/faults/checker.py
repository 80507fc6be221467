"""Reads ledgers and says what went wrong. Knows nothing of queues: only what publishers and handlers wrote down.

`python -m tests.faults.checker DIRECTORY` prints the verdict.

lost: accepted, no effect, not among the dead letters. phantom: handled, and nobody dispatched it. duplicates: effects
beyond the first one of an event. inversions: an event whose first run began after the first run of a later one of its
key. stuck: begun, never ended, not dead. most_runs: of one event.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from .ledger import Ledgers


@frozen
class Verdict:
    """See the module."""

    sent: int
    handled: int
    dead: int
    lost: list[str]
    phantom: list[str]
    duplicates: int
    inversions: list[str]
    stuck: list[str]
    most_runs: int


def check(directory: Path) -> Verdict:
    """The verdict on all ledgers of a directory."""
    ledgers = Ledgers(directory)
    effects = Counter(line["id"] for line in ledgers.lines("ended"))
    runs = Counter(line["id"] for line in ledgers.lines("began"))
    sent, dead = ledgers.ids("sent"), ledgers.ids("dead")
    return Verdict(
        sent=len(sent),
        handled=len(effects),
        dead=len(dead),
        lost=sorted(sent - effects.keys() - dead),
        phantom=sorted(runs.keys() - ledgers.ids("trying")),
        duplicates=sum(effects.values()) - len(effects),
        inversions=inversions(ledgers.lines("began")),
        stuck=sorted(runs.keys() - effects.keys() - dead),
        most_runs=max(runs.values(), default=0),
    )


def inversions(began: list[dict[str, Any]]) -> list[str]:
    """First runs, in the order of time, that come after the first run of a later event of their key."""
    seen, furthest, wrong = set[str](), dict[object, int](), []
    for line in began:
        if line["id"] in seen or line["key"] is None:
            continue
        seen.add(line["id"])
        if line["seq"] < furthest.get(line["key"], -1):
            wrong.append(line["id"])
        furthest[line["key"]] = max(line["seq"], furthest.get(line["key"], -1))
    return wrong


if __name__ == "__main__":
    print(json.dumps(asdict(check(Path(sys.argv[1]))), indent=2))
