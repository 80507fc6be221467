"""Another process that owns a queue, so that a test can stop it, let it go on, or kill it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, Self

import pytest

_ANSWER_SECONDS = 30.0


class OwnerProcess:
    """Runs `python -m queues.conformance.child` and speaks to it in JSON lines."""

    def __init__(self, url: str, imports: Sequence[str]) -> None:
        self._url = url
        self._imports = list(imports)

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "queues.conformance.child",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
        )  # fmt: skip
        try:
            await self._ask(url=self._url, imports=self._imports)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        # asyncio closes the pipes only once both have ended, which a collected transport would warn of
        await self._process.communicate()

    async def push(self, names: Sequence[str]) -> None:
        """Push events with these ids, in one batch."""
        await self._ask(do="push", names=list(names))

    async def pop(self, count: int) -> list[str]:
        """Take so many, keep them alive with `extend`, and say their ids."""
        held: list[str] = await self._ask(do="pop", count=count)
        return held

    async def ack(self, count: int | None = None) -> list[str]:
        """Acknowledge the first `count` of what it holds, or all; the ids that were no longer its own."""
        lost: list[str] = await self._ask(do="ack", count=count)
        return lost

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._process.kill()
        await self._process.wait()

    def stop(self) -> None:
        """SIGSTOP: it holds what it holds and does nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    async def _ask(self, **order: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        await self._process.stdin.drain()
        line = await asyncio.wait_for(self._process.stdout.readline(), _ANSWER_SECONDS)
        if not line:
            pytest.fail(
                "another process opens the queue by its URL, and does what it is told; this one ended, and its error "
                "output (captured stderr) says why. Without an entry point, `child_imports` names the modules that "
                "register the scheme; `other_processes = False` says that no other process can open this URL"
            )
        return json.loads(line)
