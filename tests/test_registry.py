"""From a URL to a queue: built in, registered by a call, or of an installed plugin."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from queues import QueueURL, open_queue, register_queue, registry
from queues.base import MessageQueue
from queues.errors import ConfigurationError, MissingDependency, UnknownQueue
from queues.message import UNLIMITED
from tests.four_methods import FourMethods, Shelf

_PLUGIN = """
from tests.four_methods import FourMethods, Shelf

class Factories:
    @staticmethod
    def make(url):
        return FourMethods(Shelf(), capacity=7)
"""


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setattr(registry, "_registered", {})


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution with entry points, installed in a directory of its own."""
    (tmp_path / "their_queue.py").write_text(_PLUGIN)
    installed = tmp_path / "their_queue-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: their-queue\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(
        "[notification.queues]\n"
        "theirs = their_queue:Factories.make\n"
        "theirs+typo = their_queue:Factories.mkae\n"
        "theirs+missing = their_queue_driver:make\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield
    sys.modules.pop("their_queue", None)


def make(url: QueueURL) -> MessageQueue:
    return FourMethods(Shelf())


def test_a_registered_scheme_opens_its_queue() -> None:
    """The factory gets the parsed URL; the queue knows it afterwards."""
    seen: list[QueueURL] = []

    def factory(url: QueueURL) -> MessageQueue:
        seen.append(url)
        return make(url)

    register_queue("mine", factory)
    queue = open_queue("mine://host/1?queue=orders&max_event=1000")
    assert isinstance(queue, FourMethods)
    assert [queue.url] == seen
    assert seen[0].name == "orders"
    assert queue.limits.event == 1000


def test_a_url_that_was_parsed_already_opens_too() -> None:
    """As siblings do: they have no text of their own. Dead letters take events of any size."""
    register_queue("mine", make)
    dead = QueueURL.parse("mine://?queue=orders").sibling("dead")
    queue = open_queue(dead)
    assert queue.url is dead
    assert queue.limits == UNLIMITED


@pytest.mark.parametrize("scheme", ["mine", "channel", "sqlite"])
def test_a_taken_scheme_is_not_replaced_by_accident(scheme: str) -> None:
    """Only with replace=True, the built-in ones too."""
    register_queue(scheme, make, replace=True)
    with pytest.raises(ConfigurationError, match="replace=True"):
        register_queue(scheme, make)
    assert isinstance(open_queue(f"{scheme}://"), FourMethods)


@pytest.mark.parametrize("scheme", ["", "My", "a b", "1x", "a://", "a_b", "é"])
def test_a_scheme_that_no_url_can_have_is_refused(scheme: str) -> None:
    """At registration, not at the first use."""
    with pytest.raises(ConfigurationError):
        register_queue(scheme, make)


def test_an_unknown_scheme_is_refused_with_the_nearest_known_one() -> None:
    """And with all that there are, and how to add one."""
    with pytest.raises(UnknownQueue, match=r"did you mean 'sqlite'\?.*channel, .*sqlite, .*register_queue") as error:
        open_queue("sqlit://user:hunter2@host")
    assert "hunter2" not in str(error.value)


@pytest.mark.usefixtures("plugin")
def test_an_installed_plugin_needs_no_call() -> None:
    """Its entry point names the scheme and the factory."""
    queue = open_queue("theirs://host")
    assert isinstance(queue, FourMethods)
    assert queue.capacity == 7


@pytest.mark.usefixtures("plugin")
def test_a_plugin_is_among_the_known_schemes() -> None:
    """In suggestions, and when a scheme is taken."""
    with pytest.raises(UnknownQueue, match="did you mean 'theirs'"):
        open_queue("thiers://host")
    with pytest.raises(ConfigurationError, match="registered already"):
        register_queue("theirs", make)


@pytest.mark.usefixtures("plugin")
def test_a_plugin_that_can_not_be_loaded_says_why() -> None:
    """A missing module is a missing dependency; a wrong name is a mistake of the plugin."""
    with pytest.raises(MissingDependency, match="their_queue_driver"):
        open_queue("theirs+missing://")
    with pytest.raises(ConfigurationError, match="mkae"):
        open_queue("theirs+typo://")


def test_a_factory_that_makes_no_queue_is_refused() -> None:
    """By name of what it made."""
    register_queue("mine", lambda url: "no queue")  # type: ignore[arg-type,return-value]  # the mistake under test
    with pytest.raises(ConfigurationError, match="made a str, not a MessageQueue"):
        open_queue("mine://")


@pytest.mark.parametrize("url", ["channel://", "channel://name", "sqlite:///events.db"])
def test_every_built_in_scheme_opens(url: str) -> None:
    """Unopened: nothing is touched before open()."""
    assert str(open_queue(url).url) == f"{url}?queue=events"
