"""A disk that fills up under a dispatcher: errors with a name, nothing lost, and it goes on when there is room."""

from __future__ import annotations

from pathlib import Path

import pytest

from .checker import check
from .programs import Child, theatre


@pytest.mark.timeout(300)
def test_a_full_disk_is_told_at_once_and_outlived(tmp_path: Path) -> None:
    """F29: QueueUnavailable for dispatches, no restart, lost 0, and retries that failed meanwhile are made good."""
    (tmp_path / "disk").mkdir()
    with theatre(tmp_path / "disk") as stage:
        directory = tmp_path / "ledgers"
        directory.mkdir()
        child = Child("full_disk", stage.url, directory, "full", {"count": 2_000})
        stage.children.append(child)
        child.finished()
        said = child.said()
        assert said["errors"] == ["QueueUnavailable"]
        assert said["slowest"] < 5
        assert (said["live"], said["ready"], said["size"]) == (True, True, 0)
        verdict = check(directory)
        assert verdict.sent > 100
        assert (verdict.lost, verdict.phantom, verdict.stuck) == ([], [], [])
        assert verdict.dead == 0
