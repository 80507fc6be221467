"""The errors of Redis and its client in our words."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from redis import exceptions as client

from ._redis_keys import title
from ._redis_scripts import Command, call_at
from .errors import ConfigurationError, NotificationError, QueueFull, QueueUnavailable, escape

ERRORS = (client.RedisError, OSError, TimeoutError, ValueError)
"""What the client raises; a ValueError where a reply is no reply."""

_Known = tuple[tuple[type[client.RedisError] | str, str], ...]
_NEVER_HEALS: _Known = (
    (client.AuthenticationWrongNumberOfArgsError, "wants a user name and a password: redis://user:password@host"),
    ("authentication required", "wants a password: redis://:password@host, or ?password_env=NAME"),
    ("client already authenticated", "wants a password: redis://:password@host, or ?password_env=NAME"),
    (client.AuthenticationError, "refuses the user name or password; write them as redis://user:password@host, or use "
                                 "?password_env=NAME"),
    ("invalid username-password pair", "refuses the user name or password"),
    ("access one of the keys", "does not allow this user the keys of this queue"),
    (client.NoPermissionError, "does not allow this user a command that the queue needs"),
    ("DB index is out of range", "has no database of this number; redis://host:6379/0 names the first"),
    ("SELECT is not allowed in cluster mode", "is a node of a cluster, which has only the database 0; write "
                                              "redis+cluster://"),
    ("WRONGTYPE", "has something else than a queue under this name; choose another with ?queue="),
    ("know no service", "is asked for by a name that its sentinels don't know: redis+sentinel://host:26379/name"),
    (client.MovedError, "is a node of a cluster; write redis+cluster://"),
    ("unknown command", "lacks a command that the queue needs; Redis 7.0 and Valkey have it, unless it was renamed"),
)  # fmt: skip
_HEALS: _Known = (
    (client.BusyLoadingError, "is loading its data"),
    (client.ReadOnlyError, "is a read-only replica; name its master, or use redis+sentinel://"),
    (client.MasterDownError, "is a replica that has lost its master"),
    (client.ClusterDownError, "is part of a cluster that is down"),
    (client.TryAgainError, "is moving this queue to another node"),
    (client.AskError, "is moving this queue to another node"),  # there, scripts would want for the keys that are here
    (client.MaxConnectionsError, "takes no more connections"),
    ("max number of clients", "takes no more connections"),
    ("UNBLOCKED", "has become a replica"),
    ("MISCONF", "can't write to its disk and refuses changes"),
    ("NOREPLICAS", "has not enough replicas to accept a write"),
    ("BUSY Redis", "is busy with somebody's script"),
)
_WRONG_SERVER = (client.ReadOnlyError, client.MasterDownError, client.ClusterDownError)


def refusal(reply: object, command: Command = ()) -> Exception | None:
    """The error that a reply to this command is, or has in it where it is that of a transaction; None when it is none.

    With what Redis does not say: which command of a script the user lacks, and which key it is that has another type.
    """
    if isinstance(reply, list):
        return next(filter(None, map(refusal, reply)), None)
    if not isinstance(reply, client.ResponseError):
        return None
    text = str(reply)
    called = call_at(text)
    if called and "executing the script can't run" in text:
        return client.NoPermissionError(f"no permission to run {called[0]!r} in a script")
    if text.startswith("WRONGTYPE") and (key := _key_of(command, called[1] if called else 0)):
        return client.ResponseError(f"WRONGTYPE Operation against {title(key)} holding the wrong kind of value")
    return reply


def _key_of(command: Command, number: int) -> str:
    """The key that a command is about, of a script the one with this number; nothing where that can't be told."""
    place = 1 if command[:1] != ("EVALSHA",) else 2 + number if number else len(command)
    key = command[place] if place < len(command) and command[0] != "XREADGROUP" else ""
    return key if isinstance(key, str) else ""


def is_wrong_server(error: Exception) -> bool:
    """Whether another one may do better."""
    return isinstance(error, _WRONG_SERVER) or str(error).startswith("UNBLOCKED")


def meaning(error: BaseException, place: str, *, unknown: bool, opening: bool = False) -> NotificationError:
    """The error to raise in place of the client's. place: the server, without secrets; unknown: a command may have run.

    What no waiting heals is a ConfigurationError while `opening`, and later, because a running worker outlives what an
    administrator mends, QueueUnavailable like everything else.
    """
    why = escape(str(error) or type(error).__name__, 300)
    if isinstance(error, client.OutOfMemoryError) or why.startswith("OOM"):
        return QueueFull(f"{place} is at its maxmemory: {why}")
    trust = next((cause for cause in _causes(error) if isinstance(cause, ssl.SSLError)), None)
    forever = _distrust(trust) if trust else _known(error, why, _NEVER_HEALS)
    if forever and opening:
        return ConfigurationError(f"{place} {forever} ({why})")
    text = forever or _known(error, why, _HEALS) or _unnamed(error)
    return QueueUnavailable(f"{place} {text} ({why})", may_have_been_stored=unknown)


def _known(error: BaseException, why: str, table: _Known) -> str | None:
    for known, text in table:
        if known.lower() in why.lower() if isinstance(known, str) else isinstance(error, known):
            return text
    return None


def _unnamed(error: BaseException) -> str:
    if isinstance(error, client.ResponseError):
        return "refused a command"
    return "gave no answer in time" if isinstance(error, TimeoutError | client.TimeoutError) else "can't be reached"


def _distrust(error: ssl.SSLError) -> str | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "can't be trusted; ?ca_file= names the authority that signed its certificate"
    if "CERTIFICATE_REQUIRED" in str(error).upper().replace(" ", "_"):
        return "wants a certificate of ours: ?cert_file= and ?key_file="
    if "WRONG_VERSION_NUMBER" in str(error).upper().replace(" ", "_"):
        return "speaks no TLS; write redis://, or the port where it does"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
