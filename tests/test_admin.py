"""Administration: of our own queues, of plugins, and what is said where there is none."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from queues import open_admin, open_queue, register_queue, registry
from queues.admin import Change, NoOptions, QueueAdmin, QueueInfo
from queues.base import QueueStats
from queues.errors import ConfigurationError, MissingDependency, UnknownQueue, Unsupported
from queues.message import Message
from queues.url import QueueURL
from tests.admin_contract import AdminContract, deleted, events, eventually, popped
from tests.four_methods import FourMethods, Shelf
from tests.redis_server import Redis
from tests.sqlite_audit import audit


class TestSQLite(AdminContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/events.db?queue=orders"

    async def test_a_look_makes_no_file(self, url: str, tmp_path: Path) -> None:
        """Only `create` does."""
        async with open_admin(url) as admin:
            with pytest.raises(ConfigurationError, match="its file does not exist"):
                await admin.list()
        assert list(tmp_path.iterdir()) == []

    async def test_an_emptied_queue_is_sound(self, url: str, tmp_path: Path) -> None:
        """Parked, delayed, claimed by somebody who is silent: nothing of it is left, and its neighbour is untouched."""
        other = url.replace("orders", "other")
        async with open_queue(f"{url}&lease=0.05s") as silent, open_queue(url) as queue, open_queue(other) as neighbour:
            keyed = [Message(type="a", id=f"k-{n}", source="/test", key="k") for n in range(4)]
            late = attrs.evolve(keyed[0], id="late", not_before=queue.clock.now().replace(year=2100))
            await neighbour.push_many(events(4))
            await silent.push_many([*events(3), *keyed, late])
            held = await silent.pop_many(4)
            async with open_admin(url) as admin:
                await eventually(lambda: deleted(admin), lambda done: done)
            assert await silent.ack_many(held) == held
            assert (await queue.size(), await neighbour.size()) == (0, 4)
            await queue.push_many(keyed)
            assert [one.expect().id for one in await popped(queue, 4)] == [message.id for message in keyed]
        audit(tmp_path / "events.db")

    async def test_several_queues_of_a_file_are_listed_with_their_dead_letters(self, url: str) -> None:
        """Dead letters are a figure of their queue; those of a queue that is not there are a queue."""
        async with open_queue(url) as queue, open_queue(url.replace("orders", "orders.dead")) as dead:
            await queue.push_many(events(2))
            await dead.push_many(events(1))
        async with open_queue(url.replace("orders", "lost.dead")):
            pass
        async with open_admin(url) as admin:
            assert [(one.name, one.stats.waiting, one.stats.dead) for one in await admin.list()] == [
                ("lost.dead", 0, 0), ("orders", 2, 1),
            ]  # fmt: skip


class TestRedisList(AdminContract):
    missing_is_told = False

    @pytest.fixture
    def url(self, redis: Redis) -> str:
        return redis.queue(user="limited")

    @pytest.fixture(autouse=True)
    def permitted(self, redis: Redis) -> Iterator[None]:
        """By a user who may do what a queue needs, and nothing else."""
        yield
        redis.assert_that_the_rules_suffice()

    async def test_nothing_is_left_of_what_was_deleted(self, url: str, redis: Redis) -> None:
        """No key of the queue, whatever it had."""
        await fill_and_delete(url)
        assert list(redis.admin.scan_iter(f"*{QueueURL.parse(url).name}*")) == []


class TestRedisKeyedList(TestRedisList):
    @pytest.fixture
    def url(self, redis: Redis) -> str:
        return redis.queue(user="limited", order="key")


class TestRedisListAtMostOnce:
    async def test_it_is_told_and_deleted_like_any_list(self, redis: Redis) -> None:
        """Nobody holds anything, so there are no owners."""
        url = redis.queue(delivery="at-most-once")
        async with open_queue(url) as queue, open_admin(url) as admin:
            await queue.push_many(events(3))
            await queue.pop()
            assert [(share.lag, share.owner) for share in await admin.lag()] == [(2, None)]
            assert [change.done for change in await admin.delete()] == ["deleted", "deleted"]
            assert await queue.size() == 0


class TestRedisStream(TestRedisList):
    @pytest.fixture
    def url(self, redis: Redis) -> str:
        return redis.queue(scheme="redis+stream", user="limited", group="mail")

    async def test_a_group_that_was_created_misses_nothing(self, url: str) -> None:
        """What another group has handled is kept for it."""
        later = url.replace("group=mail", "group=later")
        for each in (url, later):
            async with open_admin(each) as admin:
                await admin.create(NoOptions())
        async with open_queue(url) as queue:
            await queue.push_many(events(3))
            await queue.ack_many(await queue.pop_many(3))
        async with open_admin(url) as admin:
            assert {share.group: share.lag for share in await admin.lag()} == {"mail": 0, "later": 3}
            assert [share.group for share in await admin.lag(own=True)] == ["mail"]
            groups = (await admin.describe()).tables["groups"]
            assert groups == [{"group": "later", "lag": 3}, {"group": "mail", "lag": 0}]


async def fill_and_delete(url: str) -> None:
    """Events that wait, are delayed, parked, dead, and with somebody who is silent."""
    async with open_queue(f"{url}&lease=0.2s") as silent:
        keyed = [Message(type="a", id=f"k-{n}", source="/test", key="k") for n in range(40)]
        late = attrs.evolve(keyed[0], id="late", not_before=silent.clock.now().replace(year=2100))
        await silent.push_many([*events(3), *keyed, late])
        assert await silent.pop_many(30)
        assert silent.url is not None
        async with open_queue(silent.url.sibling("dead")) as dead:
            await dead.push_many(events(2))
        async with open_admin(url) as admin:
            await eventually(lambda: deleted(admin), lambda done: done)


# -- plugins

_PLUGIN = """
from notification import QueueAdmin
from tests.four_methods import FourMethods, Shelf

class Admin(QueueAdmin):
    pass

def make(url):
    return FourMethods(Shelf())

def broken(url):
    return 7
"""


@attrs.frozen
class MineOptions:
    colour: str = "blue"


class MineAdmin(QueueAdmin):
    options = MineOptions

    async def create(self, options: MineOptions) -> list[Change]:
        return [Change(self.url.name, "created", options.colour)]

    async def describe(self) -> QueueInfo:
        return QueueInfo(self.url.name, QueueStats(3))


@pytest.fixture
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(registry, "_registered_admins", {})


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution with entry points, installed in a directory of its own."""
    (tmp_path / "their_admin.py").write_text(_PLUGIN)
    installed = tmp_path / "their_admin-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: their-admin\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(
        "[notification.queues]\ntheirs = their_admin:make\ntheirs+not = their_admin:make\n"
        "[notification.admins]\ntheirs = their_admin:Admin\n"
        "theirs+missing = their_driver:Admin\ntheirs+typo = their_admin:Amdin\ntheirs+broken = their_admin:broken\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield
    sys.modules.pop("their_admin", None)


def make(url: QueueURL) -> FourMethods:
    return FourMethods(Shelf())


@pytest.mark.usefixtures("forget")
async def test_a_registered_queue_brings_its_administration() -> None:
    """The class is the factory: it is called with the URL."""
    register_queue("mine", make, admin=MineAdmin)
    async with open_admin("mine://?queue=orders") as admin:
        assert await admin.create(MineOptions(colour="red")) == [Change("orders", "created", "red")]
        assert (await admin.describe()).stats.waiting == 3


@pytest.mark.usefixtures("forget")
async def test_what_an_administration_can_not_do_is_unsupported() -> None:
    """By name, so that a plugin writes what makes sense and nothing else."""
    register_queue("mine", make, admin=QueueAdmin)
    async with open_admin("mine://") as admin:
        for work in (admin.list, admin.describe, admin.delete, admin.lag, lambda: admin.create(NoOptions())):
            with pytest.raises(Unsupported, match="mine:// can't "):
                await work()


@pytest.mark.usefixtures("forget")
def test_what_replaces_a_queue_does_not_inherit_its_administration() -> None:
    """It would administer something else."""
    register_queue("sqlite", make, replace=True)
    with pytest.raises(Unsupported, match="publishes none"):
        open_admin("sqlite:///x.db")
    register_queue("sqlite", make, admin=MineAdmin, replace=True)
    assert isinstance(open_admin("sqlite:///x.db"), MineAdmin)
    register_queue("sqlite", make, replace=True)
    with pytest.raises(Unsupported):
        open_admin("sqlite:///x.db")


@pytest.mark.usefixtures("plugin")
def test_an_installed_plugin_names_its_administration_in_an_entry_point() -> None:
    """Beside its queue, by the same scheme; without one it is told."""
    assert type(open_admin("theirs://host")).__module__ == "their_admin"
    with pytest.raises(Unsupported, match=r"theirs\+not:// has no administration"):
        open_admin("theirs+not://host")


@pytest.mark.usefixtures("plugin")
def test_an_administration_that_can_not_be_loaded_says_why() -> None:
    """As a queue does."""
    with pytest.raises(MissingDependency, match="their_driver"):
        open_admin("theirs+missing://")
    with pytest.raises(ConfigurationError, match="Amdin"):
        open_admin("theirs+typo://")
    with pytest.raises(ConfigurationError, match="made a int, not a QueueAdmin"):
        open_admin("theirs+broken://")


def test_a_queue_of_one_process_has_no_administration() -> None:
    """And an unknown scheme is told as such."""
    with pytest.raises(Unsupported, match="live and die with their process"):
        open_admin("channel://")
    with pytest.raises(UnknownQueue, match="did you mean 'sqlite'"):
        open_admin("sqlit:///x.db")


@pytest.mark.parametrize("url", ["sqlite:///x.db?group=a", "sqlite:///x.db?leese=3", "redis://host?leese=3"])
def test_what_is_wrong_with_a_url_is_said_before_anything_connects(url: str) -> None:
    """As when the queue is opened."""
    with pytest.raises(ConfigurationError):
        open_admin(url)
