"""Which of an app's files has changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from queues.errors import MissingDependency


def changes() -> AsyncIterator[Path]:
    """A Python file below the current directory that was written, made or deleted; one for each burst of changes.

    Raises MissingDependency, at once, without watchfiles.
    """
    try:
        import watchfiles  # noqa: PLC0415 - only for development
    except ImportError:
        raise MissingDependency("--reload needs watchfiles: pip install 'notification-dispatcher[reload]'") from None
    bursts = watchfiles.awatch(Path.cwd(), watch_filter=watchfiles.PythonFilter())
    return (min(Path(path) for _, path in burst) async for burst in bursts)
