"""The switch: one route is written, as the flag says, all are consumed, and all is settled where it came from."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import attrs
import pytest

from queues.base import Capability, MessageQueue, QueueStats
from queues.clock import ManualClock
from queues.conformance.waiting import event, events, ids, popped
from queues.errors import ConfigurationError, PushFailed, QueueUnavailable, Unsupported
from queues.message import DeadLetter, Delivery, Message, Nack
from queues.registry import open_queue
from queues.switch import SwitchQueue
from tests.four_methods import FourMethods, Shelf
from tests.reference_queue import ReferenceQueue, Store
from tests.stage import Breakable, turns, until

PATIENCE = 10.0


class Flag:
    """What `choose` says; an exception is raised."""

    def __init__(self, said: Any) -> None:
        self.said = said
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        if isinstance(self.said, Exception):
            raise self.said
        said: str = self.said
        return said


class Scene:
    """A switch over two queues in this process, each with a second owner that looks at it from outside."""

    def __init__(self, said: Any = "old", *, clock: ManualClock | None = None, **options: Any) -> None:
        self.flag = Flag(said)
        self.stores = {"old": Store(), "new": Store()}
        self.routes = {name: Breakable(ReferenceQueue(store)) for name, store in self.stores.items()}
        self.switch = SwitchQueue(self.routes, self.flag, **options)
        self.clock = clock
        if clock is not None:
            self.switch.clock = clock

    def waiting(self, name: str) -> list[str]:
        """The ids that wait in the store of a route."""
        records = [record for record in self.stores[name].records if record.owner is None]
        return [record.raw.decode().partition('"id":"')[2].partition('"')[0] for record in records]

    async def __aenter__(self) -> Scene:
        await self.switch.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.switch.close()


async def got(queue: MessageQueue, number: int, limit: int | None = None) -> list[Delivery]:
    return await popped(queue, number, "what was pushed comes out", PATIENCE, limit)


@asynccontextmanager
async def other_owner(store: Store) -> AsyncIterator[ReferenceQueue]:
    async with ReferenceQueue(store) as queue:
        yield queue


# -- written


async def test_each_batch_goes_where_the_flag_says() -> None:
    """The flag is read once a batch."""
    async with Scene() as scene:
        await scene.switch.push_many(events(2))
        scene.flag.said = "new"
        asked = scene.flag.asked
        await scene.switch.push_many(events(3, prefix="n"))
        await scene.switch.push(event("last"))
        assert scene.flag.asked == asked + 2
        assert (scene.waiting("old"), scene.waiting("new")) == (["e0", "e1"], ["n0", "n1", "n2", "last"])
        scene.flag.said = "old"
        await scene.switch.push(event("back"))
        assert scene.waiting("old") == ["e0", "e1", "back"]


@pytest.mark.parametrize("wrong", [RuntimeError("no provider"), "elsewhere", None, 7, ["new"], "hold"], ids=repr)
async def test_a_flag_that_can_not_be_followed_leaves_the_last_route(wrong: Any) -> None:
    """It raises, or names no route."""
    async with Scene("new") as scene:
        await scene.switch.push(event("a"))
        scene.flag.said = wrong
        await scene.switch.push(event("b"))
        assert scene.waiting("new") == ["a", "b"]
        assert scene.switch.flag_trouble
        scene.flag.said = "new"
        await scene.switch.push(event("c"))
        assert not scene.switch.flag_trouble


async def test_before_the_flag_can_be_read_the_first_route_is_written() -> None:
    """A provider that is not ready yet costs no start."""
    async with Scene(RuntimeError("not ready")) as scene:
        await scene.switch.push(event("a"))
        assert scene.waiting("old") == ["a"]


async def test_a_flag_that_can_not_be_followed_is_warned_of_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """However often it is read."""
    async with Scene(RuntimeError("gone\n"), clock=(clock := ManualClock())) as scene:
        for _ in range(4):
            for number in range(50):
                await scene.switch.push(event(f"e{number}"))
            await clock.advance(20.5)
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 2
    assert warned[0] == "the flag of the switch can't be followed, old stays: it raised RuntimeError: gone\\n"


async def test_a_flag_that_flaps_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """One line in ten seconds."""
    caplog.set_level(logging.INFO, "notification.queues")
    async with Scene(clock=(clock := ManualClock())) as scene:
        for number in range(200):
            scene.flag.said = ("old", "new")[number % 2]
            await scene.switch.push(event(f"e{number}"))
            await clock.advance(0.1)
        assert (len(scene.waiting("old")), len(scene.waiting("new"))) == (100, 100)
    assert len(caplog.records) == 2


async def test_a_push_that_fails_fails_as_that_of_its_route() -> None:
    """The switch chooses no other one."""
    async with Scene("new") as scene:
        scene.routes["new"].broken.add("push")
        with pytest.raises(QueueUnavailable, match="the cable is out"):
            await scene.switch.push(event("a"))
        assert scene.waiting("old") == []


async def test_what_one_route_could_not_keep_is_refused_on_all() -> None:
    """Else a flip would change what a dispatch may ask for."""
    lesser = ReferenceQueue(Store())
    lesser.capabilities &= ~Capability.DELAY
    async with SwitchQueue({"file": ReferenceQueue(Store()), "list": lesser}, lambda: "file") as switch:
        late = event("late", not_before=switch.clock.now() + timedelta(hours=1))
        with pytest.raises(Unsupported, match=r"route 'list' \(WithoutDelay|route 'list' \(ReferenceQueue\)"):
            await switch.push(late)
        with pytest.raises(PushFailed) as failed:
            await switch.push_many([event("a"), late, event("b")])
        assert list(failed.value.errors) == [1]
        await switch.push(event("past", not_before=switch.clock.now() - timedelta(hours=1)))
        assert ids(await got(switch, 3)) == ["a", "b", "past"]


# -- consumed


async def test_all_routes_are_consumed_at_all_times() -> None:
    """Whichever is written; each delivery says where it came from."""
    async with Scene() as scene, other_owner(scene.stores["new"]) as elsewhere:
        await elsewhere.push_many(events(2, prefix="n"))
        await scene.switch.push_many(events(2))
        deliveries = await got(scene.switch, 4)
        assert {one.expect().id: one.source for one in deliveries} == {
            "e0": "old",
            "e1": "old",
            "n0": "new",
            "n1": "new",
        }


async def test_a_busy_route_does_not_starve_another() -> None:
    """Of two that have something, each gets its share of a batch."""
    async with Scene() as scene, other_owner(scene.stores["new"]) as elsewhere:
        await scene.switch.push_many(events(500))
        await elsewhere.push_many(events(20, prefix="n"))
        seen: list[str] = []
        while len([one for one in seen if one.startswith("n")]) < 20:
            seen += ids(await scene.switch.pop_many(10))
        assert len(seen) <= 60


async def test_a_route_that_fails_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """It is asked again each second, and told of once each way."""
    async with Scene(clock=(clock := ManualClock())) as scene, other_owner(scene.stores["new"]) as elsewhere:
        scene.routes["old"].broken.add("pop")
        await elsewhere.push_many(events(3, prefix="n"))
        assert ids(await got(scene.switch, 3)) == ["n0", "n1", "n2"]
        await scene.switch.push(event("late"))
        waiting = asyncio.ensure_future(scene.switch.pop())
        for _ in range(3):
            await clock.advance(1.0)
        assert not waiting.done()
        scene.routes["old"].broken.clear()
        await clock.advance(1.0)
        assert (await asyncio.wait_for(waiting, PATIENCE)).expect().id == "late"
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "route 'old' (ReferenceQueue) can't be consumed; trying again until it works: the cable is out",
        "route 'old' (ReferenceQueue) is consumed again",
    ]


async def test_when_all_routes_fail_a_pop_fails() -> None:
    """So that whoever pops knows, and health says so."""
    async with Scene() as scene:
        for route in scene.routes.values():
            route.broken.add("pop")
        with pytest.raises(QueueUnavailable, match="the cable is out"):
            await asyncio.wait_for(scene.switch.pop(), PATIENCE)


async def test_pops_cancelled_over_several_routes_lose_nothing() -> None:
    """What the other route brought meanwhile is handed out next."""
    async with Scene() as scene, other_owner(scene.stores["new"]) as elsewhere:
        seen: list[str] = []
        for number in range(60):
            waiting = asyncio.ensure_future(scene.switch.pop_many(3))
            await turns(number % 4)
            await scene.switch.push(event(f"o{number}"))
            await elsewhere.push(event(f"n{number}"))
            await turns(number % 7)
            waiting.cancel()
            await asyncio.wait([waiting])
            if not waiting.cancelled():
                seen += ids(waiting.result())
        seen += ids(await got(scene.switch, 120 - len(seen)))
        assert len(set(seen)) == len(seen) == 120


async def test_close_gives_back_what_was_fetched_and_not_handed_out() -> None:
    """Uncounted, also on a queue that has no ACK."""
    old, new = Shelf(), Shelf()
    switch = SwitchQueue({"old": FourMethods(old), "new": FourMethods(new)}, lambda: "old")
    async with switch, FourMethods(new) as elsewhere:
        await switch.push(event("o"))
        await elsewhere.push(event("n"))
        first = await switch.pop()
        await turns()
    left = {**dict.fromkeys(["o"] * len(old.events)), **dict.fromkeys(["n"] * len(new.events))}
    assert {first.expect().id} | left.keys() == {"o", "n"}
    assert len(old.events) + len(new.events) == 1


# -- settled


async def both(scene: Scene, number: int = 2) -> list[Delivery]:
    """Deliveries of both routes, as they come."""
    scene.flag.said = "old"
    await scene.switch.push_many(events(number, prefix="o", key="k"))
    scene.flag.said = "new"
    await scene.switch.push_many(events(number, prefix="n", key="k"))
    return await got(scene.switch, 2 * number)


async def test_a_delivery_is_acknowledged_where_it_came_from() -> None:
    """One call for a mixed batch; each route hears of its own."""
    async with Scene() as scene:
        deliveries = await both(scene)
        assert await scene.switch.ack_many(deliveries) == []
        assert not any(store.records for store in scene.stores.values())
        for name, route in scene.routes.items():
            [acked] = [what for called, what in route.calls if called == "ack"]
            assert {one.source for one in acked} == {name}


async def test_what_one_route_could_not_be_told_is_all_that_fails() -> None:
    """By its place in the batch."""
    async with Scene() as scene:
        deliveries = await both(scene)
        scene.routes["new"].broken.add("ack")
        with pytest.raises(PushFailed) as failed:
            await scene.switch.ack_many(deliveries)
        assert {deliveries[index].source for index in failed.value.errors} == {"new"}
        assert (scene.stores["old"].records, len(scene.stores["new"].records)) == ([], 2)
        scene.routes["new"].broken.clear()
        assert await scene.switch.ack_many([deliveries[index] for index in failed.value.errors]) == []


async def test_a_delivery_is_nacked_and_released_where_it_came_from() -> None:
    """Each route gets back its own, whatever the flag says now."""
    async with Scene() as scene:
        deliveries = await both(scene, 1)
        await scene.switch.nack_many([Nack(one, 0.0, attrs.evolve(one.expect(), attempt=2)) for one in deliveries])
        assert (scene.waiting("old"), scene.waiting("new")) == (["o0"], ["n0"])
        again = await got(scene.switch, 2)
        assert [one.expect().attempt for one in again] == [2, 2]
        await scene.switch.release(again)
        assert (scene.waiting("old"), scene.waiting("new")) == (["o0"], ["n0"])


async def test_extend_and_started_go_where_a_delivery_came_from() -> None:
    """What is fetched and not handed out is extended, too; a stranger is lost."""
    async with Scene() as scene:
        deliveries = await both(scene, 3)
        stranger = Delivery(event("x"), source="gone")
        assert await scene.switch.extend([*deliveries, stranger]) == [stranger]
        assert await scene.switch.started(deliveries) == []
        for name, route in scene.routes.items():
            for called in ("extend", "started"):
                parts = [what for call, what in route.calls if call == called]
                assert {one.source for one in parts[-1]} == {name}
        scene.routes["old"].broken.add("extend")
        assert await scene.switch.extend(deliveries) == []
        scene.routes["new"].broken.add("extend")
        with pytest.raises(QueueUnavailable):
            await scene.switch.extend(deliveries)


async def test_what_goes_back_takes_along_what_was_fetched_behind_it() -> None:
    """KEYED: an event of the key that was fetched and not handed out must not overtake the one that is nacked."""
    async with Scene() as scene:
        await scene.switch.push_many(events(5, key="k"))
        waiting = [asyncio.ensure_future(scene.switch.pop()) for _ in range(1)]
        [head] = await asyncio.gather(*waiting)
        # A pop of many that is cancelled leaves the rest of the key in the switch.
        cancelled = asyncio.ensure_future(scene.switch.pop_many(10))
        await turns(2)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        await turns()
        await scene.switch.nack_many([Nack(head, 0.0, attrs.evolve(head.expect(), attempt=2))])
        rest = await got(scene.switch, 5)
        assert ids(rest) == [f"e{number}" for number in range(5)]


async def test_what_arrives_of_a_key_while_it_goes_back_follows_it() -> None:
    """A fetch that was under way when the head was nacked brings nothing of its key."""
    async with Scene() as scene:
        await scene.switch.push(event("e0", key="k"))
        [head] = await got(scene.switch, 1)
        gate = asyncio.Event()
        route = scene.routes["old"]
        inner = route.inner.pop_many

        async def slow(limit: int) -> list[Delivery]:
            batch = await inner(limit)
            await gate.wait()
            return batch

        route.inner.pop_many = slow  # type: ignore[method-assign]  # a reply that is on its way
        next_ = asyncio.ensure_future(scene.switch.pop_many(10))
        await scene.switch.push(event("e1", key="k"))
        await until(lambda: route.inner in {record.owner for record in scene.stores["old"].records[1:]})
        await scene.switch.nack_many([Nack(head, 0.0, attrs.evolve(head.expect(), attempt=2))])
        gate.set()
        first = await asyncio.wait_for(next_, PATIENCE)
        rest = await got(scene.switch, 2 - len(first)) if len(first) < 2 else []
        assert ids([*first, *rest]) == ["e0", "e1"]


# -- beside it


async def test_a_dead_letter_stays_in_its_route(tmp_path: Path) -> None:
    """And goes back there: the sibling of a switch is a switch of siblings."""
    places = {name: f"sqlite:///{tmp_path / name}.db" for name in ("old", "new")}
    flag = Flag("old")
    async with SwitchQueue(places, flag) as switch, switch.sibling("dead") as dead:
        deliveries = []
        for name in places:
            flag.said = name
            await switch.push(event(name))
            deliveries += await got(switch, 1)
        flag.said = "new"
        letters = [(one, attrs.evolve(one.expect(), dead=DeadLetter("fatal"))) for one in deliveries]
        assert await switch.move_many(letters, dead) == []
        assert [(await queue.stats()).dead for queue in switch.routes.values()] == [1, 1]
        taken = await dead.take(lambda _: True, 10)
        assert {one.expect().id: one.source for one in taken} == {"old": "old", "new": "new"}
        assert await dead.move_many([(one, one.expect().pristine()) for one in taken], switch) == []
        assert {name: await queue.size() for name, queue in switch.routes.items()} == {"old": 1, "new": 1}


def test_a_route_without_siblings_is_named() -> None:
    """Dead letters have to be given."""
    switch = SwitchQueue({"mine": FourMethods(Shelf()), "file": "sqlite:///a.db"}, lambda: "file")
    with pytest.raises(ConfigurationError, match=r"FourMethods was not opened by URL, so it has no sibling 'dead'"):
        switch.sibling("dead")


async def test_figures_are_those_of_all_routes() -> None:
    """Added up, or one by one."""
    async with Scene() as scene:
        await both(scene, 2)
        await scene.switch.push_many(events(3))
        assert await scene.switch.size() == 3
        stats = await scene.switch.stats()
        assert (stats.waiting, stats.in_flight) == (3, 4)
        each = await scene.switch.stats_by_route()
        assert {name: one.in_flight for name, one in each.items() if isinstance(one, QueueStats)} == {
            "old": 2,
            "new": 2,
        }


async def test_a_route_that_can_not_be_asked_is_left_out_of_the_size_but_not_of_the_stats() -> None:
    """An idle one must not make a service unready; nobody may take its work for finished."""
    async with Scene("new") as scene:
        await scene.switch.push(event("a"))
        scene.routes["old"].broken |= {"size", "stats"}
        assert await scene.switch.size() == 1
        with pytest.raises(QueueUnavailable):
            await scene.switch.stats()
        assert isinstance((await scene.switch.stats_by_route())["old"], QueueUnavailable)
        scene.routes["new"].broken.add("size")
        scene.routes["old"].broken.clear()
        with pytest.raises(QueueUnavailable):
            await scene.switch.size()


async def test_following_shows_what_arrives_on_any_route() -> None:
    """Looking from the start goes route by route; positions are of one queue."""
    routes = {name: f"channel://{name}-follow" for name in ("old", "new")}
    flag = Flag("new")
    async with SwitchQueue(routes, flag) as switch:
        await switch.push(event("n0"))
        flag.said = "old"
        await switch.push(event("o0"))
        assert [message.id async for message in switch.browse()] == ["o0", "n0"]
        seen: list[str] = []

        async def follow() -> None:
            async for message in switch.browse(follow=True):
                seen.append(message.id)

        following = asyncio.ensure_future(follow())
        await until(lambda: len(seen) == 2)
        await switch.push(event("o1"))
        flag.said = "new"
        await switch.push(event("n1"))
        await until(lambda: sorted(seen) == ["n0", "n1", "o0", "o1"])
        following.cancel()
        await asyncio.wait([following])
        with pytest.raises(ConfigurationError, match="position '3' is of one queue"):
            switch.browse(since="3")


# -- opened


class Sleeper(ReferenceQueue):
    """Down until it is woken."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.up = False
        self.tried = 0
        self.begun = 0

    async def open(self) -> None:
        self.tried += 1
        if not self.up:
            raise QueueUnavailable("nobody answers")
        await super().open()

    async def begin(self) -> None:
        self.begun += 1


async def test_an_idle_route_that_is_down_is_opened_in_the_background() -> None:
    """Each second; then it is consumed, and may be written."""
    clock, store = ManualClock(), Store()
    sleeper = Sleeper(store)
    flag = Flag("up")
    switch = SwitchQueue({"up": ReferenceQueue(Store()), "down": sleeper}, flag)
    switch.clock = clock
    async with switch, other_owner(store) as elsewhere:
        await switch.begin()
        await elsewhere.push(event("there"))
        waiting = asyncio.ensure_future(switch.pop())
        await clock.advance(3.5)
        assert sleeper.tried in {4, 5}
        flag.said = "down"
        with pytest.raises(QueueUnavailable, match=r"route 'down' .* is not open yet: nobody answers") as refused:
            await switch.push(event("a"))
        assert not refused.value.may_have_been_stored
        sleeper.up = True
        await clock.advance(1.0)
        assert (await asyncio.wait_for(waiting, PATIENCE)).expect().id == "there"
        assert sleeper.begun == 1
        await switch.push(event("b"))
        assert ids(await got(switch, 1)) == ["b"]


async def test_the_route_that_is_written_must_open() -> None:
    """Else it raises, has opened nothing, and may be tried again."""
    sleeper, other = Sleeper(Store()), Breakable(ReferenceQueue(Store()))
    switch = SwitchQueue({"other": other, "down": sleeper}, lambda: "down")
    with pytest.raises(QueueUnavailable, match="nobody answers"):
        await switch.open()
    assert other.count("open") == 0
    sleeper.up = True
    async with switch:
        await switch.push(event("a"))
        assert ids(await got(switch, 1)) == ["a"]


class Misspelt(ReferenceQueue):
    """Nobody made it."""

    async def open(self) -> None:
        raise ConfigurationError("there is no such topic")


async def test_a_route_that_is_set_up_wrong_is_told_at_once() -> None:
    """Also an idle one: it would fail at the flip. What was opened is closed again."""
    good = Breakable(ReferenceQueue(store := Store()))
    switch = SwitchQueue({"good": good, "bad": Misspelt(Store())}, lambda: "good")
    with pytest.raises(ConfigurationError, match="no such topic"):
        await switch.open()
    assert store.open == set()


@pytest.mark.parametrize(
    ("routes", "choose", "says"),
    [
        ({}, lambda: "a", "a switch needs routes"),
        ({"hold": "channel://"}, lambda: "a", "no route is called 'hold'"),
        ({"a b": "channel://"}, lambda: "a", "the route name 'a b' is not"),
        ({"a": 7}, lambda: "a", "route 'a' is 7, neither a queue URL nor a queue"),
        ({"a": "chanel://"}, lambda: "a", "did you mean 'channel'"),
        ({"a": "sqlite:///a.db", "b": "sqlite:///a.db"}, lambda: "a", "the routes 'a' and 'b' are one queue"),
        ({"a": "channel://"}, "a", "is no plain function"),
    ],
)
def test_a_switch_that_makes_no_sense_is_refused(routes: dict[str, Any], choose: Any, says: str) -> None:
    """Before anything is opened."""
    with pytest.raises(ConfigurationError, match=says):
        SwitchQueue(routes, choose)


def test_a_flag_has_to_answer_at_once() -> None:
    """A coroutine is no answer; a switch is no route."""

    async def choose() -> str:
        return "a"

    with pytest.raises(ConfigurationError, match="is no plain function"):
        SwitchQueue({"a": "channel://"}, choose)  # type: ignore[arg-type]  # that is what is refused
    inner = SwitchQueue({"a": "channel://"}, lambda: "a")
    with pytest.raises(ConfigurationError, match="nor a switch"):
        SwitchQueue({"a": inner}, lambda: "a")


async def test_it_can_what_all_routes_can(tmp_path: Path) -> None:
    """Capabilities are the intersection, lease and capacity the smallest, and limits those that fit everywhere."""
    routes = {
        "file": f"sqlite:///{tmp_path / 'a.db'}?lease=40&capacity=9&max_event=1000",
        "memory": "channel://?capacity=5&max_event=2000",
    }
    async with SwitchQueue(routes, lambda: "file") as switch:
        assert switch.capabilities == Capability.DELAY | Capability.KEYED
        assert (switch.lease, switch.capacity, switch.limits.event) == (40, 5, 1000)
        assert [queue.limits.event for queue in switch.routes.values()] == [1000, 2000]
        assert switch.name.startswith("switch of file (sqlite:///")
        assert switch.url is None


# -- strict


async def strictly(scene: Scene, *names: str) -> str:
    """Push, and say which route was written."""
    await scene.switch.push_many([event(name) for name in names])
    return scene.switch.chosen


async def test_a_strict_switch_writes_a_route_once_all_others_are_empty() -> None:
    """Until then push raises at once, and nothing was stored."""
    async with Scene(strict=True) as scene:
        await strictly(scene, "a")
        scene.flag.said = "new"
        for state in ("waiting", "in flight"):
            with pytest.raises(
                QueueUnavailable, match=r"route 'new' .* is not written before route 'old' .* is empty"
            ) as no:
                await strictly(scene, "b")
            assert not no.value.may_have_been_stored, state
            if state == "waiting":
                [delivery] = await got(scene.switch, 1)
        late = Nack(delivery, 0.05)
        await scene.switch.nack_many([late])
        with pytest.raises(QueueUnavailable):
            await strictly(scene, "b")
        [again] = await got(scene.switch, 1)
        await scene.switch.ack_many([again])
        await strictly(scene, "b")
        assert scene.waiting("new") == ["b"]


async def test_a_strict_switch_writes_nothing_while_the_flag_says_hold() -> None:
    """Everything goes on to be consumed; a later look at the flag ends it."""
    async with Scene(strict=True) as scene:
        await strictly(scene, "a")
        scene.flag.said = "hold"
        with pytest.raises(QueueUnavailable, match="says hold") as no:
            await strictly(scene, "b")
        assert not no.value.may_have_been_stored
        await scene.switch.ack_many(await got(scene.switch, 1))
        scene.flag.said = "new"
        await strictly(scene, "b")
        assert scene.waiting("new") == ["b"]


async def test_a_strict_switch_may_begin_with_hold() -> None:
    """Then no route has to answer at the start but one."""
    sleeper = Sleeper(Store())
    flag = Flag("hold")
    async with SwitchQueue({"down": sleeper, "up": ReferenceQueue(Store())}, flag, strict=True) as switch:
        with pytest.raises(QueueUnavailable, match="says hold"):
            await switch.push(event("a"))
        flag.said = "up"
        with pytest.raises(QueueUnavailable, match=r"route 'down' .* is not open yet"):
            await switch.push(event("a"))


async def test_a_strict_switch_asks_the_others_when_the_flag_changes_and_not_each_time() -> None:
    """What passed goes on to pass until then."""
    async with Scene(strict=True) as scene:
        await strictly(scene, "a")
        asked = scene.routes["new"].count("stats")
        for number in count():
            await strictly(scene, f"b{number}")
            if number == 20:
                break
        assert scene.routes["new"].count("stats") == asked


async def test_a_strict_switch_asks_again_when_the_flag_comes_back() -> None:
    """Somebody else may have written the other route meanwhile."""
    async with Scene(strict=True) as scene, other_owner(scene.stores["new"]) as elsewhere:
        await strictly(scene, "a")
        scene.flag.said = "new"
        with pytest.raises(QueueUnavailable):
            await strictly(scene, "b")
        await elsewhere.push(event("theirs"))
        scene.flag.said = "old"
        with pytest.raises(QueueUnavailable, match=r"route 'old' .* is not written before route 'new'"):
            await strictly(scene, "c")


async def test_a_flag_that_changes_while_the_others_are_asked_lets_nobody_pass() -> None:
    """Even when it changes twice: what was written between the two is not in the answer."""
    async with Scene(strict=True) as scene:
        route, answers = scene.routes["old"], asyncio.Event()
        plain, looks = route.inner.stats, count()

        async def slow() -> QueueStats:
            if next(looks) == 1:  # the second push asks while the first one waits
                return await plain()
            await answers.wait()
            return QueueStats(0, 0, 0)

        scene.flag.said = "new"
        route.inner.stats = slow  # type: ignore[method-assign]  # an answer that is on its way
        first = asyncio.ensure_future(scene.switch.push(event("first")))
        await turns()
        scene.flag.said = "old"
        await scene.switch.push(event("between"))
        scene.flag.said = "new"
        with pytest.raises(QueueUnavailable, match="is not written before route 'old'"):
            await scene.switch.push(event("second"))
        answers.set()
        with pytest.raises(QueueUnavailable, match="has changed meanwhile"):
            await first
        assert (scene.waiting("old"), scene.waiting("new")) == (["between"], [])


async def test_a_push_under_way_counts_as_something_left() -> None:
    """It is not in the figures of its route yet."""
    async with Scene(strict=True) as scene:
        route, stored = scene.routes["old"], asyncio.Event()
        plain = route.inner.push_many

        async def slow(messages: Any, *, timeout: float | None = None) -> None:
            await stored.wait()
            await plain(messages, timeout=timeout)

        route.inner.push_many = slow  # type: ignore[method-assign]  # a network that takes its time
        pushing = asyncio.ensure_future(scene.switch.push_many([event("a")]))
        await turns()
        scene.flag.said = "new"
        with pytest.raises(QueueUnavailable, match="is not written before"):
            await strictly(scene, "b")
        stored.set()
        await pushing


async def test_a_strict_switch_needs_routes_that_tell_what_is_in_flight() -> None:
    """One that can't is refused at the start."""
    switch = SwitchQueue({"old": FourMethods(Shelf()), "new": "channel://"}, lambda: "new", strict=True)
    with pytest.raises(ConfigurationError, match=r"route 'old' \(FourMethods\) does not say what is in flight"):
        await switch.open()


async def test_a_route_that_can_not_be_asked_keeps_a_strict_switch_from_passing() -> None:
    """Nobody knows what is left in it."""
    async with Scene(strict=True) as scene:
        await strictly(scene, "a")
        scene.flag.said = "new"
        scene.routes["old"].broken.add("stats")
        with pytest.raises(QueueUnavailable, match="the cable is out"):
            await strictly(scene, "b")


def no_message(_: Message) -> bool:
    return False


async def test_take_takes_nothing_when_a_route_does_not_answer() -> None:
    """What was taken of the others goes back."""
    async with Scene() as scene:
        await scene.switch.push_many(events(3))
        take: Callable[..., Any] = scene.switch.take
        assert await take(no_message, 10) == []
        scene.routes["new"].broken |= {"size"}
        with pytest.raises(QueueUnavailable):
            await take(lambda _: True, 10)
        assert scene.waiting("old") == ["e0", "e1", "e2"]


async def test_a_queue_made_of_one_is_at_home_in_itself() -> None:
    """Only a switch has several homes."""
    async with open_queue("channel://") as queue:
        await queue.push(event("a"))
        [delivery] = await got(queue, 1)
        assert (delivery.source, queue.home_of(delivery)) == (None, queue)
    async with Scene() as scene:
        await scene.switch.push(event("a"))
        [delivery] = await got(scene.switch, 1)
        assert scene.switch.home_of(delivery) is scene.switch.routes["old"]
        assert scene.switch.home_of(Delivery(None)) is scene.switch
