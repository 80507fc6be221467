"""Logging in to Kafka, TLS, and that nobody gets to see a secret."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queues import _kafka_security
from queues._kafka_client import KafkaAdminClient, KafkaConsumer
from queues._kafka_connect import connected
from queues.errors import ConfigurationError, NotificationError, QueueUnavailable

from .kafka_client import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType
from .kafka_producing import brokers_of, event, producing
from .kafka_secure import NOBODY, SecureKafka
from .kafka_server import Kafka
from .redis_groups import Authority
from .redis_server import PASSWORD, free_port

MECHANISMS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
WRONG = "wröng-'canary\\b1f2\n"
"""As it is, and as it looks in the repr of its bytes, it has the same word inside."""


@pytest.fixture(scope="module")
def topic(kafka_secure: SecureKafka) -> str:
    return kafka_secure.create(siblings=False)


async def stored(url: str) -> None:
    """One event gets there."""
    async with producing(url) as producer:
        assert await producer.store([event()]) == {}


async def refusal(url: str) -> str:
    """What somebody is told who opens that, at once and for good: no secret."""
    began = time.monotonic()
    with pytest.raises(ConfigurationError) as caught:
        async with producing(url):
            pass
    assert time.monotonic() - began < 3
    assert "canary" not in str(caught.value)
    return str(caught.value)


async def outage(url: str) -> str:
    """What somebody is told who opens that and may try again later."""
    with pytest.raises(QueueUnavailable) as caught:
        async with producing(url):
            pass
    return str(caught.value)


# -- who we are


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_a_password_opens_the_door(kafka_secure: SecureKafka, topic: str, mechanism: str, tls: bool) -> None:
    """With TLS, and without where that is meant."""
    await stored(kafka_secure.sasl(mechanism, topic, tls=tls))


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_a_wrong_password_is_refused_at_once(kafka_secure: SecureKafka, topic: str, mechanism: str) -> None:
    """Though the broker hangs up in the same moment, and the client would try again."""
    assert "refuses the user name, password or token" in await refusal(
        kafka_secure.sasl(mechanism, topic, password=WRONG)
    )


async def test_names_and_passwords_may_be_in_the_environment(
    kafka_secure: SecureKafka, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the URL."""
    monkeypatch.setenv("KAFKA_USER", "worker")
    monkeypatch.setenv("KAFKA_PASSWORD", PASSWORD)
    options = {"sasl": "PLAIN", "insecure": "true", "username_env": "KAFKA_USER", "password_env": "KAFKA_PASSWORD"}
    await stored(kafka_secure.at("SASL").url(topic, **options))


async def test_a_token_is_read_for_each_connection(
    kafka_secure: SecureKafka, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever renews it puts it into the same variable."""
    url = kafka_secure.at("SASL").url(topic, sasl="OAUTHBEARER", insecure="true", token_env="KAFKA_TOKEN")
    monkeypatch.setenv("KAFKA_TOKEN", kafka_secure.token(seconds=-1))
    brokers = brokers_of(url)
    with pytest.raises(Exception, match="invalid_token"):
        connected(KafkaAdminClient, brokers.admin())
    monkeypatch.setenv("KAFKA_TOKEN", kafka_secure.token())
    connected(KafkaAdminClient, brokers.admin()).close()
    await stored(url)


async def test_a_token_that_is_over_is_refused(
    kafka_secure: SecureKafka, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a wrong password is."""
    monkeypatch.setenv("KAFKA_TOKEN", kafka_secure.token(seconds=-1))
    url = kafka_secure.at("SASL").url(topic, sasl="OAUTHBEARER", insecure="true", token_env="KAFKA_TOKEN")
    assert "refuses the user name, password or token" in await refusal(url)


async def test_a_user_who_may_not_write_is_told(kafka_secure: SecureKafka, topic: str) -> None:
    """Before anything runs."""
    assert "does not allow this user the topic" in await refusal(kafka_secure.sasl("PLAIN", topic, user=NOBODY))


async def test_a_permission_that_is_taken_away_costs_pushes_until_it_is_back(kafka_secure: SecureKafka) -> None:
    """Who may write and look needs no more. The client gives up on the first refusal; the next one takes its place."""
    topic = kafka_secure.create(siblings=False)
    allow = [allowed(topic, operation) for operation in (ACLOperation.WRITE, ACLOperation.DESCRIBE)]
    kafka_secure.admin.create_acls(allow)
    url = kafka_secure.sasl("PLAIN", topic, user=NOBODY)
    async with asyncio.timeout(20):
        await until_allowed(url)
        async with producing(url) as producer:
            assert await producer.store([event()]) == {}
            kafka_secure.admin.delete_acls(allow)
            while not (errors := await producer.store([event()])):
                await asyncio.sleep(0.01)
            errors = await producer.store([event()])
            assert isinstance(errors[0], QueueUnavailable)
            assert "does not allow this user the topic" in str(errors[0])
            kafka_secure.admin.create_acls(allow)
            while await producer.store([event()]):
                await asyncio.sleep(0.01)


def allowed(topic: str, operation: ACLOperation) -> ACL:
    """That user, there."""
    pattern = ResourcePattern(ResourceType.TOPIC, topic)
    return ACL(f"User:{NOBODY}", "*", operation, ACLPermissionType.ALLOW, pattern)


async def until_allowed(url: str) -> None:
    """The broker hears of it a moment after it was asked for."""
    while True:
        with contextlib.suppress(ConfigurationError):
            async with producing(url):
                return
        await asyncio.sleep(0.01)


async def test_a_login_where_none_is_asked_for_is_told(
    kafka_secure: SecureKafka, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another port wants it."""
    url = kafka_secure.url(topic, sasl="PLAIN", insecure="true")
    assert "leave ?sasl= out" in await refusal(url.replace("://", f"://worker:{PASSWORD}@"))


async def test_no_login_where_one_is_asked_for_is_told(kafka_secure: SecureKafka, topic: str) -> None:
    """The broker only hangs up."""
    assert "?sasl=" in await outage(kafka_secure.at("SASL").url(topic, connect_timeout="500ms"))


# -- what a URL may not say


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("kafka://u:p@a/x?sasl=PLAIN", "?insecure=true"),
        ("kafka://u:p@a/x?sasl=PLAIN", "?tls=true"),
        ("kafka://u:p@a/x", "?sasl=SCRAM-SHA-512"),
        ("kafka://a/x?sasl=PLAIN&tls=true", "user:password@host"),
        ("kafka://u@a/x?sasl=SCRAM-SHA-256&tls=true", "?password_env="),
        ("kafka://a/x?sasl=OAUTHBEARER&tls=true", "?token_env="),
        ("kafka://a/x?sasl=OAUTHBEARER&tls=true&token_env=NOT_THERE", "?token_env=NOT_THERE"),
        ("kafka://a/x?sasl=PLAIN&tls=true&username_env=NOT_THERE", "?username_env=NOT_THERE"),
        ("kafka://a/x?sasl=GSSAPI&tls=true", "none of PLAIN"),
        ("kafka://a/x?ca_file=/etc/hostname", "?tls=true"),
        ("kafka://a/x?tls=true&ca_file=/nowhere", "?ca_file=/nowhere"),
        ("kafka://a/x?tls=true&key_file=/etc/hostname", "?cert_file="),
        ("kafka://a/x?tls=true&ca_file=/etc/hostname", "can't be used"),
    ],
)
def test_what_is_insecure_or_half_said_is_refused_with_what_to_write(url: str, words: str) -> None:
    """Before anything runs."""
    with pytest.raises(ConfigurationError) as caught:
        brokers_of(url)
    assert words in str(caught.value)


# -- TLS


async def test_tls_with_our_authority_and_with_our_certificate(kafka_secure: SecureKafka, topic: str) -> None:
    """As `?ca_file=`, `?cert_file=` and `?key_file=` say."""
    await stored(kafka_secure.tls(topic))
    await stored(kafka_secure.tls(topic, mutual=True))


async def test_a_certificate_of_an_unknown_authority_is_refused(kafka_secure: SecureKafka, topic: str) -> None:
    """There is no option that would allow it."""
    assert "?ca_file=" in await refusal(kafka_secure.at("TLS").url(topic, tls="true"))


async def test_a_certificate_for_another_host_is_refused(kafka_secure: SecureKafka, topic: str) -> None:
    """The same server under another name."""
    url = kafka_secure.tls(topic).replace("127.0.0.1", "localhost")
    assert "can't be trusted" in await refusal(url)


async def test_a_broker_that_wants_our_certificate_says_so(kafka_secure: SecureKafka, topic: str) -> None:
    """At once."""
    url = kafka_secure.at("MUTUAL").url(topic, tls="true", ca_file=kafka_secure.authority.file)
    assert "?cert_file=" in await refusal(url)


async def test_tls_at_a_port_without_and_none_at_a_port_with_it_are_told(kafka_secure: SecureKafka, topic: str) -> None:
    """Each with what to change."""
    assert "?tls=true" in await refusal(kafka_secure.at("TLS").url(topic))
    ca = kafka_secure.authority.file
    assert "leave ?tls= out" in await outage(kafka_secure.url(topic, tls="true", ca_file=ca, connect_timeout="300ms"))


def test_certificates_are_read_again_when_they_change(authority: Authority, tmp_path: Path) -> None:
    """They are renewed while workers run; a half-written one changes nothing."""
    certificate, key = (Path(shutil.copy(file, tmp_path)) for file in authority.certificate())
    url = f"kafka://a/x?tls=true&ca_file={authority.file}&cert_file={certificate}&key_file={key}"
    trust = brokers_of(url)._trust
    first = trust.context()
    assert trust.context() is first
    later(certificate, lambda: certificate.write_text("half"))
    assert trust.context() is first
    renewed = authority.certificate()
    shutil.copy(renewed[1], key)
    later(certificate, lambda: shutil.copy(renewed[0], certificate))
    assert trust.context() is not first


def later(path: Path, change: Callable[[], Any]) -> None:
    """Files written within one tick of the clock have the same time."""
    before = path.stat().st_mtime
    while path.stat().st_mtime == before:
        change()


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(authority: Authority, tmp_path: Path) -> None:
    """A service has no terminal."""
    from .redis_groups import _openssl

    certificate, key = authority.certificate()
    locked = tmp_path / "locked.key"
    _openssl("ec", "-in", key, "-out", locked, "-aes256", "-passout", "pass:x")
    with pytest.raises(ConfigurationError, match="can't be used"):
        brokers_of(f"kafka://a/x?tls=true&cert_file={certificate}&key_file={locked}")


# -- what is seen of it


async def test_no_log_line_error_or_repr_shows_a_secret(
    kafka_secure: SecureKafka, topic: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through every way that goes well or wrong, with all loggers at DEBUG, the client's too."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("KAFKA_TOKEN", token := kafka_secure.token("canary"))
    bearer = kafka_secure.at("SASL").url(topic, sasl="OAUTHBEARER", insecure="true", token_env="KAFKA_TOKEN")
    dead = f"kafka://worker:{PASSWORD}@127.0.0.1:{free_port()}/x?sasl=PLAIN&insecure=true&connect_timeout=50ms"
    urls = [bearer, dead, f"kafka://worker:{PASSWORD}@a/x?sasl=PLAIN", f"kafka://worker:{PASSWORD}@a/x?nonsense=1"]
    for mechanism in MECHANISMS:
        for password in (PASSWORD, WRONG):
            urls += [kafka_secure.sasl(mechanism, one, password=password) for one in (topic, None)]
    shown: list[str] = []
    for url in urls:
        shown += await everything(url)
    shown += [record.getMessage() + (record.exc_text or "") for record in caplog.records]
    assert any("kafka" in record.name and record.levelno == logging.DEBUG for record in caplog.records)
    secrets = ["canary", "b1f2", token, *(base64.b64encode(one.encode()).decode() for one in (PASSWORD, WRONG))]
    assert [text for text in shown if any(secret in text for secret in secrets)] == []


async def everything(url: str) -> list[str]:
    """What is to be seen of a try to use it: by a producer, a consumer, an admin."""
    try:
        async with producing(url) as producer:
            errors = await producer.store([event(), event(partition=99)])
            shown = [repr(errors), repr(producer), repr(vars(producer))]
        brokers = brokers_of(url)
        connected(KafkaConsumer, brokers.consumer()).close()
        connected(KafkaAdminClient, brokers.admin()).close()
    except NotificationError as error:
        chain: BaseException | None = error
        shown = []
        while chain is not None:
            shown.append(repr(chain) + str(chain))
            chain = chain.__cause__ or chain.__context__
        return shown
    return [*shown, repr(brokers), str(brokers.url), repr(brokers.options)]


async def test_records_that_may_hold_secrets_are_not_shown_and_others_are(
    kafka: Kafka, caplog: pytest.LogCaptureFixture
) -> None:
    """The client's log stays of use."""
    caplog.set_level(logging.DEBUG)
    brokers_of(kafka.url())
    client = logging.getLogger("kafka.net.connection")
    client.debug("Request %d: %s", 3, "SaslAuthenticateRequest(auth_bytes=b'canary')")
    client.debug("Send: %r", b"canary")
    client.debug("configuration %s", {"sasl_plain_password": "canary"})
    client.error("Unable to decode %r", memoryview(b"canary"))
    client.warning("Connection to %s lost", "broker 1")
    assert "canary" not in caplog.text
    assert "Connection to broker 1 lost" in caplog.text
    assert caplog.text.count("not shown") == 4


def test_keeping_secrets_twice_filters_once() -> None:
    """Every queue asks for it."""
    for _ in range(2):
        _kafka_security.keep_secrets()
    assert logging.getLogger("kafka.net.connection").filters.count(_kafka_security._DISCREET) == 1
