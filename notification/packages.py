"""Whether `queues` and `workers` are ours: an application may have packages of these names, too."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

_HOME = Path(__file__).resolve().parent.parent


def check_packages() -> None:
    """Raise ImportError, saying which path won and what to do, when another package is found under one of our names."""
    for name in ("queues", "workers"):
        spec = find_spec(name)
        places = [Path(place).resolve() for place in (spec.submodule_search_locations or [] if spec else [])]
        if _HOME / name not in places:
            found = spec.origin or ", ".join(map(str, places)) if spec else "nowhere"
            raise ImportError(
                f"notification needs its own package {name!r}, in {_HOME / name}, and Python finds {found} instead. "
                f"Rename that one, or move it into a package of your application (myapp.{name}), so that it is no "
                "longer found first on sys.path"
            )
