"""The job that keeps the roll-ups (汇总作业): a slow role that computes what the writers marked.

A step takes the newest marks of one kind and level, computes their buckets anew from the level
below, marks the level above, and commits all of that at once. A crash leaves marks that the next
step finds; a bucket is computed when it is over, and again whenever a late row marks it. The job
wants no lock that a writer holds. One step runs at a time, by an advisory lock.

Continuous aggregates cannot be refreshed within a transaction: their marks go afterwards, so that a
crash only refreshes once more.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, LiteralString, NoReturn

from psycopg import sql

from analytics.dirt import Span, gather, lift
from core.clock import Clock
from core.db import Connection, Pool, translated
from core.errors import StoreRejectedError, StoreUnavailableError
from core.failpoint import passing
from core.rollup_tables import last_table, make_part, part_name
from core.rollups import Level, RollupTable, roll_finer, roll_raw, upsert
from core.tables import EDITION, Edition, ReadingTable
from devices import KINDS

log = logging.getLogger(__name__)

_MOST_MARKS: Final = 5_000
_MOST_ROWS: Final = 200_000
"""Buckets written before a step commits and leaves the rest to the next."""

_LOOK_AGAIN_S: Final = 0.05

LOCK: Final = 1129270356
TRY_LOCK: Final = "SELECT pg_try_advisory_lock(%s)"
UNLOCK: Final = "SELECT pg_advisory_unlock(%s)"
NEXT: Final = """
SELECT level, kind FROM hub.rollup_dirty
 WHERE last + interval '1 minute' * (CASE level WHEN 0 THEN 1 WHEN 1 THEN 60 ELSE 1440 END)
       <= %(now)s AND kind = ANY(%(kinds)s)
 ORDER BY first DESC, level LIMIT 1
"""
SELECT_MARKS: Final = """
SELECT mark_id, first, last + %(width)s, devices FROM hub.rollup_dirty
 WHERE level = %(level)s AND kind = %(kind)s AND last + %(width)s <= %(now)s
 ORDER BY first DESC LIMIT %(limit)s
"""
DELETE_MARKS: Final = "DELETE FROM hub.rollup_dirty WHERE mark_id = ANY(%s)"
INSERT_MARK: Final = """
INSERT INTO hub.rollup_dirty (level, kind, first, last, devices) VALUES (%s, %s, %s, %s, %s)
"""
SELECT_REACH: Final = """
SELECT origin, raw_from, minute_from, hour_from FROM hub.rollup_kind WHERE kind = %s
"""
SELECT_DEVICES: Final = "SELECT device_no FROM hub.device WHERE kind = %s"
REFRESH: Final = "CALL refresh_continuous_aggregate({}, {}, {})"
NOTE_LAST: Final = """
INSERT INTO {last} AS l ({names})
SELECT DISTINCT ON (device_no) {names} FROM {table}
 WHERE ts >= %(start)s AND ts < %(end)s AND device_no = ANY(ARRAY(
       SELECT d.n FROM unnest(%(devices)s::int4[]) AS d (n) LEFT JOIN {last} AS k ON k.device_no = n
        WHERE k.ts IS NULL OR k.ts < %(end)s))
 ORDER BY device_no, ts DESC, seq DESC NULLS LAST
ON CONFLICT (device_no) DO UPDATE SET {sets}
 WHERE (l.ts, coalesce(l.seq, -1)) <= (excluded.ts, coalesce(excluded.seq, -1))
"""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back a kind can be computed; see ``hub.rollup_kind``."""

    origin: datetime
    raw_from: datetime
    minute_from: datetime
    hour_from: datetime


@dataclass(frozen=True, slots=True)
class Task:
    """What one step does.

    Attributes:
        rollup: Into which table.
        marks: Their ids.
        spans: What they ask for, newest first.
        reach: How far the kind reaches.
        devices: All numbers of the kind.
    """

    rollup: RollupTable
    marks: list[int]
    spans: list[Span]
    reach: Reach
    devices: list[int]

    def numbers(self, span: Span) -> list[int]:
        """Return whose rows a span is about."""
        return self.devices if span.devices is None else sorted(span.devices)


async def run_rollups(*, pool: Pool, clock: Clock, every: float) -> NoReturn:
    """Keep the roll-ups for ever.

    Args:
        pool: The database.
        clock: The hub's clock.
        every: Seconds between two passes.
    """
    while True:
        try:
            await roll_up(pool, clock)
        except StoreUnavailableError as error:
            log.warning("no roll-ups for now; trying again", extra={"reason": str(error)})
        except StoreRejectedError:  # the other work of this role goes on
            log.exception("roll-ups stand still: the database refuses one")
        await asyncio.sleep(every)


async def roll_up(pool: Pool, clock: Clock) -> int:
    """Compute everything that is marked and over; return how many steps it took.

    Raises:
        StoreUnavailableError: The database is not there, or a lock was not to be had.
    """
    steps = 0
    while await step(pool, clock):
        steps += 1
    return steps


async def step(pool: Pool, clock: Clock) -> bool:
    """Make one step; return whether there was anything to do, and nobody else doing it.

    Raises:
        StoreUnavailableError: As above.
    """
    async with alone(pool) as conn:
        if conn is None:
            return False
        edition = Edition(await _value(conn, EDITION))
        task = await _find(conn, clock.now())
        if task is None:
            return False
        if edition.aggregates:
            await _refresh(conn, task)
        else:
            await _compute(conn, task, edition)
        passing("rollup.after_commit")
        return True


@asynccontextmanager
async def alone(pool: Pool, *, patience_s: float = 0.0) -> AsyncIterator[Connection | None]:
    """Lend a connection that holds the job's lock; None: another one does.

    Also taken to drop what is old, so that no bucket is computed of readings that vanish meanwhile.

    Args:
        pool: The database.
        patience_s: How long to wait for the other one, in seconds.
    """
    with translated():
        async with pool.connection() as conn:
            until = asyncio.get_running_loop().time() + patience_s
            while not await _value(conn, TRY_LOCK, [LOCK]):
                if asyncio.get_running_loop().time() >= until:
                    yield None
                    return
                await asyncio.sleep(_LOOK_AGAIN_S)
            try:
                await conn.execute("SET lock_timeout = '2s'")
                yield conn
            finally:
                if not conn.closed:
                    await conn.execute("RESET lock_timeout")
                    await conn.execute(UNLOCK, [LOCK])


async def _find(conn: Connection, now: datetime) -> Task | None:
    """Return what to do next: the newest that is over."""
    cursor = await conn.execute(NEXT, {"now": now, "kinds": list(KINDS)})
    row = await cursor.fetchone()
    if row is None:
        return None
    level, kind = Level(row[0]), row[1]
    cursor = await conn.execute(SELECT_REACH, [kind])
    reach = Reach(*(at.astimezone(UTC) for at in await cursor.fetchone() or ()))
    asked = {"width": level.width, "level": level, "kind": kind, "now": now, "limit": _MOST_MARKS}
    marks = await (await conn.execute(SELECT_MARKS, asked)).fetchall()
    spans = [
        Span(
            level.floor(first, reach.origin),
            level.ceil(end, reach.origin),
            None if devices is None else frozenset(devices),
        )
        for _, first, end, devices in marks
    ]
    return Task(
        RollupTable(KINDS[kind].table, level),
        [mark_id for mark_id, *_ in marks],
        gather(spans, level, reach.origin),
        reach,
        [n for (n,) in await (await conn.execute(SELECT_DEVICES, [kind])).fetchall()],
    )


async def _compute(conn: Connection, task: Task, edition: Edition) -> None:
    """Compute buckets, and mark what follows from them, in one transaction."""
    left, done, written = list(task.spans), [], 0
    async with conn.transaction():
        await conn.execute(DELETE_MARKS, [task.marks])
        while left and written < _MOST_ROWS:
            span = left.pop(0)
            for start, end, query in _queries(span, task):
                if not edition.hypertables:
                    await _make_parts(conn, task.rollup, start, end)
                asked = {
                    "width": task.rollup.level.width,
                    "origin": task.reach.origin,
                    "start": start,
                    "end": end,
                    "devices": task.numbers(span),
                }
                cursor = await conn.execute(upsert(task.rollup, query), asked)
                written += cursor.rowcount
            done.append(span)
        passing("rollup.after_rows")
        await _follow(conn, task, done, left)
        passing("rollup.before_commit")


async def _refresh(conn: Connection, task: Task) -> None:
    """Refresh a continuous aggregate, then take the marks away.

    All levels stand on the readings here, and a refresh where some were dropped would drop their
    buckets. TimescaleDB (2.23) first shrinks the window to whole buckets from a midnight of UTC and
    looks in there for what changed, then takes each of our buckets that it touches; so the window
    is one bucket wider at both ends, and the first one behind what was dropped stays as it is.
    """
    width = task.rollup.level.width
    least = task.rollup.level.ceil(task.reach.raw_from, task.reach.origin) + width
    for span in task.spans:
        for first, end, _ in _queries(span, task):
            start = max(first, least)
            if start >= end:
                continue
            await conn.execute(
                sql.SQL(REFRESH).format(
                    sql.Literal(f"hub.{task.rollup.name}"),
                    sql.Literal(start - width),
                    sql.Literal(end + width),
                )
            )
    passing("rollup.after_rows")
    async with conn.transaction():
        await conn.execute(DELETE_MARKS, [task.marks])
        await _follow(conn, task, task.spans, [])


async def _follow(conn: Connection, task: Task, done: list[Span], left: list[Span]) -> None:
    """Mark the level above what is done, and what is left; note the last rows."""
    level, origin = task.rollup.level, task.reach.origin
    if level is Level.MINUTE:
        for span in done:
            await _note_last(conn, task, span)
    if level is not Level.DAY:
        above = Level(level + 1)
        await _mark(conn, task, above, gather(lift(done, above, origin), above, origin))
    await _mark(conn, task, level, left)


async def _mark(conn: Connection, task: Task, level: Level, spans: Sequence[Span]) -> None:
    rows = [
        (
            level,
            task.rollup.reading.kind,
            span.first,
            span.end - level.width,
            None if span.devices is None else sorted(span.devices),
        )
        for span in spans
    ]
    async with conn.cursor() as cursor:
        await cursor.executemany(INSERT_MARK, rows)


def _queries(span: Span, task: Task) -> list[tuple[datetime, datetime, sql.Composed]]:
    """Return the parts of a span that can be computed, each with its query.

    Buckets whose rows were dropped are final. An hour whose minutes were dropped comes from the
    readings, every other from its minutes.
    """
    rollup, reach = task.rollup, task.reach
    origin, raw, minutes = reach.origin, reach.raw_from, reach.minute_from
    if rollup.level is Level.MINUTE:
        parts = [(max(span.first, raw, minutes), span.end, roll_raw(rollup.reading))]
    elif rollup.level is Level.HOUR:
        since = max(span.first, Level.HOUR.ceil(max(raw, reach.hour_from), origin))
        border = max(since, min(Level.HOUR.ceil(minutes, origin), span.end))
        parts = [
            (since, border, roll_raw(rollup.reading)),
            (border, span.end, roll_finer(rollup)),
        ]
    else:
        since = max(span.first, Level.DAY.ceil(reach.hour_from, origin))
        parts = [(since, span.end, roll_finer(rollup))]
    return [(start, end, query) for start, end, query in parts if start < end]


async def _make_parts(
    conn: Connection, rollup: RollupTable, start: datetime, end: datetime
) -> None:
    while start < end:
        part, after = rollup.part_of(start.astimezone(UTC))
        if await _value(conn, "SELECT to_regclass(%s)", [f"hub.{part_name(rollup, part)}"]) is None:
            for statement in make_part(rollup, part, after):
                await conn.execute(statement)
        start = after


async def _note_last(conn: Connection, task: Task, span: Span) -> None:
    """Renew the last rows of the devices, where theirs are older than what the span has."""
    table: ReadingTable = task.rollup.reading
    names = [sql.Identifier(name) for name in table.names]
    statement = sql.SQL(NOTE_LAST).format(
        last=last_table(table),
        table=table.identifier,
        names=sql.SQL(", ").join(names),
        sets=sql.SQL(", ").join(sql.SQL("{n} = excluded.{n}").format(n=name) for name in names),
    )
    await conn.execute(
        statement, {"start": span.first, "end": span.end, "devices": task.numbers(span)}
    )


async def _value(conn: Connection, query: LiteralString, params: Sequence[Any] = ()) -> Any:
    row = await (await conn.execute(query, params)).fetchone()
    return row[0] if row else None
