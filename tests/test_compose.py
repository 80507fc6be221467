"""compose.yaml, read as text: there is no parser for it among what the tests need."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .kafka_broker import VERSION

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "compose.yaml").read_text()
CODE = re.sub(r"^ *#.*\n", "", TEXT, flags=re.MULTILINE)


def test_nobody_but_this_machine_gets_in() -> None:
    """Every port is bound to the loopback address: no service asks for a password."""
    ports = re.findall(r'^      - "(\S+:\d+)"$', CODE, flags=re.MULTILINE)
    assert ports == ["127.0.0.1:6379:6379", "127.0.0.1:9092:9092"]
    assert CODE.count("ports:") == len(ports)
    assert "network_mode" not in CODE


def test_its_urls_are_those_it_listens_on() -> None:
    """What the comment says and what clients are told by the broker is one address."""
    (advertised,) = re.findall(r"ADVERTISED_LISTENERS: HOST://(\S+),CONTAINERS://(\S+)$", CODE, flags=re.MULTILINE)
    assert {f"kafka://{address}/orders" for address in advertised} <= set(re.findall(r"kafka://\S+", TEXT))


def test_what_was_accepted_is_kept() -> None:
    """On disk, in volumes that outlive the containers; and no topic is made by a misspelt name."""
    assert "--appendonly yes" in CODE
    assert 'KAFKA_AUTO_CREATE_TOPICS_ENABLE: "false"' in CODE
    assert "- redis:/data" in CODE
    assert "- kafka:/var/lib/kafka/data" in CODE
    assert "KAFKA_LOG_DIRS: /var/lib/kafka/data" in CODE


@pytest.mark.parametrize("place", [place for place in ("compose.yaml", ".ci/kafka") if (ROOT / place).exists()])
def test_kafka_is_the_one_that_the_tests_prove(place: str) -> None:
    """One version, wherever it is written."""
    assert re.findall(r"(?:apache/kafka:|^version=)(\S+)", (ROOT / place).read_text(), flags=re.MULTILINE) == [VERSION]
