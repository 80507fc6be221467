"""What is logged, at which level, in which fields; and what never is."""

from __future__ import annotations

import ast
import asyncio
import json
import logging
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import structlog

from notification import (
    Capability,
    Context,
    Delivery,
    EventDispatcher,
    Message,
    Nack,
    Reject,
    RetryLater,
    RetryPolicy,
    open_queue,
    register_queue,
)
from queues.base import name_of
from queues.clock import ManualClock
from queues.delayed import DelayedQueue
from queues.errors import QueueUnavailable
from queues.message import about
from queues.url import QueueURL
from tests.stage import Breakable, Note, Parcel, Stage, passing, until
from workers.lease import Held, LeaseKeeper

ROOT = Path(__file__).resolve().parents[1]
LOGGERS = {"notification.dispatcher", "notification.handlers", "notification.workers", "notification.queues"}
SECRET = "correct horse battery staple"
OF_AN_EVENT = {"event_id", "event_type", "attempt", "event_bytes", "queue", "handler"}
ONCE = RetryPolicy(attempts=1)


class JSONFormatter(logging.Formatter):
    """What a team has for its log collector: the message, and whatever is no attribute of every record."""

    usual: ClassVar = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}

    def format(self, record: logging.LogRecord) -> str:
        fields = {name: value for name, value in vars(record).items() if name not in self.usual}
        return json.dumps({"level": record.levelname, "logger": record.name, "text": record.getMessage(), **fields})


class Kept(logging.Handler):
    """Keeps records, and what formatters make of them."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.records: list[logging.LogRecord] = []
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.lines.append(self.format(record))

    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@pytest.fixture
def listen() -> Iterator[Callable[..., Kept]]:
    """Listens to the tree from a level up."""
    tree, kept = logging.getLogger("notification"), list[Kept]()

    def begin(level: int = logging.INFO, formatter: logging.Formatter | None = None) -> Kept:
        kept.append(Kept(formatter or JSONFormatter()))
        tree.addHandler(kept[-1])
        tree.setLevel(level)
        return kept[-1]

    yield begin
    for handler in kept:
        tree.removeHandler(handler)
    tree.setLevel(logging.NOTSET)


# -- how much


@pytest.mark.parametrize("url", ["channel://", "sqlite"])
async def test_a_thousand_events_that_went_well_are_worth_no_line(
    url: str, listen: Callable[..., Kept], tmp_path: Path
) -> None:
    """Only that consuming began and ended, with the report."""
    kept = listen()
    address = url if url == "channel://" else f"sqlite:////{tmp_path}/events.db"
    async with EventDispatcher(address) as dispatcher:

        @dispatcher.on(Note)
        async def read(note: Note) -> None:
            """Nothing."""

        @dispatcher.on(Note)
        async def read_too(note: Note) -> None:
            """Nothing."""

        @dispatcher.on(Parcel)
        async def carry(parcel: Parcel) -> None:
            """Nothing."""

        await dispatcher.start(workers=4)
        await dispatcher.dispatch_many(Note(str(number)) for number in range(500))
        await dispatcher.dispatch_many(Parcel(number) for number in range(500))
        await dispatcher.join()
    begun, stopping, stopped = kept.documents()
    assert begun == {
        "level": "INFO", "logger": "notification.dispatcher", "queue": name_of(dispatcher.queue), "workers": 4,
        "text": f"consuming {name_of(dispatcher.queue)} with 4 workers",
    }  # fmt: skip
    assert stopping["text"] == "stopping within 30 s"
    assert stopped["text"].startswith("stopped: handled 1000, retried 0, dead 0")
    assert (stopped["handled"], stopped["dead"], stopped["queue"]) == (1000, 0, begun["queue"])


async def test_a_dispatcher_that_only_dispatches_says_nothing(listen: Callable[..., Kept]) -> None:
    """It is part of another program's work."""
    kept = listen()
    async with EventDispatcher() as dispatcher:
        await dispatcher.dispatch(Note())
    assert kept.lines == []


# -- what failed


async def failures(listen: Callable[..., Kept], level: int, *errors: Exception) -> list[Any]:
    """The records of a handler that raises these, one a run, and the last one again."""
    kept = listen(level)
    async with Stage(retry=RetryPolicy(attempts=2, initial=1, jitter=False)) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note, ctx: Context) -> None:
            raise errors[min(ctx.attempt, len(errors)) - 1]

        await stage.start()
        await stage.dispatcher.dispatch(Note(SECRET), id="note-1")
        await passing(stage.clock, stage.settled())
    return [record for record in kept.records if record.name == "notification.handlers"]


async def test_a_run_that_is_tried_again_is_one_line_and_the_last_one_an_error(listen: Callable[..., Kept]) -> None:
    """A traceback a retry would fill logs; the last one is worth it."""
    again, last = await failures(listen, logging.INFO, OSError("no road"))
    assert (again.levelname, again.exc_info) == ("WARNING", None)
    assert again.getMessage().startswith("handler read failed on event note-1 (stage.note), run 1: OSError: no road;")
    assert (last.levelname, last.exc_info[0]) == ("ERROR", OSError)
    assert "run 2, the last (attempts): OSError: no road" in last.getMessage()
    for record, attempt in ((again, 1), (last, 2)):
        assert (record.event_id, record.event_type, record.attempt) == ("note-1", "stage.note", attempt)
        assert (record.handler, record.error_type) == ("read", "OSError")
        assert vars(record).keys() >= OF_AN_EVENT
    assert (again.again_in, last.reason) == (pytest.approx(1.0), "attempts")


async def test_debugging_shows_the_traceback_of_every_run(listen: Callable[..., Kept]) -> None:
    """That is what it is for."""
    again, _ = await failures(listen, logging.DEBUG, OSError("no road"))
    assert (again.levelname, again.exc_info[0]) == ("WARNING", OSError)


async def test_what_a_handler_asked_for_is_no_fault(listen: Callable[..., Kept]) -> None:
    """RetryLater is for debugging only; a Reject is an error without a traceback: its text is the reason."""
    [later, last] = await failures(listen, logging.DEBUG, RetryLater(1, "not yet"), OSError())
    assert (later.levelname, later.exc_info, last.levelname) == ("DEBUG", None, "ERROR")
    [rejected] = await failures(listen, logging.INFO, Reject("spam"))
    assert (rejected.levelname, rejected.exc_info, rejected.reason) == ("ERROR", None, "rejected")


async def test_every_dead_letter_is_an_error_that_says_why(listen: Callable[..., Kept]) -> None:
    """Those no handler saw as well."""
    kept = listen()
    async with Stage(unhandled="dead_letter") as stage:

        @stage.dispatcher.on(Parcel)
        async def carry(parcel: Parcel) -> None:
            """Nothing."""

        await stage.start()
        await stage.dispatcher.dispatch(Message(type="stage.unknown", id="1", source="/s"))
        await stage.dispatcher.dispatch(Message(type="stage.parcel", id="2", source="/s", data={"account": SECRET}))
        await stage.dispatcher.dispatch(
            Message(type="stage.parcel", id="3", source="/s", data={"account": 1}, handlers=("gone",))
        )
        await passing(stage.clock, stage.settled())
        letters = {letter.id: letter.dead.reason for letter in await stage.letters() if letter.dead is not None}
    errors = {line["event_id"]: line["reason"] for line in kept.documents() if line["level"] == "ERROR"}
    assert errors == letters == {"1": "unknown", "2": "corrupt", "3": "unknown"}
    assert SECRET not in "".join(kept.lines)


# -- transitions


async def test_an_outage_is_two_lines_however_long_it_is(listen: Callable[..., Kept]) -> None:
    """The queue goes out of reach; it works again."""
    kept = listen()
    queue = Breakable(open_queue("reference://outage-of-logs"))
    async with Stage(queue) as stage:
        stage.dispatcher.on(Note)(stage.ran.append)
        queue.broken = {"pop"}
        await stage.start()
        await passing(stage.clock, until(lambda: queue.count("pop") > 5))
        queue.broken.clear()
        await stage.dispatcher.dispatch(Note())
        await passing(stage.clock, stage.settled())
    lines = [line for line in kept.documents() if line["logger"] == "notification.workers"]
    assert [line["text"].partition(" after ")[0] for line in lines] == [
        "fetch: QueueUnavailable: the cable is out; trying again until it works", "fetch: works again",
    ]  # fmt: skip
    assert {(line["role"], line["queue"]) for line in lines} == {("fetch", name_of(queue))}


async def test_leases_that_cannot_be_renewed_are_two_lines_and_a_lost_one_is_one(listen: Callable[..., Kept]) -> None:
    """The round that fails, the round that works; and which event somebody else has now."""
    kept = listen()
    clock, held = ManualClock(), Held()
    queue = Breakable(open_queue("reference://leases-of-logs"))
    queue.lease, queue.broken = 30.0, {"extend"}
    message = Message(type="stage.note", id="note-1", source="/s", key=SECRET, data=SECRET)
    delivery = Delivery(message, size=250)
    held.add([delivery])
    keeper = asyncio.create_task(LeaseKeeper(queue, held, clock).run())
    for _ in range(5):
        await clock.advance(10)
    queue.broken = set()
    queue.extend = _loses_all  # type: ignore[method-assign]  # a queue whose leases ran out meanwhile
    await clock.advance(10)
    keeper.cancel()
    failed, works, lost = kept.documents()
    assert failed["text"].startswith("renewing leases: QueueUnavailable: the cable is out")
    assert works["text"] == "renewing leases: works again after 5 failures"
    assert (lost["event_id"], lost["event_bytes"], lost["level"]) == ("note-1", 250, "WARNING")
    assert SECRET not in "".join(kept.lines)


async def _loses_all(deliveries: Sequence[Delivery]) -> list[Delivery]:
    return list(deliveries)


async def test_retries_that_find_no_way_back_are_two_lines(listen: Callable[..., Kept]) -> None:
    """However often it is tried."""
    kept, clock = listen(), ManualClock()
    inner = Breakable(open_queue("reference://retries-of-logs"))
    inner.capabilities = Capability.ACK
    queue = DelayedQueue(inner)
    queue.clock = clock
    async with queue:
        await queue.push(Message(type="stage.note", id="note-1", source="/s"))
        await queue.nack_many([Nack(await queue.pop(), 1.0)])
        inner.broken = {"nack"}
        await clock.advance(30)
        assert inner.count("nack") > 3
        inner.broken = set()
        await clock.advance(30)
    assert [line["text"].partition(":")[0] for line in kept.documents()] == [
        "1 retries can't go back to their queue yet, which is tried until it works",
        "retries go back to their queue again",
    ]


async def test_a_handler_that_is_cut_off_is_one_line(listen: Callable[..., Kept]) -> None:
    """It failed with a TimeoutError, like any other failure."""
    kept = listen()
    async with Stage(retry=ONCE, handler_timeout=5) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            stage.ran.append(note)
            await stage.clock.sleep(3600)

        await stage.start()
        await stage.dispatcher.dispatch(Note(), id="note-1")
        await stage.ran_in_all(1)
        await passing(stage.clock, stage.settled())
    [line] = [line for line in kept.documents() if line["logger"] != "notification.dispatcher"]
    assert (line["level"], line["error_type"], line["handler"]) == ("ERROR", "TimeoutError", "read")


async def test_a_failure_of_the_whole_dispatcher_is_an_error_at_once(listen: Callable[..., Kept]) -> None:
    """Whoever stops it hears of it too, but perhaps only at night."""
    kept = listen()
    queue = Breakable(open_queue("reference://failing"))
    dispatcher = EventDispatcher(queue, dead_letter="channel://")
    await dispatcher.start()
    service = dispatcher._life.service
    assert service is not None
    assert service.pool is not None
    service._commands.put_nowait("nonsense")  # type: ignore[arg-type]  # a bug of ours
    with pytest.raises(ExceptionGroup):
        await dispatcher.stop()
    [error] = [record for record in kept.records if record.levelname == "ERROR"]
    assert error.getMessage().startswith("the dispatcher has failed: ExceptionGroup")
    assert error.exc_info is not None


# -- secrets, fields, formatters


@pytest.mark.parametrize("secret", ["://user:%s@host/0", "://host/0?api_token=%s", "://user@host/0?password_env=KEPT"])
async def test_a_secret_in_a_url_is_in_no_line(
    secret: str, listen: Callable[..., Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue is named without it, through start, outage, dead letter and stop."""
    monkeypatch.setenv("KEPT", SECRET)
    kept = listen(logging.DEBUG)
    queues: list[Breakable] = []

    def remote(url: QueueURL) -> Breakable:
        queues.append(Breakable(open_queue(f"reference://{url.name}")))
        return queues[-1]

    register_queue("redis-of-logs", remote, replace=True)
    async with Stage("redis-of-logs" + secret.replace("%s", SECRET.replace(" ", "%20")), retry=ONCE) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            raise OSError("no road")

        queues[0].error = QueueUnavailable(f"{queues[0].url} is out of reach")
        queues[0].broken = {"pop"}
        await stage.start()
        await passing(stage.clock, until(lambda: queues[0].count("pop") > 2))
        queues[0].broken.clear()
        await stage.dispatcher.dispatch(Note())
        await passing(stage.clock, stage.settled())
    lines = "".join(kept.lines)
    assert "consuming redis-of-logs://" in lines
    assert "redis-of-logs://" in next(line for line in kept.lines if "trying again" in line)
    for word in (SECRET, SECRET.replace(" ", "%20"), "battery"):
        assert word not in lines


def test_no_field_hides_an_attribute_of_a_record() -> None:
    """logging refuses those with a KeyError at the moment of the failure one wanted to hear of."""
    record = vars(logging.makeLogRecord({})).keys() | {"message", "asctime", "taskName"}
    reserved_by_structlog = {"event", "level", "logger", "timestamp", "exc_info", "stack_info"}
    fields = OF_AN_EVENT | about(Message(type="t", id="1", source="/s")).keys() | set(fields_in_the_source())
    assert fields & (record | reserved_by_structlog) == set()


async def test_structlog_renders_the_fields_beside_those_of_the_program(listen: Callable[..., Kept]) -> None:
    """With its ProcessorFormatter and ExtraAdder, as its documentation has it."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
    )
    kept = listen(formatter=formatter)
    async with Stage(retry=ONCE) as stage:

        @stage.dispatcher.on(Note)
        async def read(note: Note) -> None:
            raise OSError("no road")

        await stage.start()
        await stage.dispatcher.dispatch(Note(SECRET), id="note-1")
        await stage.settled()
    [line] = [line for line in kept.documents() if line["level"] == "error"]
    assert line["event"].startswith("handler read failed on event note-1")
    assert (line["event_id"], line["handler"], line["reason"]) == ("note-1", "read", "attempts")
    assert "Traceback" in line["exception"]


def test_a_program_that_set_up_no_logging_sees_what_went_wrong_and_no_complaint() -> None:
    """No NullHandler: it would swallow dead letters. Nothing of ours is set up either; Python shows warnings then."""
    program = textwrap.dedent('''
        import asyncio, logging
        from notification import EventDispatcher, RetryPolicy, event

        @event("quiet.note")
        class Note:
            """An event."""

        dispatcher = EventDispatcher(retry=RetryPolicy(attempts=1))

        @dispatcher.on(Note)
        async def read(note: Note) -> None:
            raise OSError("no road")

        async def main() -> None:
            async with dispatcher:
                await dispatcher.start()
                await dispatcher.dispatch(Note(), id="note-1")
                await dispatcher.join()

        asyncio.run(main())
        tree = [logging.getLogger(), logging.getLogger("notification")]
        print([one.handlers for one in tree], [one.level for one in tree])
    ''')
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout.strip() == "[[], []] [30, 0]"
    first, *_ = done.stderr.splitlines()
    assert first == "handler read failed on event note-1 (quiet.note), run 1, the last (attempts): OSError: no road"
    assert "No handlers" not in done.stderr
    assert "consuming" not in done.stderr


# -- the source


def log_calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call of a method of a `log` or a logger in our packages."""
    for tree, place in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner, method = node.func.value, node.func.attr
                levels = {"debug", "info", "warning", "error", "exception", "critical", "log"}
                if isinstance(owner, ast.Name) and owner.id in {"log", "logger", "logging"} and method in levels:
                    yield f"{place}:{node.lineno}", node


def sources() -> Iterator[tuple[ast.Module, str]]:
    for room in ("notification", "workers", "queues"):
        for path in sorted((ROOT / room).rglob("*.py")):
            yield ast.parse(path.read_text(encoding="utf-8")), str(path.relative_to(ROOT))


def fields_in_the_source() -> Iterator[str]:
    """The names of all fields that a log call, or one of those who gather them, writes down."""
    for _, call in log_calls():
        for keyword in call.keywords:
            if keyword.arg == "extra":
                for node in ast.walk(keyword.value):
                    if isinstance(node, ast.Dict):
                        yield from (str(key.value) for key in node.keys if isinstance(key, ast.Constant))
                    elif isinstance(node, ast.Call):
                        yield from (one.arg for one in node.keywords if one.arg is not None)


def test_all_loggers_are_of_one_tree() -> None:
    """A program turns the volume of all of it with one name, or of one part."""
    names = set()
    for tree, place in sources():
        for node in ast.walk(tree):
            call = node.value if isinstance(node, ast.AnnAssign) else None  # others are told to be quiet by their names
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("getLogger"):
                assert call.args, f"{place}:{call.lineno} is the root logger"
                names.add(ast.literal_eval(call.args[0]) if isinstance(call.args[0], ast.Constant) else place)
    ours = {name for name in names if not name.startswith("notification/")}  # the command sets up the tree itself
    assert ours >= LOGGERS
    assert [name for name in ours if name.partition(".")[0] != "notification"] == []


def test_the_text_of_a_log_call_is_a_constant() -> None:
    """Collectors group records by it; and nothing is put together for a line that nobody sees."""
    wrong = []
    for place, call in log_calls():
        text = call.args[1 if isinstance(call.func, ast.Attribute) and call.func.attr == "log" else 0]
        if not (isinstance(text, ast.Constant) and isinstance(text.value, str)):
            wrong.append(place)
    assert wrong == []


def test_every_line_has_fields() -> None:
    """What it is about, for those who search: an event, a queue, a file, a signal. The command talks to people."""
    without = [place for place, call in log_calls() if not any(one.arg == "extra" for one in call.keywords)]
    assert [place for place in without if not place.startswith("notification/cli")] == []


def test_nobody_sets_up_logging_but_the_command() -> None:
    """A library that does it takes the choice away from the program."""
    wrong = [
        f"{place}: {name}"
        for tree, place in sources()
        if not place.startswith("notification/cli")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (name := ast.unparse(node.func)).rpartition(".")[2]
        in {"basicConfig", "dictConfig", "fileConfig", "addHandler", "setLevel", "captureWarnings", "NullHandler"}
    ]
    assert wrong == []
