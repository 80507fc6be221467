"""Redis over TLS: who is believed, and that no secret is seen anywhere."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from queues._redis_acl import rules
from queues.errors import ConfigurationError, QueueError, QueueUnavailable

from .redis_groups import Authority, TLSServer
from .redis_link import linked, server_of, with_password
from .redis_server import PASSWORD, Redis, Start, free_port


@contextmanager
def tls(files: tuple[Path, Path], **settings: object) -> Iterator[TLSServer]:
    with TLSServer(*files) as server:
        for name, value in settings.items():
            server.admin.config_set(name.replace("_", "-"), str(value))
        yield server


async def distrust(url: str) -> str:
    """Why that server is not believed."""
    with pytest.raises(ConfigurationError) as caught:
        async with linked(url):
            pass
    return str(caught.value)


async def test_a_server_whose_certificate_our_authority_signed_is_believed(authority: Authority) -> None:
    """`rediss://` with `?ca_file=`; calls go through as without TLS."""
    with tls(authority.certificate()) as server:
        async with linked(f"{server.url}?ca_file={authority.file}") as link:
            big = b"x" * 300_000
            assert await link.call(("SET", "x", big), ("GET", "x")) == [b"OK", big]
        async with linked(f"{server.url}?ca_file={authority.file}") as link:
            server.restart()
            assert await link.call(("PING",)) == [b"PONG"]


async def test_a_certificate_that_is_over_is_refused(authority: Authority) -> None:
    """As the standard library says it."""
    with tls(authority.certificate(days=-1)) as server:
        text = await distrust(f"{server.url}?ca_file={authority.file}")
    assert "expired" in text
    assert "?ca_file=" in text


async def test_a_certificate_for_another_host_is_refused(authority: Authority) -> None:
    """Who is signed by the right authority is not yet the right server."""
    with tls(authority.certificate("127.0.0.2")) as server:
        assert "127.0.0.1" in await distrust(f"{server.url}?ca_file={authority.file}")


async def test_a_certificate_that_signed_itself_is_refused(authority: Authority) -> None:
    """With our authority, and with the system's, which are believed when no file is named."""
    with tls(authority.certificate(self_signed=True)) as server:
        assert "can't be trusted" in await distrust(f"{server.url}?ca_file={authority.file}")
        assert "can't be trusted" in await distrust(server.url)


async def test_an_authority_that_the_url_names_is_the_only_one(authority: Authority) -> None:
    """`?ca_file=` stands in place of the system's authorities."""
    trusted = server_of(f"rediss://localhost?ca_file={authority.file}")._trusted().get_ca_certs()
    assert [one["subject"] for one in trusted] == [((("commonName", "ours"),),)]


async def test_a_server_that_wants_our_certificate_gets_it(authority: Authority) -> None:
    """`?cert_file=&key_file=`; without them it is said which options these are."""
    certificate, key = authority.certificate()
    with tls((certificate, key), tls_ca_cert_file=authority.file, tls_auth_clients="yes") as server:
        url = f"{server.url}?ca_file={authority.file}"
        with pytest.raises((ConfigurationError, QueueUnavailable)) as caught:
            async with linked(url):
                pass
        assert "?cert_file=" in str(caught.value) or "can't be reached" in str(caught.value)  # an RST may overtake it
        async with linked(f"{url}&cert_file={certificate}&key_file={key}") as link:
            assert await link.call(("PING",)) == [b"PONG"]


async def test_a_server_without_tls_and_a_client_without_it_are_told(authority: Authority, redis_server: Start) -> None:
    """One is a wrong scheme for sure; the other looks like a server that hangs up."""
    plain = redis_server()
    with pytest.raises(QueueUnavailable, match="redis:// is without"):  # Redis waits for the end of a line
        async with linked(f"rediss://127.0.0.1:{plain.port}?connect_timeout=100ms"):
            pass
    with tls(authority.certificate()) as server, pytest.raises(QueueUnavailable, match="can't be reached"):
        async with linked(server.url.replace("rediss", "redis")):
            pass


async def test_a_file_that_is_no_certificate_is_refused(authority: Authority, tmp_path: Path) -> None:
    """Before anything is sent."""
    (tmp_path / "ca.crt").write_text("nothing")
    with tls(authority.certificate()) as server:
        assert "ca_file" in await distrust(f"{server.url}?ca_file={tmp_path / 'ca.crt'}")


async def test_no_secret_is_seen_on_any_way_of_failing(
    redis: Redis, redis_server: Start, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """With all loggers at DEBUG: not in a log, an error, its causes, a repr or on the screen."""
    caplog.set_level(logging.DEBUG)
    for name in ("redis", "asyncio", "notification", "push_response"):
        caplog.set_level(logging.DEBUG, logger=name)
    redis.limited()
    guarded = redis_server(requirepass="another-one")
    failing = [
        with_password(redis.url, "limited", PASSWORD + "x"),
        with_password(redis.url, "nobody"),
        with_password(guarded.url),
        with_password(f"{redis.url.rpartition('/')[0]}/99", "limited"),
        with_password(f"redis://127.0.0.1:{free_port()}", "limited"),
        with_password(f"rediss://{redis.url.partition('://')[2]}?connect_timeout=100ms", "limited"),
        with_password(f"redis+sentinel://127.0.0.1:{free_port()}/service", "limited"),
        with_password(f"redis+cluster://{redis.url.partition('://')[2].partition('/')[0]}", "limited"),
        with_password("redis://a/b/c", "limited"),
    ]
    shown = []
    for url in failing:
        with pytest.raises((ConfigurationError, QueueUnavailable)) as caught:
            async with linked(url):
                pass
        shown += ["".join(traceback.format_exception(caught.value)), repr(caught.value)]
    async with linked(redis.user("short", *rules())) as link:
        server = link._server
        for command in (("KEYS", "*"), ("NOSUCH",), ("LPUSH",), ("LPUSH", "x")):
            with pytest.raises(QueueError) as refused:
                await link.call(command)
            shown += ["".join(traceback.format_exception(refused.value)), repr(refused.value)]
        shown += [repr(link), repr(server), server.name, repr(link._connection), str(vars(link))]
    shown += [caplog.text, *capsys.readouterr()]
    assert PASSWORD not in "\n".join(shown)
