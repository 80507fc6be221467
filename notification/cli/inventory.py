"""Queues on the screen: what was changed, a list of them, one in full, and who has what before it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import asdict
from rich.console import Console
from rich.text import Text

from queues.admin import Change, QueueInfo, Share, Value
from queues.base import QueueStats
from queues.url import QueueURL

from .options import Format
from .screen import duration, say, show_pairs, show_table

NOBODY = "nobody"
"""Who has what no consumer has."""


def show_changes(changes: Sequence[Change], format_: Format) -> None:
    """One a line; notes are never cut."""
    if format_ is Format.json:
        _say_json(map(asdict, changes))
    elif changes:
        show_pairs((one.name, f"{one.done}{f': {one.note}' if one.note else ''}") for one in changes)


def show_queues(queues: Sequence[QueueInfo], format_: Format) -> None:
    """One a line, with the figures that any of them has."""
    if format_ is Format.json:
        _say_json({"queue": one.name, **asdict(one.stats), **one.facts} for one in queues)
        return
    figures = ("waiting", "in_flight", "delayed", "dead")
    show_rows(
        {"queue": one.name, **{name: getattr(one.stats, name) for name in figures}, **one.facts} for one in queues
    )


def show_queue(url: QueueURL, info: QueueInfo, format_: Format) -> None:
    """Its figures and facts, then its parts in tables."""
    if format_ is Format.json:
        _say_json([{"queue": info.name, "url": str(url), **asdict(info.stats), **info.facts, **info.tables}])
        return
    Console(highlight=False, soft_wrap=True).print(Text(str(url), style="bold"))
    show_pairs([*figures_of(info.stats), *((name, _text(value)) for name, value in _known(info.facts))])
    for title, rows in info.tables.items():
        say("" if rows else f"\n{title}: none")
        show_rows(rows)


def show_lag(shares: Sequence[Share], format_: Format) -> None:
    """One a line."""
    if format_ is Format.json:
        _say_json(map(asdict, shares))
    else:
        show_rows(
            {"group": one.group, "partition": one.partition, "lag": one.lag, "owner": one.owner or NOBODY}
            for one in shares
        )


def show_shares(shares: Sequence[Share]) -> None:
    """Below a queue's figures: who has how many, and of which partitions; nothing where nobody has anything."""
    for line in share_lines(shares):
        say(line)


def share_lines(shares: Sequence[Share]) -> Iterator[str]:
    """The same as text, consumer by consumer."""
    owners = {one.owner or NOBODY: [two for two in shares if two.owner == one.owner] for one in shares}
    if owners.keys() - {NOBODY}:
        width = max(map(len, owners))
        yield ""
        for owner, theirs in owners.items():
            of = _numbers(theirs)
            yield f"{owner.ljust(width)}  {sum(one.lag for one in theirs):,}{f' of partition {of}' if of else ''}"


def figures_of(stats: QueueStats) -> Iterator[tuple[str, str]]:
    """A queue's figures, for people."""
    for name in ("waiting", "in_flight", "delayed", "dead"):
        number = getattr(stats, name)
        yield name.replace("_", " "), "unknown" if number is None else f"{number:,}"
    yield "oldest", "-" if stats.oldest_age is None else duration(stats.oldest_age)


def show_rows(rows: Iterable[Mapping[str, Value]]) -> None:
    """A table of rows that name their cells; what none of them has is left out."""
    rows = list(rows)
    columns = [
        name for name in dict.fromkeys(name for row in rows for name in row) if any(_has(row, name) for row in rows)
    ]
    if columns:
        titles = [name.replace("_", " ").upper() for name in columns]
        show_table(titles, [[_text(row.get(name)) for name in columns] for row in rows])


def _known(facts: Mapping[str, Value]) -> Iterator[tuple[str, Value]]:
    return ((name, value) for name, value in facts.items() if value is not None)


def _has(row: Mapping[str, Value], name: str) -> bool:
    return row.get(name) is not None


def _text(value: Value) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _numbers(shares: Sequence[Share]) -> str:
    return " ".join(str(one.partition) for one in shares if one.partition is not None)


def _say_json(objects: Iterable[Mapping[str, Any]]) -> None:
    for each in objects:
        say(json.dumps(each))
