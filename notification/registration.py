"""What `dispatcher.on(...)` gives to put above a handler, and which functions it takes."""

# pyright: reportOverlappingOverload=false, reportInvalidTypeVarUse=false
# Pyright needs the first two overloads of Registration only, mypy the others; and they differ on a variance.

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload

from .context import Context

E = TypeVar("E")
P = ParamSpec("P")
R = TypeVar("R", bound=Awaitable[None] | None)
E_contra = TypeVar("E_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)
Wider = TypeVar("Wider")
"""What a handler takes beside the event it is registered for: its base class, or the other events of a union."""


# Whatever is both of two overloads is of both types: so a function is asked whether it takes the event, and for its
# own parameters, by which it is given back as it was.
class TakesEvent(Protocol[E_contra, P, R_co]):
    """A handler that takes the event."""

    @overload
    def __call__(self, event: E_contra, /) -> object: ...
    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class TakesContext(Protocol[E_contra, P, R_co]):
    """A handler that takes the event and a Context."""

    @overload
    def __call__(self, event: E_contra, ctx: Context, /) -> object: ...
    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class Registration(Generic[E]):
    """Registers the handler it is put above, or called with, and gives it back unchanged.

    A handler takes the event, or the event and a Context; it is async or plain, a function, a method or any other
    callable; and it returns nothing, for what it returned would go nowhere.
    """

    def __init__(self, add: Callable[[Callable[..., Any]], None]) -> None:
        self._add = add

    # The last two are for callables whose parameters have no names, which mypy does not see in the first two.
    @overload
    def __call__(self, handler: TakesEvent[E, P, R], /) -> Callable[P, R]: ...
    @overload
    def __call__(self, handler: TakesContext[E, P, R], /) -> Callable[P, R]: ...
    @overload
    def __call__(self, handler: Callable[[E | Wider], R], /) -> Callable[[E | Wider], R]: ...
    @overload
    def __call__(self, handler: Callable[[E | Wider, Context], R], /) -> Callable[[E | Wider, Context], R]: ...
    def __call__(self, handler: Callable[..., Any], /) -> Callable[..., Any]:
        """Register this handler. Raises ConfigurationError for one that could not be run."""
        self._add(handler)
        return handler
