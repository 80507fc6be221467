"""A dispatcher on a switch: what it needs of each route, what stays in its route, and how it stands."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from notification import (
    ConfigurationError,
    Context,
    Degradation,
    EventDispatcher,
    Message,
    QueueStats,
    RetryLater,
    RetryPolicy,
    SwitchQueue,
    event,
)
from queues.base import Capability
from tests.four_methods import FourMethods, Shelf
from tests.reference_queue import ReferenceQueue, Store
from tests.stage import Breakable, Note, Parcel, until


class Unkeyed(ReferenceQueue):
    """Keeps no order by key."""

    capabilities = ReferenceQueue.capabilities & ~Capability.KEYED


def files(tmp_path: Path) -> dict[str, str]:
    return {name: f"sqlite:///{tmp_path / name}.db" for name in ("old", "new")}


# -- what is needed


async def test_a_route_that_keeps_no_order_by_key_is_named_at_the_start() -> None:
    """It would be too late at the flip."""
    switch = SwitchQueue({"file": ReferenceQueue(Store()), "list": Unkeyed(Store())}, lambda: "file")
    dispatcher = EventDispatcher(switch, dead_letter="channel://")
    dispatcher.on(Parcel)(_nothing)
    with pytest.raises(ConfigurationError, match=r"in order by key, and route 'list', Unkeyed keeps no order by key"):
        await dispatcher.start()


@pytest.mark.parametrize("order", ["process", "none"])
async def test_a_waiver_on_the_url_of_a_route_counts_for_that_route(
    order: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """So that a swap stays one URL; and nobody is warned of what was waived."""
    routes = files(tmp_path) | {"new": f"sqlite:///{tmp_path / 'new'}.db?order={'none' if order == 'none' else 'key'}"}
    flag, ran = ["old"], list[int]()
    async with EventDispatcher(SwitchQueue(routes, lambda: flag[0])) as dispatcher:

        @dispatcher.on(Parcel)
        async def send(parcel: Parcel) -> None:
            ran.append(parcel.number)

        await dispatcher.start()
        for number, name in enumerate(routes):
            flag[0] = name
            await dispatcher.dispatch(Parcel(1, number))
        await until(lambda: sorted(ran) == [0, 1])
    assert not [record for record in caplog.records if "keeps their order only" in record.getMessage()]


async def test_a_route_without_groups_is_named_where_events_would_be_skipped(tmp_path: Path) -> None:
    """`unhandled="skip"` needs them everywhere."""
    dispatcher = EventDispatcher(SwitchQueue(files(tmp_path), lambda: "new"), unhandled="skip")
    dispatcher.on(Note)(_nothing)
    with pytest.raises(ConfigurationError, match=r"unhandled='skip' on route 'old', sqlite:///"):
        await dispatcher.start()


async def test_a_strict_switch_without_a_spill_is_refused(tmp_path: Path) -> None:
    """Before anything is opened; with one it runs."""
    switch = SwitchQueue(files(tmp_path), lambda: "new", strict=True)
    with pytest.raises(ConfigurationError, match="needs a spill"):
        await EventDispatcher(switch).start(0)
    assert not (tmp_path / "new.db").exists()
    again = SwitchQueue(files(tmp_path), lambda: "new", strict=True)
    async with EventDispatcher(again, degradation=Degradation(spill=tmp_path / "spill")) as dispatcher:
        assert (await dispatcher.dispatch(Note())).via == "queue"


def _nothing(_: Any) -> None:
    pass


# -- what stays where


async def test_dead_letters_stay_in_the_route_they_died_in(tmp_path: Path) -> None:
    """Also those of one handler of several, while the others are tried again; each says which queue it died in."""
    flag = ["old"]
    switch = SwitchQueue({name: f"{url}?queue={name}" for name, url in files(tmp_path).items()}, lambda: flag[0])
    dispatcher = EventDispatcher(switch, retry=RetryPolicy(attempts=2, initial=0.01))

    @dispatcher.on(Note, name="fails-at-once", retry=RetryPolicy(attempts=1))
    async def first(note: Note) -> None:
        raise ValueError(note.text)

    @dispatcher.on(Note, name="fails-twice")
    async def second(note: Note) -> None:
        flag[0] = "new"
        raise OSError(note.text)

    async with dispatcher:
        await dispatcher.start(2)
        for name in ("old", "new"):
            flag[0] = name
            await dispatcher.dispatch(Note(name))
            await dispatcher.join()
        dead = dispatcher.dead_letters
        assert isinstance(dead, SwitchQueue)
        letters = {name: await letters_in(queue) for name, queue in dead.routes.items()}
        assert (await dispatcher.stats()).dead == 4
    for name, found in letters.items():
        deaths = [letter.dead for letter in found if letter.dead is not None]
        assert {(death.handler, death.origin) for death in deaths} == {("fails-at-once", name), ("fails-twice", name)}


async def letters_in(queue: Any) -> list[Message]:
    return [message async for message in queue.browse()]


async def test_dead_letters_may_have_a_place_of_their_own(tmp_path: Path) -> None:
    """For all routes together."""
    flag, place = ["old"], f"sqlite:///{tmp_path / 'graves.db'}"
    dispatcher = EventDispatcher(SwitchQueue(files(tmp_path), lambda: flag[0]), dead_letter=place)

    @dispatcher.on(Note, retry=RetryPolicy(attempts=1))
    async def fails(note: Note) -> None:
        raise ValueError(note.text)

    async with dispatcher:
        await dispatcher.start()
        for name in ("old", "new"):
            flag[0] = name
            await dispatcher.dispatch(Note(name))
            await dispatcher.join()
        assert await dispatcher.dead_letters.size() == 2


async def test_a_retry_waits_here_for_a_route_that_has_no_delay() -> None:
    """And in its queue for one that has; the switch itself is given nothing more."""
    ran, flag = list[tuple[str, int]](), ["file"]
    file = Breakable(ReferenceQueue(Store()))
    switch = SwitchQueue({"file": file, "list": FourMethods(Shelf())}, lambda: flag[0])
    dispatcher = EventDispatcher(switch, dead_letter="channel://")

    @dispatcher.on(Note)
    async def later(note: Note, ctx: Context) -> None:
        ran.append((note.text, ctx.attempt))
        if ctx.attempt == 1:
            raise RetryLater(0.05)

    async with dispatcher:
        await dispatcher.start()
        for name in switch.routes:
            flag[0] = name
            await dispatcher.dispatch(Note(name))
        await until(lambda: len(ran) == 4)
        [nacks] = [what for called, what in file.calls if called == "nack"]
    assert sorted(ran) == [("file", 1), ("file", 2), ("list", 1), ("list", 2)]
    assert [nack.delay for nack in nacks] == [0.05]


# -- how it stands


async def test_an_idle_route_that_is_down_leaves_a_service_ready() -> None:
    """What was left in it waits; what is dispatched goes on."""
    flag, ran = ["old"], list[str]()
    routes = {name: Breakable(ReferenceQueue(Store())) for name in ("old", "new")}
    dispatcher = EventDispatcher(SwitchQueue(routes, lambda: flag[0]), dead_letter="channel://")
    held, gate = asyncio.Event(), asyncio.Event()

    @dispatcher.on(Note)
    async def handle(note: Note) -> None:
        ran.append(note.text)
        if note.text == "held":
            held.set()
            await gate.wait()

    async with dispatcher:
        await dispatcher.start(2)
        await dispatcher.dispatch(Note("held"))
        await held.wait()
        flag[0] = "new"
        routes["old"].broken |= {"pop", "ack", "size", "stats", "extend", "nack", "release"}
        gate.set()
        for number in range(50):
            await dispatcher.dispatch(Note(f"n{number}"))
        await until(lambda: len(ran) == 51)
        await until(lambda: routes["new"].count("ack"))
        health = await dispatcher.health()
        assert (health.live, health.ready, health.last_error) == (True, True, "")
        routes["old"].broken.clear()
        await until(lambda: _is_done(dispatcher))


async def _is_done(dispatcher: EventDispatcher) -> bool:
    stats: QueueStats = await dispatcher.stats()
    return not (stats.waiting or stats.in_flight)


@event("switch.local")
class Local:
    """By reference on channels, by value on a mixed switch."""

    number: int


@pytest.mark.parametrize("other", ["channel://", "sqlite"])
async def test_what_is_in_a_channel_is_handled_before_a_clean_stop(other: str, tmp_path: Path) -> None:
    """It would be gone with the process; what another route keeps is left to the next one."""
    ran: list[int] = []
    flag = ["memory"]
    place = f"sqlite:///{tmp_path / 'a.db'}" if other == "sqlite" else other
    dispatcher = EventDispatcher(SwitchQueue({"memory": "channel://", "other": place}, lambda: flag[0]))

    @dispatcher.on(Local)
    async def handle(local: Local) -> None:
        await asyncio.sleep(0.005)
        ran.append(local.number)

    async with dispatcher:
        await dispatcher.start(1)
        for number in range(60):
            await dispatcher.dispatch(Local(number))
        report = await dispatcher.stop()
    assert sorted(ran) == list(range(60))
    assert report.abandoned == 0
