"""Mistakes of kafka-python 3.0.12 that have no public way round; without the names used here it is left as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._kafka_client import ResponseClassRegistry

_REST_MS = 50.0


def complete_joins(consumer: Any) -> None:
    """Have each join of a group completed, once.

    One that is begun because a topic's partitions became known, or more, and takes longer than one poll, is forgotten:
    the client then asks whether it should join, and no longer whether it does. It stays outside, sends no heartbeats
    and is expelled. And one whose answer comes between two polls is made again: nobody takes the answer.
    """
    coordinator: Any = getattr(consumer, "_coordinator", None)
    asked, join = getattr(coordinator, "need_rejoin", None), getattr(coordinator, "_do_join_and_sync_async", None)
    if asked is None or join is None:
        return
    answers: list[tuple[Any, Any]] = []

    async def join_once() -> Any:
        while answers:
            membership, answer = answers.pop()
            if membership is coordinator._generation and not coordinator.stable():
                return answer
        answer = await join()
        answers.append((coordinator._generation, answer))
        return answer

    coordinator.need_rejoin = lambda: asked() or getattr(coordinator, "_join_task", None) is not None
    coordinator._do_join_and_sync_async = join_once


def give_out_what_was_parked(consumer: Any) -> None:
    """Have what was fetched before its partition was paused given out when it goes on.

    What is read in part, because more came than one poll takes, is parked, and taken up again when nothing else is
    being read; but what was read to its end, and is of no use any more, counts as such. The partition stands still.
    """
    fetcher: Any = getattr(consumer, "_fetcher", None)
    if not hasattr(fetcher, "_next_partition_records"):
        return
    fetched = fetcher.fetched_records

    def fetched_records(*args: Any, **options: Any) -> Any:
        if not fetcher._next_partition_records:
            fetcher._next_partition_records = None
        return fetched(*args, **options)

    fetcher.fetched_records = fetched_records


def forget_old_answers(consumer: Any) -> None:
    """Have it asked anew what a group has committed.

    A question that nobody waited for to the end keeps its answer for whoever asks the same, however much later.
    """
    getattr(getattr(consumer, "_coordinator", None), "_offset_fetch_futures", {}).clear()


def pass_over_what_is_unreadable(consumer: Any, tell: Callable[[Any, Exception], None]) -> None:
    """Have a batch that can't be decoded hold up its own partition only, and `tell` which, and why.

    The client takes from it for ever, inside one poll, or drops the error with all that it has read beside it.
    """
    fetcher: Any = getattr(consumer, "_fetcher", None)
    records: Any = getattr(fetcher, "PartitionRecords", None)
    if records is None:
        return

    class Readable(records):  # type: ignore[misc]  # the client has no types
        def take(self, n: int | None = None) -> Any:
            try:
                return super().take(n)
            except Exception as error:  # noqa: BLE001 - whatever it is, the other partitions go on
                tell(self.topic_partition, error)
                self.drain()
                return []

    fetcher.PartitionRecords = Readable


def tell_why(producer: Any, tell: Callable[[str, Exception], None]) -> None:
    """Have it told for which topic, and why, something is sent again: the client only logs it."""
    sender: Any = getattr(producer, "_sender", None)
    failed = getattr(sender, "_dispatch_error", None)
    if failed is None:
        return

    def told(batch: Any, error: Exception, *args: Any, **options: Any) -> Any:
        tell(batch.topic_partition.topic, error)
        return failed(batch, error, *args, **options)

    sender._dispatch_error = told


def rest_while_a_heartbeat_is_late(consumer: Any) -> None:
    """Have poll() wait as long as it was told to, also when no broker answers.

    It waits no longer than until the next heartbeat, which is overdue then, so it turns as fast as it can. Each time it
    leaves something behind at the question that has no answer, which adds up to 20 MB a second.
    """
    coordinator: Any = getattr(consumer, "_coordinator", None)
    wait = getattr(coordinator, "time_to_next_poll", None)
    if wait is not None:
        coordinator.time_to_next_poll = lambda: max(_REST_MS / 1000, wait())


def rest_while_nobody_answers(producer: Any) -> None:
    """Have a producer that can't send wait until something comes, or a while.

    It takes for milliseconds what its network tells in seconds, and for a reason to look again at once that there is no
    delay, when a connection is being made or has as many requests open as it may: it turns as fast as it can.
    """
    network: Any = getattr(getattr(producer, "_sender", None), "_client", None)
    delay = getattr(network, "connection_delay", None)
    if delay is not None:
        network.connection_delay = lambda node: max(_REST_MS, 1000 * delay(node))


def keep_answers() -> None:
    """Have answers read whatever other clients of this process do at the same moment. Idempotent.

    The class of an answer is made anew at the first use of each version, and takes the place of the one that was known,
    by a weak reference. Of two threads that do it at once, one leaves behind a class that nobody holds: from then on
    whoever reads such an answer dies of it, and its client waits for ever. They may spoil each other's readers, too.
    """
    known: dict[int, Any] | None = getattr(ResponseClassRegistry, "_response_class_registry", None)
    if known is None:
        return
    for number, answer in known.items():
        known[number] = whole = answer[None]
        if hasattr(whole._struct, "_data_class"):
            whole._struct._data_class = whole

    def register(response_class: Any) -> None:
        known.setdefault(response_class.API_KEY, response_class)

    ResponseClassRegistry.register_response_class = register
