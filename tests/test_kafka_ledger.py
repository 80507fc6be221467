"""The books of a Kafka partition: what is committed, what the next owner makes of it, what is handed out in turn."""

from __future__ import annotations

import base64
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as some
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from queues._kafka_books import Books, size_of
from queues._kafka_buffers import Buffers, Place
from queues._kafka_client import TopicPartition
from queues._kafka_ledger import Ledger
from queues._kafka_metadata import LONGEST, Note, Range, Suspicion, decode, encode, finished_of
from queues.message import Delivery, Message
from workers.suspect import CRASH_CAP

LARGEST = 2**63 - 1


class Record(NamedTuple):
    """What the ledgers and buffers read of the client's records."""

    offset: int
    value: bytes | None = b"x"


def records(offsets: Iterable[int]) -> list[Record]:
    return [Record(offset) for offset in offsets]


def taken(ledger: Ledger, offsets: Iterable[int]) -> Ledger:
    """These are handed out."""
    for offset in offsets:
        ledger.may_take(offset)
        ledger.take(offset)
    return ledger


def new(offsets: Sequence[int]) -> Ledger:
    """The first owner of a partition was handed all of it."""
    ledger = Ledger(offsets[0], offsets[0])
    ledger.deliver(records(offsets))
    return taken(ledger, offsets)


def heir(committed: tuple[int, str]) -> Ledger:
    """The next owner, who reads what was committed."""
    low, text = committed
    return Ledger.after(low, decode(low, text))


# -- the text beside an offset

offsets = some.integers(0, LARGEST)
gaps = some.integers(1, 300) | some.integers(1, LARGEST)


@some.composite
def notes(draw: some.DrawFn) -> tuple[int, Note]:
    """Any offset, and any note above it."""
    low = draw(offsets)
    ranges, at = list[Range](), low
    for _ in range(draw(some.integers(0, 60) | some.just(2000))):
        start = at + draw(gaps)
        at = start + draw(gaps)
        ranges.append(Range(start, at))
    suspicions = some.builds(Suspicion, some.integers(0, 1 << 40), some.booleans())
    return low, Note(
        owned=draw(some.booleans()),
        mark=draw(offsets),
        reach=draw(offsets),
        suspects=draw(some.dictionaries(offsets, suspicions, max_size=150)),
        finished=tuple(ranges),
    )


@settings(max_examples=40)
@given(notes())
def test_a_note_is_read_as_it_was_written(given: tuple[int, Note]) -> None:
    """What has room is read again; what has none is told, and never more than the broker takes."""
    low, note = given
    text, whole = encode(low, note)
    read = decode(low, text)
    assert len(text) <= LONGEST
    assert read.owned == note.owned
    assert (read.mark, read.reach) == tuple(offset if offset > low else 0 for offset in (note.mark, note.reach))
    assert read.finished == note.finished[: len(read.finished)]
    assert whole == (read.finished == note.finished)
    assert finished_of(text) == sum(end - start for start, end in read.finished)
    expected = {offset: one for offset, one in note.suspects.items() if offset >= low}
    assert read.suspects.items() <= expected.items()
    if len(expected) <= 100:
        assert read.suspects == expected


def test_ranges_without_room_are_cut_at_the_end() -> None:
    """The lowest ranges are kept: the next owner gets to them first."""
    ranges = tuple(Range(at, at + 1) for at in range(1, 8000, 2))
    text, whole = encode(0, Note(finished=ranges))
    kept = decode(0, text).finished
    assert not whole
    assert LONGEST - 10 < len(text) <= LONGEST
    assert len(kept) > 1600
    assert tuple(kept) == ranges[: len(kept)]


def test_of_too_many_suspects_the_worst_are_kept() -> None:
    """Whoever is at his last chance is remembered before those that nobody was blamed for."""
    suspects = {offset: Suspicion(0, running=False) for offset in range(500)}
    suspects |= {700: Suspicion(2, running=True), 800: Suspicion(1, running=False)}
    text, whole = encode(0, Note(suspects=suspects))
    kept = decode(0, text).suspects
    assert whole
    assert kept.items() >= {700: Suspicion(2, running=True), 800: Suspicion(1, running=False)}.items()


@given(some.text(max_size=50) | some.text(max_size=50).map(lambda text: f"n1:{text}"))
@example("n1:")
@example("n1:\N{SNOWMAN}")
@example("n1:" + "~" * 5)
@example("n2:0000")
def test_what_somebody_else_wrote_is_no_note(text: str) -> None:
    """Foreign or damaged text never raises, and what is made of it can be committed."""
    note = decode(7, text)
    again, _ = encode(7, note)
    assert len(again) <= LONGEST
    if not text.startswith("n1:"):
        assert note == Note()
        assert finished_of(text) == 0


@settings(max_examples=60)
@given(some.binary(max_size=3272))
@example(b"\x01\x00\x00\x01\x01" + b"\xff" * 3266 + b"\x01")
def test_no_bytes_make_a_note_that_can_not_be_committed(raw: bytes) -> None:
    """A number beyond all offsets makes it no note: the next one would have no room for it."""
    ledger = heir((5, "n1:" + base64.b85encode(raw).decode()))
    ledger.deliver(records([6, 2**60]))
    assert len(ledger.commit()[1]) <= LONGEST


def test_no_note_at_all_is_an_empty_note() -> None:
    """Who commits without metadata leaves nothing behind."""
    assert decode(3, None) == decode(3, "") == Note()
    assert finished_of(None) == 0


# -- what is committed


def test_the_committed_offset_is_the_lowest_unfinished_one() -> None:
    """Whatever is finished out of order is in the note, and the offset follows once the lowest is finished."""
    ledger = new(range(10, 16))
    for offset in (12, 13, 15):
        assert ledger.finish(offset)
    low, text = ledger.commit()
    assert (low, decode(low, text).finished) == (10, (Range(12, 14), Range(15, 16)))
    ledger.finish(10)
    ledger.finish(11)
    low, text = ledger.commit()
    assert (low, decode(low, text).finished) == (14, (Range(15, 16),))


def test_holes_in_the_offsets_are_part_of_what_is_finished() -> None:
    """Marks of transactions lie between events: they make no ranges of their own, and hold up no offset."""
    ledger = new(range(0, 1000, 2))
    for offset in range(2, 1000, 2):
        ledger.finish(offset)
    low, text = ledger.commit()
    assert (low, decode(low, text).finished) == (0, (Range(1, 999),))
    ledger.finish(0)
    assert ledger.commit()[0] == 999


def test_what_is_no_event_at_the_end_is_passed_by() -> None:
    """The client's position is beyond what it delivered: nothing is left before it, once all is finished."""
    ledger = new([0, 1])
    ledger.finish(1)
    ledger.reached(5)
    assert ledger.commit()[0] == 0
    ledger.finish(0)
    ledger.reached(5)
    assert ledger.commit()[0] == 5


def test_an_event_that_never_ends_costs_the_commits_nothing() -> None:
    """Behind a stuck head only what is unfinished is kept: memory and time do not grow with what is finished."""
    ledger = Ledger(0, 0)
    for start in range(0, 20_000, 500):
        ledger.deliver(records(range(start, start + 500)))
        for offset in range(max(1, start), start + 500):
            ledger.take(offset)
            ledger.finish(offset)
        ledger.commit()
    assert len(ledger.window) <= 2
    assert ledger.unfinished == 1
    assert len(ledger.commit()[1]) < 20


def test_a_note_without_room_is_told() -> None:
    """`cut` is what stops the reading: more would be run again after a crash."""
    ledger = new(range(4000))
    for offset in range(1, 4000, 2):
        ledger.finish(offset)
    ledger.commit()
    assert ledger.cut
    for offset in range(0, 2000, 2):
        ledger.finish(offset)
    ledger.commit()
    assert not ledger.cut


def test_a_commit_before_the_first_record_forgets_nothing() -> None:
    """Between its assignment and the first record an owner commits what the last one told him, unchanged."""
    ledger = new(range(10))
    for offset in (3, 4, 7):
        ledger.finish(offset)
    for _ in range(4):
        ledger = heir(ledger.commit())
    assert [one.offset for one in ledger.deliver(records(range(10)))] == [0, 1, 2, 5, 6, 8, 9]


def test_a_commit_in_the_middle_of_re_reading_forgets_nothing() -> None:
    """What was loaded is written again as far as it was not reached."""
    ledger = new(range(20))
    for offset in (3, 4, 11, 12, 13, 18):
        ledger.finish(offset)
    ledger = heir(ledger.commit())
    ledger.deliver(records(range(12)))
    ledger = heir(ledger.commit())
    assert [one.offset for one in ledger.deliver(records(range(20)))] == [*range(3), *range(5, 11), *range(14, 18), 19]


# -- partitions that change under us


def test_a_topic_that_was_made_anew_begins_anew() -> None:
    """Offsets below the lowest one: all that was known is of another topic."""
    ledger = heir(new(range(100, 120)).commit())
    ledger.deliver(records(range(100, 120)))
    taken(ledger, (100, 101)).started(100)
    assert [one.offset for one in ledger.deliver(records(range(5)))] == [0, 1, 2, 3, 4]
    assert not ledger.finish(100)
    assert not ledger.give_back(101, settled=False)
    assert [ledger.times(offset) for offset in (0, 4)] == [1, 1]
    low, text = ledger.commit()
    assert low == 0
    note = decode(low, text)
    assert (note.owned, note.mark, note.suspects, note.finished) == (True, 0, {}, ())


def test_a_topic_that_was_made_anew_and_is_empty_begins_anew() -> None:
    """Else its first events would lie below the committed offset, and the next owner would pass them by."""
    ledger = new(range(100, 103))
    for offset in range(100, 103):
        ledger.finish(offset)
    ledger.reached(0)
    assert ledger.dirty
    assert ledger.commit()[0] == 0


def test_what_is_delivered_once_more_is_done_once_more() -> None:
    """A partition that lost its end has other events there; what was before it stays as it was."""
    ledger = new(range(10))
    for offset in (1, 2, 6, 7):
        ledger.finish(offset)
    assert [one.offset for one in ledger.deliver(records(range(5, 8)))] == [5, 6, 7]
    assert not ledger.finish(8)
    for offset in (5, 6, 7):
        assert not ledger.finish(offset)
        ledger.take(offset)
        assert ledger.finish(offset)
    low, text = ledger.commit()
    assert (low, decode(low, text).finished) == (0, (Range(1, 3), Range(5, 8)))
    for offset in (0, 3, 4):
        assert ledger.finish(offset)
    assert ledger.commit()[0] == 8


def test_a_partition_of_another_owner_takes_nothing() -> None:
    """Once over, nothing of it is ours."""
    ledger = new(range(3))
    ledger.over = True
    assert not ledger.finish(0)
    assert not ledger.started(1)
    assert not ledger.give_back(2, settled=True)


# -- owners that come and go


class Owners(RuleBasedStateMachine):
    """Owners of one partition, killed and relieved at random, against a plain account of what happened."""

    handed: Bundle[int] = Bundle("handed")

    def __init__(self) -> None:
        super().__init__()
        dice = random.Random(0)
        self.topic = [offset for offset in range(400) if dice.random() < 0.7]  # with holes
        self.state = dict.fromkeys(self.topic, "new")
        self.known = set[int]()
        """What was finished when something was last committed."""
        self.committed = (self.topic[0], "")
        self.generation = 0
        self.begin()

    def begin(self) -> None:
        """Somebody gets the partition: what is committed is all that he knows."""
        self.state |= {
            offset: "new" for offset, state in self.state.items() if state == "done" and offset not in self.known
        }
        self.ledger, self.waiting, self.mine = heir(self.committed), deque[int](), set[int]()
        self.position = self.committed[0]

    def commit(self, *, leaving: bool = False) -> None:
        self.committed = self.ledger.commit(leaving=leaving)
        assert not self.ledger.cut
        self.known = {offset for offset, state in self.state.items() if state == "done"}

    @rule(count=some.integers(1, 30))
    def read(self, count: int) -> None:
        """What the broker delivers is let pass, but for what is known to be finished."""
        batch = [offset for offset in self.topic if offset >= self.position][:count]
        if batch:
            self.position = batch[-1] + 1
            passed = [one.offset for one in self.ledger.deliver(records(batch))]
            assert passed == sorted(passed)
            assert not self.known & set(passed), "what is finished and committed is not handed out again"
            assert all(self.state[offset] == "done" for offset in set(batch) - set(passed)), "nothing is skipped"
            self.waiting.extend(passed)

    @precondition(lambda self: self.waiting)
    @rule(target=handed)
    def hand_out(self) -> int:
        offset = self.waiting.popleft()
        taken(self.ledger, [offset])
        self.mine.add(offset)
        return offset

    @rule(offset=consumes(handed))
    def finish(self, offset: int) -> None:
        ours = offset in self.mine
        assert self.ledger.finish(offset) == ours
        if ours:
            self.mine.discard(offset)
            self.state[offset] = "done"

    @rule(offset=consumes(handed), settled=some.booleans())
    def give_back(self, offset: int, settled: bool) -> None:
        ours = offset in self.mine
        assert self.ledger.give_back(offset, settled=settled) == ours
        if ours:
            self.mine.discard(offset)
            self.waiting = deque(sorted([*self.waiting, offset]))

    @rule()
    def committed_meanwhile(self) -> None:
        self.commit()

    @rule()
    def killed(self) -> None:
        self.begin()

    @rule()
    def relieved(self) -> None:
        self.commit(leaving=True)
        self.begin()

    @invariant()
    def nothing_below_the_committed_offset_is_unfinished(self) -> None:
        unfinished = [offset for offset, state in self.state.items() if state != "done"]
        assert self.committed[0] <= min(unfinished, default=LARGEST)

    def teardown(self) -> None:
        """A last owner runs all that is left, and then nothing is."""
        self.begin()
        self.read(len(self.topic))
        while self.waiting:
            self.finish(self.hand_out())
        self.commit()
        assert set(self.state.values()) == {"done"}
        assert self.committed[0] > self.topic[-1]


TestOwners = Owners.TestCase
TestOwners.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


# -- who may have killed its process


class Crew:
    """A pool as far as it matters here: so many workers, and who is at his last chance runs alone."""

    def __init__(self, ledger: Ledger, topic: Sequence[int], dice: random.Random) -> None:
        self.ledger, self.dice = ledger, dice
        self.waiting = deque(one.offset for one in ledger.deliver(records(topic))) if topic else deque[int]()
        self.running: dict[int, int] = {}
        self.dead: list[int] = []
        self.seen: dict[int, int] = {}

    def work(self, killer: int, workers: int = 4) -> bool:
        """Until all is done, False, or the killer runs, True."""
        while self.waiting or self.running:
            while self.waiting and len(self.running) < workers and self._begins(self.waiting[0]):
                self.waiting.popleft()
                self.ledger.commit()
            if killer in self.running and self.dice.random() < 0.5:
                return True
            if ended := [offset for offset in self.running if offset != killer]:
                self._end(self.dice.choice(ended))
            elif killer in self.running:
                return True
        return False

    def _begins(self, offset: int) -> bool:
        times = self.seen[offset] = self.ledger.times(offset)
        suspects = [times for times in self.running.values() if times > 1]
        if (times == CRASH_CAP and suspects) or (times > 1 and CRASH_CAP in suspects):
            return False
        taken(self.ledger, [offset])
        if times > CRASH_CAP:
            self.dead.append(offset)
            self.ledger.finish(offset)
            return True
        if times > 1:
            assert self.ledger.started(offset)
        self.running[offset] = times
        return True

    def _end(self, offset: int) -> None:
        del self.running[offset]
        self.ledger.finish(offset)


def test_an_event_that_kills_its_owner_each_time_is_counted_up() -> None:
    """1, 2, 3, and then 4, which is more than a pool runs."""
    committed, seen = (0, ""), list[int]()
    for _ in range(4):
        ledger = heir(committed)
        ledger.deliver(records(range(3)))
        seen.append(ledger.times(1))
        taken(ledger, [1])
        if seen[-1] > 1:
            ledger.started(1)
        committed = ledger.commit()
    assert seen == [1, 2, 3, 4]


@settings(max_examples=60)
@given(some.integers(0, 2**32), some.integers(0, 29), some.integers(1, 8))
def test_of_many_events_only_the_one_that_kills_is_given_up(seed: int, killer: int, workers: int) -> None:
    """Its neighbours run with it and are suspected, but whoever is at his last chance runs alone."""
    dice, topic, committed, dead = random.Random(seed), range(30), (0, ""), list[int]()
    for death in range(4):
        crew = Crew(heir(committed), [offset for offset in topic if offset >= committed[0]], dice)
        assert crew.work(killer, workers) == (death < 3)
        committed, dead = crew.ledger.commit(), dead + crew.dead
    assert dead == [killer]
    assert committed[0] == 30


def test_a_killer_far_behind_a_stuck_head_is_counted() -> None:
    """More than what may be in flight lies between the two, all of it finished."""
    committed, seen = (0, ""), list[int]()
    far = 500
    for _ in range(3):
        ledger = heir(committed)
        left = [one.offset for one in ledger.deliver(records(range(far + 1)))]
        taken(ledger, left)
        for offset in left[1:-1]:
            ledger.finish(offset)
        seen.append(ledger.times(far))
        if seen[-1] > 1:
            ledger.started(far)
        committed = ledger.commit()
    assert seen == [1, 2, 3]


@pytest.mark.parametrize("lived", [0, 1, 199, 200, 5000])
def test_a_killer_is_counted_however_soon_it_kills(lived: int) -> None:
    """Nothing is handed out that the broker would not know of: the last note that it accepted reaches beyond it."""
    ledger, accepted = Ledger(0, 0), (0, "")
    ledger.deliver(records(range(20_000)))
    for offset in range(lived + 1):
        while not ledger.may_take(offset):
            accepted = ledger.commit()
            ledger.allowed = ledger.promised
        ledger.take(offset)
    next_one = heir(accepted)
    next_one.deliver(records(range(20_000)))
    assert next_one.times(lived) == 2
    assert next_one.times(19_999) == 1, "and not much more is suspected than was handed out"


def test_what_is_allowed_grows_with_what_is_handed_out() -> None:
    """So that a commit each twentieth of a second holds up nobody; a quiet partition allows few at a time."""
    ledger, commits = Ledger(0, 0), 0
    ledger.deliver(records(range(50_000)))
    for offset in range(50_000):
        if not ledger.may_take(offset):
            commits += 1
            ledger.commit()
            ledger.allowed = ledger.promised
        ledger.take(offset)
    assert commits < 12


def test_what_waits_far_behind_is_allowed_when_it_is_due() -> None:
    """Events that had to wait come in any order of offsets."""
    ledger = Ledger(0, 0)
    ledger.deliver(records(range(9000)))
    assert not ledger.may_take(8000)
    ledger.commit()
    ledger.allowed = ledger.promised
    assert ledger.may_take(8000)


def test_a_killer_that_failed_once_is_counted() -> None:
    """A nack begins the count anew, and does not end it, although the pool reports no first run."""
    ledger = heir(new(range(3)).commit())
    ledger.deliver(records(range(3)))
    taken(ledger, [1])
    assert ledger.times(1) == 2
    assert ledger.started(1)
    assert ledger.give_back(1, settled=True)
    seen = [ledger.times(1)]
    for _ in range(3):
        taken(ledger, [1])
        if seen[-1] > 1:
            ledger.started(1)
        ledger = heir(ledger.commit())
        ledger.deliver(records(range(3)))
        seen.append(ledger.times(1))
    assert seen == [1, 2, 3, 4]


def test_who_is_done_is_no_suspect_any_more() -> None:
    """However many ran behind a stuck head, the note has room for those that are running."""
    ledger = heir(new(range(1000)).commit())
    ledger.deliver(records(range(1000)))
    for offset in range(1, 1000):
        taken(ledger, [offset]).started(offset)
        if offset < 999:
            ledger.finish(offset)
    low, text = ledger.commit()
    assert decode(low, text).suspects == {999: Suspicion(1, running=True)}


@given(some.integers(0, 2), some.integers(0, 2**32))
def test_a_clean_hand_over_raises_no_count(deaths: int, seed: int) -> None:
    """Who leaves in good order blames nobody: not what ran, and not what waited."""
    dice, topic = random.Random(seed), range(10)
    ledger = new(topic)
    for _ in range(deaths):
        for offset in topic[:5]:
            taken(ledger, [offset]).started(offset)
        ledger = heir(ledger.commit())
        ledger.deliver(records(topic))
    before = [ledger.times(offset) for offset in topic]
    for _ in range(30):
        step, offset = dice.randrange(4), dice.choice(topic)
        if step == 0:
            ledger = heir(ledger.commit(leaving=True))
            ledger.deliver(records(topic))
        elif step == 1:
            ledger.take(offset)
        elif step == 2 and ledger.times(offset) > 1:
            ledger.started(offset)
        else:
            ledger.give_back(offset, settled=False)
    ledger = heir(ledger.commit(leaving=True))
    assert [ledger.times(offset) for offset in topic] == before


# -- what waits to be popped

A, B, C = (TopicPartition("t", number) for number in range(3))


class Desk:
    """Buffers, with the ledgers of some partitions. may_pass: decides by offset."""

    def __init__(self, *partitions: TopicPartition, may_pass: Callable[[int], bool] = lambda offset: True) -> None:
        self.books = Books()
        self.ledgers = {partition: Ledger(0, 0, allowed=LARGEST) for partition in partitions}
        self.buffers = Buffers(self.books, self._read, lambda one: may_pass(one.receipt.offset))

    def add(self, new: Mapping[TopicPartition, Iterable[int]]) -> None:
        found = {one: self.ledgers[one].deliver(records(offsets)) for one, offsets in new.items()}
        self.books.count(sum(map(size_of, (record for batch in found.values() for record in batch))))
        self.buffers.add({one: (self.ledgers[one], batch) for one, batch in found.items()})

    def take(self, limit: int) -> list[tuple[int, int]]:
        return [self.place(delivery) for delivery in self.buffers.take(limit)]

    def place(self, delivery: Delivery) -> tuple[int, int]:
        """Partition and offset."""
        [partition] = [one for one, ledger in self.ledgers.items() if ledger is delivery.receipt.ledger]
        return partition.partition, delivery.receipt.offset

    def release(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            assert delivery.receipt.ledger.give_back(delivery.receipt.offset, settled=False)
        self.buffers.put_back(deliveries)

    def _read(self, record: Any, place: Place, times: int) -> Delivery | None:
        if record.value is None:
            return None
        return Delivery(Message(type="t", id=str(place.offset), source="/"), place, times, size=len(record.value))


def test_partitions_take_turns() -> None:
    """A partition with much to do holds up no other."""
    desk = Desk(A, B, C)
    desk.add({A: range(1000), B: range(10), C: range(3)})
    first = desk.take(30)
    assert {partition: sum(one == partition for one, _ in first) for partition in range(3)} == {0: 17, 1: 10, 2: 3}
    one_by_one = Desk(A, B)
    one_by_one.add({A: range(1000), B: range(2)})
    assert [one_by_one.take(1) for _ in range(5)] == [[(0, 0)], [(1, 0)], [(0, 1)], [(1, 1)], [(0, 2)]]


@given(some.integers(0, 2**32))
def test_what_is_put_back_waits_in_its_place(seed: int) -> None:
    """Whatever is released in which calls, a partition is handed out in the order of its offsets."""
    dice, desk, held, arrived = random.Random(seed), Desk(A, B), list[Delivery](), 0
    for _ in range(20):
        step = dice.choice(["add", "take", "release", "release"])
        if step == "add":
            count = dice.randrange(1, 10)
            desk.add({A: range(arrived, arrived + count), B: range(arrived, arrived + count)})
            arrived += count
        elif step == "take":
            held += desk.buffers.take(dice.randrange(1, 30))
        else:
            back = dice.sample(held, dice.randrange(len(held) + 1))
            held = [delivery for delivery in held if delivery not in back]
            desk.release(back)
    rest = desk.take(1000)
    kept = [desk.place(delivery) for delivery in held]
    assert sorted(kept + rest) == [(partition, offset) for partition in (0, 1) for offset in range(arrived)]
    for partition in (0, 1):
        order = [offset for one, offset in rest if one == partition]
        assert order == sorted(order)
    assert desk.books.bytes_waiting == 0


@pytest.mark.parametrize("how", ["over", "leaving"])
def test_nothing_of_a_partition_that_goes_is_handed_out(how: str) -> None:
    """Neither what waits nor what comes late or is put back; and it takes no room."""
    desk = Desk(A, B)
    desk.add({A: range(5), B: range(2)})
    held = desk.buffers.take(2)
    setattr(desk.ledgers[A], how, True)
    assert desk.take(100) == [(1, 1)]
    desk.buffers.put_back([one for one in held if one.receipt.ledger is desk.ledgers[A]])
    desk.buffers.drop_lost()
    desk.add({A: range(5, 9)})
    assert desk.take(100) == []
    assert desk.books.bytes_waiting == 0
    assert not desk.buffers


def test_what_is_no_event_is_finished_by_the_way() -> None:
    """A tombstone is handed out to nobody, and holds up no offset."""
    desk = Desk(A)
    ledger = desk.ledgers[A]
    batch = [Record(0), Record(1, None), Record(2, None)]
    desk.books.count(1)
    desk.buffers.add({A: (ledger, ledger.deliver(batch))})
    assert desk.take(10) == [(0, 0)]
    low, text = ledger.commit()
    assert (low, decode(low, text).finished) == (0, (Range(1, 3),))


def test_what_may_not_pass_is_not_handed_out() -> None:
    """It was put aside by whoever said so, and comes when that puts it back."""
    desk = Desk(A, may_pass=lambda offset: offset % 2 == 0)
    desk.add({A: range(5)})
    assert desk.take(10) == [(0, 0), (0, 2), (0, 4)]
    assert not desk.ledgers[A].holds(1)


def test_what_comes_once_more_waits_once() -> None:
    """Events of a topic that was made anew take the places of the old ones."""
    desk = Desk(A)
    desk.add({A: range(100, 110)})
    desk.add({A: range(3)})
    assert desk.take(100) == [], "what was promised was about other events"
    desk.ledgers[A].allowed = LARGEST
    desk.buffers.go_on()
    assert desk.take(100) == [(0, 0), (0, 1), (0, 2)]
    assert desk.books.bytes_waiting == 0
