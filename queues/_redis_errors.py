"""The errors of Redis and its client in our words."""

from __future__ import annotations

import ssl

from redis import exceptions as client

from .errors import ConfigurationError, NotificationError, QueueFull, QueueUnavailable, escape

ERRORS = (client.RedisError, OSError, TimeoutError, ValueError)
"""What the client raises; a ValueError where a reply is no reply."""

_NEVER_HEALS: tuple[tuple[type[client.RedisError] | str, str], ...] = (
    (client.AuthenticationWrongNumberOfArgsError, "wants a user name and a password: redis://user:password@host"),
    (client.AuthenticationError, "refuses the user name or password; write them as redis://user:password@host, or use "
                                 "?password_env=NAME"),
    (client.NoPermissionError, "does not allow this user a command that the queue needs"),
    ("DB index is out of range", "has no database of this number; redis://host:6379/0 names the first"),
    ("WRONGTYPE", "has something else than a queue under this name; choose another with ?queue="),
    ("invalid username-password pair", "refuses the user name or password"),
)  # fmt: skip
_HEALS: tuple[tuple[type[client.RedisError] | str, str], ...] = (
    (client.BusyLoadingError, "is loading its data"),
    (client.ReadOnlyError, "is a read-only replica; name its master, or use redis+sentinel://"),
    (client.MasterDownError, "is a replica that has lost its master"),
    (client.ClusterDownError, "is part of a cluster that is down"),
    (client.TryAgainError, "is moving this queue to another node"),
    (client.MaxConnectionsError, "takes no more connections"),
    ("max number of clients", "takes no more connections"),
    ("MISCONF", "can't write to its disk and refuses changes"),
    ("NOREPLICAS", "has not enough replicas to accept a write"),
)
#: Refused before anything was done.
_REFUSED = (client.ResponseError, client.AuthenticationError, client.BusyLoadingError)


def meaning(error: BaseException, place: str, *, sent: bool, opening: bool = False) -> NotificationError:
    """The error to raise in place of the client's. place: the server, without secrets; sent: a command was under way.

    What no waiting heals is a ConfigurationError while `opening`, and later, because a running worker outlives what an
    administrator mends, QueueUnavailable like everything else.
    """
    why = escape(str(error) or type(error).__name__, 300)
    if isinstance(error, client.OutOfMemoryError) or why.startswith("OOM"):
        return QueueFull(f"{place} is at its maxmemory: {why}")
    unknown = sent and not isinstance(error, _REFUSED)
    for known, text in _NEVER_HEALS:
        if _is(error, known, why):
            kind = ConfigurationError if opening else QueueUnavailable
            return kind(f"{place} {text} ({why})")
    for known, text in _HEALS:
        if _is(error, known, why):
            return QueueUnavailable(f"{place} {text} ({why})", may_have_been_stored=unknown)
    if opening and isinstance(error, ssl.SSLCertVerificationError | ssl.SSLError):
        return ConfigurationError(f"{place} can't be trusted: {why}; ?ca_file= names the authority that signed it")
    said = "gave no answer in time" if isinstance(error, TimeoutError | client.TimeoutError) else "can't be reached"
    if isinstance(error, client.ResponseError):
        said = "refused a command"
    return QueueUnavailable(f"{place} {said}: {why}", may_have_been_stored=unknown)


def _is(error: BaseException, known: type[client.RedisError] | str, why: str) -> bool:
    return known.lower() in why.lower() if isinstance(known, str) else isinstance(error, known)
