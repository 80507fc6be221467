"""The way of an event to JSON and back: strict, exact, and safe with whatever arrives."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import json
import time as stopwatch
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, Final, Generic, Literal, NamedTuple, NewType, NotRequired, TypedDict, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import cattrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import TypeAliasType

from notification.codec import Codec, decoder_for, encoder_for
from notification.event import event
from queues.errors import ConfigurationError, CorruptMessage

T = TypeVar("T")
Sku = NewType("Sku", str)
Names = TypeAliasType("Names", list[str])


class Region(enum.Enum):
    NORTH = "north"
    SOUTH = "south"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Known(enum.Enum):
    YES = "yes"
    UNKNOWN = "?"

    @classmethod
    def _missing_(cls, value: object) -> Known:
        return cls.UNKNOWN


class Place(NamedTuple):
    x: int
    y: int = 0


class Address(TypedDict):
    city: str
    zip: NotRequired[str]


@attrs.frozen
class Line:
    sku: str
    count: int = 1


@dataclasses.dataclass(frozen=True)
class Customer:
    name: str
    born: date | None = None


@attrs.frozen
class Card:
    number: str
    kind: Literal["card"] = "card"


@dataclasses.dataclass
class Transfer:
    iban: str
    kind: Literal["sepa", "swift"] = "sepa"


@attrs.frozen
class Page(Generic[T]):
    items: list[T]
    next: Page[T] | None = None


@attrs.frozen
class Tree:
    name: str
    children: list[Tree] = attrs.field(factory=list)


@event("codec.flat")
class Flat:
    count: int
    name: str
    price: float
    note: str | None
    gift: bool = False


@event("codec.rich")
class Rich:
    at: datetime
    region: Region
    lines: tuple[Line, ...]
    customer: Customer
    payment: Card | Transfer
    prices: dict[UUID, Decimal]
    raw: dict[str, Any]
    tree: Tree | None = None
    either: int | str | list[bool] | None = None
    tags: frozenset[str] = frozenset()
    address: Address | None = None
    data: bytes = b""


def label(value: Any) -> str:
    """The name of a parameter in a test's name."""
    return "big" if isinstance(value, int) and value > 1 << 65 else ascii(value)[:40]


def without_blanks(text: str) -> str:
    return text.strip()


def holder(tp: Any, **options: Any) -> Any:
    """A frozen event class with one field of this type."""
    return event("codec.holder")(
        attrs.make_class("Holder", {"field": attrs.field(type=tp, **options)}, frozen=True, class_body={})
    )


def there_and_back(cls: Any, instance: Any) -> Any:
    """Over real JSON text, as on the wire."""
    return decoder_for(cls)(orjson.loads(orjson.dumps(encoder_for(cls)(instance))))


class TestEveryType:
    """Each type has one JSON form, which any language can read."""

    @pytest.mark.parametrize(
        ("tp", "value", "form"),
        [
            (str, "ü", "ü"),
            (int, -(1 << 63), -(1 << 63)),
            (int, (1 << 64) - 1, (1 << 64) - 1),
            (float, 0.1, 0.1),
            (bool, True, True),
            (type(None), None, None),
            (datetime, datetime(2024, 5, 1, 12, 0, 0, 5, UTC), "2024-05-01T12:00:00.000005Z"),
            (datetime, datetime(2024, 5, 1, 12, tzinfo=timezone(timedelta(hours=2))), "2024-05-01T12:00:00+02:00"),
            (datetime, datetime(2024, 5, 1, 12, tzinfo=ZoneInfo("Europe/Berlin")), "2024-05-01T12:00:00+02:00"),
            (date, date(2024, 2, 29), "2024-02-29"),
            (time, time(23, 59, 1), "23:59:01"),
            (timedelta, timedelta(hours=1, microseconds=1), 3600.000001),
            (Decimal, Decimal("1.10"), "1.10"),
            (Decimal, Decimal("-1E+5"), "-1E+5"),
            (UUID, UUID(int=1), "00000000-0000-0000-0000-000000000001"),
            (bytes, b"\x00\xff", "AP8="),
            (Region, Region.SOUTH, "south"),
            (Level, Level.HIGH, 2),
            (Access, Access.READ | Access.WRITE, 3),
            (Literal["a", 1, True, None], True, True),
            (Literal[True, 1], 1, 1),
            (Literal[True, 1], True, True),
            (Literal[Region.NORTH], Region.NORTH, "north"),
            (Sku, "A-1", "A-1"),
            (Annotated[int, "of pieces"], 5, 5),
            (Final[int], 5, 5),
            (Names, ["a"], ["a"]),
            (list[int], [1, 2], [1, 2]),
            (list, [1, "a", None], [1, "a", None]),
            (Sequence[str], ["a"], ["a"]),
            (tuple[int, ...], (1, 2), [1, 2]),
            (tuple, (1, "a"), [1, "a"]),
            (tuple[int, str], (1, "a"), [1, "a"]),
            (tuple[()], (), []),
            (set[int], {1}, [1]),
            (frozenset[date], frozenset({date(2024, 1, 1)}), ["2024-01-01"]),
            (AbstractSet[str], frozenset({"a"}), ["a"]),
            (dict[str, int], {"a": 1}, {"a": 1}),
            (dict, {"a": [1]}, {"a": [1]}),
            (dict[int, str], {-5: "a"}, {"-5": "a"}),
            (dict[UUID, int], {UUID(int=1): 1}, {"00000000-0000-0000-0000-000000000001": 1}),
            (dict[Region, int], {Region.NORTH: 1}, {"north": 1}),
            (dict[Level, int], {Level.LOW: 1}, {"1": 1}),
            (Mapping[str, list[int]], {"a": [1]}, {"a": [1]}),
            (Place, Place(1, 2), {"x": 1, "y": 2}),
            (Address, {"city": "Rome"}, {"city": "Rome"}),
            (Line, Line("x"), {"sku": "x", "count": 1}),
            (Customer, Customer("Ann"), {"name": "Ann", "born": None}),
            (Page[date], Page([date(2024, 1, 1)]), {"items": ["2024-01-01"], "next": None}),
            (Page[int], Page([1], Page([2])), {"items": [1], "next": {"items": [2], "next": None}}),
            (Tree, Tree("a", [Tree("b")]), {"name": "a", "children": [{"name": "b", "children": []}]}),
            (Card | Transfer, Transfer("DE", "swift"), {"iban": "DE", "kind": "swift"}),
            (Card | Transfer | None, None, None),
            (int | str, "5", "5"),
            (int | float, 5, 5),
            (float | str, 5.5, 5.5),
            (bool | int | None, True, True),
            (Region | list[int], [1], [1]),
            (Literal["a"] | Literal["b"] | int, "b", "b"),
            (date | list[date], date(2024, 1, 1), "2024-01-01"),
            (Any, {"a": [1, 2.5, None, True, "x"]}, {"a": [1, 2.5, None, True, "x"]}),
            (object, [], []),
            (Any | None, {"a": 1}, {"a": 1}),
        ],
        ids=label,
    )  # fmt: skip
    def test_a_value_has_this_form_and_returns_from_it(self, tp: Any, value: Any, form: Any) -> None:
        """What is decoded equals what was encoded, its type included."""
        cls = holder(tp)
        assert encoder_for(cls)(cls(value)) == {"field": form}
        back = there_and_back(cls, cls(value)).field
        assert back == value
        assert type(back) is type(value)

    def test_a_rich_event_returns_as_it_was(self) -> None:
        """All of it together."""
        rich = Rich(
            at=datetime(2024, 5, 1, tzinfo=UTC),
            region=Region.NORTH,
            lines=(Line("a", 2), Line("b")),
            customer=Customer("Ann", date(2000, 2, 29)),
            payment=Transfer("DE"),
            prices={UUID(int=1): Decimal("1.50")},
            raw={"any": [{"thing": None}]},
            tree=Tree("root", [Tree("leaf")]),
            either=[True, False],
            tags=frozenset({"x", "y"}),
            address={"city": "Rome", "zip": "00100"},
            data=b"\x00",
        )
        assert there_and_back(Rich, rich) == rich

    def test_an_offset_with_seconds_travels_as_utc(self) -> None:
        """RFC 3339 has no seconds in an offset; orjson alone would cut them off and move the time."""
        cls = holder(datetime)
        old = datetime(1890, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))
        assert encoder_for(cls)(cls(old)) == {"field": "1889-12-31T23:06:32+00:00"}
        assert there_and_back(cls, cls(old)).field == old

    def test_subclasses_of_plain_types_become_plain(self) -> None:
        """An IntEnum member in an `int` field is the number on every queue."""
        cls = holder(tuple[int, str, float, list[int]])

        class Text(str):
            __slots__ = ()

        class Items(list[int]):
            pass

        data = encoder_for(cls)(cls((Level.HIGH, Text("é"), 5, Items([1]))))
        assert data == {"field": [2, "é", 5.0, [1]]}
        assert [type(each) for each in data["field"]] == [int, str, float, list]

    def test_a_read_only_mapping_is_a_mapping(self) -> None:
        """Mapping says nothing of dict."""
        cls = holder(Mapping[str, int])
        assert encoder_for(cls)(cls(MappingProxyType({"a": 1}))) == {"field": {"a": 1}}

    def test_an_enum_may_know_what_to_do_with_unknown_values(self) -> None:
        """`_missing_` lets an older consumer live with a newer producer."""
        assert decoder_for(holder(Known))({"field": "new"}).field is Known.UNKNOWN

    def test_private_fields_travel_under_their_own_name(self) -> None:
        """attrs calls the argument `token`; in JSON it is the field."""

        @event("codec.private")
        class Private:
            _token: str
            attrs: int = 1
            converter: int = 2
            cl: int = 3

        make: Any = Private  # type checkers don't know attrs' name for the argument
        private = make(token="a")
        assert encoder_for(Private)(private) == {"_token": "a", "attrs": 1, "converter": 2, "cl": 3}
        assert there_and_back(Private, private) == private

    def test_keyword_only_fields_and_factories_work(self) -> None:
        """The class is built as its author would build it."""

        @event("codec.keyword")
        @attrs.frozen(kw_only=True)
        class Keyword:
            a: str
            b: int = 1
            tags: list[str] = attrs.field(factory=lambda: ["new"])

        assert decoder_for(Keyword)({"a": "x"}) == Keyword(a="x", tags=["new"])

    def test_an_attrs_converter_sees_the_decoded_value(self) -> None:
        """The type says what it is in JSON, the converter what becomes of it."""

        @event("codec.converter")
        @attrs.frozen
        class Converted:
            name: str = attrs.field(converter=without_blanks)

        assert decoder_for(Converted)({"name": " a "}) == Converted("a")


class TestTypesWithoutAForm:
    """Refused at import, by field, with what to use instead."""

    @pytest.mark.parametrize(
        ("tp", "advice"),
        [
            (complex, r"complex has no JSON form; use tuple\[float, float\]"),
            (bytearray, "use bytes"),
            (tzinfo, "use str"),
            (type, "an attrs class or a dataclass"),
            (TestEveryType, "TestEveryType has no JSON form; make it an attrs class or a dataclass"),
            (dict[float, int], "the keys of .* are no strings in JSON; use str, int, UUID"),
            (dict[str | None, int], "are no strings in JSON"),
            (set[list[int]], "can't be hashed once decoded; use list"),
            (frozenset[Transfer], "can't be hashed once decoded"),
            (str | datetime, "can't be told apart: both a string and a datetime .* are a string in JSON"),
            (list[int] | set[int], "are an array in JSON"),
            (dict[str, int] | Line, "are an object in JSON"),
            (Line | Customer, r'give each a field that names it, .* such as kind: Literal\["line"\] = "line"'),
            (Page[int] | Page[str], "can't be told apart"),
            (timedelta | float, "are a number in JSON"),
            (Literal[b"a"], "b'a' in a Literal has no JSON form"),
            (enum.Enum("Pairs", {"A": (1, 2)}), r"Pairs.A has the value \(1, 2\), which is no JSON string"),
            (enum.Enum("Empty", {}), "Empty has no members"),
        ],
        ids=label,
    )  # fmt: skip
    def test_it_is_refused_with_advice(self, tp: Any, advice: str) -> None:
        """At decoration, long before the first event."""
        with pytest.raises(ConfigurationError, match=rf"Holder.field: .*{advice}"):
            holder(tp)

    def test_a_tag_with_the_same_word_twice_is_refused(self) -> None:
        """The word must name one class."""
        words: Any = Literal["swift", "other"]
        other = attrs.make_class("Other", {"kind": attrs.field(type=words)})
        with pytest.raises(ConfigurationError, match="can't be told apart"):
            holder(Transfer | other)

    def test_an_alias_that_holds_itself_is_refused(self) -> None:
        """Raw JSON is called Any. This stands for `type Json = list[Json]` of later Pythons."""

        def value(alias: Any) -> Any:
            return list[alias]

        alias = type("TypeAliasType", (), {"__value__": property(value)})()
        with pytest.raises(ConfigurationError, match="a type alias that holds itself; use Any"):
            holder(alias)

    def test_only_classes_with_fields_have_a_codec(self) -> None:
        """A bare class, or a subclass that was not decorated, has none."""
        for thing in (int, type("Below", (Line,), {}), TestEveryType):
            with pytest.raises(ConfigurationError, match="make it an attrs class or a dataclass"):
                Codec.of(thing)


class TestStrictness:
    """Nothing becomes something else on the way."""

    @pytest.mark.parametrize(
        ("tp", "data"),
        [
            (str, None),
            (str, 5),
            (int, "5"),
            (int, 5.0),
            (int, True),
            (int, None),
            (int, 1 << 64),
            (float, "1.5"),
            (float, True),
            (float, float("nan")),
            (float, float("inf")),
            (bool, 1),
            (bool, "true"),
            (type(None), False),
            (datetime, "2024-05-01T12:00:00"),
            (datetime, "2024-05-01"),
            (datetime, 0),
            (datetime, "0001-01-01T00:00:00+99:00"),
            (date, "2024-05-01T00:00:00Z"),
            (date, "2024-W01-1"),
            (date, "20240501"),
            (time, "25:00"),
            (timedelta, "5"),
            (timedelta, 1e300),
            (Decimal, 1.5),
            (Decimal, 15),
            (Decimal, "NaN"),
            (Decimal, "1_000"),
            (Decimal, " 1"),
            (Decimal, "\u0661"),
            (Decimal, "1e99999999999999999999"),
            (UUID, "{00000000-0000-0000-0000-000000000001}"),
            (UUID, "0_000000-0000-0000-0000-000000000001"),
            (UUID, "00000000000000000000000000000001"),
            (bytes, "AP8"),
            (bytes, "A P8="),
            (bytes, "AP8=AP8="),
            (Region, "NORTH"),
            (Region, None),
            (Level, "1"),
            (Level, True),
            (Level, 1.0),
            (Access, 64),
            (Literal[1], True),
            (Literal[True], 1),
            (Literal["a"], "b"),
            (list[int], (1,)),
            (list[int], "12"),
            (list[int], {"0": 1}),
            (tuple[int, str], [1]),
            (tuple[int, str], [1, "a", 2]),
            (dict[str, int], []),
            (dict[int, int], {"01": 1}),
            (dict[int, int], {"1_0": 1}),
            (dict[int, int], {"9" * 5000: 1}),
            (dict[Region, int], {"east": 1}),
            (Line, None),
            (Line, []),
            (Line, "x"),
            (Line, {"sku": None}),
            (Address, {}),
            (Place, [1, 2]),
            (Card | Transfer, {"number": "1"}),
            (Card | Transfer, {"number": "1", "kind": "sepa"}),
            (Card | Transfer, {"number": "1", "kind": ["card"]}),
            (Card | Transfer, {"number": "1", "kind": None}),
            (int | str, 5.5),
            (int | None, "None"),
        ],
        ids=label,
    )  # fmt: skip
    def test_a_value_of_another_type_is_refused(self, tp: Any, data: Any) -> None:
        """A reader that guesses hides a writer's mistake."""
        with pytest.raises(CorruptMessage, match=r"the data is no event 'codec.holder' \(Holder\): field"):
            decoder_for(holder(tp))({"field": data})

    @pytest.mark.parametrize(
        ("tp", "value", "reason"),
        [
            (str, None, "expected a string, got null"),
            (str, 5, "expected a string, got an integer"),
            (str, "\ud800", "lone surrogates"),
            (str, b"x", "got bytes"),
            (int, "5", "expected an integer, got a string"),
            (int, True, "expected an integer, got a boolean"),
            (int, 1.0, "expected an integer, got a number"),
            (int, 1 << 64, "beyond 64 bits"),
            (int, -(1 << 63) - 1, "beyond 64 bits"),
            (int, 10**5000, "beyond 64 bits"),
            (float, float("nan"), "nan has no JSON form"),
            (float, float("-inf"), "-inf has no JSON form"),
            (float, True, "expected a number, got a boolean"),
            (float, Decimal(1), "got Decimal object"),
            (bool, 1, "expected a boolean, got an integer"),
            (datetime, datetime(2024, 1, 1), "a naive datetime has no place in time; use an aware one"),
            (datetime, date(2024, 1, 1), "got date object"),
            (datetime, datetime.min.replace(tzinfo=timezone(timedelta(seconds=61))), "outside the years 1 to 9999"),
            (date, datetime(2024, 1, 1, tzinfo=UTC), "expected a date, got a datetime; use its .date()"),
            (timedelta, timedelta.max, "loses microseconds"),
            (Decimal, Decimal("NaN"), "NaN has no JSON form"),
            (Decimal, 1.5, "expected a decimal number as a string, got a number"),
            (UUID, "00000000-0000-0000-0000-000000000001", "expected a UUID, got a string"),
            (Region, "north", "expected a Region, got 'north'"),
            (Region, Level.LOW, "expected a Region, got Level object"),
            (Literal["a", "b"], "c", "expected one of 'a', 'b', got 'c'"),
            (Literal["a"], [], "expected 'a', got an array"),
            (list[int], (1,), "expected a list, got a tuple"),
            (tuple[int, ...], [1], "expected a tuple, got an array"),
            (tuple[int, int], (1,), "expected an array of 2, got 1"),
            (set[int], [1], "expected a set, got an array"),
            (dict[str, int], [], "expected a dict, got an array"),
            (dict[str, int], {5: 1}, "expected a string, got an integer"),
            (dict[int, int], {"5": 1}, "expected an integer, got a string"),
            (Line, {"sku": "x"}, "expected Line, got an object"),
            (Line, None, "expected Line, got null"),
            (Address, {"city": "Rome", "street": "x"}, "Address declares no such key"),
            (Address, {}, "city: missing"),
            (Card | Transfer, Line("x"), "expected Card or Transfer, got Line object"),
            (int | str, 1.5, "expected an integer or a string, got a number"),
            (Any, (1, 2), "a tuple is not JSON; raw data is made of dict, list"),
            (Any, {"a": {1, 2}}, r"\['a'\]: a set is not JSON"),
            (Any, {1: 2}, "the key 1 is not a string"),
            (Any, [float("nan")], r"\[0\]: nan has no JSON form"),
            (Any, datetime(2024, 1, 1, tzinfo=UTC), "datetime object is not JSON"),
            (Any, {"a": [1 << 70]}, r"\['a'\]\[0\]: an integer beyond 64 bits"),
            (Any, {"\udfff": 1}, "lone surrogates"),
        ],
        ids=label,
    )  # fmt: skip
    def test_what_json_can_not_say_is_refused_by_field(self, tp: Any, value: Any, reason: str) -> None:
        """At dispatch, where the mistake was made, and not in a consumer."""
        cls = holder(tp)
        with pytest.raises(CorruptMessage, match=rf"event 'codec.holder' \(Holder\) has no JSON form: field.*{reason}"):
            encoder_for(cls)(cls(value))

    def test_an_integer_is_taken_for_a_float(self) -> None:
        """JavaScript writes 5.0 as 5; no information is lost."""
        for tp in (float, float | None, float | str):
            value = decoder_for(holder(tp))({"field": 5}).field
            assert (value, type(value)) == (5.0, float)

    def test_a_subclass_where_a_class_is_declared_is_refused(self) -> None:
        """Its own fields would be lost silently."""
        gift = attrs.make_class("Gift", {"ribbon": attrs.field(type=str, default="red")}, bases=(Line,), frozen=True)
        cls = holder(Line)
        with pytest.raises(CorruptMessage, match="field: expected Line, got Gift object"):
            encoder_for(cls)(cls(gift("x")))

    def test_two_keys_that_mean_the_same_are_refused(self) -> None:
        """One of the values would be lost."""
        with pytest.raises(CorruptMessage, match="two keys mean the same"):
            decoder_for(holder(dict[UUID, int]))(
                {"field": {"abcdefab-0000-0000-0000-000000000000": 1, "ABCDEFAB-0000-0000-0000-000000000000": 2}}
            )

    def test_an_event_of_another_class_is_refused(self) -> None:
        """An encoder is for its class."""
        encode: Any = encoder_for(Flat)
        with pytest.raises(
            CorruptMessage, match=r"event 'codec.flat' \(Flat\) has no JSON form: expected Flat, got Line"
        ):
            encode(Line("x"))


class TestOldAndNew:
    """Producer and consumer are never deployed at the same moment."""

    def test_a_missing_field_takes_its_default(self) -> None:
        """An older producer does not know it."""
        assert decoder_for(Flat)({"count": 1, "name": "a", "price": 1.0, "note": None}).gift is False

    def test_a_missing_field_without_a_default_is_named(self) -> None:
        """With the field, so that the producer can be mended."""
        with pytest.raises(CorruptMessage, match="price: missing, and it has no default"):
            decoder_for(Flat)({"count": 1, "name": "a", "note": None})

    def test_an_unknown_field_is_left_out(self) -> None:
        """A newer producer knows more than we."""
        extra = {"count": 1, "name": "a", "price": 1.0, "note": None, "colour": "red", "__class__": "os.system"}
        assert decoder_for(Flat)(extra) == Flat(1, "a", 1.0, None)

    def test_no_data_at_all_is_an_event_whose_fields_all_have_defaults(self) -> None:
        """CloudEvents makes data optional."""
        assert decoder_for(holder(int, default=5))(None).field == 5
        with pytest.raises(CorruptMessage, match="count: missing"):
            decoder_for(Flat)(None)

    @pytest.mark.parametrize("data", [[], "x", 5, True, b"x", [["count", 1]]])
    def test_data_that_is_no_object_is_refused(self, data: Any) -> None:
        """Even where all fields have defaults."""
        for cls in (Flat, holder(int, default=5)):
            with pytest.raises(CorruptMessage, match="expected an object"):
                decoder_for(cls)(data)


class TestErrors:
    def test_the_path_leads_to_the_field(self) -> None:
        """Through lists, mappings and classes."""
        cls = holder(dict[str, list[Page[Line]]])
        data = {"field": {"eu": [{"items": []}, {"items": [{"sku": "a"}, {"sku": "b", "count": "2"}]}]}}
        with pytest.raises(CorruptMessage) as caught:
            decoder_for(cls)(data)
        assert str(caught.value) == (
            "the data is no event 'codec.holder' (Holder): "
            "field['eu'][1].items[1].count: expected an integer, got a string"
        )

    def test_the_path_of_an_encoding_leads_to_the_field(self) -> None:
        """The same words in both directions."""
        cls = holder(tuple[Page[Any], ...])
        with pytest.raises(CorruptMessage, match=r": field\[1\].items\[0\]\['a'\]: nan has no JSON form"):
            encoder_for(cls)(cls((Page([]), Page([{"a": float("nan")}]))))

    def test_a_validator_of_the_class_has_its_say(self) -> None:
        """Whatever it raises is a reason, not a crash."""

        @event("codec.validated")
        @attrs.frozen
        class Validated:
            age: int = attrs.field(validator=attrs.validators.ge(18))

        with pytest.raises(CorruptMessage, match="Validated refused it: ValueError: 'age' must be >= 18"):
            decoder_for(Validated)({"age": 5})

    def test_a_constructor_that_fails_in_odd_ways_is_a_reason_too(self) -> None:
        """Errors without text, and errors whose text fails."""

        class Odd(Exception):
            def __str__(self) -> str:
                raise RuntimeError

        for error in (KeyError(), Odd(Odd()), RecursionError()):

            def fail(_self: Any, _attribute: Any, _value: Any, error: Exception = error) -> None:
                raise error

            cls = holder(int, validator=fail)
            with pytest.raises(CorruptMessage, match="Holder refused it"):
                decoder_for(cls)({"field": 1})

    def test_running_out_of_memory_is_not_blamed_on_the_data(self) -> None:
        """It says nothing of the event, which may be handled elsewhere."""

        shortages = [MemoryError()]

        def fail_once(_self: Any, _attribute: Any, _value: Any) -> None:
            if shortages:
                raise shortages.pop()

        with pytest.raises(MemoryError):
            decoder_for(holder(int, validator=fail_once))({"field": 1})

    @pytest.mark.parametrize(
        ("tp", "data"),
        [
            (Literal["a"], "\x1b[31m\r\n" + "x" * 10_000),
            (Region, "\u2028\ud800\x00" * 5_000),
            (date, "9" * 100_000),
            (dict[str, int], {"\r\n\x1b" * 10_000: "x"}),
            (Card | Transfer, {"kind": "\n" * 10_000}),
            (Decimal, "9\n" * 10_000),
        ],
    )
    def test_an_error_quotes_little_and_escapes_it(self, tp: Any, data: Any) -> None:
        """Payloads are not for logs, and logs are read in terminals."""
        with pytest.raises(CorruptMessage) as caught:
            decoder_for(holder(tp))({"field": data})
        text = str(caught.value)
        assert len(text) < 300
        assert text.isprintable()

    def test_an_error_does_not_carry_the_payload_in_its_causes(self) -> None:
        """A traceback prints them."""
        with pytest.raises(CorruptMessage) as caught:
            decoder_for(holder(date))({"field": "secret"})
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


class TestDepth:
    """64 levels of nesting, whichever way it goes."""

    def test_a_recursive_class_returns_as_it_was(self) -> None:
        """A tree is a class inside itself."""
        cls = holder(Tree)
        tree = Tree("leaf")
        for level in range(25):
            tree = Tree(str(level), [tree])
        assert there_and_back(cls, cls(tree)).field == tree

    def test_a_value_nested_deeper_than_the_wire_allows_is_refused(self) -> None:
        """At dispatch: a consumer would find it corrupt."""
        cls = holder(Any)
        raw: Any = []
        for _ in range(62):
            raw = [raw]
        assert there_and_back(cls, cls(raw)).field == raw
        with pytest.raises(CorruptMessage, match="nested deeper than 64 levels"):
            encoder_for(cls)(cls([raw]))

    def test_a_value_that_holds_itself_is_refused(self) -> None:
        """JSON is a tree."""
        cls = holder(Any)
        loop: list[Any] = []
        loop.append(loop)
        with pytest.raises(CorruptMessage, match="nested too deeply, or holds itself"):
            encoder_for(cls)(cls(loop))

    @pytest.mark.parametrize("tp", [Tree, Page[int], Any, list[Tree]])
    def test_data_nested_without_end_never_breaks_the_decoder(self, tp: Any) -> None:
        """The wire refuses it first; without the wire it is refused all the same."""
        data: Any = {"name": "x"}
        for _ in range(50_000):
            data = {"name": "x", "children": [data], "items": [], "next": data}
        cls = holder(tp)
        with contextlib.suppress(CorruptMessage):
            decoder_for(cls)({"field": data})

    def test_a_failure_deep_inside_is_found_in_linear_time(self) -> None:
        """Looking for it at every level again would take 2**60 steps."""
        data: Any = {"name": 5}
        for _ in range(60):
            data = {"name": "x", "children": [data]}
        began = stopwatch.perf_counter()
        with pytest.raises(CorruptMessage, match=r"name: expected a string, got an integer"):
            decoder_for(holder(Tree))({"field": data})
        assert stopwatch.perf_counter() - began < 1


class TestSecurity:
    """A payload is data. It names no class, calls nothing, and reaches no attribute."""

    @pytest.mark.parametrize(
        "data",
        [
            {"__class__": "os.system", "__init__": "x", "__reduce__": ["os.system", ["true"]]},
            {"py/object": "os.system", "py/reduce": [{"py/function": "os.system"}]},
            {"!!python/object/apply:os.system": ["true"]},
            {"count": {"__class__": "int"}, "name": "a", "price": 1.0, "note": None},
            {"count": 1, "name": {"$type": "System.Diagnostics.Process"}, "price": 1.0, "note": None},
            "__import__('os').system('true')",
            "gASVHgAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAR0cnVllIWUUpQu",
        ],
    )
    def test_a_payload_that_names_code_is_only_a_payload_that_does_not_fit(self, data: Any) -> None:
        """S1, S2: neither run, nor looked up."""
        with pytest.raises(CorruptMessage):
            decoder_for(Flat)(data)

    def test_a_payload_can_not_reach_the_class(self) -> None:
        """Fields are those that were declared; others fall on the floor."""
        data: dict[str, Any] = {"field": 1, "__event__": None, "__slots__": [], "__attrs_attrs__": [], "_Holder__x": 1}
        cls = holder(int)
        before = dict(vars(cls))
        assert decoder_for(cls)(data) == cls(1)
        assert dict(vars(cls)) == before

    def test_words_that_name_code_are_words(self) -> None:
        """A string is a string."""
        cls = holder(Any)
        value = {"__class__": "os.system", "x": "{0.__class__}", "y": "${jndi:ldap://x}"}
        assert there_and_back(cls, cls(value)).field == value


# -- whatever arrives


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["north", "card", "sepa", "2024-02-29", "2024-02-29T12:00:00Z", "1.5", "AP8=", str(UUID(int=1))])
)
names = st.sampled_from(
    [
        "__class__",
        *(name for cls in (Flat, Rich, Line, Customer, Card, Transfer, Tree) for name in Codec.of(cls).fields),
    ]
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names | st.text(max_size=5), inner, max_size=6),
    max_leaves=20,
)
lines = st.fixed_dictionaries({"sku": st.text(max_size=5)}, optional={"count": st.integers(-5, 5) | json_values})
flat_data = st.fixed_dictionaries(
    {
        "count": st.integers(0, 9) | json_values,
        "name": st.text(max_size=5) | json_values,
        "price": st.floats(0, 9) | st.integers(0, 9) | json_values,
        "note": st.none() | json_values,
    },
    optional={"gift": st.booleans() | json_values, "other": json_values},
)
rich_data = st.fixed_dictionaries(
    {
        "at": st.sampled_from(["2024-02-29T12:00:00Z", "2024-02-29T12:00:00.5+02:00"]) | json_values,
        "region": st.sampled_from(["north", "south"]) | json_values,
        "lines": st.lists(lines, max_size=3) | json_values,
        "customer": st.fixed_dictionaries({"name": st.text(max_size=5)}, optional={"born": json_values}),
        "payment": st.fixed_dictionaries(
            {"kind": st.sampled_from(["card", "sepa", "x"]), "number": st.text(), "iban": st.text() | json_values}
        ),
        "prices": st.just({str(UUID(int=1)): "1.50"}) | json_values,
        "raw": st.dictionaries(st.text(max_size=5), json_values, max_size=3),
    },
    optional=dict.fromkeys(("tree", "either", "tags", "address", "data"), json_values),
)


def fits_or_is_refused(cls: type[Any], data: Any) -> None:
    """Decoding raises CorruptMessage and nothing else, or gives what encodes and decodes to itself."""
    before = json.dumps(data)
    with contextlib.suppress(CorruptMessage):
        instance = decoder_for(cls)(data)
        assert type(instance) is cls
        assert there_and_back(cls, instance) == instance
    assert json.dumps(data) == before


@given(json_values)
def test_any_json_fits_or_is_refused(data: Any) -> None:
    """S19: a decoder raises only what it declares, and changes nothing it is given."""
    for cls in (Flat, Rich):
        fits_or_is_refused(cls, data)


@given(flat_data)
def test_nearly_right_flat_data_fits_or_is_refused(data: Any) -> None:
    """The same, closer to the mark."""
    fits_or_is_refused(Flat, data)


@given(rich_data)
def test_nearly_right_rich_data_fits_or_is_refused(data: Any) -> None:
    """The same, for every kind of field at once."""
    fits_or_is_refused(Rich, data)


@given(
    st.builds(
        Rich,
        at=st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.timezones() | st.just(UTC)),
        region=st.sampled_from(Region),
        lines=st.lists(st.builds(Line, st.text(), st.integers(-(1 << 63), (1 << 63) - 1)), max_size=3).map(tuple),
        customer=st.builds(Customer, st.text(), st.none() | st.dates()),
        payment=st.builds(Card, st.text()) | st.builds(Transfer, st.text(), st.sampled_from(["sepa", "swift"])),
        prices=st.dictionaries(st.uuids(), st.decimals(allow_nan=False, allow_infinity=False), max_size=3),
        raw=st.dictionaries(st.text(), json_values, max_size=3),
        either=st.none() | st.integers(-9, 9) | st.text() | st.lists(st.booleans(), max_size=3),
        tags=st.frozensets(st.text(), max_size=3),
        data=st.binary(max_size=20),
    )
)
def test_every_event_returns_as_it_was(rich: Rich) -> None:
    """Over real JSON text; a time as the same moment."""
    back = there_and_back(Rich, rich)
    assert attrs.evolve(back, at=rich.at) == rich
    assert back.at.astimezone(UTC) == rich.at.astimezone(UTC)


def test_the_code_for_a_flat_class_is_generated_and_not_slower_than_plain_cattrs() -> None:
    """The budget of an event has 1.5 µs for it. As a ratio, since machines differ; the best of many runs."""
    plain, data = cattrs.Converter(), {"count": 1, "name": "a", "price": 1.5, "note": "b", "gift": True}
    decode = decoder_for(Flat)

    def best(run: Any) -> float:
        times = []
        for _ in range(50):
            began = stopwatch.perf_counter()
            for _ in range(100):
                run(data)
            times.append(stopwatch.perf_counter() - began)
        return min(times)

    assert best(decode) < 1.5 * best(lambda value: plain.structure(value, Flat))
