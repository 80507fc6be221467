"""`kcat`, and kafka-python's own command: programs that share no code with us see what is in a topic."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from .redis_server import PATIENCE

BINARY = next((name for name in ("kcat", "kafkacat") if shutil.which(name)), "")
"""Debian has had both names."""


def kcat(bootstrap: str, *words: str, given: bytes = b"") -> str:
    """What it prints, without the last line's end; an error of the broker fails the test. given: on its stdin."""
    if not BINARY:
        pytest.skip("there is no kcat here")
    # a topic with a misspelt name shall not be there because it was looked at
    words = ("-q", "-b", bootstrap, "-X", "allow.auto.create.topics=false", *words)
    done = subprocess.run([BINARY, *words], input=given, capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout!r}{done.stderr!r}"
    return done.stdout.decode().removesuffix("\n")


def produce(bootstrap: str, topic: str, value: bytes, *words: str, headers: Mapping[str, str] | None = None) -> None:
    """One record of these bytes, without the end of a line among them."""
    marked = [word for name, text in (headers or {}).items() for word in ("-H", f"{name}={text}")]
    kcat(bootstrap, "-P", "-t", topic, *marked, *words, given=value)


def consumed(bootstrap: str, topic: str, *words: str) -> list[dict[str, Any]]:
    """Every record of a topic, each partition in order, as kcat shows them."""
    return [json.loads(line) for line in kcat(bootstrap, "-C", "-e", "-J", "-t", topic, *words).splitlines()]


def kafka_admin(bootstrap: str, *words: str) -> Any:
    """What `python -m kafka.admin` says."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "kafka.admin", "-b", bootstrap, "--format", "json", *words],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout)
