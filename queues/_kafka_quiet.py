"""What kafka-python logs, and who wants to know it."""

from __future__ import annotations

import logging
import re
from typing import Final

_NOBODY: Final = re.compile(r"Task .* ran for [\d.]+s|Metadata refresh: failed Cancelled")
"""Warnings and errors about itself, which come on a busy machine, and when it is closed."""


class _Quiet(logging.Filter):
    """Of each connection, each rejoining and each refusal it logs several lines at INFO."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return _is_wanted(logging.getLogger(record.name))
        return _NOBODY.match(record.getMessage()) is None


_QUIET: Final = _Quiet()


def keep_quiet() -> None:
    """From here on what it logs below WARNING is for those who ask: with a level for the logger `kafka`, or for one of
    those under it, or with DEBUG for all. Idempotent.
    """
    for name in [*logging.root.manager.loggerDict]:
        if name.partition(".")[0] == "kafka":
            logging.getLogger(name).addFilter(_QUIET)


def _is_wanted(logger: logging.Logger) -> bool:
    above: logging.Logger | None = logger
    while above is not None and above is not logging.root:
        if above.level != logging.NOTSET:
            return True
        above = above.parent
    return logging.root.level <= logging.DEBUG
