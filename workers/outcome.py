"""What happened to an event, as a value; and the dead letter it may leave."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from attrs import evolve, frozen

from queues.errors import escape
from queues.message import DeadLetter, Message

from .retry import Again, Verdict


@frozen
class Done:
    """Handled: acknowledge it."""


@frozen
class Retry:
    """Run it again after `delay` seconds, as `message`. `dead` are letters to write first."""

    delay: float
    message: Message
    dead: tuple[Message, ...] = ()


@frozen
class Dead:
    """Move it to the dead letters as `letter`; `also` are letters to write first."""

    letter: Message
    also: tuple[Message, ...] = ()


@frozen
class Untouched:
    """Not run to its end: hand it back uncounted; as `message`, if some of its handlers are through with it."""

    message: Message | None = None
    dead: tuple[Message, ...] = ()


Outcome = Done | Retry | Dead | Untouched
DONE = Done()
UNTOUCHED = Untouched()


@frozen
class Failure:
    """One handler's failed run: its name, what it raised and what its policy says. No name: nobody ran."""

    handler: str
    error: BaseException
    verdict: Verdict


def conclude(message: Message, failures: Sequence[Failure], now: datetime) -> Outcome:
    """The outcome of one run of all handlers of an event. Pure.

    Handlers that failed for good leave a dead letter each; the others run again, together, after the longest delay
    that one of them asked for.
    """
    if not failures:
        return DONE
    first = message.first_error or describe(failures[0].error)
    again = [failure for failure in failures if isinstance(failure.verdict, Again)]
    letters = tuple(
        bury(message, failure.verdict, failure.error, now, handler=failure.handler, first=first)
        for failure in failures
        if isinstance(failure.verdict, str)
    )
    if not again:
        return Dead(letters[-1], letters[:-1])
    delay = max(failure.verdict.delay for failure in again if isinstance(failure.verdict, Again))
    names = tuple(failure.handler for failure in again if failure.handler)
    return Retry(
        delay, evolve(message, attempt=message.attempt + 1, handlers=names, first_error=first, not_before=None), letters
    )


def bury(
    message: Message, reason: str, error: BaseException | str, now: datetime, *, handler: str = "", first: str = ""
) -> Message:
    """The dead letter of a message: the event as it was, marked with why it died, for the handler it died in."""
    text = describe(error)
    dead = DeadLetter(reason=reason, error=text, handler=handler, attempts=message.attempt, time=now)
    handlers = (handler,) if handler else message.handlers
    return evolve(
        message, dead=dead, handlers=handlers, first_error=first or message.first_error or text, not_before=None
    )


def describe(error: BaseException | str) -> str:
    """An error as one line of at most 500 characters, safe to log and to store."""
    if isinstance(error, str):
        return escape(error)
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an exception's own code, which may be as broken as what raised it
        text = ""
    return escape(f"{type(error).__name__}: {text}" if text else type(error).__name__)
