"""`notification dead`: what it lists, sends back and deletes, and what it does about mistakes."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from notification import DeadLetter, Message, open_queue, wire

from .shell import PATIENCE, QUEUE, Shell, until

DEAD = f"{QUEUE}?queue=events.dead&order=none"
AT_QUEUE = ("--queue", QUEUE)


def letter(
    id_: str, type_: str, reason: str, error: str, *, data: Any = None, hours: float = 0, **more: Any
) -> Message:
    """A dead letter that died so many hours ago in the handler `mail`."""
    died = datetime.now(UTC) - timedelta(hours=hours)
    dead = DeadLetter(reason=reason, error=error, handler="mail", attempts=3, time=died, origin="events")
    return Message(
        type=type_, id=id_, source="/shop", time=died, data=data, attempt=3, handlers=("mail",), dead=dead, **more
    )


LETTERS = [
    letter("a-1", "order.shipped", "attempts", "ConnectionError: no answer", hours=5,
           data={"account_id": 7, "order_id": "A-1"}, key="7", headers={"trace": "t-1"}),
    letter("a-2", "order.shipped", "attempts", "ConnectionError: too late", data={"account_id": 7, "order_id": "A-2"}),
    letter("b-1", "order.shipped", "corrupt", "account_id: expected an integer",
           data={"account_id": "x", "order_id": "B-1"}, key="x"),
    letter("p-1", "parcel.lost", "rejected", "Reject: no such parcel", data={"parcel_id": "P-1"}),
]  # fmt: skip


async def bury(directory: Path, *letters: Message) -> None:
    """Put them among the dead letters."""
    async with open_queue(f"sqlite:///{directory}/events.db?queue=events.dead&order=none") as dead:
        await dead.push_many(letters)


async def messages(directory: Path, queue: str = "events") -> list[Message]:
    """What waits in a queue."""
    async with open_queue(f"sqlite:///{directory}/events.db?queue={queue}") as opened:
        return [message async for message in opened.browse()]


async def ids(directory: Path, queue: str = "events") -> list[str]:
    return [message.id for message in await messages(directory, queue)]


@pytest.fixture
async def buried(shell: Shell) -> Shell:
    await bury(shell.directory, *LETTERS)
    return shell


# -- looking


def test_ls_lists_id_type_cause_age_handler_and_error(buried: Shell) -> None:
    """Aligned and uncut, for grep and awk."""
    done = buried("dead", "ls", *AT_QUEUE)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [re.split(r"  +", line) for line in done.stdout.splitlines()]
    assert rows[0] == ["ID", "TYPE", "CAUSE", "AGE", "HANDLER", "ERROR"]
    assert [row[0] for row in rows[1:]] == ["a-1", "a-2", "b-1", "p-1"]
    assert rows[1][1:3] == ["order.shipped", "attempts ConnectionError"]
    assert rows[1][3].startswith("5 h ")
    assert rows[3][2] == "corrupt"


def test_ls_shows_the_newest_and_says_that_there_are_more(buried: Shell) -> None:
    """The last line is the one nearest to the prompt."""
    done = buried("dead", "ls", *AT_QUEUE, "--limit", "2")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ID", "b-1", "p-1"]
    assert done.stderr == "the newest 2 of 4; --limit 0 lists all, --by cause counts them\n"


def test_ls_by_cause_counts_alike_deaths(buried: Shell) -> None:
    """By type and cause, the most frequent first, with the last error."""
    rows = buried("dead", "ls", *AT_QUEUE, "--by", "cause").stdout.splitlines()
    assert re.split(r"  +", rows[1])[:3] == ["2", "order.shipped", "attempts ConnectionError"]
    assert rows[1].endswith("ConnectionError: too late")
    assert len(rows) == 4
    groups = buried("dead", "ls", *AT_QUEUE, "--by", "type", "--format", "json").stdout.splitlines()
    assert [(json.loads(line)["type"], json.loads(line)["count"]) for line in groups] == [
        ("order.shipped", 3), ("parcel.lost", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--type", "order.*"], ["a-1", "a-2", "b-1"]),
        (["--type", "parcel.lost"], ["p-1"]),
        (["--cause", "ConnectionError"], ["a-1", "a-2"]),
        (["--cause", "attempts"], ["a-1", "a-2"]),
        (["--cause", "*too late"], ["a-2"]),
        (["--cause", "attempts Connection*", "--since", "2h"], ["a-2"]),
        (["--since", "2000-01-01", "--type", "*lost"], ["p-1"]),
    ],
)
def test_letters_are_selected_by_type_cause_and_time(buried: Shell, words: list[str], found: list[str]) -> None:
    """All criteria must hold; a star stands for any text."""
    lines = buried("dead", "ls", *AT_QUEUE, *words, "--format", "json").stdout.splitlines()
    assert [wire.decode(line.encode()).id for line in lines] == found


@pytest.mark.parametrize("words", [["ls"], ["retry"], ["drop", "--yes"], ["retry", "--dry-run"]])
def test_a_pattern_that_fits_nothing_is_told_what_there_is(buried: Shell, words: list[str]) -> None:
    """Like grep: one line, and exit code 1."""
    done = buried("dead", *words, *AT_QUEUE, "--type", "ordr.*")
    assert done.returncode == 1
    assert done.stderr.endswith("fits type ordr.*; there are order.shipped (3), parcel.lost (1)\n")


def test_no_dead_letters_is_good_news(shell: Shell) -> None:
    """Said on stderr; exit code 0."""
    for words in (["ls"], ["retry", "--all"], ["drop", "--all", "--yes"]):
        done = shell("dead", *words, *AT_QUEUE)
        assert done.returncode == 0
        assert done.stderr.startswith("no dead letters in sqlite:///events.db")


def test_show_tells_everything_about_a_letter(buried: Shell) -> None:
    """Why it died, its attributes and its data."""
    done = buried("dead", "show", "a-1", *AT_QUEUE)
    facts = dict(re.split(r"  +", line, maxsplit=1) for line in done.stdout.partition("\ndata")[0].splitlines())
    assert facts["reason"] == "attempts, after 3 runs, in mail"
    assert facts["error"] == "ConnectionError: no answer"
    assert facts["queue"] == "events"
    assert facts["key"] == "7"
    assert facts["trace"] == "t-1"
    assert json.loads(done.stdout.partition("\ndata\n")[2]) == {"account_id": 7, "order_id": "A-1"}


def test_an_id_that_is_not_there_is_told(buried: Shell) -> None:
    """The others are dealt with, and the exit code says that one was not."""
    done = buried("dead", "show", "a-1", "nowhere", *AT_QUEUE, "--format", "json")
    assert done.returncode == 1
    assert wire.decode(done.stdout.encode()).id == "a-1"
    assert done.stderr == "no dead letter of sqlite:///events.db?queue=events has the id nowhere\n"


# -- sending back


async def test_retry_sends_the_event_back_as_it_was_for_the_handler_it_died_in(buried: Shell) -> None:
    """Its attempts start anew; id, time, key, headers and data stay."""
    done = buried("dead", "retry", "a-1", *AT_QUEUE)
    assert (done.returncode, done.stdout) == (0, "1 dead letter sent back to sqlite:///events.db?queue=events\n")
    [event] = await messages(buried.directory)
    was = LETTERS[0]
    assert event == was.pristine() or event.handlers == ("mail",)
    assert (event.attempt, event.dead, event.handlers) == (1, None, ("mail",))
    assert (event.id, event.time, event.key, event.headers, event.data) == (
        was.id, was.time, was.key, was.headers, was.data,
    )  # fmt: skip
    assert await ids(buried.directory, "events.dead") == ["a-2", "b-1", "p-1"]


async def test_retry_takes_only_what_is_meant(buried: Shell) -> None:
    """By cause, with a limit, the oldest first."""
    assert buried("dead", "retry", *AT_QUEUE, "--cause", "ConnectionError", "--limit", "1").returncode == 0
    assert await ids(buried.directory) == ["a-1"]
    assert buried("dead", "retry", *AT_QUEUE, "--all").stdout.startswith("3 dead letters sent back")
    assert await ids(buried.directory, "events.dead") == []


async def test_a_dry_run_changes_nothing(buried: Shell) -> None:
    """It shows what it would be."""
    for words in (["retry"], ["drop"]):
        done = buried("dead", *words, *AT_QUEUE, "--type", "order.*", "--dry-run")
        assert done.returncode == 0
        assert "2      order.shipped  attempts ConnectionError" in done.stdout
        assert "3 dead letters would be" in done.stdout
    assert len(await ids(buried.directory, "events.dead")) == 4
    assert await ids(buried.directory) == []


async def test_a_retried_letter_is_not_taken_for_a_repeated_event(buried: Shell) -> None:
    """`?dedup=` refuses a second event with the same id; this one is the first, come back."""
    with_dedup = f"{QUEUE}?dedup=3600"
    buried("send", "order.shipped", '{"account_id": 1, "order_id": "N"}', "--id", "a-1", "--queue", with_dedup)
    assert buried("dead", "retry", "a-1", "--queue", with_dedup).returncode == 0
    assert await ids(buried.directory) == ["a-1", "a-1"]


async def test_letters_that_die_again_at_once_are_not_taken_again(buried: Shell) -> None:
    """Else a retry of everything would never end."""
    (buried.directory / "app.py").write_text(
        "from notification import EventDispatcher, Reject\n"
        f"dispatcher = EventDispatcher({QUEUE!r})\n"
        "@dispatcher.on('*', name='mail')\n"
        "async def mail(message):\n    raise Reject('still')\n"
    )
    buried.start("run", "app")
    done = buried("dead", "retry", *AT_QUEUE, "--all", "--rate", "20/s")
    assert done.stdout.startswith("4 dead letters sent back")
    until(lambda: buried.stats()["dead"] == 4)


def test_a_rate_holds_it_back(buried: Shell) -> None:
    """So that what was down is not run over when it is up again; Ctrl-C ends it, and says how far it came."""
    process = buried.start("dead", "retry", *AT_QUEUE, "--all", "--rate", "1/h")
    until(lambda: buried.stats()["waiting"] == 1)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (130, "")
    assert out.startswith("1 dead letter sent back")
    assert buried.stats()["dead"] == 3


async def test_bytes_that_could_not_be_read_are_read_again(buried: Shell) -> None:
    """They may be readable by now; those that are not stay, by name."""
    whole = b'{"specversion":"1.0","type":"t","id":"whole","source":"/s"}'
    good = Message(type="notification.corrupt", id="c-1", source="/unknown", data=whole, dead=DeadLetter("corrupt"))
    bad = Message(type="notification.corrupt", id="c-2", source="/unknown", data=b"{", dead=DeadLetter("corrupt"))
    await bury(buried.directory, bad, good)
    done = buried("dead", "retry", "--type", "notification.corrupt", *AT_QUEUE)
    assert done.returncode == 1
    assert done.stderr == "c-2 can't be read and stays; mend it with --edit, or drop it\n"
    assert await ids(buried.directory) == ["whole"]
    assert "c-2" in await ids(buried.directory, "events.dead")


# -- editing


def editor(shell: Shell, replace: str, by: str) -> str:
    """An editor that replaces one text by another."""
    program = shell.directory / "editor.py"
    program.write_text(
        "import sys, pathlib\n"
        "path = pathlib.Path(sys.argv[1])\n"
        f"path.write_text(path.read_text().replace({replace!r}, {by!r}))\n"
    )
    return f"{sys.executable} {program}"


def edited(shell: Shell, id_: str, editor: str, *words: str) -> Any:
    """Retry one with --edit."""
    return shell(
        "dead", "retry", id_, "--edit", *AT_QUEUE, *words, EDITOR=editor, VISUAL="", TMPDIR=str(shell.directory)
    )


async def test_edit_sends_the_mended_data(buried: Shell) -> None:
    """Checked against the class; the key follows the data."""
    done = edited(buried, "a-1", editor(buried, "7", "8"), "--app", "app.py")
    assert (done.returncode, done.stderr) == (0, "")
    [event] = await messages(buried.directory)
    assert (event.id, event.data, event.key) == ("a-1", {"account_id": 8, "order_id": "A-1"}, "8")
    assert list(buried.directory.glob("dead-letter-*")) == []


async def test_an_edit_that_does_not_fit_is_kept_in_a_file(buried: Shell) -> None:
    """Nothing is sent, and it says where the text is."""
    for wrong, why in (("seven", "line 2"), ('"seven"', "account_id: expected an integer")):
        done = edited(buried, "a-1", editor(buried, "7", wrong), "--app", "app.py")
        assert done.returncode == 1
        assert why in done.stderr
        file = Path(re.findall(r"your text is in (.*)\n", done.stderr)[0])
        assert wrong in file.read_text()
    assert await ids(buried.directory) == []
    assert len(await ids(buried.directory, "events.dead")) == 4


async def test_an_edit_without_a_class_is_sent_unchecked_and_says_so(buried: Shell) -> None:
    """There may be no app at hand."""
    done = edited(buried, "b-1", editor(buried, "x", "y"))
    assert done.returncode == 0
    assert "no class of order.shipped is known here (--app)" in done.stderr
    assert [message.data["account_id"] for message in await messages(buried.directory)] == ["y"]


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("true", "nothing was changed, nothing is sent"),
        ("false", "the editor ended with 1; nothing is sent"),
        ("no-such-editor", "'no-such-editor' can't be started"),
    ],
)
async def test_an_editor_that_does_not_edit_sends_nothing(buried: Shell, program: str, text: str) -> None:
    """The letter stays where it is."""
    done = edited(buried, "a-1", program)
    assert done.returncode in {1, 2}
    assert text in done.stderr
    assert await ids(buried.directory) == []


async def test_bytes_that_could_not_be_read_can_be_mended(shell: Shell) -> None:
    """The whole event is opened then."""
    broken = b'{"specversion":"1.0","type":"t","id":"whole","source":"/s"'
    await bury(
        shell.directory,
        Message(type="notification.corrupt", id="c", source="/u", data=broken, dead=DeadLetter("corrupt")),
    )
    done = edited(shell, "c", editor(shell, '/s"', '/s"}'))
    assert done.returncode == 0, done.stderr
    assert await ids(shell.directory) == ["whole"]


# -- deleting


async def test_drop_asks_first(buried: Shell) -> None:
    """And takes no for an answer; without a terminal it wants --yes."""
    code, shown = buried.on_terminal("dead", "drop", "--type", "order.*", *AT_QUEUE, keys="n\n")
    assert code == 1
    assert "Delete 3 dead letters of sqlite:///events.db?queue=events for good? [y/N]" in shown
    assert "nothing was deleted" in shown
    assert len(await ids(buried.directory, "events.dead")) == 4
    code, shown = buried.on_terminal("dead", "drop", "a-1", *AT_QUEUE, keys="y\n")
    assert code == 0, shown
    assert await ids(buried.directory, "events.dead") == ["a-2", "b-1", "p-1"]


async def test_drop_deletes_what_is_meant(buried: Shell) -> None:
    """With --yes at once."""
    done = buried("dead", "drop", "--cause", "rejected", "--yes", *AT_QUEUE)
    assert (done.returncode, done.stdout) == (0, "1 dead letter of sqlite:///events.db?queue=events deleted\n")
    assert await ids(buried.directory, "events.dead") == ["a-1", "a-2", "b-1"]


# -- screens


def test_on_a_terminal_ids_are_whole_and_lines_fit(buried: Shell) -> None:
    """80 columns, and 40: what does not fit is cut or left out, and nothing is wrapped."""
    for columns in (80, 40):
        code, shown = buried.on_terminal("dead", "ls", *AT_QUEUE, columns=columns)
        lines = shown.splitlines()
        assert code == 0
        assert [line.split()[0] for line in lines] == ["ID", "a-1", "a-2", "b-1", "p-1"]
        assert all(len(line) <= columns for line in lines)
        assert "order.shipped" in lines[1]


def test_an_apps_own_dead_letters_are_found(shell: Shell) -> None:
    """Where `dead_letter=` says they are."""
    (shell.directory / "app.py").write_text(
        "from notification import EventDispatcher\n"
        f"dispatcher = EventDispatcher({QUEUE!r}, dead_letter='sqlite:///graves.db?queue=all')\n"
    )
    shell("send", "a", "--queue", "sqlite:///graves.db?queue=all")
    assert "a" in shell("dead", "ls", "--app", "app.py").stdout.split()
    assert os.path.exists(shell.directory / "graves.db")
