"""Messages of one type, made and encoded in a fraction of the time that it takes one by one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ._json import dumps
from .message import Message


class Blank:
    """What all new events of a class have in common: their type, their source and the version of the class."""

    def __init__(self, event_type: str, source: str, version: int) -> None:
        self.version = version
        self._values = {**vars(Message(type=event_type, id="", source=source, version=version))}
        self._head: dict[str, Any] = {"specversion": "1.0", "type": event_type, "source": source}
        if version != 1:
            self._head["eventversion"] = version

    def fill(self, id_: str, time: datetime, key: str | None, data: Any, *, encoded: bool) -> Message:
        """A new message; `encoded`: with its wire form. Raises CorruptMessage for what JSON can't say.

        data: JSON, as a codec makes it: there is no NaN in it.
        """
        message = Message.__new__(Message)
        values = vars(message)
        values.update(self._values)
        values["id"], values["time"], values["key"], values["data"] = id_, time, key, data
        if encoded:
            document = {**self._head, "id": id_, "time": time, "data": data}
            if key is not None:
                document["partitionkey"] = key
            values["wire"] = dumps(document)
        return message
