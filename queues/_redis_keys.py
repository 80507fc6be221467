"""The names under which a queue keeps what it needs; they all share the slot of its waiting events."""

from __future__ import annotations

from attrs import define, field

from .errors import ConfigurationError
from .url import DEAD


def place_of(name: str) -> str:
    """The key of a queue: its name. That of the dead letters of `orders` is `{orders}.dead`, to share the slot."""
    if "}" in name and not _has_tag(name):
        raise ConfigurationError(f"the queue name {name!r} has a }} and no {{tag}}; Redis would spread its keys")
    base, dot, suffix = name.rpartition(".")
    return f"{{{base}}}.{suffix}" if dot and suffix == DEAD and not _has_tag(base) else name


def title(key: str) -> str:
    """A key of events as an error names it: with the queue whose dead letters they are, where they are dead letters."""
    base, dot, suffix = key.rpartition(".")
    if not dot or suffix != DEAD:
        return repr(key)
    queue = base[1:-1] if base[:1] == "{" and base.find("}") == len(base) - 1 else base
    return f"{key!r}, the key of the dead letters of {queue!r},"


def _has_tag(name: str) -> bool:
    """Whether Redis hashes a part of it only: what stands between the first { and the next }, if anything does."""
    begin = name.find("{")
    return begin >= 0 and name.find("}", begin) > begin + 1


@define
class Keys:
    """Of one queue. `waiting` is the list or stream of its events; `redis-cli` finds it under the queue's name."""

    waiting: str
    leases: str = field(init=False)
    delayed: str = field(init=False)
    bell: str = field(init=False)
    seq: str = field(init=False)
    seen: str = field(init=False)
    settled: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        for name in ("leases", "delayed", "bell", "seq", "seen", "settled"):
            setattr(self, name, self.beside(name))

    @property
    def slot(self) -> str:
        """What Redis hashes of them: keys of one script must have it in common."""
        begin = self.waiting.find("{")
        return self.waiting[begin + 1 : self.waiting.find("}", begin)] if _has_tag(self.waiting) else self.waiting

    @classmethod
    def of(cls, name: str) -> Keys:
        """Of the queue of this name. Raises ConfigurationError for one that Redis would spread over its slots."""
        return cls(place_of(name))

    def beside(self, suffix: str) -> str:
        """A key for the same slot."""
        return f"{self.waiting}:{suffix}" if _has_tag(self.waiting) else f"{{{self.waiting}}}:{suffix}"

    @property
    def order(self) -> str:
        """The hash of keys in whose order events are handed out."""
        return self.beside("keys")

    @property
    def parked_total(self) -> str:
        """How many events are parked because somebody else has their key."""
        return self.beside("parked")

    @property
    def parked(self) -> str:
        """What the names of the lists of parked events begin with; a key follows."""
        return self.beside("parked:")

    def own(self, owner: str) -> str:
        """What an owner holds: the numbers of his batches."""
        return self.beside(f"own:{owner}")

    def batch(self, owner: str, number: int | str) -> str:
        """The events of one batch, the oldest first."""
        return self.beside(f"own:{owner}:{number}")
