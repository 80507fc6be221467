"""`notification queue`: create a queue, list those of a place, look at one, delete one, see who lags behind."""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from queues.admin import NoOptions, QueueAdmin
from queues.errors import ConfigurationError, NotificationError
from queues.registry import open_admin

from ..config import CONFIG, PlainQueue, read_config
from .flags import with_flags
from .inventory import show_changes, show_lag, show_queue, show_queues
from .options import AppOption, Format, Formatted, Level, Queue, logged
from .screen import complain, finish
from .target import one_queue

T = TypeVar("T")
_URL = re.compile(r"(?:--queue=)?([a-z][a-z0-9+.-]*://.*)", re.DOTALL)


class QueueGroup(TyperGroup):
    """Gives `create` the flags of the queue that its line, the environment or a file names."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """As in its base class."""
        name, command, rest = super().resolve_command(ctx, args)
        if name == "create":
            try:
                if (found := _named_in(rest)) is not None:
                    command = _command(_creating(open_admin(found.url).options, found.create_options()))
            except NotificationError:
                if not (ctx.resilient_parsing or {"-h", "--help"} & set(rest)):
                    raise
        return name, command, rest


cli = typer.Typer(
    name="queue",
    cls=QueueGroup,
    help="Create a queue, list the queues of a place, look at one, delete one, see who lags behind.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Place = Annotated[str | None, typer.Argument(metavar="URL", help="The queue, as with --queue", show_default=False)]


# -- the commands


def _create(
    place: Place = None,
    *,
    queue: Queue = None,
    app: AppOption = None,
    options: Any,
    format_: Formatted = Format.table,
) -> None:
    """Create a queue, its dead letters, and whatever else lies beside it.

    What exists already is told and stays as it is. Each kind of queue has flags of its own: give the URL, and --help
    shows them. What is not given is taken from the file of settings: `[queue.create]`.

    \b
    Examples:
      notification queue create kafka://localhost/orders --help
      notification queue create kafka://localhost/orders --partitions 12 --replication 3 --min-isr 2
      notification queue create sqlite:///events.db
      notification queue create --app shop.py
    """
    admin = _admin(place, queue, app)
    show_changes(_run(admin, lambda: admin.create(options)), format_)


def _creating(options: type, usual: Mapping[str, Any] | None = None) -> Callable[..., None]:
    return logged(Level.warning)(with_flags(_create, options, usual or {}))


cli.command("create")(_creating(NoOptions))


@cli.command()
@logged(Level.warning)
def ls(place: Place = None, *, queue: Queue = None, app: AppOption = None, format_: Formatted = Format.table) -> None:
    """List the queues that are where this one is.

    \b
    Examples:
      notification queue ls kafka://localhost
      notification queue ls sqlite:///events.db
      notification queue ls sqlite:///events.db --format json | jq -r .queue
    """
    admin = _admin(place, queue, app)
    queues = _run(admin, admin.list)
    show_queues(queues, format_)
    if not queues:
        complain("there are no queues")


@cli.command()
@logged(Level.warning)
def describe(
    place: Place = None, *, queue: Queue = None, app: AppOption = None, format_: Formatted = Format.table
) -> None:
    """Show all there is to know about a queue.

    \b
    Examples:
      notification queue describe kafka://localhost/orders
      notification queue describe redis+stream://localhost?queue=orders --format json | jq .groups
    """
    admin = _admin(place, queue, app)
    show_queue(admin.url, _run(admin, admin.describe), format_)


@cli.command()
@logged(Level.warning)
def delete(
    place: Place = None,
    *,
    queue: Queue = None,
    app: AppOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", envvar="NOTIFICATION_YES", help="Don't ask")] = False,
    format_: Formatted = Format.table,
) -> None:
    """Delete a queue with its dead letters and delayed events, for good, after asking.

    A queue that somebody consumes is not deleted: stop its workers first.

    \b
    Examples:
      notification queue delete kafka://localhost/orders
      notification queue delete sqlite:///events.db?queue=orders --yes
    """
    if not (yes or sys.stdin.isatty()):
        raise ConfigurationError("there is no terminal to ask on; give --yes if it shall be deleted")
    if not (yes or _confirmed(_admin(place, queue, app))):
        complain("nothing was deleted")
        raise typer.Exit(1)
    admin = _admin(place, queue, app)
    show_changes(_run(admin, admin.delete), format_)


@cli.command()
@logged(Level.warning)
def lag(place: Place = None, *, queue: Queue = None, app: AppOption = None, format_: Formatted = Format.table) -> None:
    """Show how many events each consumer group has before it, and who has them.

    \b
    Examples:
      notification queue lag kafka://localhost/orders
      notification queue lag kafka://localhost/orders --format json | jq -s 'map(.lag) | add'
    """
    admin = _admin(place, queue, app)
    shares = _run(admin, admin.lag)
    show_lag(shares, format_)
    if not shares:
        complain(f"nobody consumes {admin.url} yet")


# -- which, and how


def _confirmed(admin: QueueAdmin) -> bool:
    """Asks, outside of an event loop: there Ctrl-C would not reach the question."""
    stats = _run(admin, admin.describe).stats
    figures = f"{stats.waiting:,} waiting, {stats.delayed or 0:,} delayed, {stats.dead or 0:,} dead"
    return typer.confirm(f"Delete {admin.url} for good, with {figures}?")


def _admin(place: str | None, queue: str | None, app: str | None) -> QueueAdmin:
    return open_admin(one_queue(place if place is not None else queue, app).url)


def _named_in(words: Sequence[str]) -> PlainQueue | None:
    """The queue that is meant, before these words are read as flags; None: none is."""
    given = _values_of(words)
    if (config := given.get("--config")) is not None:
        os.environ[CONFIG] = config
    url = next((found[1] for found in map(_URL.fullmatch, words) if found), None)
    name = words[0] if words and not words[0].startswith("-") else None
    queue = url or given.get("--queue") or name or os.environ.get("NOTIFICATION_QUEUE")
    app = given.get("--app") or os.environ.get("NOTIFICATION_APP")
    return one_queue(queue, app) if queue or app or read_config().queue is not None else None


def _values_of(words: Sequence[str]) -> dict[str, str]:
    """Flags with their values, whether given as `--queue URL` or as `--queue=URL`."""
    joined = (word.partition("=") for word in words if word.startswith("--") and "=" in word)
    return {**dict(itertools.pairwise(words)), **{flag: value for flag, _, value in joined}}


def _command(function: Callable[..., None]) -> Any:
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command("create")(function)
    return typer.main.get_command(alone)


def _run(admin: QueueAdmin, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return finish(_done(admin, work))


async def _done(admin: QueueAdmin, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    async with admin:
        return await work()
