"""What `@event` makes of a class, what it refuses, and how an event is found again."""

from __future__ import annotations

import dataclasses
import enum
import gc
import importlib
import sys
import weakref
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypeVar
from uuid import UUID

import attrs
import pytest

from notification.codec import decoder_for, encoder_for
from notification.event import event, spec_named, spec_of, spec_of_class
from queues.errors import ConfigurationError, CorruptMessage, UnknownEvent

AccountId = NewType("AccountId", int)
T = TypeVar("T")


class Region(enum.Enum):
    NORTH = "north"
    SOUTH = "south"


class Priority(enum.IntEnum):
    LOW = 1
    HIGH = 2


@event("test.shipped", key="account_id", version=3)
class Shipped:
    account_id: int
    order_id: str = "A-1"


@pytest.fixture
def module_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Any]]:
    """Write a module and import it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    written: list[str] = []

    def write(name: str, source: str) -> Any:
        (tmp_path / f"{name}.py").write_text(source)
        written.append(name)
        return importlib.import_module(name)

    yield write
    for name in written:
        sys.modules.pop(name, None)


class TestClasses:
    def test_a_plain_class_becomes_a_frozen_attrs_class(self) -> None:
        """Any class will do: annotations are enough."""
        shipped = Shipped(account_id=7)
        assert shipped == Shipped(7, "A-1")
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(shipped, "order_id", "B")  # noqa: B010 (type checkers know that it is frozen)
        assert attrs.has(Shipped)

    def test_an_attrs_class_is_left_as_it_is(self) -> None:
        """`@event` only sets `__event__`."""

        @attrs.define
        class Plain:
            a: int

        decorated = event("test.attrs")(Plain)
        assert decorated is Plain
        decorated(1).a = 2

    def test_a_dataclass_is_left_as_it_is(self) -> None:
        """`@event` only sets `__event__`."""

        @dataclasses.dataclass
        class Plain:
            a: int

        decorated = event("test.dataclass")(Plain)
        assert decorated is Plain
        assert dataclasses.asdict(decorated(1)) == {"a": 1}

    def test_an_event_may_have_no_fields(self) -> None:
        """That it happened can be all there is to say."""

        @event("test.tick")
        class Tick:
            pass

        assert encoder_for(Tick)(Tick()) == {}
        assert decoder_for(Tick)({}) == Tick()

    def test_methods_and_super_survive(self) -> None:
        """attrs makes the class anew, with slots; its methods go with it."""

        class Base:
            def text(self) -> str:
                return "base"

        @event("test.methods")
        class Methods(Base):
            a: int

            def text(self) -> str:
                return f"{super().text()} {self.a}"

        assert Methods(3).text() == "base 3"

    def test_fields_are_inherited_from_an_attrs_base(self) -> None:
        """A plain class below an attrs class has the fields of both."""

        @attrs.frozen
        class Base:
            a: int

        @event("test.inherits")
        class Inherits(Base):
            b: str

        make: Any = Inherits  # type checkers don't look below one kind of decorator into another
        assert encoder_for(Inherits)(make(1, "x")) == {"a": 1, "b": "x"}

    def test_a_plain_class_below_a_dataclass_is_refused(self) -> None:
        """attrs would lose the fields of the dataclass."""

        @dataclasses.dataclass(frozen=True)
        class Base:
            a: int

        with pytest.raises(ConfigurationError, match="put @dataclass between @event and the class"):

            @event("test.below")
            class Below(Base):
                b: int

    def test_a_plain_class_with_a_constructor_is_refused(self) -> None:
        """Its fields would be nowhere, and its events empty."""
        with pytest.raises(ConfigurationError, match="has a constructor of its own"):

            @event("test.init")
            class Constructed:
                def __init__(self, a: int) -> None:
                    print(a)

    @pytest.mark.parametrize("base", [dict, tuple, Exception, str])
    def test_a_class_with_a_constructor_from_elsewhere_is_refused(self, base: type) -> None:
        """What is built in, and models of other libraries, have fields that attrs can't see."""
        with pytest.raises(ConfigurationError, match="make it an attrs class or a dataclass"):
            event("test.elsewhere")(type("Elsewhere", (base,), {"__annotations__": {"a": int}}))

    def test_a_named_tuple_is_no_event(self) -> None:
        """It may be a field; an event it is not."""

        class Point(NamedTuple):
            x: int

        with pytest.raises(ConfigurationError, match="make it an attrs class or a dataclass"):
            event("test.point")(Point)

    def test_dataclasses_field_in_a_plain_class_is_refused(self) -> None:
        """attrs would take the field object for the default."""
        with pytest.raises(ConfigurationError, match=r"Wrong.tags: write attrs.field, or put @dataclass"):

            @event("test.field")
            class Wrong:
                tags: list[str] = dataclasses.field(default_factory=list)

    def test_a_shared_default_is_refused(self) -> None:
        """One list for all events is never what was meant."""
        with pytest.raises(ConfigurationError, match=r"write attrs.field\(factory=list\)"):

            @event("test.default")
            class Wrong:
                tags: list[str] = []  # noqa: RUF012 (what the test is about)

    def test_a_constructor_that_takes_other_arguments_is_refused(self) -> None:
        """Found at import, not when the first event arrives."""

        @attrs.define
        class Odd:
            a: int

            def __init__(self, b: int) -> None:
                self.a = b

        with pytest.raises(ConfigurationError, match="Odd"):
            event("test.odd")(Odd)

    def test_a_constructor_with_its_arguments_swapped_is_refused(self) -> None:
        """Positions count: decoding would swap the values."""

        @dataclasses.dataclass(init=False)
        class Swapped:
            a: int
            b: int

            def __init__(self, b: int, a: int) -> None:
                self.a, self.b = a, b

        with pytest.raises(ConfigurationError, match="in another place than its field"):
            event("test.swapped")(Swapped)

    def test_something_else_than_a_class_is_refused(self) -> None:
        """A function has no fields."""
        with pytest.raises(ConfigurationError, match="@event is for classes, not for a function"):
            event("test.function")(lambda: None)  # type: ignore[arg-type]  # what the test is about


class TestNames:
    def test_forgotten_parentheses_are_explained(self) -> None:
        """`@event` alone passes the class as the name."""
        with pytest.raises(ConfigurationError, match=r'write @event\("bare"\) above class Bare'):

            @event  # type: ignore[arg-type]  # what the test is about
            class Bare:
                a: int

    @pytest.mark.parametrize("name", ["", "a\nb", "a\x1b[31m", "x" * 257, "\ud800"])
    def test_a_malformed_name_is_refused(self, name: str) -> None:
        """A name is 1 to 256 printable characters, and an error about it is printable."""
        with pytest.raises(ConfigurationError, match="is not 1 to 256 printable characters") as caught:
            event(name)
        assert str(caught.value).isprintable()

    def test_a_pattern_is_no_name(self) -> None:
        """`on("order.*")` would match a class of that very name, and others."""
        with pytest.raises(ConfigurationError, match="is a pattern"):
            event("order.*")

    def test_the_type_of_corrupt_bytes_is_reserved(self) -> None:
        """What could not be decoded must not look like an event."""
        with pytest.raises(ConfigurationError, match="choose another name"):
            event("notification.corrupt")

    def test_a_name_that_is_no_string_is_refused(self) -> None:
        """Not even one that prints well."""
        with pytest.raises(ConfigurationError, match="an event's name is a string, not a int"):
            event(5)  # type: ignore[arg-type]  # what the test is about

    @pytest.mark.parametrize("version", [0, -1, True, 1 << 31, "2"])
    def test_a_version_is_a_positive_integer(self, version: Any) -> None:
        """It is compared on the other side of the wire."""
        with pytest.raises(ConfigurationError, match="a version is an integer from 1 up"):
            event("test.version", version=version)

    def test_two_classes_of_one_name_are_refused(self) -> None:
        """The events of one would be read as the other."""

        @event("test.twice")
        class First:
            a: int

        with pytest.raises(ConfigurationError, match=r"two classes are named 'test.twice': .*First and .*Second"):

            @event("test.twice")
            class Second:
                a: int

        assert spec_named("test.twice").cls is First

    def test_one_class_has_one_name(self) -> None:
        """Which of two would it travel under?"""
        with pytest.raises(ConfigurationError, match=r"is the event 'test.shipped' already"):
            event("test.other")(Shipped)

    def test_a_reloaded_module_takes_its_own_place(self, module_at: Callable[[str, str], Any]) -> None:
        """The same module and the same class name are the same event."""
        source = "from notification.event import event\n@event('test.reloaded')\nclass Reloaded:\n    a: int\n"
        module = module_at("reloaded_events", source)
        old = module.Reloaded
        new = importlib.reload(module).Reloaded
        assert new is not old
        assert spec_named("test.reloaded").cls is new
        assert spec_of(old(1)).cls is old

    def test_a_name_is_free_again_when_its_class_is_gone(self) -> None:
        """Tests define events in functions; the registry does not keep them alive."""

        def define() -> weakref.ref[type]:
            @event("test.gone", key="a")
            class Gone:
                a: int
                child: Gone | None = None

            assert decoder_for(Gone)(encoder_for(Gone)(Gone(1))) == Gone(1)
            return weakref.ref(Gone)

        gc.disable()  # no chance helps
        try:
            gone = define()

            @event("test.gone")
            class Another:
                a: int

        finally:
            gc.enable()
        assert gone() is None
        assert spec_named("test.gone").cls is Another

    def test_the_names_of_a_function_are_not_kept_alive(self) -> None:
        """Annotations are resolved once, with what the function knows; then that is forgotten."""

        class Thing:
            pass

        def define(thing: Thing) -> type:
            @event("test.locals")
            class Local:
                a: int

            return Local

        thing = Thing()
        kept = define(thing)
        seen = weakref.ref(thing)
        del thing
        gc.collect()
        assert seen() is None
        assert spec_of_class(kept).name == "test.locals"


class TestKeys:
    @pytest.mark.parametrize(
        ("tp", "value", "key"),
        [
            (str, "a", "a"),
            (str, "", ""),
            (int, 7, "7"),
            (AccountId, 7, "7"),
            (UUID, UUID(int=5), "00000000-0000-0000-0000-000000000005"),
            (Region, Region.NORTH, "north"),
            (Priority, Priority.HIGH, "2"),
            (date, date(2024, 2, 29), "2024-02-29"),
            (Literal["a", "b"], "b", "b"),
            (Annotated[str, "some note"], "a", "a"),
            (str | None, "a", "a"),
            (str | None, None, None),
            (UUID | None, None, None),
        ],
    )
    def test_a_key_is_the_text_of_its_field(self, tp: Any, value: Any, key: str | None) -> None:
        """str, int, UUID, Enum and date have one text each; None is no key."""
        cls: Any = event("test.key", key="field")(attrs.make_class("Keyed", {"field": attrs.field(type=tp)}))
        assert spec_of(cls(value)).key_of(cls(value)) == key

    @pytest.mark.parametrize(
        "tp", [bool, float, Decimal, datetime, bytes, list[int], tuple[int, ...], dict[str, int], Any, int | str, None]
    )
    def test_a_key_without_one_text_is_refused(self, tp: Any) -> None:
        """1.0 and 1 are equal and have two texts; a list has none."""
        cls = attrs.make_class("Keyed", {"field": attrs.field(type=tp if tp is not None else type(None))})
        with pytest.raises(ConfigurationError, match="a key is a str, int, UUID, Enum or date"):
            event("test.key", key="field")(cls)

    def test_a_key_that_is_no_field_is_refused(self) -> None:
        """The nearest field is named."""
        with pytest.raises(ConfigurationError, match=r"Wrong has no such field; did you mean 'account_id'\?"):

            @event("test.key", key="acount_id")
            class Wrong:
                account_id: int

    def test_a_dotted_key_is_refused(self) -> None:
        """A key is a field of the event itself; the fields there are get named."""
        with pytest.raises(ConfigurationError, match="has no such field; it has a, zz"):

            @event("test.key", key="inner.account")
            class Wrong:
                a: int
                zz: int

    def test_a_computed_field_may_be_the_key(self) -> None:
        """It is read at dispatch, and does not travel."""

        @event("test.computed", key="both")
        @attrs.frozen
        class Computed:
            a: int
            b: int
            both: str = attrs.field(init=False)

            def __attrs_post_init__(self) -> None:
                object.__setattr__(self, "both", f"{self.a}-{self.b}")

        computed = Computed(1, 2)
        assert spec_of(computed).key_of(computed) == "1-2"
        assert encoder_for(Computed)(computed) == {"a": 1, "b": 2}
        assert decoder_for(Computed)({"a": 1, "b": 2}) == computed

    def test_a_key_of_another_type_than_declared_is_refused(self) -> None:
        """str(None) or str(True) as a key would order what does not belong together."""
        shipped = Shipped(account_id=True)
        with pytest.raises(CorruptMessage, match=r"account_id: expected an integer, got a boolean"):
            spec_of(shipped).key_of(shipped)


class TestLookups:
    def test_the_spec_of_an_event_says_what_was_declared(self) -> None:
        """Name, key, version and class, once for all its instances."""
        spec = spec_of(Shipped(account_id=1))
        assert (spec.name, spec.key, spec.version, spec.cls) == ("test.shipped", "account_id", 3, Shipped)
        assert spec is spec_of_class(Shipped) is spec_named("test.shipped")

    def test_an_event_class_instead_of_an_event_is_explained(self) -> None:
        """The parentheses are easily forgotten."""
        with pytest.raises(UnknownEvent, match=r"Shipped is an event class, not an event; dispatch Shipped\(...\)"):
            spec_of(Shipped)

    @pytest.mark.parametrize("thing", [5, "order.shipped", None, {}, object()])
    def test_an_object_that_is_no_event_is_explained(self, thing: object) -> None:
        """The text says how to make it one."""
        with pytest.raises(UnknownEvent, match=r'is no event; put @event\("some.name"\) above the class'):
            spec_of(thing)

    def test_a_class_that_is_no_event_is_explained(self) -> None:
        """A class is neither an event nor an instance of one."""
        with pytest.raises(UnknownEvent, match="int is a class, not an event"):
            spec_of(int)
        with pytest.raises(UnknownEvent, match="int is no event; put @event"):
            spec_of_class(int)
        with pytest.raises(UnknownEvent, match="a str is no event class"):
            spec_of_class("test.shipped")  # type: ignore[arg-type]  # what the test is about

    def test_a_subclass_of_an_event_is_no_event(self) -> None:
        """Its own fields would be lost under its parent's name."""

        @attrs.frozen
        class Express(Shipped):
            hours: int = 24

        with pytest.raises(UnknownEvent, match=r"Express is no event, only Shipped, which it inherits from"):
            spec_of(Express(1))
        with pytest.raises(UnknownEvent, match=r"above .*Express too"):
            spec_of_class(Express)

    def test_a_subclass_becomes_an_event_of_its_own(self) -> None:
        """Decorated itself, with a name of its own."""

        @event("test.express", key="order_id")
        class Express(Shipped):
            hours: int = 24

        assert spec_of(Express(1)).name == "test.express"
        assert spec_of(Shipped(1)).name == "test.shipped"

    def test_a_decorator_above_event_is_explained(self) -> None:
        """It made another class, which has the spec of the first."""
        inner: type = event("test.order")(attrs.make_class("Inner", {"a": attrs.field(type=int)}))
        outer = type("Inner", (), {"__event__": vars(inner)["__event__"]})
        with pytest.raises(UnknownEvent, match="put @event above all other decorators"):
            spec_of(outer())

    def test_a_foreign_attribute_of_that_name_is_no_spec(self) -> None:
        """`__event__` may mean something else elsewhere."""

        class Foreign:
            __event__ = "click"

        with pytest.raises(UnknownEvent, match="Foreign is no event"):
            spec_of(Foreign())

    def test_an_unknown_name_names_the_nearest(self) -> None:
        """For a dead letter of a class that was renamed."""
        with pytest.raises(UnknownEvent, match=r"no event class is named 'test.shiped'; did you mean 'test.shipped'"):
            spec_named("test.shiped")

    @pytest.mark.parametrize(
        "name", ["os.system", "__class__", "builtins.eval", "notification.event.EventSpec", "a\x00b", "x" * 5000]
    )
    def test_a_name_from_outside_never_becomes_a_class(self, name: str) -> None:
        """Classes come from the registry, never from an import by name."""
        with pytest.raises(UnknownEvent) as caught:
            spec_named(name)
        assert str(caught.value).isprintable()


class TestByReference:
    """`frozen` says whether an event may be handed over as it is, where nothing is encoded."""

    @pytest.mark.parametrize(
        ("tp", "frozen"),
        [
            (int, True),
            (str | None, True),
            (datetime, True),
            (Region, True),
            (tuple[int, ...], True),
            (frozenset[str], True),
            (Shipped, True),
            (tuple[list[int], ...], False),
            (list[int], False),
            (dict[str, int], False),
            (set[int], False),
            (Any, False),
        ],
    )
    def test_it_is_as_frozen_as_what_it_holds(self, tp: Any, frozen: bool) -> None:
        """A list inside a frozen class is still a list."""
        cls: type = event("test.frozen")(attrs.make_class("Held", {"field": attrs.field(type=tp)}, frozen=True))
        assert spec_of_class(cls).frozen is frozen

    def test_a_mutable_class_is_not_frozen(self) -> None:
        """A handler could change what the next one sees."""
        assert not spec_of_class(event("test.mutable")(attrs.make_class("M", {"a": attrs.field(type=int)}))).frozen

    def test_a_dataclass_is_as_frozen_as_it_says(self) -> None:
        """Both kinds of classes are known."""
        solid = dataclasses.make_dataclass("Solid", [("a", int)], frozen=True)
        soft = dataclasses.make_dataclass("Soft", [("a", int)])
        assert spec_of_class(event("test.solid")(solid)).frozen
        assert not spec_of_class(event("test.soft")(soft)).frozen

    def test_a_copy_through_json_shares_nothing(self) -> None:
        """What a caller does to an event after dispatch is nobody else's business."""

        @event("test.copied")
        class Copied:
            tags: list[str]
            raw: dict[str, Any]

        original = Copied(["a"], {"deep": [1]})
        copy = decoder_for(Copied)(encoder_for(Copied)(original))
        original.tags.append("b")
        original.raw["deep"].append(2)
        assert copy == Copied(["a"], {"deep": [1]})


class TestAnnotations:
    """This file's annotations are strings, as with every `from __future__ import annotations`."""

    def test_classes_of_the_same_function_are_found(self) -> None:
        """Tests define their events where they use them."""

        @attrs.frozen
        class Line:
            sku: str

        class Size(enum.Enum):
            S = 1

        @event("test.local")
        class Order:
            lines: list[Line]
            size: Size | None = None

        order = Order([Line("x")], Size.S)
        assert decoder_for(Order)(encoder_for(Order)(order)) == order

    def test_a_class_nested_in_the_event_is_found(self) -> None:
        """Its name is known inside the class."""

        @event("test.nested")
        class Order:
            @attrs.frozen
            class Line:
                sku: str

            lines: list[Line]

        assert decoder_for(Order)({"lines": [{"sku": "x"}]}) == Order([Order.Line("x")])

    def test_an_event_defined_in_a_class_body_in_a_function_is_found(self) -> None:
        """The names of both are known."""

        class Item(NamedTuple):
            sku: str

        class Events:
            @event("test.body")
            class Order:
                item: Item

        assert decoder_for(Events.Order)({"item": {"sku": "x"}}) == Events.Order(Item("x"))

    def test_a_name_that_is_not_known_names_the_field(self) -> None:
        """At import, with what to do."""
        with pytest.raises(ConfigurationError, match=r"Wrong.a: the annotation 'Missing' names 'Missing'") as caught:

            @event("test.missing")
            class Wrong:
                a: Missing  # type: ignore[name-defined]  # noqa: F821 (what the test is about)

        assert "define or import it above" in str(caught.value)

    def test_an_annotation_that_is_no_type_names_the_field(self) -> None:
        """Whatever its evaluation raises."""
        with pytest.raises(ConfigurationError, match=r"Wrong.a: the annotation '1 / 0' is no type: ZeroDivisionError"):
            event("test.wrong")(type("Wrong", (), {"__module__": __name__, "__annotations__": {"a": "1 / 0"}}))

    def test_code_run_by_exec_finds_its_names(self) -> None:
        """Documents are tested that way: their globals are no module's."""
        source = (
            "from __future__ import annotations\nimport attrs\nfrom notification.event import event\n"
            "@attrs.frozen\nclass Line:\n    sku: str\n"
            "@event('test.exec')\nclass Order:\n    line: Line\n"
        )
        space: dict[str, Any] = {"__name__": "some_document"}
        exec(source, space)
        assert decoder_for(space["Order"])({"line": {"sku": "x"}}).line.sku == "x"

    def test_a_base_from_another_module_is_read_with_its_own_names(self, module_at: Callable[[str, str], Any]) -> None:
        """The same name means another class over there."""
        base = module_at(
            "base_events",
            "from __future__ import annotations\nimport attrs\n"
            "@attrs.frozen\nclass Shared:\n    theirs: int\n"
            "@attrs.frozen\nclass Base:\n    shared: Shared\n",
        )

        @attrs.frozen
        class Shared:
            ours: int

        @event("test.shared")
        class Both(base.Base):  # type: ignore[misc, name-defined]  # a module made by the test
            mine: Shared

        decoded = decoder_for(Both)({"shared": {"theirs": 1}, "mine": {"ours": 2}})
        assert (decoded.shared.theirs, decoded.mine.ours) == (1, 2)

    def test_a_class_from_another_module_is_read_with_its_own_names(self, module_at: Callable[[str, str], Any]) -> None:
        """Where it is decorated, the same name may mean another class."""
        source = "from __future__ import annotations\nimport attrs\n@attrs.frozen\nclass Shared:\n    theirs: int\n"
        module = module_at("plain_classes", f"{source}@attrs.frozen\nclass Order:\n    shared: Shared\n")

        @attrs.frozen
        class Shared:
            ours: int

        assert decoder_for(event("test.theirs")(module.Order))({"shared": {"theirs": 1}}).shared.theirs == 1
        assert Shared(1).ours == 1

    def test_a_field_without_a_type_is_refused(self) -> None:
        """attrs allows it; nobody could decode it."""
        with pytest.raises(ConfigurationError, match=r"Untyped.a has no type; annotate it"):
            event("test.untyped")(attrs.make_class("Untyped", ["a"]))

    def test_a_type_without_a_json_form_is_refused_by_class_field_and_type(self) -> None:
        """With what to use instead."""
        with pytest.raises(ConfigurationError, match=r"Stored.path: Path has no JSON form; use str"):

            @event("test.path")
            class Stored:
                path: Path

    def test_a_type_without_a_json_form_deep_inside_names_its_own_class(self) -> None:
        """The error is about the field that has to change."""

        @attrs.frozen
        class Inner:
            z: complex

        with pytest.raises(ConfigurationError, match=r"Inner.z: complex has no JSON form; use tuple\[float, float\]"):

            @event("test.outer")
            class Outer:
                inner: dict[str, list[Inner | None]]

    def test_an_unbound_generic_is_refused(self) -> None:
        """Which type would be decoded?"""
        with pytest.raises(ConfigurationError, match=r"Page.item: ~T is not bound to a type"):

            @event("test.page")
            @attrs.frozen
            class Page(Generic[T]):
                item: T

    def test_a_generic_with_its_argument_is_an_event(self) -> None:
        """By inheritance, as one writes it."""

        @attrs.frozen
        class Page(Generic[T]):
            items: list[T]

        @event("test.dates")
        class Dates(Page[date]):
            pass

        assert decoder_for(Dates)({"items": ["2024-02-29"]}) == Dates([date(2024, 2, 29)])


def test_the_key_of_an_enum_is_its_value_and_not_its_name() -> None:
    """Names change with the code; values are what other programs see."""

    @event("test.region", key="region")
    class Moved:
        region: Region
        at: datetime

    moved = Moved(Region.SOUTH, datetime(2024, 1, 1, tzinfo=UTC))
    assert spec_of(moved).key_of(moved) == "south"
