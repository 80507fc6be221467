"""Which groups of the suite a queue did not have to pass, printed at the end of the run."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NoReturn

import pytest

_NAME = "queue-conformance"


class SkippedGroups:
    """One a run, registered as a pytest plugin by the suite's own fixture, so that importing the suite is enough."""

    def __init__(self) -> None:
        self._ran: dict[tuple[str, str], int] = {}
        self._reasons: dict[tuple[str, str], list[Sequence[str]]] = {}

    @classmethod
    def of(cls, config: pytest.Config) -> SkippedGroups:
        """The one of this run."""
        found = config.pluginmanager.get_plugin(_NAME)
        if found is None:
            found = cls()
            config.pluginmanager.register(found, _NAME)
        assert isinstance(found, cls)
        return found

    def begins(self, request: pytest.FixtureRequest) -> None:
        """A test of some group begins for some queue."""
        place = _place(request)
        self._ran[place] = self._ran.get(place, 0) + 1

    def skip(self, request: pytest.FixtureRequest, reasons: Sequence[str]) -> NoReturn:
        """Skip the running test and remember why."""
        place = _place(request)
        self._reasons.setdefault(place, []).append(reasons)
        pytest.skip(f"{place[1]} ({', '.join(reasons)})")

    def lines(self) -> list[str]:
        """One line a queue: the groups skipped as a whole, then those of which some tests ran."""
        return [self._line(queue) for queue in dict.fromkeys(queue for queue, _ in self._ran)]

    def _line(self, queue: str) -> str:
        whole: list[str] = []
        partly: list[str] = []
        for (owner, group), reasons in self._reasons.items():
            if owner == queue:
                entry = f"{group} ({', '.join(_why(reasons))})"
                (whole if len(reasons) == self._ran[owner, group] else partly).append(entry)
        line = f"{queue}: skipped groups: {', '.join(whole) or 'none'}"
        return f"{line}; in part: {', '.join(partly)}" if partly else line

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """pytest's hook: print the lines."""
        terminalreporter.section("queue conformance")
        for line in self.lines():
            terminalreporter.write_line(line)


def _why(reasons: Sequence[Sequence[str]]) -> Iterable[str]:
    """What every skipped test gave as its reason; every reason given, where they have none in common."""
    every = dict.fromkeys(itertools.chain(*reasons))
    return [one for one in every if all(one in some for some in reasons)] or every


def _place(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The queue's test class, and the group: the name of the file in which the test stands."""
    group = request.function.__module__.rpartition(".")[2]
    return str(request.node.parent.name), group.replace("_", " ")
