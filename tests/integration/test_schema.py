import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date, timedelta

import psycopg
import pytest
from psycopg import sql

from core.db import Pool, listen, transaction
from core.errors import StartError, StoreRejectedError, StoreUnavailableError
from core.migrate import migrate, schema_files
from core.tables import Column, ReadingTable, known_days, make_days, make_tables, read_edition

THING = ReadingTable("thing", (Column("a"), Column("lon", exact=True)))
APPEND = "SELECT hub.append_event('alarm', 1::int2, now(), 'x', 'alarm', %s, 'a', '', '', '', '{}')"


def test_a_migration_runs_once(database: str) -> None:
    assert migrate(database) == []


def test_a_database_of_a_newer_release_is_refused(database: str) -> None:
    with psycopg.connect(database) as conn:
        conn.execute("INSERT INTO hub.schema_file VALUES ('9999_later.sql', now())")
    with pytest.raises(StartError, match="newer cityhub"):
        migrate(database)


def test_two_migrators_at_once_do_it_once(server_url: str, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("DROP SCHEMA hub CASCADE")
    with ThreadPoolExecutor(2) as threads:
        applied = list(threads.map(migrate, [database, database]))
    assert sorted(applied, key=len) == [[], list(schema_files())]


def test_an_unreachable_database_is_unavailable_not_wrong() -> None:
    with pytest.raises(StoreUnavailableError):
        migrate("postgresql://nobody@127.0.0.1:1/none")


def test_the_table_of_a_kind_is_made_once_and_grows(database: str) -> None:
    with psycopg.connect(database) as conn:
        make_tables(conn, [THING])
        wider = ReadingTable("thing", (*THING.columns, Column("b")))
        make_tables(conn, [wider])
        make_tables(conn, [THING])  # an older worker beside a newer one
        names = [
            name
            for (name,) in conn.execute(
                "SELECT column_name FROM information_schema.columns"
                " WHERE table_name = 'reading_thing' ORDER BY ordinal_position"
            )
        ]
    assert names == ["ts", "seq", "device_no", "a", "lon", "quality", "extra", "b"]


@pytest.mark.parametrize("name", ["Thing", "a b", "", 'x"; DROP TABLE hub.device; --', "a" * 32])
def test_a_name_that_cannot_be_a_column_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        Column(name)
    with pytest.raises(ValueError, match="cannot be"):
        ReadingTable(name, ())


def test_a_row_without_a_counter_is_stored_once(database: str) -> None:
    with psycopg.connect(database) as conn:
        make_tables(conn, [THING])
        if not read_edition(conn).hypertables:
            make_days(conn, THING, [date(2026, 5, 1)])
        insert = "INSERT INTO hub.reading_thing (ts, device_no, a) VALUES ('2026-05-01', 1, 2)"
        conn.execute(insert)
        with pytest.raises(psycopg.errors.UniqueViolation):
            conn.execute(insert)


def test_two_writers_make_four_hundred_days_at_once(database: str) -> None:
    days = [date(2025, 6, 1) + timedelta(days=n) for n in range(400)]
    with psycopg.connect(database) as conn:
        if read_edition(conn).hypertables:
            pytest.skip("a hypertable makes its own chunks")
        make_tables(conn, [THING])

    def write(days: list[date]) -> None:
        with psycopg.connect(database, autocommit=True) as conn:
            make_days(conn, THING, days)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(write, [days, days[::-1]]))
    with psycopg.connect(database) as conn:
        assert known_days(conn, THING) == set(days)


async def test_event_ids_become_visible_in_their_order(database: str, pool: Pool) -> None:
    async def append(n: int) -> None:
        async with transaction(pool) as conn:
            await conn.execute(APPEND, [str(n)])
            await asyncio.sleep(0.001 * (n % 3))

    seen: list[int] = []

    async def tail() -> None:
        while len(seen) < 60:
            async with transaction(pool) as conn:
                rows = await conn.execute(
                    "SELECT event_id FROM hub.event_log WHERE event_id > %s ORDER BY event_id",
                    [seen[-1] if seen else 0],
                )
                seen.extend([event_id for (event_id,) in await rows.fetchall()])

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(tail())
        for n in range(60):
            group.create_task(append(n))
    assert seen == list(range(1, 61))


async def test_the_chain_of_events_is_whole_and_cannot_be_changed(pool: Pool) -> None:
    async with transaction(pool) as conn:
        for n in range(5):
            await conn.execute(APPEND, [str(n)])
    async with pool.connection() as conn:
        row = await (
            await conn.execute(
                "SELECT count(*) FILTER (WHERE prev_hash = before), count(*) FILTER (WHERE hash ="
                " hub.event_hash(prev_hash, event_id, log, tenant_id, at, actor, object, object_id,"
                " action, from_state, to_state, reason, detail)) FROM (SELECT *, coalesce(lag(hash)"
                " OVER (ORDER BY event_id), '') AS before FROM hub.event_log) e"
            )
        ).fetchone()
        assert row == (5, 5)
    for table, change in [("event_log", "actor = 'me'"), ("audit", "actor = 'me'")]:
        async with pool.connection() as conn:
            await conn.execute(
                "INSERT INTO hub.audit (at, actor, action, object, object_id)"
                " VALUES (now(), 'a', 'b', 'c', 'd')"
            )
            with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
                await conn.execute(sql.SQL(f"UPDATE hub.{table} SET {change}"))


@pytest.mark.parametrize("table", ["event_log", "alarm_event", "case_event", "audit"])
async def test_what_is_append_only_cannot_be_emptied(pool: Pool, table: str) -> None:
    async with pool.connection() as conn:
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            await conn.execute(sql.SQL("TRUNCATE {} CASCADE").format(sql.Identifier("hub", table)))


async def test_a_case_cannot_be_closed_without_verification(pool: Pool) -> None:
    with pytest.raises(StoreRejectedError, match="case_check"):
        async with transaction(pool) as conn:
            await conn.execute(
                "INSERT INTO hub.case (case_no, source, category, description_zh, description_en,"
                " severity, state, reported_at) VALUES"
                " ('FY-1', 'sensor', 'component', '', '', 4, 'closed', now())"
            )


def test_the_ledger_must_balance(database: str) -> None:
    with psycopg.connect(database) as conn, pytest.raises(psycopg.errors.CheckViolation):
        conn.execute(
            "INSERT INTO hub.ledger (source, minute, received, stored) VALUES ('m', now(), 2, 1)"
        )


async def test_a_listener_is_nudged_and_survives_a_broken_connection(
    database: str, pool: Pool
) -> None:
    nudges: list[str | None] = []

    async def listener() -> None:
        async for told in listen(database, "hub_device", every=5):
            nudges.append(told)  # noqa: PERF401 - read while it grows

    async def until_told(count: int) -> None:
        while nudges.count("hub_device") < count:
            await asyncio.sleep(0.02)
            async with pool.connection() as conn:
                await conn.execute("NOTIFY hub_device")

    task = asyncio.create_task(listener())
    async with asyncio.timeout(20):
        await until_told(1)
        async with pool.connection() as conn:
            await conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'cityhub listen' AND datname = current_database()"
            )
        await until_told(nudges.count("hub_device") + 1)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
