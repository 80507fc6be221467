"""Flags that several commands share, and how their values are read."""

from __future__ import annotations

import functools
import inspect
import logging
import logging.handlers
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, cast

import orjson
import typer

from queues.clock import SYSTEM_CLOCK
from queues.errors import ConfigurationError, escape
from queues.url import seconds_of

from ..config import CONFIG, read_settings


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    json = "json"


class LogFormat(StrEnum):
    """How a line of the log is written."""

    text = "text"
    json = "json"


class Level(StrEnum):
    """What is logged, on stderr or in a file."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


_APP = "package.module or path/to/file.py, then :attribute if its dispatcher has another name"

App = Annotated[
    str, typer.Argument(envvar="NOTIFICATION_APP", help=f"The app: {_APP}", metavar="APP[:DISPATCHER]")
]  # fmt: skip
AppOption = Annotated[
    str | None,
    typer.Option("--app", envvar="NOTIFICATION_APP", metavar="APP[:DISPATCHER]",
                 help="An app whose event classes check data and give keys; without --queue its queue is taken"),
]  # fmt: skip
Queue = Annotated[
    str | None,
    typer.Option(envvar="NOTIFICATION_QUEUE", metavar="URL",
                 help="Queue URL, such as sqlite:///events.db, or a name from the file of settings"),
]  # fmt: skip
Watch = Annotated[bool, typer.Option("--watch", envvar="NOTIFICATION_WATCH", help="Show them again and again")]
Interval = Annotated[
    float, typer.Option(envvar="NOTIFICATION_INTERVAL", min=0.1, help="Seconds between two looks of --watch")
]
Formatted = Annotated[
    Format, typer.Option("--format", envvar="NOTIFICATION_FORMAT", help="For people or for programs")
]  # fmt: skip
Type = Annotated[
    str | None,
    typer.Option(
        "--type", envvar="NOTIFICATION_TYPE", metavar="PATTERN", help="Only of this type; * stands for any text"
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        envvar="NOTIFICATION_SINCE",
        metavar="TIME",
        help="Only from then on: 30m, 2h, 1d ago, or 2026-01-31T12:00",
    ),
]


_TIME = re.compile(r"\d{4}-\d\d-\d\d|\d+(\.\d+)? *(us|ms|s|m|h|d)$")
"""How a time begins, other than a position: `2026-01-31` and `2h`, but neither `1500` nor `1732180000000-0`."""


def since(text: str | None) -> datetime | None:
    """The moment that `2h` (ago) or an ISO date and time mean; without a zone it is local time."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        ago = seconds_of(
            text, f"--since {escape(text, 40)} is neither a date and time nor a duration; {escape(text, 40)}"
        )
        return SYSTEM_CLOCK.now() - timedelta(seconds=ago)
    return moment.astimezone(UTC)


def begin(text: str | None) -> datetime | str | None:
    """The moment that a date or `2h` means; what is neither is a position, in the queue's own words."""
    return since(text) if text is not None and _TIME.match(text) else text


def rate(text: str | None) -> float | None:
    """The number per second that `50/s`, `50` or `600/m` means."""
    if text is None:
        return None
    number, _, unit = text.partition("/")
    try:
        per_second = float(number) / {"": 1, "s": 1, "m": 60, "h": 3600}[unit]
    except (ValueError, KeyError):
        per_second = 0.0
    if not 0 < per_second < float("inf"):
        raise ConfigurationError(f"--rate {escape(text, 40)} is no rate; write 50/s, 600/m or 10/h")
    return per_second


# -- logs


class JSONLines(logging.Formatter):
    """A record as one JSON object a line, with everything that `extra=` gave it."""

    _standard = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in self._standard}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode(errors="backslashreplace")


def logged(default: Level) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command --config, --log-level, --log-file and --log-format, and set up logging before it runs.

    Of one that only looks, or is over at once, libraries are heard from --log-level info on: what they say of a server
    that is away is in its error message already.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_logging(
            *arguments: Any, config: Path | None, log_level: Level | None, log_file: Path | None,
            log_format: LogFormat, **options: Any,
        ) -> None:  # fmt: skip
            if config is not None:
                os.environ[CONFIG] = str(config)  # for whatever reads it, in this process and in those it starts
            level = log_level or _usual_level(default)
            quiet = default is Level.warning and level in {Level.warning, Level.error}
            _set_up(level, log_file, log_format, ours_only=quiet)
            command(*arguments, **options)

        own = inspect.signature(command, eval_str=True).parameters.values()
        cast(Any, with_logging).__signature__ = inspect.Signature([*own, *_logging_flags(default)])
        return with_logging

    return decorate


def _usual_level(default: Level) -> Level:
    """As a file or the environment says it of services; what is over at once is not meant."""
    settings = read_settings() if default is Level.info else None
    return Level[settings.get("log_level")] if settings is not None else default


def _logging_flags(default: Level) -> list[inspect.Parameter]:
    config = typer.Option(envvar=CONFIG, metavar="PATH", help="A file of settings, TOML or JSON")
    level = typer.Option(envvar="NOTIFICATION_LOG_LEVEL", help=f"What is logged; {default.value} by default")
    file = typer.Option(envvar="NOTIFICATION_LOG_FILE", metavar="PATH", help="Log to this file, not to stderr")
    format_ = typer.Option(envvar="NOTIFICATION_LOG_FORMAT", help="Lines of text, or of JSON")
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=Annotated[kind, option])
        for name, value, kind, option in (
            ("config", None, Path | None, config),
            ("log_level", None, Level | None, level),
            ("log_file", None, Path | None, file),
            ("log_format", LogFormat.text, LogFormat, format_),
        )
    ]


def _set_up(level: Level, path: Path | None, format_: LogFormat, *, ours_only: bool) -> None:
    try:
        handler = logging.StreamHandler() if path is None else logging.handlers.WatchedFileHandler(path)
    except OSError as error:
        raise ConfigurationError(f"--log-file {str(path)!r} can't be written: {error.strerror}") from None
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JSONLines() if format_ is LogFormat.json else text)
    if ours_only:
        handler.addFilter(lambda record: record.name.partition(".")[0] == "notification")
    logging.basicConfig(level=level.name.upper(), handlers=[handler], force=True)
