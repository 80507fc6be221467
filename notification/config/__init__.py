"""Settings from a file, a mapping and the environment: which count, and where each comes from.

The order is command line, environment, file, code: whatever comes first counts. `settings` has the table of all
settings, `existing` that of the names which earlier programs gave theirs.
"""

from __future__ import annotations

from .existing import ROWS, Row
from .listing import Setting, effective_settings, listed, unread
from .queues import PlainQueue, SwitchedQueue
from .reading import CONFIG, Config, read_config, read_settings
from .settings import SETTINGS, Known

__all__ = [
    "CONFIG",
    "ROWS",
    "SETTINGS",
    "Config",
    "Known",
    "PlainQueue",
    "Row",
    "Setting",
    "SwitchedQueue",
    "effective_settings",
    "listed",
    "read_config",
    "read_settings",
    "unread",
]
