"""The suite finds what it is there to find: each broken queue fails in exactly one group, the sound one in none."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.recorder import Record

_GROUP = {
    "TestSound": None,
    "TestUnfencedAck": "fencing",
    "TestLostOnACancelledPop": "cancelling",
    "TestTailInsteadOfHeadOnRelease": "releasing",
    "TestCountedHandBack": "releasing",
    "TestAKeyAtTwoOwners": "keyed",
    "TestDelayForgottenOnReopening": "reopening",
    "TestOneBadRecordFailsItsBatch": "corrupt",
    "TestCapacityBlocksNack": "capacity",
}


@pytest.mark.timeout(300)
async def test_each_broken_queue_fails_in_exactly_one_group(tmp_path: Path) -> None:
    """Nine runs of the whole suite, five at a time: they mostly wait."""
    names = list(_GROUP)
    results = await asyncio.gather(*(_run(tmp_path / f"{start}.json", names[start::5]) for start in range(5)))
    found = {name: record for records in results for name, record in records.items()}
    assert set(found) == set(_GROUP)
    for name, group in _GROUP.items():
        failed = found[name].failed
        assert {where for where, _, _ in failed} == ({group} if group else set()), f"{name}: {failed}"
        assert found[name].ran > 80, f"{name}: the suite did not run"


async def _run(result: Path, names: list[str]) -> dict[str, Record]:
    broken = Path(__file__).with_name("broken_queues.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.recorder", str(result), *(f"{broken}::{name}" for name in names),
        stdout=asyncio.subprocess.DEVNULL, cwd=broken.parents[1],
    )  # fmt: skip
    await process.wait()
    return {name: Record(**record) for name, record in json.loads(result.read_text()).items()}
