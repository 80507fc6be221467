"""Which of the queues that are spoken of is meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import evolve, frozen

from queues.errors import ConfigurationError
from queues.url import check_name

from .existing import TYPE
from .files import EXISTING, Layer, flat
from .given import Given, flag, table
from .naming import chooser
from .queues import Chosen, PlainQueue, SwitchedQueue, address, checked_name, is_url
from .settings import BY_NAME, TABLES
from .translating import existing_queue, from_environment

VARIABLE = "NOTIFICATION_QUEUE"
_OWN = frozenset({*(known.name for known in BY_NAME.values() if known.in_queue), *TABLES})


@frozen
class Queues:
    """Those of all layers. main: the one without a name, if there is one; named: the others, by name."""

    layers: tuple[Layer, ...]
    main: Given | None
    named: Mapping[str, Given]

    @classmethod
    def of(cls, layers: Iterable[Layer]) -> Queues:
        """The later layers count more. Raises ConfigurationError."""
        layers, main = tuple(layers), None
        named: dict[str, Given] = {}
        for layer in layers:
            main = layer.queue() or main
            named |= layer.queues()
        for name, given in named.items():
            try:
                check_name("queue", name)
            except ConfigurationError as error:
                raise given.refused(str(error)) from None
        return cls(layers, main, named)

    def chosen(self, name: str | None, line: Given | None) -> Chosen | None:
        """The queue of that name, or the one of the command line, of the environment, of the files. None: there is
        none. Raises ConfigurationError.
        """
        if line is not None:
            return self.read(line)
        if name is not None:
            return self._named(name)
        return self._of_environment() or self._of_files()

    def _named(self, name: str) -> Chosen:
        """Wherever the environment has moved it, it keeps the settings of the dispatcher that stand in its table."""
        known = self._known()
        variable = from_environment(f"{VARIABLE}_{name.upper().replace('-', '_').replace('.', '_')}")
        if variable is None:
            return self.read(known[checked_name(Given(name, "name"), known)])
        _, own = _split(known[name]) if name in known and isinstance(known[name].value, Mapping) else (None, {})
        return _with(own, self.read(variable))

    def _of_environment(self) -> Chosen | None:
        variable, kind = from_environment(VARIABLE), from_environment(TYPE)
        queue = self.read(variable) if variable is not None else None
        if kind is None:
            return queue
        existing = self._existing(kind)
        if queue is not None and str(queue) != str(existing):
            raise kind.wrong(f"means {existing}, and {VARIABLE} says {queue}: unset one of the two")
        return existing if queue is None else _with(queue.own, existing)

    def _existing(self, kind: Given) -> PlainQueue:
        """The queue of this type, with what the files say about it if they name the same type."""
        tree = self.main.value if self.main is not None else None
        if self.main is None or not isinstance(tree, Mapping) or str(tree.get("type")).lower() != kind.value.lower():
            return existing_queue(kind, None)
        rest, own = _split(self.main)
        queue = existing_queue(kind, rest)
        return evolve(queue, own={**queue.own, **own})

    def _of_files(self) -> Chosen | None:
        if self.main is not None:
            return self.read(self.main, main=True)
        if len(self.named) > 1:
            raise ConfigurationError(
                f"{next(iter(self.named.values())).place}: which queue? There are {', '.join(self.named)}. Give its "
                f"name: from_config(…, name=), {VARIABLE} or --queue; or write queue = at the top"
            )
        return self.read(next(iter(self.named.values()))) if self.named else None

    # -- one of them

    def read(self, given: Given, *, main: bool = False, names: tuple[str, ...] = ()) -> Chosen:
        """The queue that a URL, a name or a table stands for. main: it is the one that the environment may be about.

        names: those that led here. Raises ConfigurationError.
        """
        if isinstance(given.value, str):
            if is_url(given):
                return PlainQueue(address(given, {}), given.place)
            name = checked_name(given, self._known())
            if name in names:
                raise given.wrong("names itself")
            return self.read(self._known()[name], names=(*names, name))
        rest, own = _split(given)
        return _with(own, self._form(rest, main=main, names=names))

    def _form(self, given: Given, *, main: bool, names: tuple[str, ...]) -> Chosen:
        tree: Mapping[str, object] = given.value
        forms = [name for name in ("url", "routes", *EXISTING) if name in tree]
        if len(forms) > 1 and {"url", "routes"} & {*forms}:
            raise given.refused(f"{' and '.join(forms)} don't go together; keep one of them")
        if not forms:
            raise given.refused('which queue? Write url = "sqlite:///events.db", for instance')
        if forms[0] == "routes":
            return self._switch(given, names)
        if forms[0] == "url":
            return _by_url(given)
        if "type" not in tree:
            raise given.refused(f"{forms[0]} belongs to a type, and that is missing")
        return existing_queue(given.at("type", tree["type"]), given, environment=main)

    def _switch(self, given: Given, names: tuple[str, ...]) -> SwitchedQueue:
        tree = {name: given.at(name, value) for name, value in given.value.items()}
        for name, one in tree.items():
            if name not in {"routes", "choose", "strict"}:
                raise one.refused("there is no such setting of a switch; options of a route stand in its table")
        if "choose" not in tree:
            raise given.refused('choose is missing: what says which route, such as choose = "env:NOTIFICATION_ROUTE"')
        routes = {name: self._route(tree["routes"].at(name, one), names) for name, one in table(tree["routes"]).items()}
        if not routes:
            raise tree["routes"].refused("there is no route in it")
        strict = flag(tree["strict"]) if "strict" in tree else False
        return SwitchedQueue(routes, chooser(tree["choose"]), strict, given.place)

    def _route(self, given: Given, names: tuple[str, ...]) -> PlainQueue:
        if given.place.endswith((".choose", ".strict")) and not is_url(given):
            raise given.refused("this belongs beside routes, not in it")
        route = self.read(given, names=names)
        if isinstance(route, SwitchedQueue):
            raise given.refused("a route is a queue, and this is a switch")
        if route.own:
            raise next(iter(route.own.values())).refused(
                f"settings of the dispatcher stand beside the routes, not in the queue of one ({given.place})"
            )
        return route

    def _known(self) -> dict[str, Given]:
        """The queues that a name can stand for: those with names, and the routes of the one without."""
        routes = self.main.value.get("routes") if self.main is not None and isinstance(self.main.value, Mapping) else {}
        if self.main is None or not isinstance(routes, Mapping):
            return dict(self.named)
        beside = self.main.at("routes", routes)
        return {**{name: beside.at(name, value) for name, value in routes.items()}, **self.named}


def _split(given: Given) -> tuple[Given, dict[str, Given]]:
    """The table of a queue without the settings of a dispatcher that stand in it, and those."""
    tree = table(given)
    own = dict(flat(given, {name: value for name, value in tree.items() if name in _OWN}))
    return evolve(given, value={name: value for name, value in tree.items() if name not in _OWN}), own


def _with(own: Mapping[str, Given], queue: Chosen) -> Chosen:
    return evolve(queue, own={**queue.own, **own})


def _by_url(given: Given) -> PlainQueue:
    tree = {name: given.at(name, value) for name, value in given.value.items()}
    create = table(tree["create"]) if "create" in tree else {}
    options = {name: one for name, one in tree.items() if name not in {"url", "create"}}
    made = {name: tree["create"].at(name, value) for name, value in create.items()}
    if not is_url(tree["url"]):
        raise tree["url"].wrong("is no queue's URL; one looks like sqlite:///events.db or redis://host:6379/0")
    return PlainQueue(address(tree["url"], options), given.place, options, made)
