"""The commands that a user of Redis needs for a queue, and no others: for administrators, the tests and error texts."""

from __future__ import annotations

CONNECTION = ("auth", "hello", "select", "time")
SCRIPTS = ("evalsha", "script|load")
LIST = (
    "blmove", "blpop", "brpop", "del", "get", "hdel", "hexists", "hget", "hkeys", "hset", "incr", "incrby",
    "lindex", "llen", "lmove", "lpush", "lrange", "lrem", "ltrim", "rpop", "rpush", "sadd", "sort", "spop", "zadd",
    "zcard", "zcount", "zrange", "zrangebyscore", "zrem", "zremrangebyscore", "zscore",
)  # fmt: skip
STREAM = (
    "exec", "hgetall", "hincrby", "multi", "sadd", "sismember", "srem", "xack", "xadd", "xclaim", "xdel",
    "xgroup|create", "xgroup|delconsumer", "xinfo|consumers", "xinfo|groups", "xlen", "xpending", "xrange",
    "xreadgroup", "xtrim",
)  # fmt: skip
COMMANDS = tuple(sorted({*CONNECTION, *SCRIPTS, *LIST, *STREAM}))


def rules(*queues: str) -> tuple[str, ...]:
    """For `ACL SETUSER name on >password …`: the keys of these queues, or all keys, and the commands."""
    roots = [root for name in queues for root in ([name, f"{{{name}}}"] if "{" in name else [f"{{{name}}}"])]
    keys = [*(f"~{name}" for name in queues), *(f"~{root}{mark}*" for root in roots for mark in ":.")]
    return ("resetkeys", *(keys or ["~*"]), "-@all", *(f"+{command}" for command in COMMANDS))
