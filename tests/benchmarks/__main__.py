"""The command: `python -m tests.benchmarks throughput|latency|micro --queue URL`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from . import micro, runs
from .load import Load


def main() -> None:
    """Run the rounds asked for and print every figure, best round last."""
    options = _options()
    print(_machine(options.loop), file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        results = [_round(options, directory, number) for number in range(options.rounds)]
    if options.json:
        print(json.dumps({"machine": _machine(options.loop), "command": " ".join(sys.argv[1:]), "rounds": results}))
        return
    for result in results:
        for name, figures in result.items():
            print(f"{name:42} {_shown(figures)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("benchmark", choices=["throughput", "latency", "micro"])
    parser.add_argument("--queue", help="queue URL; default: an SQLite file in a directory of its own")
    parser.add_argument("--events", type=int, default=0, help="default: 100,000; for latency 2,000")
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--keyed", action="store_true", help="every event has a key, 997 of them")
    parser.add_argument("--waiting", type=int, default=0, help="fill the queue with that many first, handle --events")
    parser.add_argument("--rate", type=float, default=200.0, help="events a second, for latency")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _round(options: argparse.Namespace, directory: str, number: int) -> dict[str, Any]:
    if options.benchmark == "micro":
        return micro.run()
    default = 2000 if options.benchmark == "latency" else 100_000
    load = Load(
        queue=options.queue or f"sqlite:///{Path(directory) / f'{number}.db'}",
        events=options.events or default,
        workers=options.workers,
        keyed=options.keyed,
        rate=options.rate,
        loop=options.loop,
    )
    return runs.latency(load) if options.benchmark == "latency" else runs.throughput(load, options.waiting)


def _shown(figures: Any) -> str:
    if isinstance(figures, float):
        return f"{figures:9.2f} µs"
    units = {"per_s": "{:>9,.0f}/s", "rss_mb": "memory {:.0f} MB"}
    return "  ".join(
        units.get(name, name.removesuffix("_ms") + " {:.2f} ms").format(value) for name, value in figures.items()
    )


def _machine(loop: str) -> str:
    packages = ["anyio", "attrs", "cattrs", "orjson", *(["uvloop"] if loop == "uvloop" else [])]
    names = " ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {names}; "
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    )


if __name__ == "__main__":
    main()
