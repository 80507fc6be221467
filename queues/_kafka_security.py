"""TLS and SASL, and what must never be seen of them."""

from __future__ import annotations

import logging
import os
import re
import ssl
from pathlib import Path
from typing import Any, Final, Literal

import attrs

from ._kafka_client import AbstractTokenProvider
from ._kafka_sockets import TLSSocket
from .errors import ConfigurationError, escape
from .url import QueueURL

log: Final = logging.getLogger("notification.queues")

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
_BYTES = (bytes, bytearray, memoryview)
_MAY_TELL = re.compile(r"sasl|auth_bytes|password|token|secret", re.IGNORECASE)


@attrs.frozen(kw_only=True)
class SecurityOptions:
    """tls: certificates and host names are always checked. ca_file: the authorities to trust in place of the system's;
    cert_file, key_file: our own certificate. sasl: the way to log in, with the user and password of the URL or of the
    environment variables that `username_env` and `password_env` name; OAUTHBEARER takes a token from the variable that
    `token_env` names, anew for each connection. insecure: log in without TLS.
    """

    tls: bool = False
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    sasl: Mechanism | None = None
    username_env: str | None = None
    token_env: str | None = None
    insecure: bool = False


def security(url: QueueURL, options: SecurityOptions) -> dict[str, Any]:
    """What the client is told of these options, secrets among it. Raises ConfigurationError."""
    if options.sasl and not (options.tls or options.insecure):
        raise ConfigurationError(
            f"{url}: ?sasl= without TLS shows passwords to the network: ?tls=true, or ?insecure=true if that is meant"
        )
    protocol = f"{'SASL_' if options.sasl else ''}{'SSL' if options.tls else 'PLAINTEXT'}"
    return {"security_protocol": protocol, **_login(url, options)}


class Trust:
    """Whom we believe and who we are: a context for TLS, made anew when one of its files has changed.

    The client would read the system's authorities for each connection, a tenth of a second in which it does nothing
    else. Raises ConfigurationError when the files can't be used; later, what could be used last stays in use.
    """

    def __init__(self, url: QueueURL, options: SecurityOptions) -> None:
        self._files = {name: getattr(options, name) for name in ("ca_file", "cert_file", "key_file")}
        self._state: tuple[float, ...] = ()
        self._context: ssl.SSLContext | None = None
        given = [name for name, path in self._files.items() if path]
        if given and not options.tls:
            raise ConfigurationError(f"{url}: certificates are for TLS: ?tls=true")
        if options.key_file and not options.cert_file:
            raise ConfigurationError("?key_file= belongs to a certificate: ?cert_file=")
        for name in given:
            if not Path(self._files[name]).is_file():
                raise ConfigurationError(f"?{name}={escape(self._files[name])}: there is no such file")
        if given:
            self.context()

    def context(self) -> ssl.SSLContext:
        """As the files are now. From any thread."""
        if self._context is None or self._looked() != self._state:
            try:
                self._state, self._context = self._looked(), self._read()
            except OSError as error:
                if self._context is None:
                    files = "?ca_file=, ?cert_file= or ?key_file="
                    raise ConfigurationError(f"what {files} name can't be used: {escape(str(error))}") from error
                log.warning(
                    "new certificates can't be used, the old ones stay: %s",
                    error, extra={"cert_file": self._files["cert_file"]},
                )  # fmt: skip
        return self._context

    def _read(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._files["ca_file"])
        context.sslsocket_class = TLSSocket
        if self._files["cert_file"]:
            # without a password OpenSSL asks for one on the terminal
            context.load_cert_chain(self._files["cert_file"], self._files["key_file"], password="")
        return context

    def _looked(self) -> tuple[float, ...]:
        return tuple(Path(path).stat().st_mtime for path in self._files.values() if path and Path(path).exists())


def _login(url: QueueURL, options: SecurityOptions) -> dict[str, Any]:
    username = _environment("username_env", options.username_env) if options.username_env else url.username
    if options.sasl is None:
        if username or url.password is not None or options.token_env:
            raise ConfigurationError(
                f"{url}: say how to log in: ?sasl=SCRAM-SHA-512, SCRAM-SHA-256, PLAIN or OAUTHBEARER"
            )
        return {}
    if options.sasl == "OAUTHBEARER":
        if not options.token_env:
            raise ConfigurationError(f"{url}: OAUTHBEARER wants ?token_env=, the environment variable with the token")
        return {"sasl_mechanism": options.sasl, "sasl_oauth_token_provider": _Token(options.token_env)}
    if not username or not url.password:
        raise ConfigurationError(
            f"{url}: {options.sasl} wants user:password@host, or ?username_env= and ?password_env="
        )
    return {
        "sasl_mechanism": options.sasl,
        "sasl_plain_username": username,
        "sasl_plain_password": url.password,
    }


class _Token(AbstractTokenProvider):  # type: ignore[misc]  # the client has no types
    """Read for each connection: whoever renews the token renews the variable."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.token()

    def token(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]  # theirs is abstract and says nothing
        return _environment("token_env", self._name)


def _environment(option: str, name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise ConfigurationError(f"?{option}={escape(name)}: that environment variable is not set") from None


# -- logs


class _Discreet(logging.Filter):
    """kafka-python logs its configuration, its requests and their bytes at DEBUG, passwords and tokens included."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _holds_bytes(record) or (record.levelno <= logging.DEBUG and _MAY_TELL.search(record.getMessage())):
            record.msg, record.args = f"{record.funcName}: not shown, for it may hold secrets", ()
        return True


def keep_secrets() -> None:
    """From here on kafka-python's loggers show no credentials, at whatever level. Idempotent."""
    for name in [*logging.root.manager.loggerDict]:
        if name.partition(".")[0] == "kafka":
            logging.getLogger(name).addFilter(_DISCREET)


_DISCREET = _Discreet()


def _holds_bytes(record: logging.LogRecord) -> bool:
    return isinstance(record.args, tuple) and any(isinstance(argument, _BYTES) for argument in record.args)
