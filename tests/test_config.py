"""Settings from files, mappings and the environment: which count, and what is told about those that can't be."""

from __future__ import annotations

import contextlib
import inspect
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notification import ConfigurationError, EventDispatcher, RetryPolicy, effective_settings
from notification.config import ROWS, SETTINGS, Config, read_config
from notification.degradation import Degradation
from queues.url import QueueURL

SHOP = """
handler_timeout = "20s"
grace = 5
dead_letter = "graves"
source = "/shop"

[queue]
url = "sqlite:///orders.db"
lease = "10s"
max_event = "64KiB"

[queues.graves]
url = "sqlite:///graves.db"

[queues.audit]
url = "redis://:secret@localhost:6379/0"
grace = "1m"
retry = { attempts = 9 }

[retry]
attempts = 3
initial = "5ms"
fatal = ["builtins:ValueError"]
"""


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of whoever runs the tests count for nothing here."""
    for name in list(os.environ):
        if name.startswith(("NOTIFICATION_", "REDIS_", "KAFKA_", "MESSAGE_QUEUE_")) or name == "LOG_LEVEL":
            monkeypatch.delenv(name)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A file of settings."""
    path = tmp_path / "shop.toml"
    path.write_text(SHOP)
    return path


def url_of(config: Config) -> QueueURL:
    url = config.opened().url
    assert url is not None
    return url


def refused(config: Any, name: str | None = None) -> str:
    """What from_config says about it, before anything runs."""
    with pytest.raises(ConfigurationError) as error:
        EventDispatcher.from_config(config, name=name)
    return str(error.value)


# -- where settings come from


def test_a_file_of_toml_makes_a_dispatcher(shop: Path) -> None:
    """Its queue with options beside the URL, and the dispatcher's own settings."""
    dispatcher = EventDispatcher.from_config(shop)
    assert dispatcher.queue.url is not None
    assert str(dispatcher.queue.url) == "sqlite:///orders.db?queue=events&lease=10s&max_event=65536"
    assert dispatcher.queue.lease == 10
    settings = dispatcher._life._settings
    assert (settings.handler_timeout, settings.grace, settings.hold) == (20, 5, 60)
    assert settings.source == "/shop"
    assert settings.retry == RetryPolicy(attempts=3, initial=0.005, fatal=(ValueError,))
    assert settings.dead_letter == "sqlite:///graves.db"
    assert isinstance(dispatcher.config, Config)
    assert EventDispatcher().config is None


def test_a_file_of_json_says_the_same(tmp_path: Path) -> None:
    """By the same names."""
    path = tmp_path / "shop.json"
    path.write_text(json.dumps({"queue": "sqlite:///a.db", "retry": {"attempts": 2}, "grace": "1m"}))
    config = read_config(path)
    assert str(config.queue) == "sqlite:///a.db?queue=events"
    assert (config.get("retry.attempts"), config.get("grace"), config.get("prefetch")) == (2, 60, 1000)


def test_a_mapping_may_hold_what_a_file_can_not() -> None:
    """Exceptions and functions themselves."""
    seen: list[str] = []
    dispatcher = EventDispatcher.from_config(
        {"queue": "channel://", "retry": {"fatal": [KeyError]}, "degradation": {"on_change": seen.append}}
    )
    assert dispatcher.config is not None
    assert dispatcher.config.get("retry.fatal") == (KeyError,)
    assert dispatcher.config.arguments()["degradation"] == Degradation(on_change=seen.append)


def test_the_environment_alone_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file."""
    monkeypatch.setenv("NOTIFICATION_QUEUE", "sqlite:///env.db")
    monkeypatch.setenv("NOTIFICATION_RETRY_ATTEMPTS", "7")
    monkeypatch.setenv("NOTIFICATION_RETRY_JITTER", "off")
    monkeypatch.setenv("NOTIFICATION_DEGRADATION_INLINE", "yes")
    monkeypatch.setenv("NOTIFICATION_GRACE", "2m")
    config = read_config()
    assert str(config.queue) == "sqlite:///env.db?queue=events"
    assert config.arguments()["retry"] == RetryPolicy(attempts=7, jitter=False)
    assert config.arguments()["degradation"] == Degradation(inline=True)
    assert config.get("grace") == 120


def test_the_environment_counts_more_than_a_file_and_that_more_than_the_code(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Setting by setting; the queue is one setting, with its options."""
    code = {"queue": "sqlite:///code.db?lease=3", "hold": 7, "grace": 8, "retry": {"factor": 3, "attempts": 4}}
    monkeypatch.setenv("NOTIFICATION_CONFIG", str(shop))
    config = read_config(code)
    assert url_of(config).path == "/orders.db"
    assert [config.get(name) for name in ("hold", "grace", "retry.factor", "retry.attempts")] == [7, 5, 3, 3]
    monkeypatch.setenv("NOTIFICATION_QUEUE", "sqlite:///env.db")
    monkeypatch.setenv("NOTIFICATION_GRACE", "1s")
    config = read_config(code)
    assert url_of(config).raw == "sqlite:///env.db"
    assert config.get("grace") == 1
    assert url_of(read_config(code, queue="sqlite:///line.db")).raw == "sqlite:///line.db"


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a compose file that passes all of them on."""
    monkeypatch.setenv("NOTIFICATION_QUEUE", "")
    monkeypatch.setenv("NOTIFICATION_CONFIG", "")
    assert read_config({"queue": "channel://"}).queue is not None


def test_nobody_is_put_on_a_queue_in_memory_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no queue is named the error says how; also which variables look as if they should name one."""
    assert "NOTIFICATION_QUEUE" in refused(None)
    assert "NOTIFICATION_QUEUE" in refused({"grace": 3})
    monkeypatch.setenv("REDIS_ADDR", "cache:6379")
    assert "REDIS_ADDR is set, and not read unless MESSAGE_QUEUE_TYPE=redis" in refused(None)


# -- several queues


def test_one_of_several_queues_is_chosen_by_name(shop: Path) -> None:
    """With the settings that stand in its table, which count for it alone."""
    audit = read_config(shop, name="audit")
    assert url_of(audit).scheme == "redis"
    assert (audit.get("grace"), audit.get("retry.attempts"), audit.get("handler_timeout")) == (60, 9, 20)
    assert read_config(shop).get("grace") == 5
    assert str(read_config(shop).on("audit").queue) == str(audit.queue)


def test_the_environment_may_move_a_queue_with_a_name(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the variable with its name; the one without a name moves the queue without a name."""
    monkeypatch.setenv("NOTIFICATION_QUEUE_AUDIT", "sqlite:///audit.db")
    monkeypatch.setenv("NOTIFICATION_QUEUE", "sqlite:///env.db")
    audit = read_config(shop, name="audit")
    assert url_of(audit).raw == "sqlite:///audit.db"
    assert audit.get("retry.attempts") == 9, "what else stands in its table still counts"
    assert url_of(read_config(shop)).raw == "sqlite:///env.db"


def test_a_name_stands_wherever_a_url_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the queue of a file, in the environment, on the command line."""
    tree = {"queue": "new", "queues": {"old": "sqlite:///old.db", "new": "sqlite:///new.db"}}
    assert url_of(read_config(tree)).path == "/new.db"
    assert url_of(read_config(tree, queue="old")).path == "/old.db"
    monkeypatch.setenv("NOTIFICATION_QUEUE", "old")
    assert url_of(read_config(tree)).path == "/old.db"


def test_the_only_queue_needs_no_choice() -> None:
    """Of two, one has to be named."""
    one = {"queues": {"a": "sqlite:///a.db"}}
    assert url_of(read_config(one)).path == "/a.db"
    said = refused({"queues": {"a": "sqlite:///a.db", "b": "sqlite:///b.db"}})
    assert "which queue? There are a, b" in said


# -- bad input


@pytest.mark.parametrize(
    ("tree", "name", "said"),
    [
        ({"gracee": 3}, None, "the mapping: there is no setting 'gracee'; did you mean 'grace'?"),
        ({"retry": {"attemps": 3}}, None, "mapping: retry: there is no setting 'attemps'; did you mean 'attempts'?"),
        ({"queue": {"url": "channel://", "retry": {"atempts": 1}}}, None, "queue.retry: there is no setting 'atempts'"),
        ({"queue": {"url": "sqlite:///a.db", "leese": 3}}, None, "queue.leese: sqlite:// has no option 'leese'; did"),
        ({"queue": {"url": "sqlite:///a.db", "lease": "soon"}}, None, "queue.lease: ?lease=soon is no duration"),
        ({"queue": {"url": "sqlite:///a.db", "queue": "a b"}}, None, "queue.queue: the queue name 'a b'"),
        ({"queue": {"lease": 3}}, None, 'queue: which queue? Write url = "sqlite:///events.db"'),
        ({"queue": {"url": "orders.db"}}, None, "queue.url: 'orders.db' is no queue's URL"),
        ({"queue": 5}, None, "queue: 5 is no table"),
        ({"queue": "sqlit:///a.db"}, None, "queue: no queue is registered for sqlit://; did you mean 'sqlite'?"),
        ({"queue": {"url": "sqlite:///a.db?lease=3", "lease": 4}}, None, "queue.lease: the URL has lease= too"),
        ({"queue": {"url": "redis://u:p@h", "password": "q"}}, None, "queue.password: the URL has a login too"),
        ({"queue": {"url": "redis://h", "password": "q", "password_env": "P"}}, None, "password_env is given too"),
        ({"queue": {"url": "redis://h", "password": 7}}, None, "queue.password: what is given is no text"),
        ({"queue": {"url": "channel://", "routes": {}}}, None, "queue: url and routes don't go together"),
        ({"queue": {"url": "channel://", "type": "redis"}}, None, "queue: url and type don't go together"),
        ({"queue": "channel://", "type": "redis"}, None, "queue and type both name a queue"),
        ({"queue": "adit", "queues": {"audit": "channel://"}}, None, "did you mean 'audit'?; there are audit"),
        ({"queue": "a", "queues": {"a": "b", "b": "a"}}, None, "queues.b: 'a' names itself"),
        ({"queues": {"audit": "channel://"}}, "adit", "name: 'adit' is neither a queue's URL nor its name; did you"),
        ({"queue": "channel://", "queues": {"a b": "channel://"}}, None, "queues.a b: the queue name 'a b'"),
        ({"queue": "channel://", "queues": "channel://"}, None, "queues: 'channel://' is no table"),
        ({"retry": 3}, None, "the mapping: retry: 3 is no table"),
        ({"grace": "soon"}, None, "the mapping: grace: 'soon' is no duration; write 30, 500ms, 30s"),
        ({"grace": -1}, None, "grace: -1 is no duration"),
        ({"grace": math.nan}, None, "grace: nan is no duration"),
        ({"grace": True}, None, "grace: True is no duration"),
        ({"hold": "9000h"}, None, "hold: '9000h' is more than a year"),
        ({"handler_timeout": 0}, None, "handler_timeout: 0 must be more than 0"),
        ({"prefetch": "1000"}, None, "prefetch: '1000' is no whole number from 1 up"),
        ({"prefetch": 1.5}, None, "prefetch: 1.5 is no whole number"),
        ({"workers": 20_000}, None, "workers: 20000 is no whole number from 1 to 10000"),
        ({"source": ""}, None, "source: '' is no printable text"),
        ({"unhandled": "drop"}, None, "unhandled: 'drop' is none of retry, dead_letter, skip"),
        ({"log_level": "loud"}, None, "log_level: 'loud' is none of debug, info, warning, error"),
        ({"dead_letter": "nowhere"}, None, "dead_letter: 'nowhere' is neither a queue's URL nor its name"),
        ({"retry": {"factor": 0.5}}, None, "retry.factor: 0.5 must be 1 or more"),
        ({"retry": {"jitter": "yes"}}, None, "retry.jitter: 'yes' is neither true nor false"),
        ({"retry": {"fatal": ["builtins:ValueErr"]}}, None, "builtins has no 'ValueErr'; did you mean 'ValueError'?"),
        ({"retry": {"fatal": ["builtins:len"]}}, None, "is no exception class"),
        ({"retry": {"fatal": ["nowhere_at_all:X"]}}, None, "retry.fatal: 'nowhere_at_all:X' can't be imported"),
        ({"retry": {"fatal": ["X"]}}, None, "is no name; write package.module:name"),
        ({"degradation": {"on_full": "drop"}}, None, "degradation.on_full: 'drop' is none of wait, spill"),
        ({"degradation": {"on_full": "spill"}}, None, "degradation.on_full: on_full='spill' needs a directory"),
        ({"degradation": {"spil": "/x"}}, None, "degradation: there is no setting 'spil'; did you mean 'spill'?"),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, dict) else "",
)  # fmt: skip
def test_what_can_not_be_is_told_with_its_place(tree: dict[str, Any], name: str | None, said: str) -> None:
    """Before anything runs: the mapping or file, the key, and what to write instead."""
    if "queue" not in tree and "queues" not in tree:
        tree = {**tree, "queue": "channel://"}
    assert said in refused(tree, name)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("NOTIFICATION_GRACE", "soon", "NOTIFICATION_GRACE: 'soon' is no duration"),
        ("NOTIFICATION_PREFETCH", "many", "NOTIFICATION_PREFETCH: 'many' is no whole number from 1 up"),
        ("NOTIFICATION_PREFETCH", "0", "NOTIFICATION_PREFETCH: '0' is no whole number from 1 up"),
        ("NOTIFICATION_PREFETCH", "inf", "NOTIFICATION_PREFETCH: 'inf' is no whole number"),
        ("NOTIFICATION_RETRY_JITTER", "perhaps", "NOTIFICATION_RETRY_JITTER: 'perhaps' is neither true nor false"),
        ("NOTIFICATION_QUEUE", "sqlit:///a.db", "NOTIFICATION_QUEUE: no queue is registered for sqlit://"),
        ("NOTIFICATION_QUEUE", "events.db", "NOTIFICATION_QUEUE: 'events.db' is neither a queue's URL nor its name"),
        ("NOTIFICATION_DEAD_LETTER", "redis://", "NOTIFICATION_DEAD_LETTER: redis://?queue=events names no host"),
        ("NOTIFICATION_CONFIG", "nowhere.toml", "NOTIFICATION_CONFIG: nowhere.toml: the settings can't be read: No"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL: 'loud' is none of debug"),
    ],
)  # fmt: skip
def test_a_variable_that_can_not_be_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    """It is not in the file, where one would look for it."""
    monkeypatch.setenv(variable, value)
    assert said in refused({"queue": "channel://"})


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.toml", b"grace = 3\nhold = = 3\n", "a.toml: this is not TOML: Invalid value (at line 2, column 8)"),
        ("a.toml", b"[retry]\nattempts = 1\n[retry]\n", "at line 3"),
        ("a.toml", b'{"queue": "channel://"}', "; JSON belongs in a file whose name ends in .json"),
        ("a.json", b'{\n"queue": "channel://",\n}', "a.json: this is not JSON: "),
        ("a.json", b'{\n"queue": "channel://",\n}', "line 3"),
        ("a.json", b"[]", "a.json: the settings are one JSON object"),
        ("a.json", b'{"grace": 3, "grace": 4}', "a.json: 'grace' is given twice"),
        ("a.toml", b"grace = 3\nsource = '\xff'\n", "a.toml, line 2: this is not UTF-8"),
    ],
)
def test_a_malformed_file_is_told_with_the_line(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    """Nothing of it counts."""
    path = tmp_path / name
    path.write_bytes(content)
    assert said in refused(path)
    assert refused(path).startswith(str(path))


def test_a_file_that_can_not_be_read_is_told(tmp_path: Path) -> None:
    """So is a URL where a file is wanted."""
    assert "the settings can't be read: Is a directory" in refused(tmp_path)
    assert "a queue's URL goes to EventDispatcher(url)" in refused("sqlite:///events.db")


WORDS = {*(known.name for known in SETTINGS), *(key for row in ROWS for key in row.keys), "queues.url.routes.choose"}
NAMES = st.sampled_from(sorted({word for name in WORDS for word in name.split(".")} | {"queue", "create", "lease"}))
VALUES = st.recursive(
    st.sampled_from(["channel://", "sqlite:///x.db", "redis+stream://h", "kafka://h/t", "redis", "env:X", "5s"])
    | st.text(max_size=5) | st.integers() | st.floats() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=4),
    max_leaves=15,
)  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(NAMES | st.integers(), VALUES, max_size=5))
def test_whatever_is_given_is_read_or_refused(tree: dict[Any, Any]) -> None:
    """No other error comes out."""
    with contextlib.suppress(ConfigurationError):
        EventDispatcher.from_config(tree)
        effective_settings(tree)


# -- what is told of them


def test_effective_settings_say_where_each_comes_from(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue, each of its options, and every setting there is, with its default where nobody has set it."""
    monkeypatch.setenv("NOTIFICATION_HOLD", "90s")
    found = {one.name: (one.value, one.text, one.source) for one in effective_settings(shop)}
    assert found["queue"][0] == "sqlite:///orders.db?queue=events&lease=10s&max_event=65536"
    assert found["queue"][2] == f"{shop}: queue"
    assert found["queue.lease"] == ("10s", "10s", f"{shop}: queue.lease")
    assert found["queues"] == ("graves, audit", "graves, audit", f"{shop}: queues")
    assert found["handler_timeout"] == (20, "20s", f"{shop}: handler_timeout")
    assert found["hold"] == (90, "90s", "NOTIFICATION_HOLD")
    assert found["retry.initial"] == (0.005, "0.005s", f"{shop}: retry.initial")
    assert found["retry.fatal"] == ("builtins:ValueError", "builtins:ValueError", f"{shop}: retry.fatal")
    assert found["prefetch"] == (1000, "1000", "default")
    assert {known.name for known in SETTINGS} <= {*found}


def test_no_secret_is_ever_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the listing, nor in errors, nor in what prints the settings as Python sees them."""
    tree = {
        "queue": {"url": "redis://localhost", "username": "shop", "password": "hunter2"},
        "dead_letter": "redis://:hunter2@localhost?queue=graves",
        "queues": {"a": "redis://:hunter2@localhost"},
    }
    config = read_config(tree)
    assert url_of(config).password == "hunter2"
    assert "hunter2" in config.arguments()["dead_letter"]
    assert "hunter2" not in f"{effective_settings(tree)} {config!r} {config}"
    for wrong in ("redis://:hunter2@localhost:port", "redis//:hunter2@localhost", "redis?password=hunter2"):
        monkeypatch.setenv("NOTIFICATION_QUEUE", wrong)
        assert "hunter2" not in refused(None)
        monkeypatch.delenv("NOTIFICATION_QUEUE")
        trees: list[dict[Any, Any]] = [{"queue": wrong}, {"queue": [wrong]}, {"queue": {"url": wrong}}, {3: wrong}]
        for each in trees:
            assert "hunter2" not in refused(each)


# -- the table


def test_the_defaults_of_the_table_are_those_of_the_code() -> None:
    """What is listed as a default is what a dispatcher without settings goes by."""
    parameters = inspect.signature(EventDispatcher.__init__).parameters
    code = {name: one.default for name, one in parameters.items()}
    for known in SETTINGS:
        group, _, name = known.name.partition(".")
        if group == "retry":
            assert getattr(RetryPolicy(), name) == known.default
        elif group == "degradation":
            assert getattr(Degradation(), name) == known.default
        elif known.name == "prefetch":
            assert (code["prefetch"], EventDispatcher()._life._settings.prefetch) == (None, known.default)
        elif known.name not in {"workers", "log_level"}:
            assert code[known.name] == known.default


def test_every_setting_reaches_the_dispatcher() -> None:
    """None is read and then forgotten."""
    given: dict[str, Any] = {
        "source": "/a", "prefetch": 7, "handler_timeout": 8.0, "grace": 9.0, "hold": 10.0, "unhandled": "dead_letter",
        "dead_letter": "sqlite:///dead.db",
    }  # fmt: skip
    retry: dict[str, Any] = {
        "attempts": 2,
        "initial": 1.5,
        "factor": 3.0,
        "max": 4.0,
        "jitter": False,
        "within": 5.0,
        "fatal": [OSError],
    }
    degradation: dict[str, Any] = {
        "spill": "/tmp/spill-of-nobody",
        "inline": True,
        "on_full": "spill",
        "on_change": print,
    }
    config = read_config({"queue": "channel://", "retry": retry, "degradation": degradation, **given})
    arguments = config.arguments()
    assert {name: arguments[name] for name in given} == given
    retry["fatal"] = (OSError,)
    assert arguments["retry"] == RetryPolicy(**retry)
    assert arguments["degradation"] == Degradation(**degradation)
    told = {*given, *(f"retry.{name}" for name in retry), *(f"degradation.{name}" for name in degradation)}
    assert {known.name for known in SETTINGS} - told == {"workers", "log_level"}
