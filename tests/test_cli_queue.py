"""`notification queue`, and what `send`, `peek` and `stats` know of partitions and consumers."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
import typer

from notification import wire
from notification.cli import cli

from .kafka_server import SIBLINGS, Kafka, unique
from .shell import APP, PATIENCE, QUEUE, Shell, first_line, until

ORDERS = f"{QUEUE}?queue=orders"
PLUGIN = """
from typing import Literal
import attrs
from notification import Change, EventDispatcher, MessageQueue, QueueAdmin, Seconds, register_queue

class Queue(MessageQueue):
    async def push(self, message, *, timeout=None): ...
    async def pop(self): ...
    async def size(self): return 0
    async def close(self): ...

@attrs.frozen(kw_only=True)
class Options:
    shelf_size: int = attrs.field(metadata={"help": "Books on a shelf"})
    colour: Literal["red", "blue"] = attrs.field(default="blue", metadata={"help": "Of the cover"})
    rest: Seconds | None = None
    idle: Seconds = Seconds(90)
    share: float | None = None
    open: bool = True
    locked: bool = False

class Admin(QueueAdmin):
    options = Options

    async def create(self, options):
        return [Change(self.url.name, "created", repr(attrs.astuple(options)))]

register_queue("library", lambda url: Queue(), admin=Admin)
dispatcher = EventDispatcher("library://town")
"""


def lines(text: str) -> list[dict[str, Any]]:
    """One JSON object a line."""
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def library(shell: Shell) -> Shell:
    """A directory with an app whose queue is a plugin's, with an administration."""
    (shell.directory / "library.py").write_text(PLUGIN)
    return shell


# -- the commands, on a queue that needs no server


def test_create_makes_a_queue_and_tells_when_it_is_there(shell: Shell) -> None:
    """Exit code 0 both times: a deployment may run it again and again."""
    for done in ("created", "exists"):
        ran = shell("queue", "create", ORDERS, "--format", "json")
        assert (ran.returncode, ran.stderr) == (0, "")
        assert [(each["name"], each["done"]) for each in lines(ran.stdout)] == [("orders", done), ("orders.dead", done)]
    assert shell("queue", "create", ORDERS).stdout.splitlines()[0].startswith("orders       exists: in ")


def test_ls_describe_and_lag_show_how_queues_stand(shell: Shell) -> None:
    """For people as tables, for programs as JSON; what no row has is no column."""
    shell("send", "a", "--count", "3", "--queue", ORDERS)
    assert shell("queue", "ls", NOTIFICATION_QUEUE=QUEUE).stdout == (
        "QUEUE   WAITING  IN FLIGHT  DELAYED  DEAD\norders  3        0          0        0\n"
    )
    [listed] = lines(shell("queue", "ls", "--queue", QUEUE, "--format", "json").stdout)
    assert (listed["queue"], listed["waiting"]) == ("orders", 3)
    described = shell("queue", "describe", ORDERS).stdout.splitlines()
    assert described[:2] == [ORDERS, "waiting    3"]
    assert described[-1] == "owners: none"
    [facts] = lines(shell("queue", "describe", ORDERS, "--format", "json").stdout)
    assert (facts["queue"], facts["url"], facts["waiting"], facts["owners"]) == ("orders", ORDERS, 3, [])
    assert shell("queue", "lag", ORDERS).stdout == "LAG  OWNER\n3    nobody\n"
    assert lines(shell("queue", "lag", ORDERS, "--format", "json").stdout) == [
        {"lag": 3, "partition": None, "owner": None, "group": None}
    ]


def test_delete_asks_first(shell: Shell) -> None:
    """With what would be lost; no, Ctrl-D and no terminal to ask on delete nothing."""
    shell("send", "a", "--count", "3", "--queue", ORDERS)
    code, shown = shell.on_terminal("queue", "delete", ORDERS, keys="n\n")
    assert code == 1
    assert "for good, with 3 waiting, 0 delayed, 0 dead? [y/N]" in " ".join(shown.split())
    assert "nothing was deleted" in shown
    assert shell.on_terminal("queue", "delete", ORDERS, keys="\x04")[0] == 1
    refused = shell("queue", "delete", ORDERS)
    assert (refused.returncode, "give --yes" in refused.stderr) == (2, True)
    assert shell.stats(ORDERS)["waiting"] == 3
    code, shown = shell.on_terminal("queue", "delete", ORDERS, keys="y\n")
    assert (code, "orders       emptied: 3 events deleted" in shown) == (0, True)
    assert shell("queue", "delete", ORDERS, "--yes").stdout.splitlines()[1] == "orders.dead  emptied: 0 events deleted"


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["ls"], 2, "which queue?"),
        (["ls", "sqlite:///nowhere.db"], 2, "notification queue create 'sqlite:///nowhere.db?queue=events'"),
        (["create", "channel://"], 1, "live and die with their process"),
        (["create", "sqlit:///x.db"], 2, "did you mean 'sqlite'?"),
        (["create", QUEUE, "--partitions", "3"], 2, "No such option: --partitions"),
        (["create", "--app", "library.py"], 2, "Missing option '--shelf-size' (env var: 'NOTIFICATION_SHELF_SIZE')"),
        (["create", "--app", "library.py", "--shelf-size", "1", "--colour", "green"], 2, "'red', 'blue'"),
        (["create", "--app=library.py", "--shelf-size", "1", "--rest", "long"], 2, "--rest long is no duration"),
        (["describe", "--app", "library.py"], 1, "library:// can't describe a queue"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_what_can_not_be_done_is_one_line(library: Shell, words: list[str], code: int, text: str) -> None:
    """2 for wrong usage or configuration, 1 for what this queue can't do."""
    done = library("queue", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert text in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["create", "ls", "describe", "delete", "lag"])
def test_help_has_examples(name: str) -> None:
    """The shortest way to learn a command."""
    group: Any = typer.main.get_command(cli)
    text = group.commands["queue"].commands[name].help
    assert f"notification queue {name} " in text.partition("Examples:")[2]


# -- flags of the backend


def test_the_flags_of_create_are_the_options_that_the_backend_publishes(library: Shell) -> None:
    """With its help, its defaults, and an environment variable each; by name and type."""
    text = " ".join(library("queue", "create", "--app", "library.py", "--help").stdout.split())
    for part in (
        "--shelf-size <int> Books on a shelf [env var: NOTIFICATION_SHELF_SIZE; required]",
        "--colour <red|blue> Of the cover [env var: NOTIFICATION_COLOUR; default: blue]",
        "--rest DURATION [env var: NOTIFICATION_REST]",
        "default: (90s)",
        "--open / --no-open",
    ):
        assert part in text
    without = library("queue", "create", "--help").stdout
    assert "--shelf-size" not in without
    assert "notification queue create kafka://" in without


@pytest.mark.parametrize(
    ("words", "made"),
    [
        (["--shelf-size", "7"], (7, "blue", None, 90.0, None, True, False)),
        (
            ["--shelf-size=7", "--colour", "red", "--rest", "2m", "--share", "0.5", "--no-open", "--locked"],
            (7, "red", 120.0, 90.0, 0.5, False, True),
        ),
    ],
)
def test_values_of_flags_reach_the_backend_in_their_types(library: Shell, words: list[str], made: object) -> None:
    """As an instance of its options."""
    done = library("queue", "create", "--app", "library.py", *words, "--format", "json")
    assert lines(done.stdout) == [{"name": "events", "done": "created", "note": repr(made)}]


def test_a_flag_of_the_backend_may_come_from_the_environment(library: Shell) -> None:
    """Like every other flag, and the app too."""
    done = library("queue", "create", NOTIFICATION_APP="library.py", NOTIFICATION_SHELF_SIZE="9")
    assert done.stdout == "events  created: (9, 'blue', None, 90.0, None, True, False)\n"


# -- send, peek and stats


def test_send_many_says_how_many_and_how_fast(shell: Shell) -> None:
    """Each is an event of its own; with --delay, later."""
    done = shell("send", "order.placed", '{"n": 1}', "--count", "2500", "--key", "k", "--queue", QUEUE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("2,500 events sent in ")
    assert done.stdout.endswith("/s\n")
    found = [
        wire.decode(line.encode())
        for line in shell("peek", "--limit", "0", "--format", "json", "--queue", QUEUE).stdout.splitlines()
    ]
    assert len({event.id for event in found}) == 2500
    assert {(event.type, event.key, event.data["n"]) for event in found} == {("order.placed", "k", 1)}
    shell("send", "a", "--count", "2", "--delay", "60", "--queue", QUEUE)
    assert shell.stats()["delayed"] == 2


def test_send_many_that_is_stopped_says_how_far_it_got(shell: Shell) -> None:
    """By a queue that takes no more; by Ctrl-C."""
    full = shell("send", "a", "--count", "5", "--timeout", "0.2", "--queue", f"{QUEUE}?capacity=3")
    assert (full.returncode, full.stdout.startswith("3 events sent in ")) == (1, True)
    assert "capacity of 3" in full.stderr
    process = shell.start("send", "a", "--count", "100000000", "--queue", ORDERS)
    until(lambda: shell.stats(ORDERS)["waiting"] > 0)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert " events sent in " in out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["send", "a", "--count", "2", "--id", "x"], "leave one out"),
        (["send", "--file", "app.py", "--count", "2"], "leave the others out"),
        (["send", "a", "--count", "0"], "--count"),
        (["send", "--count", "2"], "give TYPE and JSON"),
        (["peek", "--partition", "1"], "sqlite:// has no option 'partitions'"),
    ],
)
def test_what_does_not_go_together_is_refused(shell: Shell, words: list[str], text: str) -> None:
    """Before anything is sent."""
    done = shell(*words, "--queue", QUEUE)
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr


def test_peek_begins_at_a_time_or_at_a_position(shell: Shell) -> None:
    """`2h` and a date are times, a number is the queue's own."""
    shell("send", "a", "--count", "3", "--queue", QUEUE)
    for begin, number in (("1h", 3), ("2100-01-01", 0), ("2", 1)):
        done = shell("peek", "--from", begin, "--format", "json", "--queue", QUEUE)
        assert len(done.stdout.splitlines()) == number


def test_stats_says_who_has_what(shell: Shell) -> None:
    """While a worker holds an event; nothing where nobody consumes."""
    (shell.directory / "slow.py").write_text(
        "import asyncio\n"
        + APP.replace("    print(", '    print("begun", flush=True)\n    await asyncio.sleep(60)\n    print(')
    )
    shell("send", "order.shipped", '{"account_id": 7, "order_id": "A-1"}', "--queue", QUEUE)
    assert "nobody" not in shell("stats", "--queue", QUEUE).stdout
    worker = shell.start("run", "slow", "--queue", QUEUE)
    while first_line(worker) != "begun\n":
        pass
    shell("send", "other", "--count", "2", "--key", "7", "--queue", QUEUE)
    shares = shell.stats()["shares"]
    assert sum(share["lag"] for share in shares) == 3
    [owner] = [share["owner"] for share in shares if share["owner"]]
    table = shell("stats", "--queue", QUEUE).stdout
    assert f"\n{owner}" in table
    assert "\nnobody" in table


def test_a_library_is_not_heard_beside_our_own_error(shell: Shell) -> None:
    """Its client says the same in thirty lines; --log-level info shows them."""
    url = "kafka://127.0.0.1:1/orders?connect_timeout=300ms"
    done = shell("queue", "ls", url)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "notification: kafka://127.0.0.1:1 can't be reached (KafkaConnectionError: 111 ECONNREFUSED)"
    ]
    assert "kafka.net" in shell("queue", "ls", url, "--log-level", "info").stderr


# -- a queue with partitions


def test_a_topic_from_its_making_to_its_end(shell: Shell, kafka: Kafka) -> None:
    """Made, filled by partition, looked at, and deleted, without a word of Kafka in the command."""
    topic = unique()
    at = ("--queue", kafka.url(topic))
    made = lines(shell("queue", "create", *at, "--partitions", "2", "--format", "json").stdout)
    assert [each["name"] for each in made] == [topic, *(topic + sibling for sibling in SIBLINGS)]
    assert shell("send", "a", "0", "--partition", "1", "--count", "4", *at).stdout.startswith("4 events sent")
    assert shell("send", "b", "1", "--partition", "0", "--id", "b-1", *at).stdout == "b-1\n"
    wrong = shell("send", "a", "--partition", "7", *at)
    assert (wrong.returncode, "no partition 7" in wrong.stderr) == (1, True)
    for words, number in ((["--partition", "1", "--from", "1"], 3), (["--from", "1h"], 5)):
        assert len(shell("peek", *at, *words).stdout.splitlines()) == number
    shares = shell.stats(at[1])["shares"]
    assert [(share["partition"], share["lag"]) for share in shares] == [(0, 1), (1, 4)]
    deleted = shell("queue", "delete", *at, "--yes", "--format", "json")
    assert {each["done"] for each in lines(deleted.stdout)} == {"deleted"}
    gone = shell("stats", *at)
    assert (gone.returncode, f"notification queue create kafka://{kafka.bootstrap}/{topic}" in gone.stderr) == (2, True)


@pytest.mark.parametrize("columns", [80, 40])
def test_a_list_of_topics_fits_the_terminal(shell: Shell, kafka: Kafka, columns: int) -> None:
    """Cut with an ellipsis, or without its last columns; never wrapped."""
    kafka.create(f"t-{'long-' * 6}{unique()}", siblings=False)
    code, shown = shell.on_terminal("queue", "ls", kafka.url("any"), columns=columns)
    assert code == 0
    assert all(len(line) <= columns for line in shown.splitlines())
    assert shown.startswith("QUEUE")
