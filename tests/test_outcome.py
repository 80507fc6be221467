"""What one run of an event's handlers amounts to."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from queues.message import DeadLetter, Message
from workers.outcome import DONE, Dead, Done, Failure, Retry, bury, conclude, describe
from workers.retry import Again

NOW = datetime(2026, 3, 4, tzinfo=UTC)
MESSAGE = Message(type="stage.note", id="n-1", source="/tests", data={"text": "hello"})


def test_no_failure_is_done() -> None:
    """The common way makes no new object."""
    assert conclude(MESSAGE, [], NOW) is DONE
    assert isinstance(DONE, Done)


def test_one_that_failed_runs_again_alone() -> None:
    """The message carries the names of those still to run, one attempt more, and why it failed first."""
    outcome = conclude(MESSAGE, [Failure("mail", ValueError("no route"), Again(3.0))], NOW)
    assert isinstance(outcome, Retry)
    assert (outcome.delay, outcome.dead) == (3.0, ())
    assert outcome.message.handlers == ("mail",)
    assert outcome.message.attempt == 2
    assert outcome.message.first_error == "ValueError: no route"
    assert outcome.message.data == MESSAGE.data


def test_those_that_failed_run_again_together_after_the_longest_wait() -> None:
    """One message is one retry."""
    failures = [
        Failure("mail", ValueError(), Again(3.0)),
        Failure("push", ValueError(), Again(9.0)),
        Failure("log", ValueError(), Again(1.0)),
    ]
    outcome = conclude(MESSAGE, failures, NOW)
    assert isinstance(outcome, Retry)
    assert (outcome.delay, outcome.message.handlers) == (9.0, ("mail", "push", "log"))


def test_one_that_is_dead_leaves_a_letter_of_its_own_and_the_others_run_again() -> None:
    """The letter is for the handler that died, so that it alone runs when the letter is retried."""
    failures = [Failure("mail", KeyError("x"), "fatal"), Failure("push", ValueError("later"), Again(2.0))]
    outcome = conclude(MESSAGE, failures, NOW)
    assert isinstance(outcome, Retry)
    assert outcome.message.handlers == ("push",)
    [letter] = outcome.dead
    assert letter.handlers == ("mail",)
    assert letter.dead == DeadLetter(reason="fatal", error="KeyError: 'x'", handler="mail", attempts=1, time=NOW)


def test_if_all_are_dead_each_leaves_a_letter() -> None:
    """The last one moves the event, the others are written before."""
    failures = [Failure("mail", KeyError(), "fatal"), Failure("push", ValueError(), "attempts")]
    outcome = conclude(MESSAGE, failures, NOW)
    assert isinstance(outcome, Dead)
    assert [letter.handlers for letter in (*outcome.also, outcome.letter)] == [("mail",), ("push",)]
    assert outcome.letter.dead is not None
    assert outcome.letter.dead.reason == "attempts"


def test_the_first_error_stays_the_first() -> None:
    """Later runs fail for other reasons."""
    once = conclude(MESSAGE, [Failure("mail", ValueError("first"), Again(0))], NOW)
    assert isinstance(once, Retry)
    twice = conclude(once.message, [Failure("mail", ValueError("second"), "attempts")], NOW)
    assert isinstance(twice, Dead)
    assert twice.letter.first_error == "ValueError: first"
    assert twice.letter.dead is not None
    assert (twice.letter.dead.error, twice.letter.dead.attempts) == ("ValueError: second", 2)


def test_a_dead_letter_is_due_at_once() -> None:
    """A delay it was dispatched with is over."""
    late = Message(type="x", id="1", source="/s", not_before=NOW)
    assert bury(late, "rejected", "no", NOW).not_before is None


def test_an_error_is_told_in_one_line_without_control_characters() -> None:
    """It goes into logs, terminals and stores."""
    assert describe(ValueError("a\r\n\x1b[31mb")) == "ValueError: a\\r\\n\\x1b[31mb"
    assert describe(ValueError()) == "ValueError"
    assert len(describe(ValueError("x" * 10_000))) <= 520


class MuteError(Exception):
    """Its text can't be had."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("error", [MuteError(), ExceptionGroup("two", [MuteError(), ValueError("x")])])
def test_an_error_that_cannot_be_told_is_named(error: Exception) -> None:
    """Whatever a handler raises, its worker survives it."""
    assert type(error).__name__ in describe(error)
