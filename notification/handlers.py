"""Who handles what: handlers by event class, by type name and by pattern."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Literal

from attrs import evolve, frozen

from queues.errors import ConfigurationError, CorruptMessage
from queues.message import Delivery, Message
from queues.url import check_name
from workers.desk import Desk
from workers.retry import RetryPolicy

from .context import Context, Middleware, Send
from .event import EventSpec, spec_of_class

Order = Literal["key", "process", "none"]
Invoke = Callable[[Any, Delivery, Desk], Awaitable[None]]


@frozen
class Handler:
    """A function and how to run it. `spec` is None for those that take the `Message`."""

    name: str
    function: Callable[..., Any]
    pattern: str
    spec: EventSpec | None
    retry: RetryPolicy | None
    timeout: float | None
    order: Order
    wants_context: bool

    @classmethod
    def of(
        cls, function: Callable[..., Any], pattern: str, spec: EventSpec | None, *,
        name: str | None, retry: RetryPolicy | None, timeout: float | None, order: Order,
    ) -> Handler:  # fmt: skip
        """Check everything that can be checked at import; raises ConfigurationError."""
        if timeout is not None and not timeout > 0:
            raise ConfigurationError(f"on(timeout={timeout!r}) must be more than 0 seconds")
        if order not in typing.get_args(Order):
            raise ConfigurationError(f"on(order={order!r}) is none of {', '.join(typing.get_args(Order))}")
        name = check_name("handler", name if name is not None else _name_of(function))
        wants_context = _wants_context(function, spec.cls if spec is not None else Message)
        return cls(name, function, pattern, spec, retry, timeout, order, wants_context)

    @property
    def is_async(self) -> bool:
        """Whether it is awaited; a plain function runs in a thread."""
        function = _innermost(self.function)
        return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)

    def matches(self, type_name: str) -> bool:
        """Whether events of this type are for it."""
        return self.pattern == type_name or fits(self.pattern, type_name)


def what_is_handled(event: type[Any] | str) -> tuple[str, EventSpec | None]:
    """The pattern that events have to fit, and their spec if they are of one class. Raises ConfigurationError."""
    if not isinstance(event, str):
        spec = spec_of_class(event)
        return spec.name, spec
    if not event or len(event) > 256 or not event.isprintable():
        raise ConfigurationError("a pattern is 1 to 256 printable characters, like 'github.*'")
    return event, None


class Handlers:
    """All handlers of a dispatcher. Names are unique among those that can meet in one event."""

    def __init__(self) -> None:
        self.all: list[Handler] = []

    def add(self, handler: Handler) -> None:
        """Register one. Raises ConfigurationError for a name that is taken."""
        for other in self.all:
            overlap = other.matches(handler.pattern) or handler.matches(other.pattern)
            both_patterns = "*" in other.pattern and "*" in handler.pattern
            if other.name == handler.name and (overlap or both_patterns):
                raise ConfigurationError(
                    f"two handlers of {handler.pattern!r} are named {handler.name!r}; give one of them name="
                )
        self.all.append(handler)

    def of(self, type_name: str) -> list[Handler]:
        """Those for events of this type, in the order of registration."""
        return [handler for handler in self.all if handler.matches(type_name)]


@frozen
class Step:
    """A handler made ready to run: settings filled in, and the fastest way to call it."""

    name: str
    policy: RetryPolicy
    timeout: float
    spec: EventSpec | None
    invoke: Invoke
    direct: Callable[[Any], Awaitable[None]] | None
    """Set when the function can simply be awaited with the event."""

    @classmethod
    def of(
        cls, handler: Handler, *, retry: RetryPolicy, timeout: float, middleware: Sequence[Middleware], send: Send
    ) -> Step:
        """Assemble a handler with the dispatcher's defaults and middleware."""
        plain = handler.is_async and not handler.wants_context and not middleware
        return cls(
            name=handler.name,
            policy=handler.retry or retry,
            timeout=handler.timeout or timeout,
            spec=handler.spec,
            invoke=_invoker(handler, middleware, send),
            direct=handler.function if plain else None,
        )

    def argument(self, message: Message) -> Any:
        """What the handler is given: the event, or the message itself. Raises CorruptMessage."""
        return read(message, self.spec)


def read(message: Message, spec: EventSpec | None) -> Any:
    """The event in a message; without a spec the message itself, its data as JSON."""
    data = message.data
    if spec is None:
        sent: EventSpec | None = getattr(type(data), "__event__", None)
        return message if sent is None else evolve(message, data=sent.codec.encode(data))
    if type(data) is spec.cls:
        return data
    if message.version > spec.version:
        raise CorruptMessage(f"{spec.name} version {message.version} is newer than the {spec.version} known here")
    return spec.codec.decode(data)


def _invoker(handler: Handler, middleware: Sequence[Middleware], send: Send) -> Invoke:
    function, is_async = handler.function, handler.is_async

    async def call(argument: Any, ctx: Context | None, desk: Desk) -> None:
        arguments = (argument,) if ctx is None or not handler.wants_context else (argument, ctx)
        if is_async:
            await function(*arguments)
        else:
            result = await desk.in_thread(function, *arguments)
            if inspect.isawaitable(result):  # a plain function around an async one: nothing has run yet
                await result

    async def invoke(argument: Any, delivery: Delivery, desk: Desk) -> None:
        if not middleware and not handler.wants_context:
            await call(argument, None, desk)
            return
        ctx = Context(delivery, handler.name, send)
        message = read(delivery.expect(), None)
        chain: Callable[[], Awaitable[None]] = partial(call, argument, ctx, desk)
        for layer in reversed(middleware):
            chain = partial(layer, message, ctx, chain)
        await chain()

    return invoke


def fits(pattern: str, text: str) -> bool:
    """Whether the text is the pattern, in which a star stands for any text. No regular expression: nothing is slow."""
    if "*" not in pattern:
        return pattern == text
    first, *parts, last = pattern.split("*")
    at, end = len(first), len(text) - len(last)
    if at > end or not (text.startswith(first) and text.endswith(last)):
        return False
    for part in parts:
        if (found := text.find(part, at, end)) < 0:
            return False
        at = found + len(part)
    return True


def _innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, partial):
        function = function.func
    return function


def _name_of(function: Callable[..., Any]) -> str:
    function = _innermost(function)
    return getattr(function, "__name__", type(function).__name__).replace("<lambda>", "lambda")


def _wants_context(function: Callable[..., Any], cls: type) -> bool:
    """Check a handler's parameters: the event, and perhaps the context."""
    name = _name_of(function)
    if not callable(function):
        raise ConfigurationError(f"{function!r} is no function; put @dispatcher.on(...) above one")
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return False
    positional = [p for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if not positional and not takes_any:
        raise ConfigurationError(f"handler {name!r} takes no event; write it as {name}(event) or {name}(event, ctx)")
    extra = [p.name for p in positional[2:] if p.default is p.empty]
    extra += [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if extra:
        raise ConfigurationError(
            f"handler {name!r} has the parameter {extra[0]!r}, which nobody gives it; "
            "a handler takes the event and, if it likes, a Context. Bind others with functools.partial"
        )
    if any(check(_innermost(function)) for check in (inspect.isgeneratorfunction, inspect.isasyncgenfunction)):
        raise ConfigurationError(f"handler {name!r} is a generator, which nobody iterates over; take out its yield")
    hints = _hints(function)
    if positional:
        _check_event_parameter(name, hints.get(positional[0].name), cls)
    if len(positional) < 2:
        return False
    second = positional[1]
    annotation = hints.get(second.name)
    if annotation is not None and annotation is not Context and second.default is second.empty:
        raise ConfigurationError(f"the second parameter of handler {name!r}, {second.name!r}, must be a Context")
    return second.default is second.empty or annotation is Context


def _check_event_parameter(name: str, annotation: object, cls: type) -> None:
    if isinstance(annotation, type) and annotation is not Any and not issubclass(cls, annotation):
        raise ConfigurationError(
            f"handler {name!r} takes {annotation.__name__} and is registered for {cls.__name__}; one of them is wrong"
        )


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    target = _innermost(function)
    if not inspect.isroutine(target):
        target = type(target).__call__
    try:
        return typing.get_type_hints(target)
    except Exception:  # noqa: BLE001 - annotations are any expression; one that can't be read is not checked
        return {}
