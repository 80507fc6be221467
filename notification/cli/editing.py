"""Editing what is in a dead letter before it is sent back."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

import orjson
from attrs import evolve, frozen

from queues.errors import ConfigurationError, CorruptMessage
from queues.message import CORRUPT_TYPE, Message
from queues.wire import decode

from ..event import EventSpec
from .letters import revived
from .lines import class_of
from .listing import pretty


class NotEdited(Exception):
    """There is nothing to send; the text says why, and where the edited text is."""


@frozen
class Edited:
    """The event to send back, the file it was edited in, and whether a class was there to check its data."""

    message: Message
    file: Path
    checked: bool


def edit(letter: Message) -> Edited:
    """Open the data of a letter in the editor; of one that could not be read, the whole event.

    Raises NotEdited for data that were left as they are, are not JSON or do not fit the event's class; the file stays.
    ConfigurationError when there is no editor.
    """
    before = _text(letter)
    file = _file_of(letter, before)
    _open_editor(file)
    after = file.read_text("utf-8", "surrogateescape")
    if after == before:
        file.unlink()
        raise NotEdited("nothing was changed, nothing is sent")
    try:
        message, spec = _with(letter, after)
    except (CorruptMessage, orjson.JSONDecodeError) as error:
        raise NotEdited(f"{error}; nothing is sent, and your text is in {file}") from None
    return Edited(message, file, spec is not None)


def _text(letter: Message) -> str:
    if isinstance(letter.data, bytes):
        return letter.data.decode("utf-8", "surrogateescape")
    return pretty(letter.data) + "\n"


def _file_of(letter: Message, text: str) -> Path:
    safe = "".join(c if c.isascii() and c.isalnum() else "-" for c in letter.id)[:60]
    handle, name = tempfile.mkstemp(prefix=f"dead-letter-{safe}-", suffix=".json")
    with open(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    return Path(name)


def _open_editor(file: Path) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        code = subprocess.run([*shlex.split(editor), str(file)], check=False).returncode  # noqa: S603 - the user's own
    except (OSError, ValueError) as error:
        file.unlink()
        raise ConfigurationError(f"the editor {editor!r} can't be started: {error}; set EDITOR to one") from None
    if code != 0:
        raise NotEdited(f"the editor ended with {code}; nothing is sent, and your text is in {file}")


def _with(letter: Message, text: str) -> tuple[Message, EventSpec | None]:
    raw = text.encode("utf-8", "surrogateescape")
    if letter.type == CORRUPT_TYPE:
        message = decode(raw)
        return message, _checked(message)[1]
    data = raw if isinstance(letter.data, bytes) else orjson.loads(raw)
    message = evolve(revived(letter), data=data)
    key, spec = _checked(message)
    was_of_its_class = spec is None or letter.key == _key_before(letter, spec)
    return (evolve(message, key=key) if was_of_its_class and spec is not None else message), spec


def _checked(message: Message) -> tuple[str | None, EventSpec | None]:
    """The key that its class gives it, and the class, if it is known here. Raises CorruptMessage."""
    spec = class_of(message.type)
    if spec is None or message.version > spec.version:
        return message.key, None
    return spec.key_of(spec.codec.decode(message.data)), spec


def _key_before(letter: Message, spec: EventSpec) -> str | None:
    try:
        return spec.key_of(spec.codec.decode(letter.data))
    except CorruptMessage:
        return letter.key
