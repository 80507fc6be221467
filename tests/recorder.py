"""`python -m tests.recorder RESULT TEST…`: runs tests, and writes which failed, by class and by group of the suite."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator
from pathlib import Path

import attrs
import pytest


@attrs.define
class Record:
    """Of one class: how many tests ran, and of each that failed its group, its name and why."""

    ran: int = 0
    failed: list[tuple[str, str, str]] = attrs.field(factory=list)


class Recorder:
    """A pytest plugin."""

    def __init__(self) -> None:
        self.queues: dict[str, Record] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """pytest's hook, once a phase of a test."""
        report = yield
        assert item.parent is not None
        record = self.queues.setdefault(item.parent.name, Record())
        record.ran += report.when == "call" and not report.skipped
        if report.failed:
            group = item.function.__module__.rpartition(".")[2]
            record.failed.append((group, item.name, str(report.longrepr)[-2000:]))
        return report


def main(result: Path, tests: list[str]) -> None:
    """Run, and write the record as JSON."""
    recorder = Recorder()
    pytest.main(["-q", "-p", "no:cacheprovider", *tests], plugins=[recorder])
    result.write_text(json.dumps({name: attrs.asdict(record) for name, record in recorder.queues.items()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
