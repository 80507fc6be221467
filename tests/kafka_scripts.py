"""Kafka's own commands, under the names of its scripts."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .kafka_broker import JARS, JAVA

_CLASSES = {
    "kafka-acls.sh": "org.apache.kafka.tools.AclCommand",
    "kafka-consumer-groups.sh": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
}


def path_with_scripts(directory: Path) -> str:
    """Write them there; a PATH that finds them, and what is installed beside us."""
    for name, main in _CLASSES.items():
        script = directory / name
        script.write_text(f"#!/bin/sh\nexec {' '.join(JAVA)} -cp '{JARS}/*' {main} \"$@\"\n")
        script.chmod(0o700)
    return f"{directory}:{Path(sys.executable).parent}:{os.environ['PATH']}"
