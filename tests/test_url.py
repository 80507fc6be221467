"""Addresses of queues: parsed once, secrets out of sight, mistakes named with what to write instead."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import quote

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from queues.errors import ConfigurationError
from queues.message import DEFAULT_LIMITS, UNLIMITED
from queues.url import CommonOptions, QueueURL, Seconds, check_name, did_you_mean

SECRET = "hunter2canary"
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@attrs.frozen
class Options(CommonOptions):
    """As a backend has them."""

    lease: Seconds = Seconds(30)  # noqa: RUF009 - a float, whatever its name
    capacity: int | None = None
    dedup: Seconds | None = None
    durable: bool = True
    mode: Literal["full", "normal"] = "full"
    sasl_password: str | None = None


def options(query: str) -> Options:
    return QueueURL.parse(f"redis://host/0?{query}").read(Options)


def refused(url: str) -> str:
    with pytest.raises(ConfigurationError) as error:
        QueueURL.parse(url).read(Options)
    return str(error.value)


# -- parts


def test_a_url_has_its_parts() -> None:
    """Scheme, user, hosts, path, queue name, group, order; the rest are options."""
    url = QueueURL.parse("redis+sentinel://us%40er:p%2Fw@a:1,[::1]:2/main/0?queue=orders&group=g&order=none&lease=5")
    assert (url.scheme, url.username, url.password) == ("redis+sentinel", "us@er", "p/w")
    assert (url.hosts, url.path) == (("a:1", "[::1]:2"), "/main/0")
    assert (url.name, url.group, url.order, dict(url.options)) == ("orders", "g", "none", {"lease": "5"})


@pytest.mark.parametrize(
    ("text", "hosts", "path"),
    [
        ("channel://", (), ""),
        ("channel://name", ("name",), ""),
        ("sqlite:///relative.db", (), "/relative.db"),
        ("sqlite:////absolute/with%20space.db", (), "//absolute/with space.db"),
        ("unix:///tmp/redis@home.sock", (), "/tmp/redis@home.sock"),
        ("kafka://a:9092,b:9092/", ("a:9092", "b:9092"), "/"),
    ],
)
def test_urls_of_every_shape_are_read(text: str, hosts: tuple[str, ...], path: str) -> None:
    """With and without hosts and path."""
    url = QueueURL.parse(text)
    assert (url.hosts, url.path, url.name) == (hosts, path, "events")


@pytest.mark.parametrize(
    "text", ["", "events.db", "sqlite:/events.db", "://x", "Redis://x", "1redis://x", "re dis://x", "redis//x"]
)
def test_what_is_no_url_is_refused_with_examples(text: str) -> None:
    """The error shows what one looks like."""
    assert "sqlite:///events.db" in refused(text)


# -- secrets


def test_a_password_is_shown_nowhere() -> None:
    """Not in str, not in repr, not in a formatted string; `raw` has it for the client library."""
    url = QueueURL.parse(f"redis://user:{SECRET}@host:6379/0?sasl_password={SECRET}&token={SECRET}&ssl_key={SECRET}")
    for shown in (str(url), repr(url), f"{url}", f"{url!r}", str(url.sibling("dead")), str([url])):
        assert SECRET not in shown
        assert "user:***@host:6379" in shown
    assert url.password == SECRET
    assert SECRET in url.raw


@pytest.mark.parametrize(
    "text",
    [
        f"redis:/user:{SECRET}@host",
        f"redis//user:{SECRET}@host",
        f"user:{SECRET}@host",
        f":{SECRET}@host/0?x=1",
        f"REDIS://user:{SECRET}@host",
        f"redis://user:{SECRET}/rest@host/0",
        f"redis://user:pass/{SECRET}@host/0",
        f"redis://user:pass?{SECRET}@host/0",
        f"redis://user:{SECRET}?@host/0",
        f"redis://user:{SECRET}",
        f"redis://user:{SECRET}\n@host",
        f"redis//host?password={SECRET}",
        f"redis://user:{SECRET}@host/%00",
        f"redis://user:{SECRET}@host?queue=*",
        f"redis://user:{SECRET}@host?lease=x",
        f"redis://user:{SECRET}@host?leas=1",
        f"redis://user:{SECRET}@host?lease=1&lease=2",
        f"redis://user:{SECRET}@host:port",
        f"redis://host?password={SECRET}",
    ],
)
def test_no_error_quotes_a_secret(text: str) -> None:
    """However the URL is mistyped."""
    assert SECRET not in refused(text)


def test_a_password_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The URL names the variable; a variable that is not set is named in the error."""
    monkeypatch.setenv("QUEUE_PASSWORD", SECRET)
    url = QueueURL.parse("redis://user@host?password_env=QUEUE_PASSWORD")
    assert (url.username, url.password) == ("user", SECRET)
    assert SECRET not in str(url)
    monkeypatch.delenv("QUEUE_PASSWORD")
    assert "QUEUE_PASSWORD" in refused("redis://user@host?password_env=QUEUE_PASSWORD")


# -- options


def test_options_have_the_types_of_their_class() -> None:
    """Read by the class alone; what is not given keeps its default."""
    read = options("lease=500ms&capacity=7&durable=no&mode=normal&sasl_password=x")
    assert read == Options(lease=Seconds(0.5), capacity=7, durable=False, mode="normal", sasl_password="x")
    assert options("") == Options()


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("30", 30), ("30s", 30), ("500ms", 0.5), ("2m", 120), ("1h", 3600), ("1.5d", 129_600), ("250us", 0.00025)],
)
def test_durations_have_units(written: str, seconds: float) -> None:
    """Seconds, if none is given."""
    assert options(f"lease={written}").lease == pytest.approx(seconds)
    assert options(f"dedup={written}").dedup == pytest.approx(seconds)


@pytest.mark.parametrize("written", ["", "-1", "1w", "s", "1 hour", "1e3", "nan", "inf", "9" * 400])
def test_what_is_no_duration_is_refused_with_examples(written: str) -> None:
    """The error shows the units."""
    assert "500ms" in refused(f"redis://host?lease={written}")


@pytest.mark.parametrize(
    "query", ["capacity=-1", "capacity=x", "capacity=1.5", "durable=maybe", "mode=half", "order=x"]
)
def test_a_value_of_the_wrong_type_is_refused(query: str) -> None:
    """The error names the option."""
    assert query.partition("=")[0] in refused(f"redis://host?{query}")


def test_an_unknown_option_is_refused_with_the_nearest_known_one() -> None:
    """And with all that there are."""
    text = refused("redis://host?leese=3")
    assert "did you mean 'lease'?" in text
    assert "capacity" in text
    assert "did you mean" not in refused("redis://host?zzzzzz=3")


def test_an_option_given_twice_is_refused() -> None:
    """Which one would be meant?"""
    assert "twice" in refused("redis://host?lease=1&lease=2")


def test_nothing_near_means_no_suggestion() -> None:
    """did_you_mean is empty then."""
    assert did_you_mean("xyz", ["lease"]) == ""
    assert "lease" in did_you_mean("laese", ["lease", "order"])


def test_the_size_cap_of_events_is_an_option_of_every_queue() -> None:
    """?max_event=BYTES."""
    assert QueueURL.parse("channel://").limits == DEFAULT_LIMITS
    assert QueueURL.parse("channel://?max_event=1000").limits.event == 1000
    with pytest.raises(ConfigurationError, match="max_event"):
        _ = QueueURL.parse("channel://?max_event=x").limits


# -- names and siblings


@pytest.mark.parametrize("name", ["events", "orders.dead", "{tenant}:orders", "A-b_9", "x" * 128])
def test_a_good_name_is_taken(name: str) -> None:
    """Letters, digits and a few signs, 1 to 128."""
    assert check_name("queue", name) == name
    assert QueueURL.parse(f"redis://host?queue={name}").name == name


@pytest.mark.parametrize("name", ["", "*", "a b", "a/b", "../x", "a%0d%0ab", "a%00b", "é", "x" * 129, "a%0a"])
@pytest.mark.parametrize("kind", ["queue", "group"])
def test_a_bad_name_is_refused_without_control_characters(name: str, kind: str) -> None:
    """A pattern, a path or a line break could mean something to a server; the error shows it escaped."""
    text = refused(f"redis://host?{kind}={name}")
    assert kind in text
    assert text.isprintable()


def test_a_sibling_is_beside_its_queue() -> None:
    """Same place, own name, first in first out; no capacity and no size cap, as it must take what failed elsewhere."""
    url = QueueURL.parse("redis://u:p@host/0?queue=orders&capacity=9&max_event=100&dedup=5&lease=7&order=key")
    dead = url.sibling("dead")
    assert (dead.name, dead.hosts, dead.password, dead.order) == ("orders.dead", ("host",), "p", "none")
    assert dead.options == {"lease": "7"}
    assert dead.limits == UNLIMITED
    with pytest.raises(ConfigurationError, match="queue name"):
        QueueURL.parse(f"redis://host?queue={'x' * 128}").sibling("dead")


# -- anything

pieces = some.lists(
    some.sampled_from(
        ["redis://", "sqlite:///", "channel://", "user", ":", "@", "/", "?", "&", "=", "%", "%00", "%0d%0a", "*", "..",
         "\r\n", "\x00", "\x1b[31m", "é", "\ud800", "lease", "queue", "group", "order", "9", ",", "#", "[", "]", ";"]
    ) | some.text(max_size=5)
).map("".join)  # fmt: skip


@given(pieces | some.text(max_size=60))
@example("redis://host?queue=..")
@example("sqlite:///\ud800")
@example("redis://[::1")
def test_any_text_is_a_url_or_a_configuration_error(text: str) -> None:
    """Nothing else is raised, and what is shown has no control characters."""
    shown = described(text)
    assert not CONTROL.search(shown)


def described(text: str) -> str:
    """The URL as it is shown, or the error."""
    try:
        url = QueueURL.parse(text)
        url.read(Options)
        _ = (url.limits, url.sibling("dead"))
    except ConfigurationError as error:
        return str(error)
    return f"{url} {url!r}"


@given(some.text(min_size=1, max_size=20), some.text(max_size=20))
def test_a_quoted_user_and_password_come_back_as_they_are(user: str, password: str) -> None:
    """Percent-encoding carries any character."""
    url = QueueURL.parse(f"redis://{quote(user, safe='')}:{quote(password, safe='')}@host")
    assert (url.username, url.password) == (user, password)
