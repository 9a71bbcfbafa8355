"""Roles tell of themselves in a table, and one page shows them all."""

import asyncio
from typing import NoReturn

import psycopg
import pytest

from core.db import Pool
from core.metrics import FENCED, FINDINGS, UNACKED_SECONDS
from core.presence import FORGET_ALL, beside, process_name, report, say
from tests.serving import serving, until

OLDER = "UPDATE hub.role_status SET at = at - make_interval(secs => %s), process = 'elsewhere:1'"


def rows(url: str) -> list[tuple[str, str]]:
    with psycopg.connect(url) as conn:
        return conn.execute("SELECT role, process FROM hub.role_status").fetchall()


async def test_a_role_is_reported_while_it_works_and_in_its_last_words(database: str) -> None:
    async def work() -> str:
        await until(lambda: rows(database) == [("alert", process_name())])
        FINDINGS.labels("last_words").inc()
        return "done"

    assert await beside(work(), role="alert", url=database) == "done"
    with psycopg.connect(database) as conn:
        (found,) = conn.execute("SELECT figures -> 'cityhub_findings' FROM hub.role_status")
    samples = {labels["rule"]: value for _, labels, value in found[0]["samples"]}
    assert samples["last_words"] == 1


async def test_a_role_that_fails_fails_as_before_and_its_watches_end(database: str) -> None:
    ended = asyncio.Event()

    async def watch() -> NoReturn:
        try:
            while True:
                await asyncio.sleep(1)
        finally:
            ended.set()

    async def work() -> None:
        await asyncio.sleep(0)
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        await beside(work(), role="alert", url=database, watches=[watch()])
    assert ended.is_set()


async def test_without_a_database_a_role_works_on() -> None:
    async def work() -> int:
        await asyncio.sleep(0.1)
        return 7

    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    assert await beside(work(), role="alert", url=nowhere) == 7


async def test_reporting_goes_on_after_the_connection_was_cut(database: str) -> None:
    reporting = asyncio.create_task(report("alert", database, every=0.05))
    await until(lambda: bool(rows(database)))
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'cityhub presence' AND datname = current_database()"
        )
        conn.execute(FORGET_ALL)
    await until(lambda: bool(rows(database)))
    reporting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reporting


async def test_the_page_shows_each_role_and_who_fell_silent(pool: Pool, database: str) -> None:
    FENCED.labels("main").inc()
    async with serving(pool, database) as client:
        await say("ingest", database)
        with psycopg.connect(database) as conn:
            conn.execute(OLDER, [3])
        alive = (await client.get("/metrics")).text
        healthy = (await client.get("/healthz")).json()
        with psycopg.connect(database) as conn:
            conn.execute(OLDER, [60])
        dead = (await client.get("/metrics")).text
        sick = (await client.get("/healthz")).json()
        with psycopg.connect(database) as conn:
            conn.execute(OLDER, [3600])
        forgotten = (await client.get("/metrics")).text

    whose = 'process="elsewhere:1",role="ingest"'
    assert 'cityhub_role_up{role="ingest"} 1.0' in alive
    assert f"cityhub_feed_clients{{{whose}}}" in alive
    assert check(healthy, "roles") is True

    assert 'cityhub_role_up{role="ingest"} 0.0' in dead
    assert f"cityhub_feed_clients{{{whose}}}" not in dead, "what it measured is gone with it"
    assert f"cityhub_ingest_fenced_total{{{whose}" in dead, "what it counted is seen for a while"
    assert check(sick, "roles") is False
    assert any("ingest" in one["detail"]["en"] for one in sick["checks"])

    assert 'cityhub_role_up{role="ingest"} 0.0' in forgotten
    assert f"cityhub_ingest_fenced_total{{{whose}" not in forgotten


async def test_a_message_that_waits_for_its_commit_makes_the_hub_unwell(
    pool: Pool, database: str
) -> None:
    try:
        async with serving(pool, database) as client:
            UNACKED_SECONDS.labels("main").set(90)
            await say("ingest", database)
            sick = (await client.get("/healthz")).json()
            UNACKED_SECONDS.labels("main").set(0.1)
            await say("ingest", database)
            well = (await client.get("/healthz")).json()
    finally:
        UNACKED_SECONDS.clear()
    assert (check(sick, "intake"), check(well, "intake")) == (False, True)
    assert any("waits 90 s" in one["detail"]["en"] for one in sick["checks"])


async def test_one_process_of_a_role_is_enough(pool: Pool, database: str) -> None:
    await say("ingest", database)
    with psycopg.connect(database) as conn:
        conn.execute(OLDER, [60])
    await say("ingest", database)
    async with serving(pool, database) as client:
        assert check((await client.get("/healthz")).json(), "roles") is True
        assert 'cityhub_role_up{role="ingest"} 1.0' in (await client.get("/metrics")).text


def check(health: dict[str, list[dict[str, object]]], name: str) -> object:
    (found,) = [one["ok"] for one in health["checks"] if one["name"] == name]
    return found
