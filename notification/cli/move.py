"""`notification move`: what is left of a retired queue into another one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import typer
from attrs import evolve

from queues.base import Capability, MessageQueue, QueueStats
from queues.errors import ConfigurationError, QueueError
from queues.registry import open_queue
from queues.url import DEAD, QueueURL

from .inventory import show_rows
from .moving import Busy, Mover, left_in
from .options import Format, Formatted, Level, logged
from .progress import bar_over_events
from .screen import complain, count, finish, say
from .target import one_queue

_FIGURES = ("waiting", "in_flight", "delayed", "dead")


@logged(Level.warning)
def move(
    *,
    from_: Annotated[str, typer.Option("--from", envvar="NOTIFICATION_FROM", metavar="URL", help="What to empty")],
    to: Annotated[str, typer.Option("--to", envvar="NOTIFICATION_TO", metavar="URL", help="Where to")],
    dead: Annotated[
        bool, typer.Option("--dead/--no-dead", envvar="NOTIFICATION_DEAD", help="Dead letters, too")
    ] = True,
    wait: Annotated[
        bool, typer.Option("--wait", envvar="NOTIFICATION_WAIT", help="Stay until delayed events have come, too")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", envvar="NOTIFICATION_DRY_RUN", help="Only say how much it would be")
    ] = False,
    format_: Formatted = Format.table,
) -> None:
    """Move what is left of a queue that nobody consumes any more into another one, first in, first out.

    Each event is stored there before it is settled here: killed at any moment, it loses nothing and may repeat its last
    batch; run it again to go on. Stop the workers of the queue first. Delayed events can't be moved before they are
    due; they are told, or waited for with --wait. Exit code 1 when something is left.

    \b
    Examples:
      notification move --from sqlite:///events.db --to redis://localhost:6379/0 --dry-run
      notification move --from sqlite:///events.db --to redis://localhost:6379/0
      notification move --from redis://localhost:6379/0 --to 'kafka://localhost:9092/orders?group=shop' --wait
    """
    source, target = (_url(text) for text in (from_, to))
    if _place(source) == _place(target):
        raise ConfigurationError(f"{source} and {target} are the same queue")
    work = _plan(source, format_) if dry_run else _move(source, target.without("dedup"), dead, wait, format_)
    raise typer.Exit(finish(work))


def _in_order(url: QueueURL) -> QueueURL:
    """First in, first out: not by key, unless a list has parked some by key; and with leases, whatever it has else."""
    return evolve(url.without("capacity", "dedup", "delivery"), order="key" if url.order == "key" else "none")


def _url(text: str) -> QueueURL:
    url: QueueURL = one_queue(text, None).url
    if Capability.LOCAL in open_queue(url).capabilities:
        raise ConfigurationError(f"{url} lives inside one process and is empty in any other")
    return url


def _place(url: QueueURL) -> tuple[object, ...]:
    return url.scheme, url.hosts, url.path, url.name


@asynccontextmanager
async def _opened(url: QueueURL) -> AsyncIterator[tuple[MessageQueue, MessageQueue]]:
    """The queue and its dead letters."""
    queue = open_queue(url)
    async with queue, queue.sibling(DEAD) as dead:
        yield queue, dead


# -- the work


async def _plan(url: QueueURL, format_: Format) -> int:
    async with _opened(_in_order(url)) as (source, dead):
        figures = await left_in(source, dead)
        facts = {name: getattr(figures, name) for name in _FIGURES}
        if format_ is Format.json:
            say(json.dumps({"queue": str(url), **facts}))
        else:
            show_rows([{"queue": str(url), **facts}])
    return 0


async def _move(source_url: QueueURL, target_url: QueueURL, with_dead: bool, wait: bool, format_: Format) -> int:
    async with _opened(_in_order(source_url)) as (source, dead), _opened(target_url) as (target, target_dead):
        mover, undertaker = Mover(source, target, target_dead), Mover(dead, target_dead, target_dead)
        trouble = ""
        try:
            figures = await left_in(source, dead)
            await _drain(mover, figures.waiting + (figures.in_flight or 0), "events", wait=wait)
            if with_dead:
                await _drain(undertaker, figures.dead or 0, "dead letters", wait=False)
        except (Busy, QueueError) as error:
            trouble = str(error)
        figures = await left_in(source, dead)
        if format_ is Format.json:
            facts = {name: getattr(figures, name) for name in _FIGURES}
            moved = {"moved": mover.moved, "dead_moved": undertaker.moved}
            say(json.dumps({"from": str(source_url), "to": str(target_url), **moved, "left": facts}))
        else:
            events, letters = count(mover.moved, "event"), count(undertaker.moved, "dead letter")
            say(f"{events} and {letters} moved from {source_url} to {target_url}")
    return _judge(figures, trouble, with_dead=with_dead)


async def _drain(mover: Mover, total: int, what: str, *, wait: bool) -> None:
    with bar_over_events(what, total) as bar:
        try:
            await mover.drain(bar.done, wait=wait)
        finally:
            bar.end()


def _judge(left: QueueStats, trouble: str, *, with_dead: bool) -> int:
    if trouble:
        complain(trouble)
    for number, words in (
        (left.waiting, "waiting: somebody still dispatches to it, or it was not finished; run it again"),
        (left.in_flight or 0, "in flight: somebody still consumes it; stop that, and run it again"),
        (left.delayed or 0, "delayed: run it again when they are due, or with --wait"),
        ((left.dead or 0) if with_dead else 0, "dead: run it again"),
    ):
        if number:
            complain(f"{number:,} left {words}")
    return 1 if trouble or left.waiting or left.in_flight or left.delayed or (with_dead and left.dead) else 0
