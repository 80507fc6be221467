"""A switch by configuration: its routes, and what says which one is written."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from notification import ConfigurationError, EventDispatcher, Message, SwitchQueue, effective_settings
from notification.config import SwitchedQueue, read_config
from notification.config.given import Given
from notification.config.naming import FromFile, chooser
from queues.clock import SYSTEM_CLOCK

ROUTES = {"old": "sqlite:///old.db", "new": "redis://:hunter2@localhost:6379"}
SWITCH = {"queue": {"routes": ROUTES, "choose": "env:SHOP_ROUTE"}}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of whoever runs the tests count for nothing here."""
    for name in list(os.environ):
        if name.startswith(("NOTIFICATION_", "MESSAGE_QUEUE_", "SHOP_")):
            monkeypatch.delenv(name)


def refused(tree: dict[str, Any]) -> str:
    with pytest.raises(ConfigurationError) as error:
        EventDispatcher.from_config(tree)
    return str(error.value)


async def test_events_go_where_the_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read at each batch, so that a program that changes it needs no restart; all routes are consumed."""
    path = tmp_path / "shop.toml"
    path.write_text(f"""
[queue]
choose = "env:SHOP_ROUTE"

[queue.routes]
old = "sqlite:///{tmp_path}/old.db"
new = {{ url = "sqlite:///{tmp_path}/new.db", queue = "orders" }}
""")
    monkeypatch.setenv("SHOP_ROUTE", "old")
    dispatcher = EventDispatcher.from_config(path)
    handled: list[str] = []
    dispatcher.on("order.*")(lambda message: handled.append(message.id))
    switch = dispatcher.queue
    assert isinstance(switch, SwitchQueue)
    async with dispatcher:
        await dispatcher.dispatch(order("a"))
        monkeypatch.setenv("SHOP_ROUTE", "new")
        await dispatcher.dispatch(order("b"))
        assert [await route.size() for route in switch.routes.values()] == [1, 1]
        await dispatcher.start()
        await dispatcher.join()
    assert sorted(handled) == ["a", "b"]


def order(name: str) -> Message:
    return Message(type="order.placed", id=name, source="/shop")


# -- what says which


def test_a_variable_that_is_not_set_is_an_error_of_the_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    """The switch stays where it is then; spaces around a name mean nothing."""
    choose = chooser(Given("env:SHOP_ROUTE", "shop.toml: queue.choose"))
    with pytest.raises(LookupError):
        choose()
    monkeypatch.setenv("SHOP_ROUTE", " new\n")
    assert choose() == "new"


def test_a_file_can_be_changed_while_a_program_runs(tmp_path: Path) -> None:
    """By operators, who can't change the environment of a process; it is read anew ten times a second at most."""
    path = tmp_path / "route"
    choose = chooser(Given(f"file:{path}", "shop.toml: queue.choose"))
    assert isinstance(choose, FromFile)
    with pytest.raises(OSError, match="route"):
        choose()
    path.write_text("old\n")
    assert choose() == "old"
    path.write_text("new\n")
    choose._until = SYSTEM_CLOCK.monotonic()
    assert choose() == "new"
    path.unlink()
    assert choose() == "new", "what was read a moment ago is taken for true"


def test_a_function_is_named_by_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a colon, or with dots alone; of a mapping it may be the function itself."""
    flags = types.ModuleType("shop_flags")
    flags.route = lambda: "new"  # type: ignore[attr-defined]  # a module made here
    monkeypatch.setitem(sys.modules, "shop_flags", flags)
    for name in ("shop_flags:route", "shop_flags.route", flags.route):
        tree = {"queue": {"routes": ROUTES, "choose": name}}
        config = read_config(tree)
        assert isinstance(config.queue, SwitchedQueue)
        assert config.queue.choose() == "new"


# -- bad input


@pytest.mark.parametrize(
    ("queue", "said"),
    [
        ({"routes": ROUTES}, "queue: choose is missing"),
        ({"routes": {}, "choose": "env:X"}, "queue.routes: there is no route in it"),
        ({"routes": [1], "choose": "env:X"}, "queue.routes: what is given is no table"),
        ({"routes": {**ROUTES, "choose": "env:X"}, "choose": "env:X"}, "routes.choose: this belongs beside routes"),
        ({"routes": ROUTES, "choose": "env:X", "lease": 3}, "queue.lease: there is no such setting of a switch"),
        ({"routes": ROUTES, "choose": "env:X", "strict": "yes"}, "queue.strict: 'yes' is neither true nor false"),
        ({"routes": ROUTES, "choose": "env:"}, "queue.choose: 'env:' names no variable"),
        ({"routes": ROUTES, "choose": "file:"}, "queue.choose: 'file:' names no file"),
        ({"routes": ROUTES, "choose": "nowhere_at_all:route"}, "queue.choose: 'nowhere_at_all:route' can't be"),
        ({"routes": ROUTES, "choose": "os:environ"}, "queue.choose: 'os:environ' names nothing that can be called"),
        ({"routes": ROUTES, "choose": 7}, "queue.choose: 7 names nothing that can be called"),
        ({"routes": {"a": "sqlite:///a.db?leese=1"}, "choose": "env:X"}, "queue.routes.a: sqlite:// has no option"),
        ({"routes": {"a": "redis"}, "choose": "env:X"}, "queue.routes.a: 'redis' is neither a queue's URL nor its"),
        ({"routes": {"a": "a"}, "choose": "env:X"}, "queue.routes.a: 'a' names itself"),
        ({"routes": {"a": {"url": "channel://", "grace": 3}}, "choose": "env:X"},
         "queue.routes.a.grace: settings of the dispatcher stand beside the routes"),
        ({"routes": {"a": {"routes": ROUTES, "choose": "env:X"}}, "choose": "env:X"},
         "queue.routes.a: a route is a queue, and this is a switch"),
        ({"routes": ROUTES, "choose": "env:X", "strict": True}, "strict = true holds events back"),
    ],
    ids=lambda value: value[:50] if isinstance(value, str) else "",
)  # fmt: skip
def test_a_switch_that_can_not_be_is_told_with_its_place(queue: dict[str, Any], said: str) -> None:
    """Before anything runs."""
    message = refused({"queue": queue})
    assert said in message
    assert "hunter2" not in message


def test_a_strict_switch_with_a_spill_is_made(tmp_path: Path) -> None:
    """What it holds back has a place then."""
    dispatcher = EventDispatcher.from_config(
        {"queue": {"routes": ROUTES, "choose": "env:X", "strict": True}, "degradation": {"spill": str(tmp_path / "s")}}
    )
    assert isinstance(dispatcher.queue, SwitchQueue)
    assert dispatcher.queue.strict


# -- by name


def test_a_route_may_be_a_queue_with_a_name() -> None:
    """And any route can be chosen alone: by commands that look at it, make it or drain it."""
    tree = {
        "queue": {"routes": {"old": "audit", "new": "sqlite:///new.db"}, "choose": "env:X"},
        "queues": {"audit": {"url": "sqlite:///audit.db", "create": {}}},
    }
    config = read_config(tree)
    assert isinstance(config.queue, SwitchedQueue)
    assert [str(route) for route in config.queue.routes.values()] == [
        "sqlite:///audit.db?queue=events", "sqlite:///new.db?queue=events",
    ]  # fmt: skip
    assert str(config.on("old").queue) == "sqlite:///audit.db?queue=events"
    assert str(read_config(tree, queue="new").queue) == "sqlite:///new.db?queue=events"


def test_settings_list_the_routes_and_the_flag() -> None:
    """Without the secrets in the URLs of routes."""
    listed = {one.name: one.value for one in effective_settings(SWITCH)}
    assert listed["queue.routes.old"] == "sqlite:///old.db?queue=events"
    assert listed["queue.routes.new"] == "redis://:***@localhost:6379?queue=events"
    assert (listed["queue.choose"], listed["queue.strict"]) == ("env:SHOP_ROUTE", False)
