"""What a retry policy decides, and what it refuses to be."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notification import ConfigurationError, Reject, RetryLater, RetryPolicy
from workers.retry import Again


class BadAddressError(Exception):
    """No retry can help it."""


class WorseAddressError(BadAddressError):
    """Nor this."""


def delay_of(policy: RetryPolicy, attempt: int, error: BaseException | None = None) -> float:
    verdict = policy.decide(error or ValueError("no"), attempt, age=0)
    assert isinstance(verdict, Again)
    return verdict.delay


def test_a_failure_runs_again_until_its_attempts_are_used_up() -> None:
    """attempts counts all runs."""
    policy = RetryPolicy(attempts=3)
    verdicts = [policy.decide(ValueError(), attempt, age=0) for attempt in (1, 2, 3, 4)]
    assert [isinstance(verdict, Again) for verdict in verdicts] == [True, True, False, False]
    assert verdicts[2:] == ["attempts", "attempts"]


def test_one_attempt_means_never_again() -> None:
    """The smallest policy."""
    assert RetryPolicy(attempts=1).decide(ValueError(), 1, age=0) == "attempts"


def test_waits_grow_by_the_factor_up_to_the_maximum() -> None:
    """Without jitter the waits are exact."""
    policy = RetryPolicy(attempts=10, initial=0.5, factor=3, max=10, jitter=False)
    assert [delay_of(policy, attempt) for attempt in range(1, 6)] == [0.5, 1.5, 4.5, 10, 10]


@given(st.integers(1, 2000), st.floats(0, 100), st.floats(1, 10), st.floats(0, 1000))
def test_a_wait_with_jitter_is_between_nothing_and_the_one_without(
    attempt: int, initial: float, factor: float, longest: float
) -> None:
    """Full jitter, so that what failed together does not come back together; huge exponents are no error."""
    settings: dict[str, Any] = {"attempts": 10_000, "initial": initial, "factor": factor, "max": longest}
    exact = delay_of(RetryPolicy(jitter=False, **settings), attempt)
    assert 0 <= delay_of(RetryPolicy(**settings), attempt) <= exact + 1e-9
    assert exact <= longest


def test_jitter_spreads() -> None:
    """A hundred waits are not all in one half."""
    delays = [delay_of(RetryPolicy(initial=8, max=60), 1) for _ in range(100)]
    assert min(delays) < 4 < max(delays)


def test_a_fatal_error_is_not_tried_again() -> None:
    """Nor one of a subclass."""
    policy = RetryPolicy(fatal=(BadAddressError, KeyError))
    assert policy.decide(BadAddressError(), 1, age=0) == "fatal"
    assert policy.decide(WorseAddressError(), 1, age=0) == "fatal"
    assert isinstance(policy.decide(ValueError(), 1, age=0), Again)


def test_an_event_older_than_within_is_not_tried_again() -> None:
    """What counts is its age when it would run again."""
    policy = RetryPolicy(initial=10, jitter=False, within=60)
    assert policy.decide(ValueError(), 1, age=50) == Again(10)
    assert policy.decide(ValueError(), 1, age=50.5) == "expired"


def test_a_handler_decides_when_it_runs_again() -> None:
    """RetryLater overrules attempts and waits, not `within`."""
    policy = RetryPolicy(attempts=1, within=100)
    assert policy.decide(RetryLater(30), 7, age=0) == Again(30)
    assert policy.decide(RetryLater(-1), 7, age=0) == Again(0)
    assert policy.decide(RetryLater(30), 7, age=90) == "expired"


@pytest.mark.parametrize("delay", ["soon", None, math.nan, math.inf, b""])
def test_a_delay_that_is_no_number_of_seconds_counts_as_a_plain_failure(delay: Any) -> None:
    """A handler's slip is a failed run, not the end of its worker."""
    error = RetryLater(delay, "later")
    assert RetryPolicy(attempts=2).decide(error, 2, age=0) == "attempts"
    assert isinstance(RetryPolicy(attempts=2).decide(error, 1, age=0), Again)


def test_a_handler_rejects() -> None:
    """Whatever the policy says."""
    assert RetryPolicy(attempts=9).decide(Reject("spam"), 1, age=0) == "rejected"


@pytest.mark.parametrize(
    "settings",
    [
        {"attempts": 0},
        {"attempts": 1.5},
        {"attempts": True},
        {"initial": -1},
        {"initial": math.nan},
        {"initial": math.inf},
        {"factor": 0.5},
        {"max": -1},
        {"max": math.inf},
        {"within": -3},
        {"within": math.nan},
        {"fatal": [ValueError]},
        {"fatal": ValueError},
        {"fatal": ("ValueError",)},
        {"fatal": (ValueError(),)},
        {"fatal": (int,)},
        {"initial": "1"},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_where_it_is_written(settings: dict[str, Any]) -> None:
    """Later, in a worker, it could only cost events. The error names the setting."""
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        RetryPolicy(**settings)


def test_equal_policies_are_equal() -> None:
    """They are values."""
    assert RetryPolicy(attempts=2) == RetryPolicy(attempts=2) != RetryPolicy(attempts=3)
    assert "tenacity" not in repr(RetryPolicy())
