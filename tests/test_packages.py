"""An application with a package of its own named like one of ours is told so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["queues", "workers"])
def test_a_package_that_shadows_ours_is_named_at_import(name: str, tmp_path: Path) -> None:
    """The error says which path won and what to do."""
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    done = subprocess.run(
        [sys.executable, "-c", "import notification"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: notification needs its own package '{name}'")
    assert str(tmp_path / name / "__init__.py") in last
    assert f"myapp.{name}" in last


def test_a_mere_directory_of_that_name_is_no_package(tmp_path: Path) -> None:
    """Without an `__init__.py` it is found last."""
    (tmp_path / "workers").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", "import notification"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
