"""Scripts that run inside Redis: each is a file in `_lua`, loaded once, called by its digest."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

Argument = bytes | str | int | float
Command = tuple[Argument, ...]
_HERE = Path(__file__).parent / "_lua"
_texts: dict[str, bytes] = {}


@frozen
class Script:
    """A script of a file `_lua/<name>.lua`; `-- include <file>` in it stands for that file's text."""

    sha: str

    @classmethod
    def named(cls, name: str) -> Script:
        """Read it; nothing is sent."""
        return cls.of(_read(name))

    @classmethod
    def of(cls, text: str) -> Script:
        """The script with this text."""
        sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        _texts[sha] = text.encode()
        return cls(sha)

    def __call__(self, keys: Sequence[str | bytes], *arguments: Argument) -> Command:
        """The command that runs it."""
        return ("EVALSHA", self.sha, len(keys), *keys, *arguments)


def text_of(command: Command) -> bytes | None:
    """The script that a command runs; None when it runs none."""
    return _texts.get(str(command[1])) if command[0] == "EVALSHA" else None


def call_at(error: str) -> tuple[str, int] | None:
    """What a script called where an error of Redis says by digest and line: the command, and which of the script's keys
    it names, counted from 1 (0: none by its number). None for scripts that are not ours.
    """
    place = re.search(r"script: ([0-9a-f]{40}), on @user_script:(\d+)", error)
    if place is None or place[1] not in _texts:
        return None
    line = _texts[place[1]].decode().split("\n")[int(place[2]) - 1]
    called = re.search(r"redis\.call\('([A-Z]+)'(?:, KEYS\[(\d+)\])?", line)
    return (called[1].lower(), int(called[2] or 0)) if called else None


def _read(name: str) -> str:
    lines = (_HERE / f"{name}.lua").read_text("utf-8").splitlines()
    return "\n".join(
        _read(line.removeprefix("-- include ").strip()) if line.startswith("-- include ") else line for line in lines
    )
