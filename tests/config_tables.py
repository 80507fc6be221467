"""The tables of all settings, as the documents show them: `python -m tests.config_tables` prints both."""

from __future__ import annotations

from collections.abc import Sequence

from notification.config import ROWS, SETTINGS, Row
from notification.config.settings import in_words

QUEUE_SETTINGS = (
    ("queue", "URL, name or table", "", "NOTIFICATION_QUEUE", "the queue"),
    ("queue.url", "URL", "", "", "in a table; options of the URL may stand beside it: `lease = \"10s\"`"),
    ("queue.create", "table", "", "", "flags of `notification queue create`: `partitions = 12`"),
    ("queue.routes", "table", "", "", "several queues by name, each a URL, a name or a table; one of them is written"),
    ("queue.choose", "name", "", "", "which one: `env:VARIABLE`, `file:PATH` or a function, `shop.flags:route`"),
    ("queue.strict", "true or false", "false", "", "keep the order of each key in a flip; needs a spill"),
    ("queues", "table", "", "NOTIFICATION_QUEUE_NAME", "more queues by name, each like `queue`"),
)  # fmt: skip


def table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """In Markdown."""
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def settings_table() -> str:
    """Every setting: name in a file, what may be given, default, environment variable, meaning."""
    rows = [
        (f"`{name}`", kind, default, code(variable), text) for name, kind, default, variable, text in QUEUE_SETTINGS
    ]
    for known in SETTINGS:
        default = in_words(known, known.default)
        rows.append((f"`{known.name}`", known.kind, default, code(known.variable or ""), known.help))
    return table(("setting", "may be", "default", "variable", "is"), rows)


def existing_table() -> str:
    """The names of earlier programs: of a variable, of a key in a mapping, and what becomes of it."""
    first = ("`MESSAGE_QUEUE_TYPE`", "`type`", "`channel`, `redis` or `kafka`: which of the others count")
    rows = [(code(row.variable), ", ".join(code(key) for key in row.keys), meaning(row)) for row in ROWS]
    return table(("variable", "in a mapping or a JSON file", "becomes"), [first, *rows])


def missing_from(document: str) -> list[str]:
    """Lines of the two tables that a document does not have."""
    return [line for line in (settings_table() + existing_table()).splitlines() if line not in document]


def meaning(row: Row) -> str:
    """With the kind of queue where that is not said by the name."""
    of = f" ({row.kind})" if row.keys == ("buffer_size",) else ""
    return f"{row.means}{of}"


def code(text: str) -> str:
    return f"`{text}`" if text else ""


if __name__ == "__main__":
    print(settings_table())
    print(existing_table())
