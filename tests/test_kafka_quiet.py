"""What kafka-python logs is there for those who ask, and troubles nobody else."""

from __future__ import annotations

import logging

import pytest

from queues._kafka_client import client
from queues._kafka_quiet import keep_quiet

CONNECTION, SELECTOR, CLUSTER = "kafka.net.connection", "kafka.net.selector", "kafka.cluster"


@pytest.fixture(autouse=True)
def _quiet() -> None:
    """As every queue of Kafka asks for."""
    keep_quiet()


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Of three lines, those that come through."""
    caplog.clear()
    logger = logging.getLogger(CONNECTION)
    logger.debug("debug")
    logger.info("info")
    logger.warning("warning")
    return [record.getMessage() for record in caplog.records]


def test_only_its_warnings_come_through_where_others_tell_what_they_do(caplog: pytest.LogCaptureFixture) -> None:
    """INFO for all is not meant for it: it has a line for each connection."""
    caplog.set_level(logging.INFO)
    assert said(caplog) == ["warning"]


@pytest.mark.parametrize("name", ["kafka", CONNECTION])
def test_its_news_are_there_for_who_gives_its_logger_a_level(caplog: pytest.LogCaptureFixture, name: str) -> None:
    """The usual way to ask."""
    caplog.set_level(logging.WARNING)
    caplog.set_level(logging.INFO, logger=name)
    assert said(caplog) == ["info", "warning"]


def test_everything_is_there_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    """Of all programs."""
    caplog.set_level(logging.DEBUG)
    assert said(caplog) == ["debug", "info", "warning"]


def test_what_it_says_about_itself_is_for_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """A busy machine, or a close in the middle of a question, is no error of its user's."""
    caplog.set_level(logging.INFO)
    logging.getLogger(SELECTOR).warning("Task <kafka.net.selector.Task object at 0x7f> ran for 0.411s (>0.100s …")
    logging.getLogger(CLUSTER).error("Metadata refresh: failed %s", client.Cancelled())
    assert caplog.records == []
    logging.getLogger(CLUSTER).error("Metadata refresh: failed %s", client.NodeNotReadyError())
    assert len(caplog.records) == 1
