"""`notification dead`: look at dead letters, send them back, delete them."""

from __future__ import annotations

import sys
from collections import deque
from contextlib import AbstractAsyncContextManager
from typing import Annotated

import typer

from queues.errors import ConfigurationError
from queues.message import Message
from queues.wire import encode

from .editing import NotEdited, edit
from .letters import Selection, Undertaker, browsed
from .listing import By, Groups, show_letter, show_letters
from .options import AppOption, Format, Formatted, Level, Queue, Since, Type, logged, rate, since
from .progress import bar_over_events
from .screen import complain, count, finish, say
from .target import Session, Target, opened, session
from .totals import Total, count_meant, tell_missing

cli = typer.Typer(
    name="dead",
    help="Look at dead letters, send them back, delete them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Opened = AbstractAsyncContextManager[Target]
Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Only these")]
Cause = Annotated[
    str | None,
    typer.Option(
        envvar="NOTIFICATION_CAUSE",
        metavar="PATTERN",
        help="Only of this reason, error class or error text; * stands for any text",
    ),
]
All = Annotated[bool, typer.Option("--all", envvar="NOTIFICATION_ALL", help="All dead letters there are")]
DryRun = Annotated[bool, typer.Option("--dry-run", envvar="NOTIFICATION_DRY_RUN", help="Only say which it would be")]
Limit = Annotated[int, typer.Option(envvar="NOTIFICATION_LIMIT", min=0, help="The most, the oldest first; 0: no limit")]


# -- the commands


@cli.command()
@logged(Level.warning)
def ls(
    *,
    queue: Queue = None,
    app: AppOption = None,
    by: Annotated[By | None, typer.Option(envvar="NOTIFICATION_BY", help="Count them in groups")] = None,
    type_: Type = None,
    cause: Cause = None,
    since_: Since = None,
    limit: Annotated[
        int, typer.Option(envvar="NOTIFICATION_LIMIT", min=0, help="The most to list, the newest; 0: all")
    ] = 50,
    format_: Formatted = Format.table,
) -> None:
    """List dead letters, or count them by type and cause.

    \b
    Examples:
      notification dead ls --queue sqlite:///events.db
      notification dead ls --queue sqlite:///events.db --by cause
      notification dead ls --queue sqlite:///events.db --type 'order.*' --cause TimeoutError --since 2h
      notification dead ls --queue sqlite:///events.db --limit 0 --format json > dead.ndjson
    """
    selection = Selection((), type_, cause, since(since_))
    raise typer.Exit(finish(_list(opened(queue, app), selection, by, limit, format_)))


@cli.command()
@logged(Level.warning)
def show(
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="Which ones")],
    *,
    queue: Queue = None,
    app: AppOption = None,
    format_: Formatted = Format.table,
) -> None:
    """Show dead letters in full: why they died, their attributes and data.

    \b
    Examples:
      notification dead show 5f0c1d9e-1 --queue sqlite:///events.db
      notification dead show 5f0c1d9e-1 --queue sqlite:///events.db --format json | jq .data
    """
    raise typer.Exit(finish(_show(opened(queue, app), Selection(ids), format_)))


@cli.command()
@logged(Level.warning)
def retry(
    ids: Ids = None,
    *,
    queue: Queue = None,
    app: AppOption = None,
    type_: Type = None,
    cause: Cause = None,
    since_: Since = None,
    all_: All = False,
    limit: Limit = 0,
    dry_run: DryRun = False,
    rate_: Annotated[
        str | None,
        typer.Option(
            "--rate", envvar="NOTIFICATION_RATE", metavar="N/s", help="The most a second, minute (N/m) or hour (N/h)"
        ),
    ] = None,
    edit_: Annotated[
        bool, typer.Option("--edit", envvar="NOTIFICATION_EDIT", help="Open the data of one in $EDITOR first")
    ] = False,
) -> None:
    """Send dead letters back to their queue, for the handlers they died in.

    With --edit the data are checked against the event's class, which --app makes known; what does not fit is not sent
    and stays in a file.

    \b
    Examples:
      notification dead retry 5f0c1d9e-1 --queue sqlite:///events.db
      notification dead retry --cause TimeoutError --since 2h --rate 50/s --queue sqlite:///events.db
      notification dead retry --all --dry-run --queue sqlite:///events.db
      notification dead retry 5f0c1d9e-1 --edit --app shop.py --queue sqlite:///events.db
    """
    selection, per_second = _chosen(ids, type_, cause, since_, all_), rate(rate_)
    if edit_ and (len(selection.ids) != 1 or selection != Selection(selection.ids)):
        raise ConfigurationError("--edit is for one dead letter; give its id, and nothing else to select by")
    with session(queue, app) as at:
        total = at.run(count_meant(at.target, selection, limit, show_groups=dry_run))
        if dry_run:
            say(f"{count(total.number, 'dead letter')} would be sent back")
        elif total.number:
            if edit_:
                raise typer.Exit(_edit(at, selection))
            raise typer.Exit(at.run(_retry(at.target, selection, total, per_second)))
        raise typer.Exit(total.code)


@cli.command()
@logged(Level.warning)
def drop(
    ids: Ids = None,
    *,
    queue: Queue = None,
    app: AppOption = None,
    type_: Type = None,
    cause: Cause = None,
    since_: Since = None,
    all_: All = False,
    limit: Limit = 0,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", envvar="NOTIFICATION_YES", help="Do not ask")] = False,
) -> None:
    """Delete dead letters for good, after asking.

    \b
    Examples:
      notification dead drop 5f0c1d9e-1 --queue sqlite:///events.db
      notification dead drop --type 'order.*' --cause rejected --yes --queue sqlite:///events.db
    """
    selection = _chosen(ids, type_, cause, since_, all_)
    if not (yes or dry_run or sys.stdin.isatty()):
        raise ConfigurationError("there is no terminal to ask on; give --yes if they shall be deleted")
    with session(queue, app) as at:
        total = at.run(count_meant(at.target, selection, limit, show_groups=dry_run))
        if dry_run:
            say(f"{count(total.number, 'dead letter')} would be deleted")
        elif total.number:
            if not (yes or typer.confirm(f"Delete {count(total.number, 'dead letter')} of {at.target.name} for good?")):
                complain("nothing was deleted")
                raise typer.Exit(1)
            raise typer.Exit(at.run(_drop(at.target, selection, total)))
        raise typer.Exit(total.code)


# -- which


def _chosen(
    ids: list[str] | None, type_: str | None, cause: str | None, since_: str | None, everything: bool
) -> Selection:
    selection = Selection(tuple(ids or ()), type_, cause, since(since_))
    if selection.is_everything and not everything:
        raise ConfigurationError("which ones? Give ids, --type, --cause or --since, or --all")
    if everything and not selection.is_everything:
        raise ConfigurationError(f"--all and {selection} don't go together; leave one out")
    return selection


# -- the work


async def _list(place: Opened, selection: Selection, by: By | None, limit: int, format_: Format) -> int:
    groups, newest, number = Groups(by or By.cause), deque[Message](maxlen=limit or None), 0
    async with place as target:
        async for letter in browsed(target.dead, selection):
            number += 1
            if by:
                groups.add(letter)
            else:
                newest.append(letter)
        if not number:
            return await tell_missing(target, selection, 0, set())
    if format_ is Format.json:
        for line in groups.lines() if by else [encode(letter).decode() for letter in newest]:
            say(line)
    elif by:
        groups.show()
    else:
        show_letters(newest)
    if not by and number > len(newest):
        complain(f"the newest {len(newest):,} of {number:,}; --limit 0 lists all, --by cause counts them")
    return 0


async def _show(place: Opened, selection: Selection, format_: Format) -> int:
    found: set[str] = set()
    async with place as target:
        async for letter in browsed(target.dead, selection):
            if format_ is Format.json:
                say(encode(letter).decode())
            else:
                if found:
                    say("")
                show_letter(letter)
            found.add(letter.id)
        return await tell_missing(target, selection, len(found), found)


async def _retry(target: Target, selection: Selection, total: Total, per_second: float | None) -> int:
    with bar_over_events("sending back", total.number) as bar:
        undertaker = Undertaker(target, selection, per_second, bar.done)
        moved = undertaker.moved
        try:
            await undertaker.retry(total.number)
        finally:
            bar.end()
            say(f"{count(moved.done, 'dead letter')} sent back to {target.name}")
    for unreadable in sorted(moved.unreadable):
        complain(f"{unreadable} can't be read and stays; mend it with --edit, or drop it")
    if moved.stopped:
        complain(f"stopped: {moved.stopped}")
    return 1 if moved.unreadable or moved.stopped else total.code


async def _drop(target: Target, selection: Selection, total: Total) -> int:
    with bar_over_events("deleting", total.number) as bar:
        undertaker = Undertaker(target, selection, progress=bar.done)
        try:
            await undertaker.drop(total.number)
        finally:
            bar.end()
            say(f"{count(undertaker.moved.done, 'dead letter')} of {target.name} deleted")
    return total.code


def _edit(at: Session, selection: Selection) -> int:
    """Edit one and send it back."""
    letter = at.run(_first(at.target, selection))
    try:
        edited = edit(letter)
    except NotEdited as why:
        complain(str(why))
        return 1
    if not edited.checked:
        complain(f"no class of {edited.message.type} is known here (--app), so the data are not checked")
    undertaker = Undertaker(at.target, selection)
    at.run(undertaker.replace(edited.message))
    if not undertaker.moved.done:
        complain(f"the dead letter is gone meanwhile; nothing is sent, and your text is in {edited.file}")
        return 1
    edited.file.unlink()
    say(f"1 dead letter sent back to {at.target.name}, edited")
    return 0


async def _first(target: Target, selection: Selection) -> Message:
    return await anext(browsed(target.dead, selection))
