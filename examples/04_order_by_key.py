"""Order by key: events of one account are handled one after the other, however many workers there are.

A retry keeps its place: what comes later in the same account waits for it. Other accounts do not.
"""

import asyncio
import logging
from dataclasses import dataclass

from notification import Context, EventDispatcher, RetryLater, event


@event("account.changed", key="account_id")
@dataclass(frozen=True)
class AccountChanged:
    account_id: int
    change: str


dispatcher = EventDispatcher("channel://")
handled: list[AccountChanged] = []


@dispatcher.on(AccountChanged)
async def book(changed: AccountChanged, ctx: Context) -> None:
    if changed.change == "deposit" and changed.account_id == 7 and ctx.attempt == 1:
        raise RetryLater(0.1, "the ledger is busy")
    handled.append(changed)


async def main() -> None:
    logging.getLogger("notification").setLevel(logging.ERROR)  # it would warn of the retry
    async with dispatcher:
        await dispatcher.start(workers=8)
        changes = [AccountChanged(id_, change) for change in ("open", "deposit", "close") for id_ in (7, 8, 9)]
        await dispatcher.dispatch_many(changes)
        await dispatcher.join()
    for account in (7, 8, 9):
        print(f"account {account}:", *(changed.change for changed in handled if changed.account_id == account))
    print("the last two:", *(f"{changed.change} {changed.account_id}" for changed in handled[-2:]))


if __name__ == "__main__":
    asyncio.run(main())

# prints:
#   account 7: open deposit close
#   account 8: open deposit close
#   account 9: open deposit close
#   the last two: deposit 7 close 7
