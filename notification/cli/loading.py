"""From `package.module:attribute` or `path/to/file.py:attribute` to the dispatcher it names."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType, TracebackType

from queues.errors import ConfigurationError, NotificationError
from queues.url import did_you_mean

from ..dispatcher import EventDispatcher

_DEFAULT = "dispatcher"
_OURS = Path(__file__).parents[1]


class BrokenApp(Exception):
    """The module of an app raised while it was imported; the text is its own traceback."""


def load(target: str) -> EventDispatcher:
    """Import an app and look up its dispatcher; the current directory is importable, a file's directory too.

    Raises ConfigurationError when there is no such module, attribute or dispatcher, BrokenApp when the import fails.
    """
    place, _, attribute = target.partition(":")
    if not place:
        raise ConfigurationError(f"{target!r} names no app; write package.module:dispatcher or path/to/file.py")
    module = _import(place)
    found: object = module
    for name in (attribute or _DEFAULT).split("."):
        if not hasattr(found, name):
            raise ConfigurationError(f"{place} has no {attribute or _DEFAULT!r}{_dispatchers_in(module, place)}")
        found = getattr(found, name)
    if not isinstance(found, EventDispatcher):
        raise ConfigurationError(
            f"{place}:{attribute or _DEFAULT} is a {type(found).__name__}, not an EventDispatcher"
            f"{_dispatchers_in(module, place)}"
        )
    if found.started:
        raise ConfigurationError(
            f'{place} runs its dispatcher while it is imported; put that under `if __name__ == "__main__":`'
        )
    return found


def _dispatchers_in(module: ModuleType, place: str) -> str:
    names = [name for name, value in vars(module).items() if isinstance(value, EventDispatcher)]
    if names:
        return f"; it has {', '.join(f'{place}:{name}' for name in names)}"
    return f"; write `{_DEFAULT} = EventDispatcher(…)` in it"


# -- importing


def _import(place: str) -> ModuleType:
    _make_importable(Path.cwd())
    try:
        if place.endswith(".py") or "/" in place:
            return _import_file(Path(place))
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not (place == error.name or place.startswith(f"{error.name}.")):
            raise BrokenApp(_traceback_of(error)) from None
        raise ConfigurationError(_no_module(error.name)) from None
    except NotificationError as error:
        raise ConfigurationError(f"{_place_of(error)}{error}") from None
    except Exception as error:  # noqa: BLE001 - an app's own code, which may raise anything
        raise BrokenApp(_traceback_of(error)) from None


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigurationError(f"there is no file {str(path)!r}")
    _make_importable(path.resolve().parent)
    name = path.stem
    if name in sys.modules:
        if getattr(sys.modules[name], "__file__", None) == str(path.resolve()):
            return sys.modules[name]
        name = f"app_{name}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{str(path)!r} is no Python file; its name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _make_importable(directory: Path) -> None:
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))


def _no_module(missing: str) -> str:
    known = [path.stem for path in Path.cwd().glob("*.py")]
    known += [path.parent.name for path in Path.cwd().glob("*/__init__.py")]
    where = "in the current directory or among the installed packages"
    return f"there is no module {missing!r} {where}{did_you_mean(missing, known)}"


def _traceback_of(error: BaseException) -> str:
    """As Python prints it for the app alone: without the frames in which we imported it."""
    return "".join(traceback.format_exception(type(error), error, _theirs(error.__traceback__))).rstrip()


def _place_of(error: BaseException) -> str:
    """Where in the app it was raised, as `file:line: `."""
    places = [
        f"{frame.filename}:{frame.lineno}: "
        for frame in traceback.extract_tb(_theirs(error.__traceback__))
        if _OURS not in Path(frame.filename).parents
    ]
    return places[-1] if places else ""


def _theirs(trace: TracebackType | None) -> TracebackType | None:
    ours = {__file__, importlib.__file__}
    while trace is not None and (
        trace.tb_frame.f_code.co_filename in ours or "importlib._bootstrap" in trace.tb_frame.f_code.co_filename
    ):
        trace = trace.tb_next
    return trace
