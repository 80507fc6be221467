"""A synchronous caller: a Django view dispatches through `blocking()`. Needs django.

The web process only dispatches: `blocking()` opens the queue at first use, in a thread of its own, and `dispatch`
returns when the queue has the event. A plain script does the same, with the two lines of `sign_up`. Workers are
another process as a rule, `notification run examples/06_django_view.py:workers`; here they follow at the end.
Where a view writes to the database, too, dispatch in `transaction.on_commit()`: a roll-back takes no event back.
"""

import asyncio
import json

import django
from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.test import Client
from django.urls import path

from notification import EventDispatcher, event


@event("user.signed_up")
class UserSignedUp:
    user_id: int
    email: str


web = EventDispatcher("sqlite:///sign_ups.db")


def sign_up(request: HttpRequest) -> JsonResponse:
    with web.blocking() as dispatcher:
        dispatcher.dispatch(UserSignedUp(user_id=7, email=json.loads(request.body)["email"]))
    return JsonResponse({"status": "we will write to you"}, status=202)


urlpatterns = [path("sign-up", sign_up)]

workers = EventDispatcher("sqlite:///sign_ups.db")


@workers.on(UserSignedUp)
async def welcome(user: UserSignedUp) -> None:
    print(f"welcome, {user.email}")


async def work() -> None:
    async with workers:
        await workers.start(workers=2)
        await workers.join()


if __name__ == "__main__":
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["testserver"])
    django.setup()
    print(Client().post("/sign-up", {"email": "ada@example.org"}, content_type="application/json"))
    asyncio.run(work())

# prints:
#   <JsonResponse status_code=202, "application/json">
#   welcome, ada@example.org
