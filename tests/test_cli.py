"""The command, as a shell sees it: what it prints where, and how it exits."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from notification import MessageQueue, open_queue
from notification.cli import cli

from .shell import APP, COMMAND, PATIENCE, QUEUE, Shell, first_line, until


async def waiting(directory: Path) -> list[tuple[str, str | None, Any]]:
    """Type, key and data of what is in the queue."""
    queue: MessageQueue = open_queue(f"sqlite:///{directory}/events.db")
    async with queue:
        return [(message.type, message.key, message.data) async for message in queue.browse()]


# -- every command


def test_every_flag_has_an_environment_variable() -> None:
    """NOTIFICATION_ and its name."""
    group: Any = typer.main.get_command(cli)
    groups = [one for one in group.commands.values() if hasattr(one, "commands")]
    commands = [one for one in group.commands.values() if one not in groups]
    for command in [*commands, *(one for each in groups for one in each.commands.values())]:
        for flag in command.params:
            if flag.param_type_name == "option" and flag.name != "help":
                assert flag.envvar == "NOTIFICATION_" + flag.opts[0].removeprefix("--").replace("-", "_").upper()


@pytest.mark.parametrize("command", ["run", "send", "peek", "stats", "dead ls", "dead show", "dead retry", "dead drop"])
def test_help_has_examples(shell: Shell, command: str) -> None:
    """The shortest way to learn a command."""
    done = shell(*command.split(), "--help")
    assert done.returncode == 0
    assert f"notification {command} " in done.stdout.partition("Examples:")[2]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["bogus"], "No such command"),
        (["send"], "give TYPE and JSON"),
        (["send", "a", "1"], "NOTIFICATION_QUEUE"),
        (["send", "a", "b", "--queue", QUEUE], "not JSON"),
        (["send", "a", "--file", "app.py", "--queue", QUEUE], "leave the others out"),
        (["send", "--file", "nowhere.ndjson", "--queue", QUEUE], "'nowhere.ndjson' can't be read"),
        (["send", "a", "1", "--queue", "channel://"], "lives inside one process"),
        (["stats", "--queue", "sqlit:///x.db"], "did you mean 'sqlite'?"),
        (["stats", "--queue", QUEUE, "--format", "xml"], "'xml'"),
        (["run", "ap"], "did you mean 'app'?"),
        (["run", "nowhere.py"], "there is no file 'nowhere.py'"),
        (["run", "app:nothing"], "app:dispatcher, app:other"),
        (["run", "app.py:number"], "is a int, not an EventDispatcher"),
        (["run", "app", "--queue", "sqlite:///x.db?leese=3"], "did you mean 'lease'?"),
        (["run", "app", "--workers", "0"], "--workers"),
        (["run", "app", "--health", "http"], "write 8080 or 0.0.0.0:8080"),
        (["run", "app", "--log-file", "nowhere/x.log"], "'nowhere/x.log' can't be written"),
        (["peek", "--queue", QUEUE, "--since", "yesterday"], "write 30, 500ms"),
        (["peek", "--queue", QUEUE, "--since", "1h", "--from", "2"], "leave one out"),
        (["peek", "--queue", QUEUE, "--from", "two"], "position"),
        (["dead", "retry", "--queue", QUEUE], "which ones?"),
        (["dead", "drop", "--queue", QUEUE, "--all"], "give --yes"),
        (["dead", "drop", "--queue", QUEUE, "--all", "--type", "a", "--yes"], "--all and type a don't go together"),
        (["dead", "retry", "--queue", QUEUE, "--all", "--rate", "fast"], "write 50/s"),
        (["dead", "retry", "--queue", QUEUE, "--all", "--edit"], "--edit is for one dead letter"),
        (["dead", "show", "--queue", QUEUE], "Missing argument"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_wrong_usage_is_told_in_a_line_and_exits_with_2(shell: Shell, words: list[str], text: str) -> None:
    """The line says what to write instead; there is no traceback."""
    done = shell(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_a_malformed_variable_is_named(shell: Shell) -> None:
    """It is not on the command line, where one would look for it."""
    done = shell("run", "app", NOTIFICATION_WORKERS="many")
    assert done.returncode == 2
    assert "NOTIFICATION_WORKERS" in done.stderr


def test_without_a_terminal_there_is_plain_text(shell: Shell) -> None:
    """No colours, no bars."""
    (shell.directory / "events.ndjson").write_text('{"type":"a"}\n')
    for words in (["--help"], ["send", "--file", "events.ndjson", "--queue", QUEUE], ["stats", "--queue", QUEUE]):
        done = shell(*words)
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout + done.stderr
        assert "\r" not in done.stdout + done.stderr


def test_a_reader_that_goes_away_is_no_traceback(shell: Shell) -> None:
    """As in `notification stats | head -1`."""
    process = shell.start("stats", "--queue", QUEUE)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, errors = process.communicate(timeout=PATIENCE)
    assert errors == ""


# -- send and stats


async def test_send_prints_the_id_of_the_event(shell: Shell) -> None:
    """For scripts: nothing else is on stdout."""
    done = shell("send", "order.shipped", '{"order_id": "A-1"}', "--key", "7", "--queue", QUEUE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip().isprintable()
    assert " " not in done.stdout
    assert await waiting(shell.directory) == [("order.shipped", "7", {"order_id": "A-1"})]


async def test_send_takes_id_delay_and_queue_from_the_environment(shell: Shell) -> None:
    """Every flag has its variable."""
    variables = {"NOTIFICATION_QUEUE": QUEUE, "NOTIFICATION_ID": "mine", "NOTIFICATION_DELAY": "60"}
    assert shell("send", "a", **variables).stdout == "mine\n"
    assert shell.stats()["delayed"] == 1


async def test_send_with_an_app_checks_the_data_and_finds_the_key(shell: Shell) -> None:
    """The app's classes are known, and its queue."""
    words = ["send", "order.shipped", "--app", "app.py", "--queue", QUEUE]
    refused = shell(*words, '{"account_id": "seven", "order_id": "A-1"}')
    assert refused.returncode == 1
    assert "account_id: expected an integer" in refused.stderr
    assert shell(*words, '{"account_id": 7, "order_id": "A-1"}').returncode == 0
    assert await waiting(shell.directory) == [("order.shipped", "7", {"account_id": 7, "order_id": "A-1"})]


async def test_send_tells_broken_lines_by_number_and_sends_the_others(shell: Shell) -> None:
    """And the exit code says that some were broken."""
    lines = '{"type": "a", "data": 1}\nbroken\n\n{"data": 2}\n{"type": "b", "key": 3}\n'
    (shell.directory / "events.ndjson").write_text(lines)
    done = shell("send", "--file", "events.ndjson", "--queue", QUEUE)
    assert (done.returncode, done.stdout) == (1, "2 events sent, 2 lines not\n")
    assert [line.partition(": ")[0] for line in done.stderr.splitlines()] == ["events.ndjson:2", "events.ndjson:4"]
    assert await waiting(shell.directory) == [("a", None, 1), ("b", "3", None)]


def test_send_reads_standard_input_as_it_comes(shell: Shell) -> None:
    """What was written is sent at once, though more may follow: `tail -f | notification send --file -`."""
    process = shell.start("send", "--file", "-", "--queue", QUEUE)
    assert process.stdin is not None
    process.stdin.write('{"type": "a"}\n')
    process.stdin.flush()
    until(lambda: shell.stats()["waiting"] == 1)
    out, errors = process.communicate('{"type": "b"}', timeout=PATIENCE)
    assert (process.returncode, out, errors) == (0, "2 events sent\n", "")


def test_send_is_interrupted_while_standard_input_is_silent(shell: Shell) -> None:
    """It says where to go on, and exits as a shell expects."""
    process = shell.start("send", "--file", "-", "--queue", QUEUE)
    assert process.stdin is not None
    process.stdin.write('{"type": "a"}\n')
    process.stdin.flush()
    until(lambda: shell.stats()["waiting"] == 1)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 128 + signal.SIGINT
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.read() == "1 event sent\n"
    assert "line 2 is the first that was not read" in process.stderr.read()


def test_send_stops_at_a_queue_that_takes_no_more(shell: Shell) -> None:
    """It does not try every line of a long file in vain."""
    lines = "".join(f'{{"type": "a", "data": {n}}}\n' for n in range(5))
    done = shell("send", "--file", "-", "--queue", f"{QUEUE}?capacity=3", "--timeout", "0.3", stdin=lines)
    assert (done.returncode, done.stdout) == (1, "3 events sent, 2 lines not\n")
    assert "stdin: stopped at line 4: the queue is at its capacity of 3" in done.stderr
    assert shell.stats()["waiting"] == 3


def test_send_shows_a_bar_on_a_terminal(shell: Shell) -> None:
    """On stderr, and gone when it is done."""
    (shell.directory / "events.ndjson").write_text('{"type":"a"}\n' * 3)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "send", "--file", "events.ndjson", "--queue", QUEUE],
        cwd=shell.directory, env={**shell.environment, "TERM": "xterm"}, stdout=subprocess.PIPE, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    out, _ = process.communicate(timeout=PATIENCE)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert out == b"3 events sent\n"
    assert "events.ndjson" in shown
    assert "\x1b" in shown


def test_stats_shows_every_figure(shell: Shell) -> None:
    """For people as a table, for programs as JSON."""
    shell("send", "a", "--queue", QUEUE)
    figures = shell.stats()
    assert figures.pop("oldest_age") >= 0
    assert figures.pop("queue").startswith(QUEUE)
    assert figures.pop("shares") == [{"lag": 1, "partition": None, "owner": None, "group": None}]
    assert figures == {"waiting": 1, "in_flight": 0, "delayed": 0, "dead": 0, "settled": 0}
    table = shell("stats", NOTIFICATION_QUEUE=QUEUE).stdout
    assert [line.split()[0] for line in table.splitlines()[1:]] == ["waiting", "in", "delayed", "dead", "oldest"]


# -- run


def test_the_command_line_counts_more_than_the_environment_and_that_more_than_the_code(shell: Shell) -> None:
    """So that a deployment can override a program, and a person the deployment."""
    assert "on sqlite:///code.db" in first_line(shell.start("run", "app"))
    environment = {"NOTIFICATION_QUEUE": "sqlite:///variable.db", "NOTIFICATION_WORKERS": "3"}
    line = first_line(shell.start("run", "app", **environment))
    assert "3 workers" in line
    assert "on sqlite:///variable.db" in line
    assert "on sqlite:///line.db" in first_line(
        shell.start("run", "app", "--queue", "sqlite:///line.db", **environment)
    )


def test_the_first_line_says_what_runs_and_hides_secrets(shell: Shell) -> None:
    """App, workers, handlers, queue."""
    (shell.directory / "app.py").write_text(
        APP.replace("other = ", "from queues.channel import ChannelQueue\n"
                    "from notification import register_queue\n"
                    "register_queue('my', lambda url: ChannelQueue())\nother = ")
    )  # fmt: skip
    line = first_line(shell.start("run", "app.py:dispatcher", "--queue", "my://me:canary@host", "--workers", "2"))
    assert line.startswith("app.py:dispatcher: 2 workers, 1 handler on my://me:***@host")


@pytest.mark.parametrize("app", ["app", "app.py", "app:other", "./app.py:other"])
def test_run_handles_events_until_a_signal_and_reports(shell: Shell, app: str) -> None:
    """Ctrl-C stops in order, and the last line is the report."""
    shell("send", "order.shipped", '{"account_id": 7, "order_id": "A-1"}', "--queue", QUEUE)
    process = shell.start("run", app, "--queue", QUEUE)
    first_line(process)
    assert first_line(process) == "mailed A-1\n"
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, "stopped: 1 handled, 0 retried, 0 dead\n")
    assert "stopping in order" in errors


def test_a_second_signal_leaves_at_once(shell: Shell) -> None:
    """A person who presses Ctrl-C twice means it."""
    slow = "import asyncio\n" + APP.replace(
        'print(f"mailed', 'print("begun", flush=True); await asyncio.sleep(1000, f"mailed'
    )
    (shell.directory / "app.py").write_text(slow.replace(", flush=True)\n", ")\n"))
    shell("send", "order.shipped", '{"account_id": 7, "order_id": "A-1"}', "--queue", QUEUE)
    process = shell.start("run", "app", "--queue", QUEUE)
    first_line(process)
    assert first_line(process) == "begun\n"
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    until(lambda: process.stderr is not None and "stopping in order" in process.stderr.readline())
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 128 + signal.SIGINT


def test_a_thread_that_does_not_end_does_not_hold_up_the_end(shell: Shell) -> None:
    """It is counted as abandoned, and the exit code says that something was left."""
    slow = APP.replace("async def mail", "def mail").replace(
        'print(f"mailed', 'print("begun", flush=True); __import__("time").sleep(1000); print(f"'
    )
    (shell.directory / "app.py").write_text(slow)
    shell("send", "order.shipped", '{"account_id": 7, "order_id": "A-1"}', "--queue", QUEUE)
    process = shell.start("run", "app:other", "--queue", QUEUE)
    first_line(process)
    assert first_line(process) == "begun\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "1 abandoned" in out


def test_an_app_that_does_not_import_shows_its_own_traceback(shell: Shell) -> None:
    """Without the frames in which we imported it."""
    (shell.directory / "app.py").write_text("def begin():\n    raise RuntimeError('boom')\n\nbegin()\n")
    for app in ("app", "app.py"):
        done = shell("run", app)
        assert done.returncode == 1
        assert done.stderr.count("File ") == 2
        assert "loading.py" not in done.stderr
        assert done.stderr.endswith("RuntimeError: boom\n")


def test_an_app_that_runs_while_it_is_imported_is_told_how_not_to(shell: Shell) -> None:
    """Its dispatcher has stopped by the time the command has it."""
    running = "import asyncio\nasync def go():\n    async with dispatcher:\n        pass\nasyncio.run(go())\n"
    (shell.directory / "eager.py").write_text(APP + running)
    done = shell("run", "eager.py")
    assert done.returncode == 2
    assert done.stderr == (
        'notification: eager.py runs its dispatcher while it is imported; put that under `if __name__ == "__main__":`\n'
    )


def test_an_import_inside_an_app_that_fails_is_the_apps(shell: Shell) -> None:
    """`there is no module` is said of the app only."""
    (shell.directory / "app.py").write_text("import nowhere_to_be_found\n")
    done = shell("run", "app")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "No module named 'nowhere_to_be_found'" in done.stderr


def test_what_is_wrong_with_an_apps_set_up_is_told_with_its_place(shell: Shell) -> None:
    """One line, that leads to the file."""
    (shell.directory / "app.py").write_text(APP.replace('key="account_id"', 'key="acount_id"'))
    done = shell("run", "app")
    assert done.returncode == 2
    assert done.stderr.startswith("notification: ")
    assert "app.py:4: " in done.stderr
    assert "did you mean 'account_id'?" in done.stderr
