"""What became of the lines of a file, on disk: a run that was killed is continued, not begun again."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson
from attrs import define, field


class Busy(Exception):
    """Another process is at the same run."""


@define
class Fate:
    """What is known of one line: handlers that went well, the last that failed, runs that failed, seconds it took."""

    well: set[str] = field(factory=set)
    failing: set[str] = field(factory=set)
    failures: int = 0
    seconds: float | None = None

    @property
    def handled(self) -> bool:
        """Every handler that ran at all went well in the end."""
        return bool(self.well) and not self.failing


class Journal:
    """An append-only file beside the queue, and its content in memory. One write a run: a kill -9 tears none apart.

    Its name says which file of events went to which queue. `run` is the prefix of the ids of this run's events:
    `<run>-<line>`, the same when the run is continued, so that a queue with `?dedup=` refuses what it has.
    Raises Busy while another process has it.
    """

    def __init__(self, directory: Path, events: Path, queue: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        digest = blake2b(f"{events.resolve()}\n{queue}".encode(), digest_size=5).hexdigest()
        self.path = directory / f"{events.stem[:40]}-{digest}.journal"
        self.fates: dict[int, Fate] = {}
        self.handled = self.retried = 0
        """How many lines are handled; how many failed at least once."""
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"another process is at this run: it has {self.path}") from None
        self.run, self.continued = self._unfinished()
        if not self.continued:
            self.run = secrets.token_hex(5)
            os.ftruncate(self._file, 0)
            self._write({"run": self.run})

    def id_of(self, line: int) -> str:
        """The id of a line's event."""
        return f"{self.run}-{line}"

    def line_of(self, event_id: str) -> int | None:
        """The line of an event; None for one that is not of this run."""
        run, _, line = event_id.partition("-")
        return int(line) if run == self.run and line.isascii() and line.isdigit() else None

    def note(self, line: int, handler: str, *, well: bool, seconds: float | None) -> None:
        """A handler ran. Written before its event is acknowledged."""
        entry = {"line": line, "handler": handler, "well": well}
        self._remember(entry)
        if well and seconds is not None:
            fate = self.fates[line]
            fate.seconds = max(seconds, fate.seconds or 0.0)
        self._write(entry)

    def finish(self) -> None:
        """All lines are accounted for: the next run begins anew."""
        self._write({"finished": True})

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    # -- the file

    def _unfinished(self) -> tuple[str, bool]:
        """The run that this journal is of, when it did not come to its end."""
        run, finished = "", False
        for entry in self._entries():
            if "run" in entry:
                run = entry["run"]
            elif "line" in entry:
                self._remember(entry)
            finished = finished or "finished" in entry
        if not run or finished:
            self.fates.clear()
            self.handled = self.retried = 0
            return "", False
        return run, True

    def _entries(self) -> Iterator[dict[str, Any]]:
        with self.path.open("rb") as file:
            for raw in file:
                try:
                    yield orjson.loads(raw)
                except orjson.JSONDecodeError:
                    continue  # the machine lost its power in the middle of it

    def _remember(self, entry: dict[str, Any]) -> None:
        fate = self.fates.setdefault(entry["line"], Fate())
        before, first_failure = fate.handled, not entry["well"] and not fate.failures
        if entry["well"]:
            fate.well.add(entry["handler"])
            fate.failing.discard(entry["handler"])
        else:
            fate.failing.add(entry["handler"])
            fate.failures += 1
        self.handled += fate.handled - before
        self.retried += first_failure

    def _write(self, entry: dict[str, Any]) -> None:
        os.write(self._file, orjson.dumps(entry) + b"\n")
