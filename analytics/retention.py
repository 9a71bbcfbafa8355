"""Retention (数据保留): what is old is dropped, a whole partition or chunk at a time.

A kind's readings and each level of its roll-ups have a time of their own. Nothing is dropped that a
mark still waits for, so a job that was away for a month first catches up. Where readings are gone
their buckets are final: ``hub.rollup_kind`` says from when on there are rows, and the roll-up job
never computes a bucket of what is left of it.

To drop a partition its table must be locked for a moment. The lock is waited for a tenth of a
second, no longer, since writers would queue behind; then the next pass tries again.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NoReturn

import psycopg
from psycopg import sql

from analytics.rollup import alone
from core.clock import Clock
from core.db import Connection, Pool
from core.errors import StoreUnavailableError
from core.rollups import Level, RollupTable
from core.tables import EDITION, Edition, ReadingTable
from devices import KINDS

log = logging.getLogger(__name__)

What = Literal["readings", "minutes", "hours", "days"]
Keep = Mapping[What, timedelta | None]
"""How long each is kept; None: for ever."""

_PATIENCE_S: Final = 60.0
"""A step of the roll-up job takes some seconds; the next look is an hour away."""
_FROM: Final[dict[What, str]] = {
    "readings": "raw_from",
    "minutes": "minute_from",
    "hours": "hour_from",
    "days": "day_from",
}
_LEVELS: Final[dict[What, Level]] = {
    "minutes": Level.MINUTE,
    "hours": Level.HOUR,
    "days": Level.DAY,
}
SELECT_PARTITIONS: Final = """
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
 WHERE i.inhparent = %s::regclass
"""
SELECT_CHUNKS: Final = """
SELECT c.range_start, c.range_end FROM timescaledb_information.chunks c
  JOIN show_chunks(%(table)s::regclass, older_than => %(before)s) AS s
    ON s = format('%%I.%%I', c.chunk_schema, c.chunk_name)::regclass
"""
DROP_CHUNKS: Final = "SELECT drop_chunks(%s::regclass, older_than => %s)"
WAITED_FOR: Final = """
SELECT 1 FROM hub.rollup_dirty m JOIN hub.rollup_kind k USING (kind)
 WHERE m.kind = %(kind)s AND m.first < %(end)s AND m.last >= k.raw_from
   AND m.last >= %(start)s::timestamptz - interval '1 day'
 LIMIT 1
"""
MOVE: Final = """
UPDATE hub.rollup_kind SET {column} = greatest({column}, %s) WHERE kind = %s
"""


@dataclass(frozen=True, slots=True)
class Part:
    """A partition or chunk.

    Attributes:
        start: What it begins with.
        end: Before what it ends.
        name: The partition's table; empty: a chunk, dropped by its end.
    """

    start: datetime
    end: datetime
    name: str = ""


def keep_of(days_kept: Callable[[str], Mapping[str, int]]) -> dict[str, Keep]:
    """Return how long everything is kept, by kind.

    Args:
        days_kept: Gives the days for ``readings``, ``minutes``, ``hours`` and ``days`` of a kind; 0
            is for ever.
    """
    return {
        kind: {what: timedelta(days=days) if days else None for what, days in _of(kind, days_kept)}
        for kind in KINDS
    }


def _of(kind: str, days_kept: Callable[[str], Mapping[str, int]]) -> Iterator[tuple[What, int]]:
    kept = days_kept(kind)
    for what in _FROM:
        yield what, kept[what]


async def run_retention(
    *, pool: Pool, clock: Clock, keep: Mapping[str, Keep], every: float
) -> NoReturn:
    """Drop what is old, for ever.

    Args:
        pool: The database.
        clock: The hub's clock.
        keep: How long, by kind.
        every: Seconds between two passes.
    """
    while True:
        try:
            await drop_old(pool, clock, keep)
        except StoreUnavailableError as error:
            log.warning("nothing dropped for now; trying again", extra={"reason": str(error)})
        await asyncio.sleep(every)


async def drop_old(pool: Pool, clock: Clock, keep: Mapping[str, Keep]) -> list[str]:
    """Make one pass; return what was dropped, such as ``reading_manhole_cover before 2026-05-01``.

    Raises:
        StoreUnavailableError: The database is not there.
    """
    dropped: list[str] = []
    for kind, spans in keep.items():
        for what, span in spans.items():
            if span is not None:
                async with alone(pool, patience_s=_PATIENCE_S) as conn:
                    if conn is not None:
                        table = KINDS[kind].table
                        dropped += await _drop(conn, table, what, clock.now() - span)
    return dropped


async def _drop(conn: Connection, table: ReadingTable, what: What, before: datetime) -> list[str]:
    name = table.name if what == "readings" else RollupTable(table, _LEVELS[what]).name
    dropped: list[str] = []
    try:
        for part in await _parts(conn, table, what, name, before):
            if await _drop_part(conn, table, what, name, part):
                dropped.append(f"{name} before {part.end:%Y-%m-%d}")
                log.info(
                    "dropped what is past its time", extra={"table": name, "before": str(part.end)}
                )
            else:
                log.info(
                    "kept: its roll-ups are not computed yet",
                    extra={"table": name, "from": str(part.start)},
                )
                break
    except psycopg.errors.LockNotAvailable:
        log.info("in use; dropped with the next pass", extra={"table": name})
    return dropped


async def _parts(
    conn: Connection, table: ReadingTable, what: What, name: str, before: datetime
) -> list[Part]:
    """Return what lies wholly before a time, oldest first."""
    edition = Edition((await (await conn.execute(EDITION)).fetchall())[0][0])
    if edition.hypertables:
        cursor = await conn.execute(SELECT_CHUNKS, {"table": f"hub.{name}", "before": before})
        rows = await cursor.fetchall()
        parts = [Part(start.astimezone(UTC), end.astimezone(UTC)) for start, end in rows]
    else:
        parts = []
        for (partition,) in await (
            await conn.execute(SELECT_PARTITIONS, [f"hub.{name}"])
        ).fetchall():
            start = datetime.strptime(partition[-8:], "%Y%m%d").replace(tzinfo=UTC)
            level = Level.MINUTE if what == "readings" else _LEVELS[what]  # readings: a day, too
            parts.append(Part(*RollupTable(table, level).part_of(start), partition))
    return sorted((p for p in parts if p.end <= before), key=lambda part: part.end)


async def _drop_part(
    conn: Connection, table: ReadingTable, what: What, name: str, part: Part
) -> bool:
    """Drop a part unless a mark waits for it."""
    async with conn.transaction():
        await conn.execute("SET LOCAL lock_timeout = '100ms'")
        asked: dict[str, Any] = {"kind": table.kind, "start": part.start, "end": part.end}
        if what != "days" and await (await conn.execute(WAITED_FOR, asked)).fetchone():
            return False
        column = sql.Identifier(_FROM[what])
        await conn.execute(sql.SQL(MOVE).format(column=column), [part.end, table.kind])
        if part.name:
            await conn.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier("hub", part.name)))
        else:
            await conn.execute(DROP_CHUNKS, [f"hub.{name}", part.end])
    return True
