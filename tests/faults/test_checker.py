"""The checker sees what it is there to see."""

from __future__ import annotations

from pathlib import Path

from .checker import check
from .ledger import Ledger


def story(directory: Path, *lines: str) -> None:
    """`stage id [key seq]`, one a line, in the order of time."""
    ledger = Ledger(directory, "someone")
    for line in lines:
        stage, id_, *rest = line.split()
        ledger.write(stage, id_, rest[0] if rest else None, int(rest[1]) if rest else 0)


def test_a_good_run_is_good(tmp_path: Path) -> None:
    """Everything sent, handled once, in order."""
    for name in ("a", "b"):
        story(tmp_path, f"trying {name}", f"sent {name}", f"began {name}", f"ended {name}")
    verdict = check(tmp_path)
    assert (verdict.sent, verdict.handled, verdict.lost, verdict.phantom, verdict.duplicates) == (2, 2, [], [], 0)
    assert (verdict.inversions, verdict.stuck, verdict.most_runs) == ([], [], 1)


def test_an_event_without_effect_is_lost_unless_it_is_dead(tmp_path: Path) -> None:
    """A run that began is no effect."""
    story(tmp_path, "trying a", "sent a", "began a", "trying b", "sent b", "dead b", "trying c")
    verdict = check(tmp_path)
    assert (verdict.lost, verdict.stuck, verdict.dead) == (["a"], ["a"], 1)


def test_an_event_that_nobody_dispatched_is_a_phantom(tmp_path: Path) -> None:
    """One whose dispatch failed with an unknown result is none."""
    story(tmp_path, "began a", "ended a", "trying b", "refused b", "began b", "ended b")
    assert check(tmp_path).phantom == ["a"]


def test_effects_beyond_the_first_are_duplicates(tmp_path: Path) -> None:
    """A run that was killed before its end is none."""
    story(tmp_path, "began a", "began a", "ended a", "began b", "ended b", "began b", "ended b", "ended b")
    verdict = check(tmp_path)
    assert (verdict.duplicates, verdict.most_runs) == (2, 2)


def test_first_runs_of_a_key_out_of_order_are_inversions(tmp_path: Path) -> None:
    """A repeat after a crash is none, nor are other keys."""
    story(
        tmp_path, "began a1 a 1", "began a3 a 3", "began b1 b 1", "began a2 a 2", "began a1 a 1", "began b2 b 2",
    )  # fmt: skip
    assert check(tmp_path).inversions == ["a2"]
