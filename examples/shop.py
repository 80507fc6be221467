"""A shop tells its customers what happens to their orders.

    notification run examples/shop.py --workers 8
    python -m examples.replay                      # the same over a file of events, with progress and a summary

Customers are real enough to have mail servers that say "later" and carriers that do not answer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal

from attrs import frozen

from notification import Context, EventDispatcher, Message, Reject, RetryLater, RetryPolicy, event

# -- what happens in the shop


@frozen
class Line:
    sku: str
    quantity: int
    price: Decimal


@frozen
class Address:
    street: str
    postcode: str
    city: str
    country: str


@event("order.placed", key="account_id")
class OrderPlaced:
    account_id: int
    order_id: str
    name: str
    email: str
    lines: tuple[Line, ...]
    total: Decimal


@event("order.cancelled", key="account_id")
class OrderCancelled:
    account_id: int
    order_id: str
    reason: str


@event("payment.captured", key="account_id")
class PaymentCaptured:
    account_id: int
    order_id: str
    amount: Decimal
    method: str


@event("payment.failed", key="account_id")
class PaymentFailed:
    account_id: int
    order_id: str
    amount: Decimal
    reason: str


@event("parcel.shipped", key="account_id")
class ParcelShipped:
    account_id: int
    order_id: str
    parcel_id: str
    carrier: str
    address: Address


@event("parcel.delayed", key="account_id")
class ParcelDelayed:
    account_id: int
    parcel_id: str
    days: int


@event("parcel.delivered", key="account_id")
class ParcelDelivered:
    account_id: int
    order_id: str
    parcel_id: str
    left_with: str


@event("stock.low")
class StockLow:
    sku: str
    left: int


# -- the services around it, which are slow and fail


class BadAddress(Exception):
    """No retry will make it good."""


class CarrierDown(Exception):
    """It may answer the next time."""


async def send_mail(account_id: int, subject: str) -> None:
    """A mail server takes some milliseconds."""
    await asyncio.sleep(0.008 + (account_id + len(subject)) % 13 / 1000)


async def book_tracking(shipped: ParcelShipped, attempt: int) -> None:
    """Every carrier's own way to answer."""
    await asyncio.sleep(0.012)
    if not (shipped.address.city and shipped.address.postcode):
        raise BadAddress(f"parcel {shipped.parcel_id} has no city")
    if shipped.carrier == "Nowhere Post" or (shipped.carrier == "Slow Donkey Express" and attempt < 3):
        raise CarrierDown(f"{shipped.carrier} does not answer")


# -- who does what


class Watch:
    """Middleware: tells `runs`, if it is set, how every run of a handler ended."""

    def __init__(self) -> None:
        self.runs: Callable[[Message, Context, Exception | None], None] | None = None

    async def __call__(self, message: Message, ctx: Context, call_next: Callable[[], Awaitable[None]]) -> None:
        failure: Exception | None = None
        try:
            await call_next()
        except Exception as error:
            failure = error
            raise
        finally:
            if self.runs is not None:
                self.runs(message, ctx, failure)


watch = Watch()
dispatcher = EventDispatcher(
    "sqlite:///run/shop.db?lease=5s&dedup=1d",
    retry=RetryPolicy(attempts=4, initial=0.2, max=2.0, fatal=(BadAddress,)),
    middleware=[watch],
)


@dispatcher.on(OrderPlaced)
async def thank(placed: OrderPlaced, ctx: Context) -> None:
    if placed.email.endswith("@greylist.example") and ctx.attempt == 1:
        raise RetryLater(0.3, "451 greylisted, try again")
    await send_mail(placed.account_id, f"Thank you for your order {placed.order_id}, {placed.name}")


@dispatcher.on(OrderCancelled)
async def regret(cancelled: OrderCancelled) -> None:
    await send_mail(cancelled.account_id, f"Your order {cancelled.order_id} is cancelled: {cancelled.reason}")


@dispatcher.on(PaymentCaptured)
async def send_receipt(captured: PaymentCaptured) -> None:
    if captured.amount <= 0:
        raise Reject(f"a receipt over {captured.amount} makes no sense")
    await send_mail(captured.account_id, f"Your receipt over {captured.amount}")


@dispatcher.on(PaymentFailed)
async def ask_to_pay(failed: PaymentFailed) -> None:
    await send_mail(failed.account_id, f"Please pay {failed.amount} another way: {failed.reason}")


@dispatcher.on(ParcelShipped)
async def announce_parcel(shipped: ParcelShipped, ctx: Context) -> None:
    await book_tracking(shipped, ctx.attempt)
    await send_mail(shipped.account_id, f"{shipped.carrier} brings your parcel {shipped.parcel_id}")


@dispatcher.on(ParcelDelayed)
async def apologize(delayed: ParcelDelayed) -> None:
    await send_mail(delayed.account_id, f"Your parcel {delayed.parcel_id} is {delayed.days} days late")


@dispatcher.on(ParcelDelivered)
async def ask_for_review(delivered: ParcelDelivered) -> None:
    await send_mail(delivered.account_id, f"Left with {delivered.left_with}. How do you like it?")


@dispatcher.on(StockLow)
async def reorder(low: StockLow) -> None:
    await asyncio.sleep(0.005)


activity: Counter[str] = Counter()


@dispatcher.on("*")
async def count_activity(message: Message) -> None:
    """Whatever it is: the dashboard in the office counts it. Types without a class come here too."""
    activity[message.type] += 1
