"""What publishers and handlers did, one JSON line each, in a file of their own that survives whatever kills them.

Stages: `trying`, `sent`, `refused` of a publisher; `began`, `ended` of a handler; `dead` of a dead letter.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any


class Ledger:
    """Appends. Each line is one write to an O_APPEND file: whole, or not there."""

    def __init__(self, directory: Path, who: str) -> None:
        self._who = who
        self._file = os.open(directory / f"{who}.ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, stage: str, id_: str, key: object = None, seq: int = 0, **more: Any) -> None:
        """Times are CLOCK_MONOTONIC, which all processes of a machine share."""
        line = {"stage": stage, "id": id_, "key": key, "seq": seq, "at": time.monotonic(), "who": self._who, **more}
        os.write(self._file, json.dumps(line).encode() + b"\n")


class Ledgers:
    """All ledgers of a directory, read as far as they are written; each look reads only what is new."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[Path, int] = {}
        self._lines: list[dict[str, Any]] = []
        self._ids: dict[str, set[str]] = {}
        self._open: dict[str, Counter[str]] = {}

    def lines(self, *stages: str) -> list[dict[str, Any]]:
        """All lines, or those of some stages, in the order of time."""
        self._look()
        return sorted((one for one in self._lines if not stages or one["stage"] in stages), key=lambda one: one["at"])

    def ids(self, stage: str) -> set[str]:
        """The events that came to this stage."""
        self._look()
        return self._ids.get(stage, set())

    def running(self, who: str) -> list[str]:
        """The events that this process has begun and not ended."""
        self._look()
        return [id_ for id_, count in self._open.get(who, {}).items() if count > 0]

    def _look(self) -> None:
        for path in self._directory.glob("*.ledger"):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read[path] = self._read.get(path, 0) + len(whole)
            for line in whole.splitlines():
                self._take(json.loads(line))

    def _take(self, line: dict[str, Any]) -> None:
        self._lines.append(line)
        self._ids.setdefault(line["stage"], set()).add(line["id"])
        if line["stage"] in {"began", "ended"}:
            self._open.setdefault(line["who"], Counter())[line["id"]] += 1 if line["stage"] == "began" else -1
