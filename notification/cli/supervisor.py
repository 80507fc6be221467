"""The parent of several worker processes: starts them, starts again what dies, stops them in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import orjson
from attrs import asdict, define, field, fields, frozen

from queues.clock import SYSTEM_CLOCK

from ..report import StopReport
from ..signals import stopped_by_signal
from .lifeline import VARIABLE
from .reload import changes

log = logging.getLogger("notification.supervisor")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 30.0
"""Seconds before a process is started again; doubled with each death that comes soon after the last."""
_STEADY = 60.0
"""Seconds after which a death counts as the first."""
_STALE = 10.0
"""Seconds without a word after which a process is not alive."""


@frozen
class Plan:
    """What to run. The queue's URL goes to the children in their environment: command lines are for all to see."""

    app: str
    processes: int
    reload: bool
    environment: Mapping[str, str]

    @classmethod
    def of(cls, app: str, queue: str | None, workers: int | None, processes: int, *, reload: bool) -> Plan:
        """For children that run in one process each. What is not given they find out themselves."""
        given = {"APP": app, "PROCESSES": "1", "RELOAD": "false"}
        given |= {} if workers is None else {"WORKERS": str(workers)}
        given |= {} if queue is None else {"QUEUE": queue}
        environment = {**os.environ, **{f"NOTIFICATION_{name}": value for name, value in given.items()}}
        environment.pop("NOTIFICATION_HEALTH", None)
        if queue is not None:
            environment.pop("MESSAGE_QUEUE_TYPE", None)  # the command line counts more: to them both are variables
        return cls(app, processes, reload, environment)


@define(eq=False)
class Child:
    """One run of one process, as far as it has told. loaded: told what it is going to run."""

    generation: int
    loaded: Callable[[dict[str, object]], None]
    process: asyncio.subprocess.Process | None = None
    started: bool = False
    health: dict[str, object] | None = None
    heard_at: float = 0.0
    report: StopReport = field(factory=StopReport)
    unsent: signal.Signals | None = None

    async def run(self, environment: Mapping[str, str]) -> int:
        """Start it and wait for its end; its exit code, negative for a signal."""
        ours, theirs = socket.socketpair()
        with theirs:
            # A process group of its own: Ctrl-C in the terminal is for the parent, which passes it on once.
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "notification", "run", stdin=asyncio.subprocess.DEVNULL, process_group=0,
                env={**environment, VARIABLE: str(theirs.fileno())}, pass_fds=[theirs.fileno()],
            )  # fmt: skip
        if self.unsent is not None:
            self.signal(self.unsent)
        reader, writer = await asyncio.open_connection(sock=ours)
        listening = asyncio.create_task(self._listen(reader, writer))
        try:
            code = await self.process.wait()
            with anyio.CancelScope() as scope:  # a process that the app has started may hold the line for ever
                alarm = SYSTEM_CLOCK.call_at(SYSTEM_CLOCK.monotonic() + 1, scope.cancel)
                await asyncio.wait([listening])
                alarm.cancel()
            return code
        finally:
            listening.cancel()
            writer.close()

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError):
            async for line in reader:
                self._hear(orjson.loads(line), writer)

    def _hear(self, message: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        self.heard_at = SYSTEM_CLOCK.monotonic()
        if "loaded" in message:
            self.loaded(message["loaded"])
            writer.write(b"go")
        self.started = message.get("started", self.started)
        self.health = message.get("health", self.health)
        if "report" in message:
            self.report = StopReport(**message["report"])

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs; at once when it is being started."""
        if self.process is None:
            self.unsent = number
        elif self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)


class Supervisor:
    """Keeps `plan.processes` children running until a signal. started: told the facts of the first that is loaded."""

    def __init__(self, plan: Plan, started: Callable[[dict[str, object]], None]) -> None:
        self.report = StopReport()
        self.deaths = 0
        self.was_up = False
        self._plan, self._say_started = plan, started
        self._children: dict[int, Child] = {}
        self._generation = 0
        self._changed = asyncio.Event()
        self._stopping: asyncio.Future[Any]
        self._ever_up = False
        self._code = 0

    async def run(self) -> int:
        """Until a signal, or until the children can't even start; returns the exit code."""
        changed = changes() if self._plan.reload else None
        async with stopped_by_signal(self._kill) as self._stopping, anyio.create_task_group() as group:
            if changed is not None:
                group.start_soon(self._reload, changed)
            async with anyio.create_task_group() as slots:
                for slot in range(self._plan.processes):
                    slots.start_soon(self._keep, slot)
                await asyncio.wait([self._stopping])
                self._signal(signal.SIGTERM)
                self._changed.set()
            group.cancel_scope.cancel()
        return self._code

    async def look(self) -> dict[str, object]:
        """The health of all: alive and ready when each of them is, and has said so lately."""
        now = SYSTEM_CLOCK.monotonic()
        each = [
            child.health if child.health is not None and now - child.heard_at < _STALE else {}
            for child in self._children.values()
        ]
        here = {name: bool(each) and all(health.get(name) for health in each) for name in ("live", "ready")}
        return {**here, "deaths": self.deaths, "processes": each}

    # -- one slot

    async def _keep(self, slot: int) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping.done():
            began, child = SYSTEM_CLOCK.monotonic(), Child(self._generation, self._loaded)
            self._children[slot] = child
            code = await self._run(child)
            self._ever_up = self._ever_up or any(child.started for child in self._children.values())
            if self._stopping.done():
                self._code = self._code or (0 if code in {0, -signal.SIGTERM} else 1)
            elif child.generation != self._generation:
                pause = _FIRST_PAUSE
            elif not child.started and self._plan.reload:
                await self._until_changed()
            elif code > 0 and not self._ever_up:
                self._give_up(code)
            else:
                pause = _FIRST_PAUSE if SYSTEM_CLOCK.monotonic() - began > _STEADY else pause
                self._lament(child, code, pause)
                await self._rest(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _run(self, child: Child) -> int:
        try:
            return await child.run(self._plan.environment)
        finally:
            self._add(child.report)

    def _loaded(self, facts: dict[str, object]) -> None:
        if not self.was_up:
            self.was_up = True
            self._say_started(facts)

    def _lament(self, child: Child, code: int, pause: float) -> None:
        self.deaths += 1
        pid = child.process.pid if child.process is not None else 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        log.warning("process %d %s; another one takes its place in %.1f s", pid, how, pause)

    def _give_up(self, code: int) -> None:
        """No process has ever come up: so it would go on, and its own words on stderr say why."""
        self._code = self._code or code
        if not self._stopping.done():
            self._stopping.set_result(None)

    def _add(self, report: StopReport) -> None:
        both = zip(asdict(self.report).values(), asdict(report).values(), strict=True)
        names = [one.name for one in fields(StopReport)]
        self.report = StopReport(**dict(zip(names, (a + b for a, b in both), strict=True)))

    # -- all of them

    def _signal(self, number: signal.Signals) -> None:
        for child in self._children.values():
            child.signal(number)

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)

    async def _reload(self, changed: AsyncIterator[Path]) -> None:
        async for path in changed:
            log.info("%s has changed: starting again", path)
            self._generation += 1
            self._changed.set()
            self._signal(signal.SIGTERM)

    async def _until_changed(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _rest(self, pause: float) -> None:
        resting = asyncio.create_task(SYSTEM_CLOCK.sleep(pause))
        await asyncio.wait([resting, self._stopping], return_when=asyncio.FIRST_COMPLETED)
        resting.cancel()
