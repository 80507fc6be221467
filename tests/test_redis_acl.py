"""The list of commands for administrators is exact: what the queues run, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from queues._redis_acl import COMMANDS, CONNECTION, rules

from .redis_server import Redis

QUEUES = Path(__file__).parents[1] / "queues"


def run() -> set[str]:
    """The commands of all scripts and of all our files about Redis, as a `redis.call('X'` or a `("X",`."""
    scripts = "".join(path.read_text() for path in QUEUES.glob("_lua/*.lua"))
    names = {name.lower() for name in re.findall(r"""redis\.p?call\(['"](\w+)['"]""", scripts)}
    known = {command.partition("|")[0] for command in COMMANDS}
    for path in QUEUES.glob("*redis*.py"):
        if path.name not in {"_redis_acl.py", "_redis_link.py"}:
            words = set(re.findall(r'"([A-Z]{3,})"', path.read_text()))
            names |= {word.lower() for word in words} & known
    return names


def test_every_command_of_a_script_is_in_the_list() -> None:
    """Else a user with these rules is refused in the middle of it."""
    assert run() - {command.partition("|")[0] for command in COMMANDS} == set()


def test_the_list_has_no_command_that_nothing_runs() -> None:
    """Least privilege: connecting, the scripts' own, and what is called."""
    wanted = run() | set(CONNECTION) | {"evalsha", "script"}
    assert {command.partition("|")[0] for command in COMMANDS} - wanted == set()


def test_the_rules_name_the_keys_of_a_queue_and_of_its_dead_letters() -> None:
    """A name with a {tag} of its own keeps it; others are their own tag."""
    assert rules("orders")[:5] == ("resetkeys", "~orders", "~{orders}:*", "~{orders}.*", "-@all")
    assert {"~{shop}:orders", "~{shop}:orders:*", "~{shop}:orders.*"} <= set(rules("{shop}:orders"))
    assert rules()[:3] == ("resetkeys", "~*", "-@all")


def test_redis_takes_the_rules(redis: Redis) -> None:
    """Every command in them exists."""
    redis.user("orders", *rules("orders"))
    redis.admin.acl_deluser("orders")
