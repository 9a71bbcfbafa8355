"""The news that ``cityhub up`` prints, read from the log of events."""

import asyncio
from contextlib import suppress
from typing import Any
from zoneinfo import ZoneInfo

from cityhub.news import SELECT_NEWS, tell_news
from core.db import Pool
from tests.serving import until

APPEND = (
    "SELECT hub.append_event('alarm', 1::int2, now(), 'wang', 'alarm', %s, 'acknowledged',"
    " NULL, 'acknowledged', NULL, '{}')"
)
TELLERS = (
    "SELECT array_agg(pid)::text, count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'cityhub up'"
)


async def test_all_news_is_read_over_one_connection_whatever_the_id_of_its_object(
    pool: Pool, database: str
) -> None:
    told: list[str] = []
    expected: list[str] = []
    telling = asyncio.create_task(tell_news(database, ZoneInfo("Asia/Shanghai"), told.append))
    pids: list[Any] = []
    try:
        async with pool.connection() as conn:
            await asyncio.sleep(1)
            for object_id in ("12", "no number", "9" * 30):
                await conn.execute(APPEND, [object_id])
                expected.append(object_id)
                await until(lambda: len(told) == len(expected))
                pids.append(await (await conn.execute(TELLERS)).fetchone())
    finally:
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling
    assert len(set(pids)) == 1, "the same one each time"
    assert pids[0][1] == 1


async def test_an_event_finds_its_alarm_by_the_key(pool: Pool) -> None:
    async with pool.connection() as conn, conn.transaction():
        for way in ("seqscan", "hashjoin", "mergejoin"):  # a full table would not be looked through
            await conn.execute(f"SET LOCAL enable_{way} = off")
        plan = await (await conn.execute(f"EXPLAIN {SELECT_NEWS}", [0])).fetchall()
    assert any("alarm_pkey" in line for (line,) in plan), plan
