"""The feed of the event log: no gap, no repeat, whatever dies."""

import asyncio
import random
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from functools import partial

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

from api import feed
from api.serve import BoundedProtocol
from core.db import Pool
from core.metrics import FEED_CLIENTS
from tests.serving import (
    Heard,
    append_event,
    file_case,
    follow,
    hear_all,
    raise_alarm,
    serving,
    settle,
    until,
)


async def hear(events: AsyncIterator[Heard], count: int) -> list[Heard]:
    """Take so many events, within ten seconds."""
    heard: list[Heard] = []
    async with asyncio.timeout(10):
        async for event in events:
            heard.append(event)
            if len(heard) == count:
                break
    return heard


async def hear_one(events: AsyncIterator[Heard], name: str) -> Heard:
    """Take events until one of that name."""
    async for event in events:
        if event.name == name:
            return event
    raise AssertionError("the feed ended")


def write_events(database: str, count: int, **changes: object) -> list[int]:
    with psycopg.connect(database, autocommit=True) as conn:
        return [append_event(conn, str(number), **changes) for number in range(count)]


@contextmanager
def writing(database: str, count: int, pause: float) -> Iterator[list[int]]:
    """Append events beside the test, each in its own transaction, some of which fail."""
    ids: list[int] = []
    chance = random.Random(7)

    def write() -> None:
        with psycopg.connect(database, autocommit=True) as conn:
            for number in range(count):
                if chance.random() < 0.1:  # a number that is never seen is no gap
                    with conn.transaction(force_rollback=True):
                        append_event(conn, "never")
                ids.append(append_event(conn, str(number)))
                threading.Event().wait(pause * chance.random())

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield ids
    finally:
        thread.join()


async def test_an_event_comes_at_once_with_its_log_number_as_id(pool: Pool, database: str) -> None:
    async with serving(pool, database) as client, aclosing(follow(client)) as events:
        assert (await hear(events, 1))[0].name == "hello"
        (number,) = write_events(database, 1, detail=Jsonb({"text": "行\n2\u2028"}))
        (event,) = await hear(events, 1)
    assert (event.event_id, event.name) == (number, "alarm")
    assert event.data["detail"] == {"text": "行\n2\u2028"}
    assert event.data["at"] == "2026-11-21T04:00:00Z"
    assert event.data["to_state"] == "active"


async def test_without_a_cursor_the_feed_starts_from_now(pool: Pool, database: str) -> None:
    old = write_events(database, 3)
    async with serving(pool, database) as client, aclosing(follow(client)) as events:
        (hello,) = await hear(events, 1)
        (new,) = write_events(database, 1)
        (event,) = await hear(events, 1)
    assert (hello.event_id, event.event_id) == (old[-1], new)


async def test_a_cursor_of_zero_starts_from_the_first_event(pool: Pool, database: str) -> None:
    ids = write_events(database, 1_203)  # more than a page
    async with serving(pool, database) as client, aclosing(follow(client, 0)) as events:
        heard = await hear(events, len(ids) + 1)
    assert [event.event_id for event in heard[1:]] == ids


async def test_random_disconnects_lose_nothing_and_repeat_nothing(
    pool: Pool, database: str
) -> None:
    chance = random.Random(11)
    seen: list[int] = []
    last = 0
    drops = 0
    async with serving(pool, database) as client:
        with writing(database, 400, 0.01) as ids:
            async with asyncio.timeout(60):
                while len(seen) < 400:
                    async with aclosing(follow(client, 0, last_id=last)) as events:
                        wanted = 1 + min(chance.randint(1, 40), 400 - len(seen))
                        for event in await hear(events, wanted):
                            last = event.event_id
                            if event.name != "hello":
                                seen.append(last)
                    drops += 1
    assert seen == ids
    assert drops > 10


async def test_the_stronger_of_two_cursors_is_the_browsers_own(pool: Pool, database: str) -> None:
    ids = write_events(database, 5)
    async with (
        serving(pool, database) as client,
        aclosing(follow(client, ids[0], last_id=ids[3])) as events,
    ):
        heard = await hear(events, 2)
    assert [event.event_id for event in heard] == [ids[3], ids[4]]


@pytest.mark.parametrize("last_id", [10_000, "nonsense", "-1", "9" * 30])
async def test_an_id_that_nobody_gave_out_gets_a_reset(
    pool: Pool, database: str, last_id: int | str
) -> None:
    ids = write_events(database, 2)
    async with (
        serving(pool, database) as client,
        aclosing(follow(client, last_id=last_id)) as events,
    ):
        (reset,) = await hear(events, 1)
        write_events(database, 1)
        (event,) = await hear(events, 1)
    assert (reset.name, reset.event_id, reset.data["reason"]) == ("reset", ids[1], "unknown_id")
    assert event.event_id == ids[1] + 1


async def test_an_id_older_than_the_log_gets_a_reset(pool: Pool, database: str) -> None:
    ids = write_events(database, 6)
    with psycopg.connect(database) as conn:
        conn.execute("ALTER TABLE hub.event_log DISABLE TRIGGER event_append_only")
        conn.execute("ALTER TABLE hub.alarm_event DISABLE TRIGGER event_append_only")
        conn.execute("DELETE FROM hub.event_log WHERE event_id < %s", [ids[3]])
    async with serving(pool, database) as client:
        async with aclosing(follow(client, ids[1])) as events:
            (old,) = await hear(events, 1)
        async with aclosing(follow(client, ids[2])) as events:
            first, event = await hear(events, 2)
    assert (old.name, old.data["reason"]) == ("reset", "older_than_log")
    assert (first.name, event.event_id) == ("hello", ids[3])


async def test_fault_34_two_transactions_that_commit_in_reverse_order_skip_no_id(
    pool: Pool, database: str
) -> None:
    """The one that began first commits last; the lock of the log gives it the later id."""
    async with serving(pool, database) as client, aclosing(follow(client, 0)) as events:
        await hear(events, 1)
        with psycopg.connect(database) as slow, psycopg.connect(database) as fast:
            slow.execute("SELECT 1")  # its transaction begins first
            first = append_event(fast, "fast")
            blocked = threading.Thread(target=append_event, args=(slow, "slow"))
            blocked.start()
            await until(lambda: _waits_for_lock(database))
            fast.commit()
            await asyncio.to_thread(blocked.join)
            slow.commit()
        heard = await hear(events, 2)
    assert [event.data["object_id"] for event in heard] == ["fast", "slow"]
    assert [event.event_id for event in heard] == [first, first + 1]


def _has(ids: list[int], count: int) -> bool:
    return len(ids) >= count


def _waits_for_lock(database: str) -> bool:
    with psycopg.connect(database) as conn:
        row = conn.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
    return row is not None and row[0] > 0


async def test_fault_29_fifty_viewers_hear_the_same_through_one_tailer(
    pool: Pool, database: str
) -> None:
    async with serving(pool, database) as client:
        client._transport = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=60))

        async def watch() -> list[int]:
            async with aclosing(follow(client, 0)) as events:
                return [event.event_id for event in (await hear(events, 301))[1:]]

        watching = [asyncio.create_task(watch()) for _ in range(50)]
        await until(lambda: FEED_CLIENTS._value.get() == 50)
        ids = await asyncio.to_thread(write_events, database, 300)
        assert all(seen == ids for seen in await asyncio.gather(*watching))
        # Viewers who leave are let go.
        await until(lambda: FEED_CLIENTS._value.get() == 0)


class Impatient(BoundedProtocol):
    write_s = 0.5


async def test_fault_29_a_reader_that_stalls_is_cut_and_resumes_without_a_gap(
    pool: Pool, database: str
) -> None:
    async with serving(pool, database, protocol=Impatient) as client:
        host, port = client.base_url.host, client.base_url.port
        stalled = socket.socket()
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect((host, port))
        stalled.sendall(f"GET /api/v1/stream?cursor=0 HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        bulk = Jsonb({"text": "x" * 4_000})
        ids = await asyncio.to_thread(lambda: write_events(database, 2_500, detail=bulk))
        async with aclosing(follow(client, ids[-3])) as events:
            assert len(await hear(events, 3)) == 3  # a healthy one is not held up
        await until(lambda: FEED_CLIENTS._value.get() == 0, 20)
        heard = await asyncio.to_thread(_read_all, stalled)
        whole = heard.partition(b"\r\n\r\n")[2].split(b"\n\n")[1:-1]
        whole = [event for event in whole if event.startswith(b"id: ")]
        numbers = [int(event.split(b"\n")[0].removeprefix(b"id: ")) for event in whole]
        assert 0 < len(numbers) < len(ids)
        rest: list[int] = []
        async with aclosing(follow(client, numbers[-1])) as events:
            rest = [event.event_id for event in (await hear(events, len(ids) - len(numbers) + 1))]
    assert numbers + rest[1:] == ids


def _read_all(stalled: socket.socket) -> bytes:
    heard = b""
    stalled.settimeout(5)
    with stalled:
        try:
            while chunk := stalled.recv(65_536):
                heard += chunk
        except ConnectionResetError:
            pass
    return heard


async def test_a_quiet_feed_is_kept_alive_by_pings(
    pool: Pool, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PING_S", 0.05)
    async with (
        serving(pool, database) as client,
        client.stream("GET", "/api/v1/feed") as response,
    ):
        async for line in response.aiter_lines():
            if line == ": ping":
                break
        assert response.headers["content-type"].startswith("text/event-stream")


async def test_a_burst_comes_in_batches_not_one_write_each(pool: Pool, database: str) -> None:
    async with serving(pool, database) as client:
        chunks: list[bytes] = []
        async with client.stream("GET", "/api/v1/stream?cursor=0") as response:
            with writing(database, 200, 0.002):
                async for chunk in response.aiter_bytes():
                    chunks.append(chunk)
                    if b"".join(chunks).count(b"\nevent: alarm") == 200:
                        break
    assert len(chunks) < 40


async def test_too_many_viewers_are_told_so(
    pool: Pool, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MOST_CLIENTS", 0)
    async with serving(pool, database) as client:
        answer = await client.get("/api/v1/stream")
    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:cityhub:problem:feed_full"


async def test_stopping_ends_the_streams_at_once(pool: Pool, database: str) -> None:
    async with serving(pool, database) as client:
        events = follow(client)
        await hear(events, 1)
        loop = asyncio.get_running_loop()
        begun = loop.time()
    assert loop.time() - begun < 2
    await events.aclose()


async def test_fault_2_killing_the_api_with_fifty_viewers_loses_and_repeats_nothing(
    database: str,
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def start() -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-m", "tests.api_process", database, str(port)])

    process = start()
    limits = httpx.Limits(max_connections=60)
    address = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(base_url=address, limits=limits, trust_env=False) as client:

            async def watch() -> list[int]:
                seen: list[int] = []
                last = 0
                while len(seen) < 300:
                    try:
                        async with aclosing(follow(client, 0, last_id=last)) as events:
                            async for event in events:
                                last = event.event_id
                                if event.name != "hello":
                                    seen.append(last)
                                if len(seen) == 300:
                                    break
                    except httpx.TransportError:
                        await asyncio.sleep(0.1)
                return seen

            watching = [asyncio.create_task(watch()) for _ in range(50)]
            with writing(database, 300, 0.02) as ids:
                for _ in range(2):
                    wanted = len(ids) + 60
                    await until(partial(_has, ids, wanted), 30)
                    process.kill()
                    process.wait()
                    process = start()
            async with asyncio.timeout(60):
                heard = await asyncio.gather(*watching)
        assert all(seen == ids for seen in heard)
    finally:
        process.kill()
        process.wait()


async def test_a_stretch_of_entries_is_followed_by_the_rows_it_touched(
    pool: Pool, database: str
) -> None:
    settle(database)
    case_no = file_case(database)
    alarm_id = raise_alarm(database, case_no=case_no)
    async with serving(pool, database) as client, aclosing(hear_all(client)) as events:
        await anext(events)
        with psycopg.connect(database) as conn:
            append_event(conn, str(alarm_id))
            last = append_event(conn, case_no, log="case", object="case", action="filed")
        async with asyncio.timeout(10):
            touched = await hear_one(events, "rows")
    assert touched.event_id == -1, "nothing is resumed from rows"
    assert touched.data["cursor"] == last
    assert [alarm["alarm_id"] for alarm in touched.data["alarms"]] == [alarm_id]
    assert [case["case_no"] for case in touched.data["cases"]] == [case_no]


async def test_entries_on_things_that_do_not_exist_pass_all_the_same(
    pool: Pool, database: str
) -> None:
    async with serving(pool, database) as client, aclosing(hear_all(client)) as events:
        await anext(events)
        write_events(database, 1, object="incident")
        write_events(database, 1, object="work_order")
        async with asyncio.timeout(10):
            touched = await hear_one(events, "rows")
    assert touched.data["incidents"] == touched.data["cases"] == []


async def test_the_figures_come_each_second_while_anybody_listens(
    pool: Pool, database: str
) -> None:
    settle(database)
    raise_alarm(database)
    async with (
        serving(pool, database) as client,
        aclosing(hear_all(client)) as events,
        asyncio.timeout(10),
    ):
        figures = await hear_one(events, "stats")
    assert figures.data["unacked"]["4"] == 1
    assert figures.data["known"] > 0
