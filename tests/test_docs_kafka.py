"""What the documents say about Kafka is true: their commands work, and a user with the rights they name can work."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from notification import (
    ConfigurationError,
    Context,
    EventDispatcher,
    Message,
    QueueError,
    RetryLater,
    RetryPolicy,
    open_queue,
)
from queues._kafka_options import KafkaOptions

from .documents import ROOT, blocks, fill
from .kafka_client import ACL, ACLOperation, ACLPermissionType, ACLResourcePatternType, ResourcePattern, ResourceType
from .kafka_scripts import path_with_scripts
from .kafka_secure import NOBODY, SecureKafka
from .kafka_server import Kafka, need_kafka
from .kcat import BINARY

FOREIGN = ("kcat ", "python -m kafka.admin", "kafka-consumer-groups.sh")
"""Commands that are not ours."""
LINES = [
    line
    for _, _, text in blocks("sh")
    for line in text.replace("\\\n", " ").splitlines()
    if any(command in line for command in FOREIGN)
]
[RIGHTS] = [text for _, _, text in blocks("sh") if "kafka-acls.sh" in text]
PATIENCE = 30.0


def run(line: str, directory: Path) -> str:
    """What it prints, by the shell."""
    environment = {**os.environ, "PATH": path_with_scripts(directory)}
    done = subprocess.run(
        line, shell=True, cwd=directory, env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def line_for(line: str, kafka: Kafka, topic: str) -> str:
    """The same about a topic and a group that nobody else has."""
    line = re.sub(r"(-g|--group) notification", rf"\1 {topic}", line.replace("localhost:9092", kafka.bootstrap))
    return re.sub(r"\borders\b", topic, line)


def test_every_option_is_in_the_readme() -> None:
    """In its table, and no option is there that there is not."""
    section = (ROOT / "README.md").read_text().partition("\n## Kafka\n")[2].partition("\n## ")[0]
    told = set(re.findall(r"`(\w+)=", section))
    assert told - {"group", "password_env"} == {field.name for field in attrs.fields(KafkaOptions)}


@pytest.mark.parametrize("line", LINES)
async def test_every_line_about_a_topic_works(line: str, kafka: Kafka, tmp_path: Path) -> None:
    """In a topic where events wait, are delayed and dead; what reads finds something, what writes is read."""
    if "kcat " in line and not BINARY:
        pytest.skip("there is no kcat here")
    if ".sh " in line:
        need_kafka()
    topic = kafka.create()
    url = kafka.url(topic)
    await fill(url)
    async with open_queue(url) as queue:
        before = await queue.size()
    printed = await asyncio.to_thread(run, line_for(line, kafka, topic).replace("kcat", BINARY or "kcat"), tmp_path)
    async with open_queue(url) as queue:
        assert (await queue.size() == before + 1) if " -P " in line else printed


async def test_a_group_that_was_moved_back_handles_all_of_it_again(kafka: Kafka, tmp_path: Path) -> None:
    """By the line of the document."""
    need_kafka()
    [line] = [line for line in LINES if "--to-earliest" in line]
    topic = await asyncio.to_thread(kafka.create)
    for turn in range(2):
        shop = Shop(kafka.url(topic))
        async with shop.dispatcher as dispatcher:
            if turn == 0:
                await dispatcher.dispatch_many([message(name) for name in ("fine", "again")])
            await dispatcher.start()
            await dispatcher.join()
        assert sorted(shop.handled) == ["again", "fine"]
        assert topic in await asyncio.to_thread(run, line_for(line, kafka, topic), tmp_path)


@pytest.fixture
def secure(kafka_secure: SecureKafka) -> Iterator[SecureKafka]:
    """Which forgets what a user was given."""
    yield kafka_secure
    kafka_secure.take_rights(NOBODY)


async def test_a_user_with_the_rights_of_the_document_may_run_a_queue(
    secure: SecureKafka, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    """Dispatch, handle, retry, delay, let die, look at what died, handle that again; before, nothing of it."""
    need_kafka()
    topic = await asyncio.to_thread(secure.create)
    url = secure.sasl("PLAIN", topic, user=NOBODY, group=topic, session_timeout="1s")
    with pytest.raises(ConfigurationError, match="does not allow this user the topic"):
        await open_queue(url).open()
    for line in RIGHTS.replace("\\\n", " ").splitlines():
        ours = line_for(line, secure, topic).replace("User:shop", f"User:{NOBODY}")
        assert "Adding ACLs" in await asyncio.to_thread(run, ours, tmp_path)
    await known(url)
    shop = Shop(url)
    async with shop.dispatcher as dispatcher:
        await dispatcher.dispatch_many([message(name) for name in ("fine", "again", "bad")])
        await dispatcher.dispatch(message("late"), delay=0.3)
        await dispatcher.start()
        await dispatcher.join()
        assert sorted(shop.handled) == ["again", "fine", "late"]
        assert [letter.id async for letter in dispatcher.dead_letters.browse()] == ["bad"]
        assert (await dispatcher.stats()).dead == 1
        [letter] = await dispatcher.dead_letters.take(lambda found: True, 9)
        await dispatcher.dead_letters.ack_many([letter])
        assert (await dispatcher.health()).last_error == ""
    assert "what was dealt with stays" not in caplog.text
    with pytest.raises(ConfigurationError, match="does not allow this user the topic"):
        await open_queue(url.replace(topic, await asyncio.to_thread(secure.create))).open()


async def test_a_user_who_may_only_write_may_dispatch(secure: SecureKafka) -> None:
    """At once and for later; not handle."""
    topic = await asyncio.to_thread(secure.create)
    pattern = ResourcePattern(ResourceType.TOPIC, topic, ACLResourcePatternType.PREFIXED)
    right = ACL(f"User:{NOBODY}", "*", ACLOperation.WRITE, ACLPermissionType.ALLOW, pattern)
    await asyncio.to_thread(secure.admin.create_acls, [right])
    url = secure.sasl("PLAIN", topic, user=NOBODY, group=topic)
    await known(url)
    async with Shop(url).dispatcher as dispatcher:
        await dispatcher.dispatch(message("fine"))
        await dispatcher.dispatch(message("late"), delay=60)
    async with open_queue(url) as queue:
        with pytest.raises(QueueError, match=r"does not allow this user the (topic|group)"):
            await queue.pop()


def message(name: str) -> Message:
    return Message(type="rights.tried", id=name, source="/rights", key=name)


class Shop:
    """A service of somebody who may do little."""

    def __init__(self, url: str) -> None:
        self.handled: list[str] = []
        self.dispatcher = EventDispatcher(url, retry=RetryPolicy(attempts=1))
        self.dispatcher.on("rights.*")(self.handle)

    async def handle(self, message: Message, ctx: Context) -> None:
        if message.id == "bad":
            raise ValueError(message.id)
        if message.id == "again" and ctx.attempt == 1:
            raise RetryLater(0.05)
        self.handled.append(message.id)


async def known(url: str) -> None:
    """Rights are known to the broker a moment after they were given."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(QueueError, ConfigurationError):
                async with open_queue(url):
                    return
            await asyncio.sleep(0.1)
