"""Getting to a Redis: where it is, and what is said when it can't be used."""

from __future__ import annotations

import socket
import time

import pytest

from queues._redis_acl import rules
from queues._redis_scripts import Script
from queues.conformance.waiting import event, events, ids, popped
from queues.errors import ConfigurationError, QueueFull, QueueUnavailable
from queues.registry import open_queue

from .redis_groups import SERVICE, Node, Sentinel, Watcher
from .redis_link import linked, server_of, with_password
from .redis_server import PASSWORD, PATIENCE, Redis, Start, free_port, until


async def refusal(url: str) -> str:
    """What somebody is told who opens that, at once and for good: no secret."""
    with pytest.raises(ConfigurationError) as caught:
        async with linked(url):
            pass
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


async def outage(url: str) -> str:
    """What somebody is told who opens that and may try again later."""
    with pytest.raises(QueueUnavailable) as caught:
        async with linked(url):
            pass
    assert not caught.value.may_have_been_stored
    return str(caught.value)


# -- nobody there


async def test_a_host_that_does_not_answer_is_given_up_after_the_connect_timeout() -> None:
    """A port that takes connections and says nothing holds nobody longer than `?connect_timeout=`."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        began = time.monotonic()
        assert "gave no answer in time" in await outage(f"redis://127.0.0.1:{port}?connect_timeout=100ms")
        assert time.monotonic() - began < 1.1


async def test_a_port_where_nobody_listens_is_told_with_its_address() -> None:
    """The error names the server."""
    port = free_port()
    assert f"redis://127.0.0.1:{port} can't be reached" in await outage(f"redis://127.0.0.1:{port}")


async def test_a_unix_socket_that_is_not_there_is_told_with_its_path() -> None:
    """As for a port."""
    assert "unix:///nowhere/redis.sock can't be reached" in await outage("unix:///nowhere/redis.sock")


async def test_a_server_over_its_number_of_clients_takes_us_when_others_have_left(redis_server: Start) -> None:
    """A refusal for want of room heals."""
    server = redis_server(maxclients=2)
    server.admin.ping()  # its client is the first
    with socket.create_connection(("127.0.0.1", server.port)):
        text = await outage(server.url)
        assert "takes no more connections" in text or "can't be reached" in text  # an RST may overtake the answer
    until(lambda: server.admin.info("clients")["connected_clients"] == 1)
    async with linked(server.url) as link:
        assert await link.call(("PING",)) == [b"PONG"]


# -- passwords, databases, permissions


async def test_a_wrong_password_is_refused_with_the_way_to_write_it(redis: Redis) -> None:
    """Before anything runs."""
    redis.limited()
    text = await refusal(with_password(redis.url, "limited", PASSWORD + "x"))
    assert "refuses the user name or password" in text
    assert "password_env" in text


async def test_where_a_password_is_wanted_and_none_is_given_it_is_asked_for(redis_server: Start) -> None:
    """And with it, it works."""
    server = redis_server(requirepass=PASSWORD)
    assert "wants a password" in await refusal(server.url)
    async with linked(with_password(server.url)) as link:
        assert await link.call(("PING",)) == [b"PONG"]


async def test_a_database_that_the_server_does_not_have_is_refused(redis: Redis) -> None:
    """Redis has 16 unless told otherwise."""
    assert "has no database of this number" in await refusal(f"{redis.url.rpartition('/')[0]}/99")


async def test_a_database_has_a_queue_of_its_own(redis: Redis) -> None:
    """The number in the path is used."""
    async with linked(f"{redis.url.rpartition('/')[0]}/3") as third, linked(redis.url) as first:
        await third.call(("SET", "only-in-3", "x"))
        assert await first.call(("GET", "only-in-3")) == [None]
        await third.call(("DEL", "only-in-3"))


async def test_a_command_that_a_user_may_not_run_is_named(redis: Redis) -> None:
    """So that an administrator knows what to allow."""
    async with linked(redis.user("short", *rules(), "-llen")) as link:
        with pytest.raises(QueueUnavailable, match="'llen'") as caught:
            await link.call(("LLEN", "x"))
        assert not caught.value.may_have_been_stored


async def test_a_command_that_a_script_may_not_run_is_named(redis: Redis) -> None:
    """Redis itself says only which line of which script it was."""
    script = Script.of("-- a comment\nlocal n = redis.call('LLEN', KEYS[1])\nreturn redis.call('SORT', KEYS[1])")
    async with linked(redis.user("short", *rules(), "-sort")) as link:
        with pytest.raises(QueueUnavailable, match="'sort'"):
            await link.call(script(["x"]))


async def test_keys_that_a_user_may_not_touch_are_told_apart_from_commands(redis: Redis) -> None:
    """The rules name keys as well."""
    async with linked(redis.user("short", *rules("orders"))) as link:
        assert await link.call(("LLEN", "orders"), ("LLEN", "{orders}:own:x")) == [0, 0]
        assert await link.call(("LLEN", "{orders}.dead"), ("LLEN", "{orders}.dead:own:x")) == [0, 0]
        with pytest.raises(QueueUnavailable, match="the keys of this queue"):
            await link.call(("LLEN", "invoices"))


async def test_another_kind_of_key_under_the_queues_name_is_told(redis: Redis) -> None:
    """WRONGTYPE, in words."""
    async with linked(redis.url) as link:
        await link.call(("SET", "a-string", "x"))
        with pytest.raises(QueueUnavailable, match=r"something else than a queue under this name.*\?queue="):
            await link.call(("LPUSH", "a-string", "x"))
        await link.call(("DEL", "a-string"))


async def test_a_server_at_its_maxmemory_is_a_full_queue(redis_server: Start) -> None:
    """Nothing was stored, and reads go on."""
    server = redis_server(maxmemory=1)
    async with linked(server.url) as link:
        with pytest.raises(QueueFull, match="maxmemory"):
            await link.call(("LPUSH", "x", "y"))
        assert await link.call(("LLEN", "x")) == [0]


# -- the wrong kind of server


def test_a_server_older_than_7_is_refused() -> None:
    """Its answer to HELLO says so; one that says nothing sensible is refused as well."""
    server = server_of("redis://localhost")
    facts = [b"server", b"redis", b"version", b"6.2.14", b"mode", b"standalone", b"role", b"master"]
    for version in (b"6.2.14", b"5", b"", b"x.y"):
        facts[3] = version
        with pytest.raises(ConfigurationError, match=r"7\.0 is the oldest"):
            server.check(facts)
    for version in (b"7.0.0", b"7.2.4", b"8.1.0", b"10.0", b"255.255.255"):
        facts[3] = version
        server.check(facts)


async def test_a_node_of_a_cluster_is_no_single_server_and_the_other_way_round(redis_node: Node, redis: Redis) -> None:
    """Both are told with the scheme to write."""
    assert "write redis+cluster://" in await refusal(f"redis://127.0.0.1:{redis_node.port}")
    assert "write redis+cluster://" in await refusal(f"redis://127.0.0.1:{redis_node.port}/1")
    assert "write redis://" in await refusal(f"redis+cluster://{redis.url.partition('://')[2].partition('/')[0]}")


async def test_a_replica_is_told_when_it_is_opened_and_when_it_became_one_meanwhile(redis_server: Start) -> None:
    """Both heal when it is a master again."""
    server = redis_server()
    async with linked(server.url) as link:
        server.admin.replicaof("127.0.0.1", str(free_port()))
        assert "read-only replica" in await outage(server.url)
        for _ in range(2):
            with pytest.raises(QueueUnavailable, match="read-only replica") as caught:
                await link.call(("LPUSH", "x", "y"))
            assert not caught.value.may_have_been_stored
        server.admin.replicaof("NO", "ONE")
        assert await link.call(("LPUSH", "x", "y")) == [1]


async def test_a_server_that_reads_its_data_is_waited_for(redis_server: Start) -> None:
    """LOADING is an outage in which nothing was stored; the same link goes on after it."""
    server = redis_server(loading_process_events_interval_bytes=1024, key_load_delay=2000)
    for key in range(200):
        server.admin.set(f"key-{key}", "x" * 1000)
    async with linked(server.url) as link:
        server.admin.save()
        server.kill()
        server.start(wait=False)
        seen = ""
        while "loading its data" not in seen:
            with pytest.raises(QueueUnavailable) as caught:
                await link.call(("LPUSH", "x", "y"))
            seen = str(caught.value)
            assert not caught.value.may_have_been_stored
        server.wait()
        assert await link.call(("LLEN", "x")) == [0]


# -- sockets, sentinels, clusters


async def test_a_unix_socket_works_with_a_database_by_option(redis_server: Start) -> None:
    """`unix:///path?db=`."""
    server = redis_server()
    async with linked(f"unix://{server.socket}?db=2") as link:
        await link.call(("SET", "x", "y"))
        assert server.admin.get("x") is None
    async with linked(f"redis://127.0.0.1:{server.port}/2") as link:
        assert await link.call(("GET", "x")) == [b"y"]


async def test_a_link_finds_the_new_master_after_a_failover(redis_sentinel: Sentinel) -> None:
    """The same link goes on; whoever calls meanwhile is told, and nobody writes to the old master as a replica."""
    gone = free_port()
    url = redis_sentinel.url.replace("://", f"://127.0.0.1:{gone},")  # the first sentinel is down
    async with linked(url) as link:
        await link.call(("SET", "before", "1"))
        until(lambda: redis_sentinel.replica.admin.get("before") == b"1")
        redis_sentinel.fail_over()
        assert await link.call(("SET", "after", "2")) == [b"OK"]
        assert redis_sentinel.replica.admin.mget("before", "after") == [b"1", b"2"]


async def test_a_service_that_no_sentinel_knows_is_refused(redis_sentinel: Sentinel) -> None:
    """A typing error in the URL does not wait for ever."""
    assert "its sentinels don't know" in await refusal(redis_sentinel.url + "x")


async def test_a_sentinel_that_wants_a_password_says_which_option_it_is(
    redis_sentinel: Sentinel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The URL's own user is for the servers."""
    with Watcher(redis_sentinel.master.port, requirepass=PASSWORD) as watcher:
        url = f"redis+sentinel://127.0.0.1:{watcher.port}/{SERVICE}"
        assert "sentinel_password_env" in await refusal(url)
        monkeypatch.setenv("SENTINEL", PASSWORD)
        async with linked(f"{url}?sentinel_password_env=SENTINEL") as link:
            assert await link.call(("PING",)) == [b"PONG"]


async def test_a_link_follows_its_queue_to_the_node_that_has_it(redis_cluster: list[Node]) -> None:
    """Any node may be named; what is on another one is asked there, once. Nodes that are down are passed over."""
    first, second, third = redis_cluster
    hosts = f"127.0.0.1:{free_port()},127.0.0.1:{first.port}"
    async with linked(f"redis+cluster://{hosts}") as link:
        for name in ("a", "b", "c", "d", "e", "f"):
            count = Script.of("return redis.call('INCR', KEYS[1])")
            assert await link.call(("GET", name), count([name]), ("GET", name)) == [None, 1, b"1"]
        assert all(node.admin.dbsize() for node in (first, second, third))


async def test_a_link_follows_its_queue_when_that_moves_to_another_node(redis_cluster: list[Node]) -> None:
    """While it moves, and after it has moved."""
    slot = redis_cluster[0].do("CLUSTER", "KEYSLOT", "b")
    owner = next(node for node in redis_cluster if node.owns(slot))
    other = next(node for node in redis_cluster if node is not owner)
    async with linked(f"redis+cluster://127.0.0.1:{owner.port}") as link:
        await link.call(("RPUSH", "b", "1"))
        other.do("CLUSTER", "SETSLOT", slot, "IMPORTING", owner.do("CLUSTER", "MYID"))
        owner.do("CLUSTER", "SETSLOT", slot, "MIGRATING", other.do("CLUSTER", "MYID"))
        owner.do("MIGRATE", "127.0.0.1", other.port, "b", 0, 1000)
        with pytest.raises(QueueUnavailable, match="moving this queue") as caught:
            await link.call(("RPUSH", "b", "2"))
        assert not caught.value.may_have_been_stored
        for node in (other, owner):
            node.do("CLUSTER", "SETSLOT", slot, "NODE", other.do("CLUSTER", "MYID"))
        assert await link.call(("RPUSH", "b", "2")) == [2]


@pytest.mark.parametrize("scheme", ["redis+cluster", "redis+cluster+stream"])
async def test_a_queue_stands_still_while_its_slot_moves_and_goes_on_where_it_is_then(
    redis_cluster: list[Node], scheme: str
) -> None:
    """No node runs a script whose keys are on two: what is asked meanwhile is an outage in which nothing was stored."""
    slot = redis_cluster[0].do("CLUSTER", "KEYSLOT", "orders")
    owner = next(node for node in redis_cluster if node.owns(slot))
    other = next(node for node in redis_cluster if node is not owner)
    async with open_queue(f"{scheme}://127.0.0.1:{owner.port}?queue=orders&capacity=100") as queue:
        await queue.push_many(events(10))
        held = await popped(queue, 4, "what was pushed is handed out", PATIENCE)
        other.do("CLUSTER", "SETSLOT", slot, "IMPORTING", owner.do("CLUSTER", "MYID"))
        owner.do("CLUSTER", "SETSLOT", slot, "MIGRATING", other.do("CLUSTER", "MYID"))
        for key in owner.do("CLUSTER", "GETKEYSINSLOT", slot, 100):
            owner.do("MIGRATE", "127.0.0.1", other.port, key, 0, 1000)
            for asked in (queue.push(event("late")), queue.ack_many(held)):
                with pytest.raises(QueueUnavailable, match="moving this queue") as caught:
                    await asked
                assert not caught.value.may_have_been_stored
        for node in (other, owner):
            node.do("CLUSTER", "SETSLOT", slot, "NODE", other.do("CLUSTER", "MYID"))
        assert await queue.ack_many(held) == []
        await queue.push(event("late"))
        rest = await popped(queue, 7, "the others are there", PATIENCE)
        assert ids(rest) == [*(f"e{number}" for number in range(4, 10)), "late"]
        assert await queue.ack_many(rest) == []
        assert not owner.admin.dbsize()


# -- what a URL can't say


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis://", "names no host"),
        ("redis://a,b", "several hosts are for"),
        ("redis://a/x", "the number of a database"),
        ("redis://a/1/2", "the number of a database"),
        ("redis+sentinel://a", "names no service"),
        ("redis+cluster://a/1", "only the database 0"),
        ("unix://a/b", "unix:///path"),
        ("redis://a?ca_file=/x", "certificates are for rediss://"),
        ("rediss://a?ca_file=/nowhere", "no such file"),
        (f"rediss://a?key_file={__file__}", "belongs to a certificate"),
    ],
)
def test_an_address_that_can_not_be_right_is_refused_before_anything_is_sent(url: str, text: str) -> None:
    """With what to write instead."""
    with pytest.raises(ConfigurationError, match=text):
        server_of(url)
