"""The interface as type checkers see it: what they accept, what they refuse, and that nothing of it is unknown."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
CASES = sorted((ROOT / "tests" / "typing").glob("*.py"))
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}

REFUSED = re.compile(r"\s*# type: ignore\[[a-z, -]+\]  # (?P<why>.+)$")
REFUSED_BY_PYRIGHT = re.compile(r"\s*# pyright: ignore  # (?P<why>.+)$")

Lines = set[tuple[str, int]]
"""File names and line numbers."""


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=110
    )


def marked(checker: str) -> Lines:
    """The lines that this checker has to refuse."""
    lines: Lines = set()
    for case in CASES:
        for number, line in enumerate(case.read_text(encoding="utf-8").splitlines(), 1):
            refused = REFUSED.search(line)
            if refused and not (checker == "pyright" and refused["why"].startswith("mypy only")):
                lines.add((case.name, number))
            if checker == "pyright" and REFUSED_BY_PYRIGHT.search(line):
                lines.add((case.name, number))
    return lines


@pytest.fixture
def unmarked(tmp_path: Path) -> Path:
    """The cases without their markers, so that the checkers say all they have to say."""
    for case in CASES:
        lines = case.read_text(encoding="utf-8").splitlines()
        text = "\n".join(REFUSED.sub("", REFUSED_BY_PYRIGHT.sub("", line)) for line in lines)
        (tmp_path / case.name).write_text(text + "\n", encoding="utf-8")
    return tmp_path


def compare(checker: str, errors: Iterable[tuple[str, int, str]]) -> None:
    """Fail with what was refused and should not be, and with the lines that should be and were not."""
    expected = marked(checker)
    assert expected, "no marker was found"
    told = {(name, number): text for name, number, text in errors}
    unexpected = [f"{name}:{number} {told[name, number]}" for name, number in sorted(told.keys() - expected)]
    assert (unexpected, sorted(expected - told.keys())) == ([], [])


def test_mypy_refuses_every_marked_line_and_no_other(unmarked: Path) -> None:
    """Strict. A marker is a `type: ignore` with its reason, so `make lint` reads the same files."""
    cache = str(ROOT / ".mypy_cache" / "tests_typing")
    result = run("mypy", "--strict", "--config-file=", "--cache-dir", cache, ".", cwd=unmarked)
    errors = re.findall(r"^(\w+\.py):(\d+): error: (.*)$", result.stdout, flags=re.MULTILINE)
    compare("mypy", ((name, int(number), text) for name, number, text in errors))


def test_pyright_refuses_every_marked_line_and_no_other(unmarked: Path) -> None:
    """Strict too: a user who is, must not be told that our types are unknown."""
    config = {"typeCheckingMode": "strict", "pythonVersion": "3.11", "extraPaths": [str(ROOT)], "include": ["."]}
    (unmarked / "pyrightconfig.json").write_text(json.dumps(config), encoding="utf-8")
    result = run("pyright", "--pythonpath", sys.executable, "--outputjson", "-p", str(unmarked), cwd=unmarked)
    found = json.loads(result.stdout)["generalDiagnostics"]
    compare(
        "pyright",
        (
            (Path(one["file"]).name, one["range"]["start"]["line"] + 1, one["message"])
            for one in found
            if one["severity"] == "error"
        ),
    )


def unknown_names(package: str, cwd: Path) -> list[str]:
    """Public names of all modules of a package whose type is unknown, or differs from checker to checker."""
    arguments = ("--pythonpath", sys.executable, "--verifytypes", package, "--ignoreexternal", "--outputjson")
    result: dict[str, Any] = json.loads(run("pyright", *arguments, cwd=cwd).stdout)
    report = result["typeCompleteness"]
    assert report["symbols"], f"pyright found no public name in {package}"
    return [
        f"{one['name']}: {'; '.join(problem['message'] for problem in one['diagnostics'])}"
        for one in report["symbols"]
        if one["isExported"] and (one["isTypeAmbiguous"] or not one["isTypeKnown"])
        if not one["name"].startswith("notification.cli.")  # the inside of a command is nobody's interface
    ]


@pytest.mark.parametrize("package", ["notification", "workers", "queues"])
def test_the_type_of_every_public_name_is_known(package: str, tmp_path: Path) -> None:
    """`pyright --verifytypes` is complete: an attribute without an annotation is each checker's guess."""
    assert unknown_names(package, tmp_path) == []


def test_the_wheel_tells_type_checkers_that_it_is_typed() -> None:
    """A `py.typed` in each package, and the wheel takes the packages whole."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["notification", "queues", "workers"]
    assert [package for package in wheel["packages"] if not (ROOT / package / "py.typed").is_file()] == []
    assert "Typing :: Typed" in settings["project"]["classifiers"]
