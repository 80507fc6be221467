"""`notification run`: an app's workers, in this process or in several."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import AsyncExitStack
from typing import Annotated

import typer
from attrs import asdict

from queues.base import name_of

from ..dispatcher import EventDispatcher
from ..report import StopReport
from .lifeline import Lifeline
from .options import App, Format, Formatted, Level, Queue, logged
from .probe import Probe
from .screen import count, say, stop_line
from .supervisor import Plan, Supervisor
from .target import app_on, config_for


@logged(Level.info)
def run(
    app: App,
    *,
    queue: Queue = None,
    workers: Annotated[
        int | None, typer.Option(envvar="NOTIFICATION_WORKERS", min=1, max=10_000,
                                 help="Events handled at a time in each process; 1 by default")
    ] = None,
    processes: Annotated[
        int, typer.Option(envvar="NOTIFICATION_PROCESSES", min=1, max=512,
                          help="Processes; one that dies is started again")
    ] = 1,
    reload: Annotated[
        bool, typer.Option("--reload", envvar="NOTIFICATION_RELOAD",
                           help="Start again when a Python file below the current directory changes")
    ] = False,
    health: Annotated[
        str | None,
        typer.Option(envvar="NOTIFICATION_HEALTH", metavar="[HOST:]PORT",
                     help="Answer GET /healthz and /readyz there, for probes"),
    ] = None,
    format_: Formatted = Format.table,
) -> None:  # fmt: skip
    """Handle events until Ctrl-C or SIGTERM.

    The first signal stops in order: handlers finish, what was not started goes back to the queue. A second one leaves
    at once.

    \b
    Examples:
      notification run shop.py --workers 8
      notification run shop.main:dispatcher --queue sqlite:///events.db --processes 4
      notification run shop.py --reload
      NOTIFICATION_QUEUE=sqlite:////var/lib/shop/events.db notification run shop --health 0.0.0.0:8080
    """
    probe = None if health is None else Probe.at(health)
    if processes == 1 and not reload:
        code = _run_here(app, queue, workers, probe, format_)
    else:
        code = _run_children(Plan.of(app, queue, workers, processes, reload=reload), probe, format_)
    sys.stdout.flush()
    if code != 0:
        os._exit(code)  # what a thread still runs would hold up the end; its events come back with their lease


def _run_here(app: str, queue: str | None, wanted: int | None, probe: Probe | None, format_: Format) -> int:
    lifeline = Lifeline.to_parent()
    dispatcher = app_on(app, queue)
    workers = wanted or int(config_for(dispatcher, queue).get("workers"))
    facts = {"workers": workers, "handlers": len(dispatcher.handlers), "queue": name_of(dispatcher.queue)}
    if lifeline is None:
        _say_started(app, 1, facts, format_)
    report = asyncio.run(_work(dispatcher, workers, facts, lifeline, probe))
    if lifeline is None:
        _say_stopped(report, 0, format_)
    return 1 if report.abandoned else 0


async def _work(
    dispatcher: EventDispatcher, workers: int, facts: dict[str, object], lifeline: Lifeline | None, probe: Probe | None
) -> StopReport:
    async def look() -> dict[str, object]:
        return asdict(await dispatcher.health())

    async with AsyncExitStack() as stack:
        if probe is not None:
            stack.enter_context(probe.answering(look))
        if lifeline is not None:
            await stack.enter_async_context(lifeline.held(facts, look))
        report = await dispatcher.run(workers)
        if lifeline is not None:
            lifeline.tell(report=asdict(report))
        return report


def _run_children(plan: Plan, probe: Probe | None, format_: Format) -> int:
    supervisor = Supervisor(
        plan, lambda facts: _say_started(plan.app, plan.processes, facts, format_)
    )  # fmt: skip
    code = asyncio.run(_supervise(supervisor, probe))
    if supervisor.was_up:
        _say_stopped(supervisor.report, supervisor.deaths, format_)
    return code


async def _supervise(supervisor: Supervisor, probe: Probe | None) -> int:
    async with AsyncExitStack() as stack:
        if probe is not None:
            stack.enter_context(probe.answering(supervisor.look))
        return await supervisor.run()


def _say_started(app: str, processes: int, facts: dict[str, object], format_: Format) -> None:
    if format_ is Format.json:
        say(json.dumps({"app": app, "processes": processes, **facts}))
    else:
        several = f"{processes} processes of " if processes > 1 else ""
        workers, handlers = (count(int(str(facts[f"{what}s"])), what) for what in ("worker", "handler"))
        say(f"{app}: {several}{workers}, {handlers} on {facts['queue']} (Ctrl-C stops in order)")
    sys.stdout.flush()


def _say_stopped(report: StopReport, deaths: int, format_: Format) -> None:
    if format_ is Format.json:
        say(json.dumps({**asdict(report), "deaths": deaths}))
    else:
        say(stop_line(report) + (f"; a process died {count(deaths, 'time')}" if deaths else ""))
