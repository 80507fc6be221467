"""Throughput and latency: producer and worker in processes of their own, except on a queue inside one process."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from attrs import evolve

from notification import EventDispatcher
from queues.url import QueueURL

from .load import Load, command, counting, dispatch_all, run

Result = dict[str, Any]


def throughput(load: Load, waiting: int) -> Result:
    """Push all, then have one process handle them; with `waiting`, from that many waiting events."""
    if QueueURL.parse(load.queue).scheme == "channel":
        return {"dispatched to handled": run(_in_one_process(load), load.loop)}
    if waiting:
        child("fill", evolve(load, events=waiting))
        return {f"handled of {waiting:,} waiting": child("consume", load)}
    return {"pushed": child("produce", load), "handled": child("consume", load)}


def latency(load: Load) -> Result:
    """Paced events from another process, from dispatch to handled."""
    if QueueURL.parse(load.queue).scheme == "channel":
        raise SystemExit(
            "latency runs between processes; channel:// is inside one. Give --queue sqlite:///… or redis://…"
        )
    with started("consume", load) as output:
        output.readline()
        child("pace", load)
        return {f"at {load.rate:g}/s": last_line(output)}


async def _in_one_process(load: Load) -> Result:
    dispatcher = EventDispatcher(load.queue)
    counter = counting(dispatcher, load)
    async with dispatcher:
        await dispatcher.start(load.workers)
        began = time.perf_counter()
        await dispatch_all(dispatcher, load)
        await counter.wait()
        rate = load.events / (time.perf_counter() - began)
    return counter.report() | {"per_s": rate}


def child(role: str, load: Load) -> Result:
    """Run a role to its end in a process of its own."""
    with started(role, load) as output:
        return last_line(output)


@contextmanager
def started(role: str, load: Load) -> Iterator[IO[str]]:
    """A role at work in a process of its own: what it prints."""
    with subprocess.Popen(command(role, load), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.kill()


def last_line(output: IO[str]) -> Result:
    """The result that a child prints before it ends."""
    *_, line = output
    result: Result = json.loads(line)
    return result
