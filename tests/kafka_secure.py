"""Kafka that asks who is there: passwords, tokens, certificates, and users who may do little."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

import pytest

from .kafka_client import (
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePatternFilter,
    ResourceType,
    UserScramCredentialUpsertion,
)
from .kafka_server import KafkaServer, need_kafka, unique
from .redis_groups import Authority
from .redis_server import PASSWORD, until

USER: Final = "worker"
"""May do everything, with any mechanism; so may who comes without a name, or with a certificate."""
NOBODY: Final = "nobody"
"""May log in with PLAIN, and nothing else."""
_SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
_LISTENERS = {"SASL": "SASL_PLAINTEXT", "SASLTLS": "SASL_SSL", "TLS": "SSL", "MUTUAL": "SSL"}
_MODULES = "org.apache.kafka.common.security"


class SecureKafka(KafkaServer):
    """With a listener for each way to log in: `sasl()`, `tls()` give their URLs. `url()` has none of it."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.certificate = authority.certificate()
        settings: dict[str, object] = {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:ANONYMOUS;User:CN=redis;User:{USER}",
        }
        super().__init__(listeners=_LISTENERS)
        for node in self.nodes:
            node.settings |= settings | _logins() | _certificates(authority, self.certificate, node.directory)

    def start(self, *, wait: bool = True) -> Self:
        super().start(wait=wait)
        for mechanism in _SCRAM:  # two of one user are too much for one request
            change = UserScramCredentialUpsertion(USER, mechanism, PASSWORD)
            assert self.admin.alter_user_scram_credentials([change]) == {USER: None}
        until(lambda: len(self.admin.describe_user_scram_credentials([USER])[USER]["credential_infos"]) == len(_SCRAM))
        return self

    def sasl(
        self, mechanism: str, topic: str | None = None, *, user: str = USER, password: str = PASSWORD,
        tls: bool = False, **options: Any,
    ) -> str:  # fmt: skip
        """The URL for who logs in with a password. tls: through TLS as well; else `insecure=true` is in it."""
        how = {"tls": "true", "ca_file": self.authority.file} if tls else {"insecure": "true"}
        url = self.at("SASLTLS" if tls else "SASL").url(topic or unique(), sasl=mechanism, **how, **options)
        return url.replace("://", f"://{quote(user)}:{quote(password)}@", 1)

    def tls(self, topic: str | None = None, *, mutual: bool = False, **options: Any) -> str:
        """The URL for who comes through TLS, trusting our authority. mutual: and shows a certificate."""
        certificate, key = self.certificate
        ours = {"cert_file": certificate, "key_file": key} if mutual else {}
        where = self.at("MUTUAL" if mutual else "TLS")
        return where.url(topic or unique(), tls="true", **{"ca_file": self.authority.file, **ours, **options})

    def take_rights(self, user: str) -> None:
        """What this user was given."""
        every = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
        rights = ACLFilter(f"User:{user}", None, ACLOperation.ANY, ACLPermissionType.ANY, every)
        self.admin.delete_acls([rights])

    def token(self, subject: str = USER, *, seconds: float = 600) -> str:
        """A token that OAUTHBEARER takes; it is good for so long, -1 is over."""
        now = time.time()
        words = ({"alg": "none"}, {"sub": subject, "iat": now - 60, "exp": now + seconds})
        return (
            ".".join(base64.urlsafe_b64encode(json.dumps(word).encode()).decode().rstrip("=") for word in words) + "."
        )


@pytest.fixture(scope="session")
def kafka_secure(authority: Authority) -> Iterator[SecureKafka]:
    """A broker with a listener for each way to log in, which the tests share."""
    need_kafka()
    with SecureKafka(authority) as server:
        yield server


def _logins() -> dict[str, object]:
    """Each mechanism, with TLS and without."""
    users = f'user_{USER}="{PASSWORD}" user_{NOBODY}="{PASSWORD}"'
    token = f"{_MODULES}.oauthbearer"
    jaas = {
        "plain": f"{_MODULES}.plain.PlainLoginModule required {users};",
        **{name.lower(): f"{_MODULES}.scram.ScramLoginModule required;" for name in _SCRAM},
        "oauthbearer": f'{token}.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="{USER}";',
    }
    settings: dict[str, object] = {}
    for listener in ("sasl", "sasltls"):
        place = f"listener.name.{listener}"
        settings[f"{place}.sasl.enabled.mechanisms"] = ",".join(name.upper() for name in jaas)
        settings |= {f"{place}.{name}.sasl.jaas.config": module for name, module in jaas.items()}
        settings[f"{place}.oauthbearer.sasl.server.callback.handler.class"] = (
            f"{token}.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"
        )
    return settings


def _certificates(authority: Authority, pair: tuple[Path, Path], directory: Path) -> dict[str, object]:
    """The broker's own, and whom it trusts."""
    store = directory / "store.pem"
    store.touch(mode=0o600)
    store.write_text("".join(file.read_text() for file in reversed(pair)))
    settings: dict[str, object] = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": store,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": authority.file,
        "listener.name.mutual.ssl.client.auth": "required",
    }
    return settings
