"""`notification config`, and how every command takes its queue and its settings from a file."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from typing import Any

import pytest
from attrs import frozen

from notification.cli import main

from .kafka_server import Kafka, unique
from .redis_server import Redis
from .shell import APP, PATIENCE, Shell, first_line

SHOP = """
workers = 3
log_level = "warning"
dead_letter = "graves"
source = "/from/the/file"

[queue]
url = "sqlite:///shop.db"
lease = "10s"

[queues]
graves = "sqlite:///graves.db"
audit = "sqlite:///audit.db?queue=audit"
"""
ROUTES = """
[queue]
choose = "env:SHOP_ROUTE"
[queue.routes]
old = "sqlite:///old.db"
new = "sqlite:///new.db"
"""


@frozen
class Done:
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


class Here:
    """Runs the command in this process: `Shell` takes half a second for each. start: in one of its own."""

    def __init__(self, shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory, self.start = shell.directory, shell.start
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *words: str, **environment: str) -> Done:
        with self._monkeypatch.context() as patched:
            patched.chdir(self.directory)
            patched.setattr(sys, "argv", ["notification", *words])
            patched.setattr(sys, "path", [*sys.path])
            for name, value in {"NOTIFICATION_CONFIG": "shop.toml", **environment}.items():
                patched.setenv(name, value)
            handlers, level = logging.root.handlers[:], logging.root.level
            self._capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main()
            logging.root.handlers[:], logging.root.level = handlers, level
        for name in ("app", "made"):  # the next test has its own
            sys.modules.pop(name, None)
        printed = self._capsys.readouterr()
        return Done(int(ended.value.code or 0), printed.out, printed.err)


@pytest.fixture
def shop(shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """A directory with a file of settings, which NOTIFICATION_CONFIG names."""
    for name in os.environ:
        if name.startswith(("NOTIFICATION_", "REDIS_", "KAFKA_", "MESSAGE_QUEUE_")) or name == "LOG_LEVEL":
            monkeypatch.delenv(name)
            shell.environment.pop(name, None)
    (shell.directory / "shop.toml").write_text(SHOP)
    shell.environment["NOTIFICATION_CONFIG"] = "shop.toml"
    return Here(shell, monkeypatch, capsys)


def listed(shell: Here, *words: str, **environment: str) -> dict[str, tuple[Any, str]]:
    """Value and source of each setting."""
    done = shell("config", *words, "--format", "json", **environment)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["setting"]: (line["value"], line["source"]) for line in lines}


# -- notification config


def test_config_shows_every_setting_with_its_source(shop: Here) -> None:
    """For people as a table, for programs as a line of JSON each."""
    found = listed(shop, NOTIFICATION_GRACE="9s")
    assert found["queue"] == ("sqlite:///shop.db?queue=events&lease=10s", "shop.toml: queue")
    assert found["workers"] == (3, "shop.toml: workers")
    assert found["grace"] == (9, "NOTIFICATION_GRACE")
    assert found["hold"] == (60, "default")
    lines = [line.split() for line in shop("config").stdout.splitlines()]
    assert lines[0] == ["SETTING", "VALUE", "FROM"]
    assert ["hold", "60s", "default"] in lines
    assert ["workers", "3", "shop.toml:", "workers"] in lines


def test_config_shows_another_queue_and_another_file(shop: Here) -> None:
    """As every command: by the name of a queue, or its URL, and by --config."""
    (shop.directory / "other.json").write_text('{"queue": "sqlite:///other.db"}')
    assert listed(shop, "--queue", "audit")["queue"] == ("sqlite:///audit.db?queue=audit", "shop.toml: queues.audit")
    assert listed(shop, "--queue", "sqlite:///x.db")["queue"] == ("sqlite:///x.db?queue=events", "--queue")
    assert listed(shop, NOTIFICATION_QUEUE="audit")["queue"][1] == "shop.toml: queues.audit"
    assert listed(shop, "--config", "other.json")["queue"] == ("sqlite:///other.db?queue=events", "other.json: queue")


def test_config_shows_no_secret(shop: Here) -> None:
    """In no format, whatever it came from."""
    for name, value in (
        ("NOTIFICATION_QUEUE", "redis://:hunter2@localhost"),
        ("NOTIFICATION_DEAD_LETTER", "redis://:hunter2@localhost"),
    ):
        for format_ in ("table", "json"):
            done = shop("config", "--format", format_, **{name: value})
            assert done.returncode == 0, done.stderr
            assert "redis://:***@localhost" in done.stdout
            assert "hunter2" not in done.stdout + done.stderr


def test_config_shows_what_an_app_goes_by(shop: Here) -> None:
    """One that is made by code takes the queue of the file, and is told what it leaves alone."""
    (shop.directory / "made.py").write_text(
        "from notification import EventDispatcher\n"
        'dispatcher = EventDispatcher.from_config({"hold": 7}, name="audit")\n'
    )
    assert listed(shop, "--app", "made.py")["hold"] == (7, "the mapping: hold")
    assert listed(shop, "--app", "made.py")["queue"][0] == "sqlite:///audit.db?queue=audit"
    done = shop("config", "--app", "app.py")
    assert "app.py makes its dispatcher by code: of these it takes the queue, workers and log_level" in done.stderr
    assert "sqlite:///shop.db" in done.stdout
    assert listed(shop, "--app", "app.py", NOTIFICATION_CONFIG="")["queue"] == (
        "sqlite:///code.db?queue=events",
        "app.py",
    )


def test_config_names_variables_that_nobody_reads(shop: Here) -> None:
    """One that is nearly a setting, and those of earlier programs without what makes them count."""
    done = shop("config", NOTIFICATION_GRACCE="3", NOTIFICATION_ROUTE="old", REDIS_ADDR="cache:1")
    assert done.returncode == 0
    assert "NOTIFICATION_GRACCE is set, and nothing reads it; did you mean 'NOTIFICATION_GRACE'?" in done.stderr
    assert "REDIS_ADDR is set, and not read unless MESSAGE_QUEUE_TYPE=redis" in done.stderr
    assert "NOTIFICATION_ROUTE" not in done.stderr


@pytest.mark.parametrize(
    ("content", "words", "text"),
    [
        ("grase = 3", ["config"], "notification: NOTIFICATION_CONFIG"),
        (
            "queue = = 3",
            ["stats"],
            "NOTIFICATION_CONFIG: shop.toml: this is not TOML: Invalid value (at line 1, column 9)",
        ),
        ("grase = 3", ["stats"], "shop.toml: there is no setting 'grase'; did you mean 'grace'?"),
        ("workers = 0", ["run", "app.py"], "shop.toml: workers: 0 is no whole number from 1 to 10000"),
        ('log_level = "loud"', ["run", "app.py"], "shop.toml: log_level: 'loud' is none of"),
        ('[queues]\na = "channel://"\nb = "channel://"', ["stats"], "which queue? There are a, b"),
        ("grace = 3", ["stats"], "NOTIFICATION_QUEUE"),
        ("grace = 3", ["queue", "describe"], "NOTIFICATION_QUEUE"),
        (ROUTES, ["queue", "describe"], "shop.toml: queue is several queues; give --queue the name of one: old, new"),
        (ROUTES, ["peek", "--partition", "3"], "give --queue the one with the partition"),
        (
            'queue = "redis://localhost"\n',
            ["stats", "--queue", "audit"],
            "--queue: 'audit' is neither a queue's URL nor",
        ),
    ],
)
def test_a_file_that_can_not_be_is_told_in_a_line(shop: Here, content: str, words: list[str], text: str) -> None:
    """With its place; the exit code is 2, and there is no traceback."""
    (shop.directory / "shop.toml").write_text(content)
    text = "there is no setting 'grase'" if words == ["config"] else text
    done = shop(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr
    assert "Traceback" not in done.stderr


# -- every command


def test_commands_take_their_queue_from_the_file(shop: Here) -> None:
    """With its dead letters and its source; the command line and the environment count more."""
    assert shop("send", "order.shipped", "{}").returncode == 0
    assert shop("send", "order.shipped", "{}", "--queue", "audit").returncode == 0
    assert shop("send", "order.shipped", "{}", NOTIFICATION_QUEUE="sqlite:///env.db").returncode == 0
    assert {path.name for path in shop.directory.glob("*.db")} == {"shop.db", "audit.db", "env.db"}
    event = json.loads(shop("peek", "--format", "json").stdout)
    assert event["source"] == "/from/the/file"
    for words in (["stats"], ["stats", "--queue", "audit"], ["stats", "--app", "app.py"]):
        assert json.loads(shop(*words, "--format", "json").stdout)["waiting"] == 1
    assert shop("dead", "ls").returncode == 0
    assert (shop.directory / "graves.db").exists()
    assert json.loads(shop("queue", "describe", "--format", "json").stdout)["queue"] == "events"
    assert json.loads(shop("queue", "describe", "audit", "--format", "json").stdout)["queue"] == "audit"


def test_an_app_by_code_runs_on_the_queue_of_the_file(shop: Here) -> None:
    """With as many workers as it says; it is logged what it says."""
    shop("send", "order.shipped", '{"account_id": 7, "order_id": "A-1"}')
    process = shop.start("run", "app.py", "--format", "json")
    assert json.loads(first_line(process)) == {
        "app": "app.py", "processes": 1, "workers": 3, "handlers": 1, "queue": "sqlite:///shop.db?queue=events&lease=10s",
    }  # fmt: skip
    assert first_line(process) == "mailed A-1\n"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "INFO" not in errors, "the level is warning"


def test_several_processes_read_the_file_themselves(shop: Here) -> None:
    """And go by the command line, where it says something else, even if the environment has names of old for it."""
    process = shop.start(
        "run", "app.py", "--processes", "2", "--queue", "audit", "--format", "json", MESSAGE_QUEUE_TYPE="redis"
    )
    assert json.loads(first_line(process)) == {
        "app": "app.py", "processes": 2, "workers": 3, "handlers": 1, "queue": "sqlite:///audit.db?queue=audit",
    }  # fmt: skip
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


def test_an_app_by_configuration_runs_as_its_file_says(shop: Here) -> None:
    """Its own file, with its own settings; --queue may name one of its queues."""
    made = APP.replace('EventDispatcher("sqlite:///code.db")', 'EventDispatcher.from_config("own.toml")')
    (shop.directory / "made.py").write_text(made)
    (shop.directory / "own.toml").write_text(
        'queue = "first"\nworkers = 5\n[queues]\nfirst = "sqlite:///first.db"\nsecond = "sqlite:///second.db"\n'
    )
    for words, database in (([], "first"), (["--queue", "second"], "second")):
        names = {"NOTIFICATION_CONFIG": ""}
        sent = shop(
            "send", "order.shipped", '{"account_id": 7, "order_id": "A-1"}', "--app", "made.py", *words, **names
        )
        assert sent.returncode == 0, sent.stderr
        process = shop.start("run", "made.py", *words, "--format", "json", **names)
        started = json.loads(first_line(process))
        assert (started["queue"], started["workers"]) == (f"sqlite:///{database}.db?queue=events", 5)
        assert first_line(process) == "mailed A-1\n"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0


def test_a_switch_in_the_file_is_looked_at_whole_and_route_by_route(shop: Here) -> None:
    """`send` goes where the flag says."""
    (shop.directory / "shop.toml").write_text(ROUTES)
    for route, number in (("old", 1), ("new", 2)):
        for _ in range(number):
            assert shop("send", "a", "{}", SHOP_ROUTE=route).returncode == 0
        figures = json.loads(shop("stats", "--queue", route, "--format", "json").stdout)
        assert figures["waiting"] == number
    assert json.loads(shop("stats", "--format", "json", SHOP_ROUTE="old").stdout)["waiting"] == 3


def test_a_strict_switch_keeps_what_is_sent_while_it_changes_routes(shop: Here) -> None:
    """In the spill of the file, where the service finds it; nothing else of its degradation is a command's business."""
    (shop.directory / "shop.toml").write_text(
        ROUTES.replace("[queue]", "[queue]\nstrict = true") + '[degradation]\nspill = "spill"\ninline = true\n'
    )
    assert shop("send", "a", "{}", SHOP_ROUTE="old").returncode == 0
    done = shop("send", "a", "{}", SHOP_ROUTE="hold")
    assert done.returncode == 0, done.stderr
    assert "it waits in the spill" in done.stderr
    assert json.loads(shop("stats", "--format", "json", SHOP_ROUTE="old").stdout)["waiting"] == 1
    assert [*(shop.directory / "spill").iterdir()] != []


def test_create_takes_its_flags_from_the_file(shop: Here, kafka: Kafka) -> None:
    """A flag of the command line counts more, and --help shows what it is without one."""
    topic = unique()
    (shop.directory / "shop.toml").write_text(
        f'[queue]\nurl = "{kafka.url(topic)}"\n[queue.create]\npartitions = 4\nretention = "2h"\nmax_event = "64KiB"\n'
    )
    helped = shop("queue", "create", "--help")
    assert "default: 4" in helped.stdout
    done = shop("queue", "create", "--retention", "3h", "--format", "json")
    assert done.returncode == 0, done.stderr
    made = [json.loads(line) for line in done.stdout.splitlines()]
    assert (made[0]["name"], made[0]["note"]) == (topic, "4 partitions, 1 replica, kept 3 h")
    (shop.directory / "shop.toml").write_text(f'[queue]\nurl = "{kafka.url(topic)}"\ncreate = {{ partitons = 4 }}\n')
    done = shop("queue", "create")
    assert done.returncode == 2
    assert "queue.create.partitons: kafka:// has no such option of create; did you mean 'partitions'?" in done.stderr


def test_create_takes_its_flags_from_the_names_of_old(shop: Here, kafka: Kafka) -> None:
    """Partitions and replication of the environment count for that and nothing else."""
    topic = unique()
    done = shop(
        "queue", "create", "--format", "json", NOTIFICATION_CONFIG="", MESSAGE_QUEUE_TYPE="kafka", KAFKA_TOPIC=topic,
        KAFKA_BROKERS=kafka.bootstrap, KAFKA_TOPIC_PARTITIONS="2", KAFKA_REPLICATION_FACTOR="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout.splitlines()[0])
    assert (made["name"], made["note"].startswith("2 partitions, 1 replica")) == (topic, True)


def test_a_list_of_redis_by_the_names_of_old(shop: Here, redis: Redis) -> None:
    """From an event that is sent to one that is counted."""
    host = redis.url.partition("://")[2].partition("/")[0].rpartition("@")
    (shop.directory / "shop.json").write_text(
        json.dumps({"type": "redis", "buffer_size": 1, "extra": {"addr": host[2], "queue_key": f"jobs-{unique()}"}})
    )
    password = {"REDIS_PASSWORD": host[0].partition(":")[2]} if host[0] else {}
    names = {"NOTIFICATION_CONFIG": "shop.json", **password}
    assert shop("send", "a", "{}", **names).returncode == 0
    assert shop("send", "a", "{}", "--timeout", "0", **names).returncode == 1, "it is full"
    assert json.loads(shop("stats", "--format", "json", **names).stdout)["waiting"] == 1
