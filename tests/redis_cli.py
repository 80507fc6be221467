"""`redis-cli`, which shares no code with us: what it sees is there."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from .redis_server import PATIENCE, need_redis

BINARY = "redis-cli"


def redis_cli(url: str, *words: str, user: Sequence[str] = ()) -> str:
    """What it prints for a command, without the last line's end; an error of the server fails the test.

    user: name and password, when not those of the URL.
    """
    need_redis(BINARY)
    login = ["--user", user[0], "--pass", user[1], "--no-auth-warning"] if user else []
    done = subprocess.run(
        [BINARY, "-e", "-u", url, *login, *words], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout.removesuffix("\n")
