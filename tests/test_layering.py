"""The house: which room may know which, how large things may grow, and what nobody may use."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("notification", "workers", "queues", "examples", "tests")
OURS = ("notification", "workers", "queues")

CONTRACT = frozenset({"base", "message", "errors", "clock", "checks", "wire"})
"""What a queue is, without any queue. Size caps (`checks`) and the wire form belong to it."""
FOR_WORKERS = frozenset({"base", "message", "errors", "clock"})
FOR_NOTIFICATION = CONTRACT | {"blank", "url", "registry", "admin", "around", "delayed", "fallback", "switch"}


@frozen
class Source:
    """A file of ours, parsed."""

    path: Path
    tree: ast.Module
    text: str

    @property
    def name(self) -> str:
        """Dotted, as it is imported."""
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def room(self) -> str:
        """The top-level directory."""
        return self.path.relative_to(ROOT).parts[0]

    def imports(self) -> Iterator[tuple[str, ast.stmt]]:
        """Every module that is imported anywhere in the file, absolute, with the statement."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name, node
            elif isinstance(node, ast.ImportFrom):
                base = self._absolute(node)
                for alias in node.names:
                    inner = f"{base}.{alias.name}"
                    yield (inner if inner in MODULES else base), node

    def _absolute(self, node: ast.ImportFrom) -> str:
        if node.level == 0:
            return node.module or ""
        package = self.name.split(".") if self.path.stem == "__init__" else self.name.split(".")[:-1]
        package = package[: len(package) - (node.level - 1)]
        return ".".join([*package, *([node.module] if node.module else [])])


def sources(*rooms: str) -> list[Source]:
    """The Python files of these rooms."""
    found = []
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            found.append(Source(path, ast.parse(text, str(path)), text))
    return found


MODULES = frozenset(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for room in ROOMS
    for path in (ROOT / room).rglob("*.py")
)


def where(source: Source, node: ast.AST) -> str:
    return f"{source.path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


# -- one direction


def test_nothing_of_ours_is_imported_by_the_queues() -> None:
    """`queues` knows only itself."""
    wrong = [
        f"{where(source, node)} imports {module}"
        for source in sources("queues")
        for module, node in source.imports()
        if module.partition(".")[0] in ROOMS and not module.startswith("queues")
    ]
    assert wrong == []


def test_the_workers_know_the_contract_of_queues_and_no_queue() -> None:
    """And nothing of what is above them."""
    wrong = []
    for source in sources("workers"):
        for module, node in source.imports():
            room, _, rest = module.partition(".")
            if room in ROOMS and room != "workers" and (room != "queues" or rest not in FOR_WORKERS):
                wrong.append(f"{where(source, node)} imports {module}")
    assert wrong == []


def test_the_dispatcher_knows_no_concrete_queue() -> None:
    """The contract, the factory, administration, and the queues around a queue; and nothing of examples and tests."""
    wrong = []
    for source in sources("notification"):
        for module, node in source.imports():
            room, _, rest = module.partition(".")
            if room in {"examples", "tests"} or (room == "queues" and rest not in FOR_NOTIFICATION):
                wrong.append(f"{where(source, node)} imports {module}")
    assert wrong == []


def test_examples_import_only_what_users_import() -> None:
    """From `notification`, or from each other; and the suite of queues, which users import, too."""
    wrong = [
        f"{where(source, node)} imports {module}"
        for source in sources("examples")
        for module, node in source.imports()
        if module.partition(".")[0] in {"workers", "queues", "tests"} and module != "queues.conformance"
    ]
    assert wrong == []


def test_no_file_is_part_of_an_import_cycle() -> None:
    """Imports inside functions and under TYPE_CHECKING count."""
    arrows = {
        source.name: {module for module, _ in source.imports() if module in MODULES and not above(module, source.name)}
        for source in sources(*OURS)
    }
    assert cycles(arrows) == []


def above(module: str, name: str) -> bool:
    """A package's `__init__` gathers what is below it, so that importing from it is no arrow; nor is one to itself."""
    return name == module or name.startswith(f"{module}.")


def cycles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """One way round for each cycle found by depth-first search."""
    found, done, way = [], set[str](), list[str]()

    def visit(name: str) -> None:
        if name in way:
            found.append([*way[way.index(name) :], name])
        elif name not in done:
            way.append(name)
            for to in sorted(arrows.get(name, ())):
                visit(to)
            way.pop()
            done.add(name)

    for name in sorted(arrows):
        visit(name)
    return found


# -- how large


def listed_in_architecture(path: Path) -> bool:
    """Whether ARCHITECTURE.md names this file with the reason why it is longer."""
    page = ROOT / "ARCHITECTURE.md"
    return page.exists() and any(
        f"`{path.relative_to(ROOT)}`" in line and "300" in line
        for line in page.read_text(encoding="utf-8").splitlines()
    )


@pytest.mark.parametrize("room", OURS)
def test_no_file_has_more_than_300_lines(room: str) -> None:
    """Unless ARCHITECTURE.md names it, beside the number, with the reason."""
    long = [
        f"{source.path.relative_to(ROOT)}: {len(source.text.splitlines())}"
        for source in sources(room)
        if len(source.text.splitlines()) > 300 and not listed_in_architecture(source.path)
    ]
    assert long == []


def length(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("room", [*OURS, "examples"])
def test_no_class_has_more_than_200_lines(room: str) -> None:
    """It would hold two ideas."""
    long = [
        f"{where(source, node)} {node.name}: {length(node)}"
        for source in sources(room)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef) and length(node) > 200
    ]
    assert long == []


@pytest.mark.parametrize("room", [*OURS, "examples"])
def test_no_function_has_more_than_60_lines(room: str) -> None:
    """Mostly under ten."""
    long = [
        f"{where(source, node)} {node.name}: {length(node)}"
        for source in sources(room)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and length(node) > 60
    ]
    assert long == []


# -- what nobody may use

BANNED_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "jsonpickle"}
BANNED_CALLS = {"eval", "exec", "compile", "__import__"}


def dotted(node: ast.expr) -> str:
    """`a.b.c` as it is written."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls(source: Source) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            yield dotted(node.func), node


def test_nothing_turns_bytes_into_code() -> None:
    """No pickle, no marshal, no eval, no exec, no yaml.load. S1."""
    wrong = []
    for source in sources(*OURS, "examples"):
        for module, node in source.imports():
            if module.partition(".")[0] in BANNED_MODULES:
                wrong.append(f"{where(source, node)} imports {module}")
        for name, call in calls(source):
            if name in BANNED_CALLS or name in {"yaml.load", "yaml.unsafe_load"}:
                wrong.append(f"{where(source, call)} calls {name}")
    assert wrong == []


TIME = {"time.time", "time.monotonic", "time.perf_counter", "time.time_ns", "time.monotonic_ns", "time.sleep"}
NOW = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "datetime.datetime.now"}
SLEEPS = {
    "anyio.sleep", "anyio.sleep_until", "anyio.move_on_after", "anyio.move_on_at", "anyio.fail_after", "anyio.fail_at",
    "asyncio.wait_for", "asyncio.timeout", "asyncio.timeout_at", "trio.sleep",
}  # fmt: skip


def measures_time(name: str, call: ast.Call) -> bool:
    """Whether this call reads a clock or waits for one."""
    if name in TIME | NOW | SLEEPS or name.endswith((".call_later", "loop.call_at", "get_running_loop.time")):
        return True
    if name == "asyncio.sleep":
        return not (call.args and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0)
    if name == "asyncio.wait":
        return any(keyword.arg == "timeout" for keyword in call.keywords)
    return False


def test_only_the_clock_knows_the_time() -> None:
    """Everything else takes a Clock, so that tests can move it. asyncio.sleep(0) is a turn for others, no sleep."""
    wrong = []
    for source in sources(*OURS):
        if source.name == "queues.clock" or source.name.startswith("queues.conformance"):
            continue
        aliases = {
            alias.asname or alias.name: f"{node.module}.{alias.name}"
            for node in ast.walk(source.tree)
            if isinstance(node, ast.ImportFrom) and node.module in {"time", "asyncio", "anyio"}
            for alias in node.names
        }
        for name, call in calls(source):
            if measures_time(aliases.get(name, name), call):
                wrong.append(f"{where(source, call)} calls {name}")
    assert wrong == []
