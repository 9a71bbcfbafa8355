"""The alarm engine: tails findings by a cursor, and lets time pass over what is open.

One transaction holds cursor, alarms, incidents, cases, work orders, outbox and log, so killing it
anywhere repeats nothing and skips nothing. Findings become visible in the order of their numbers
(:mod:`core.findings`), so a number is cursor enough. One engine works; a second waits for its lock,
and even two at once do no harm: the cursor's row is locked first.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, NoReturn

import psycopg
from psycopg import sql

from alerts.alarm import HUB
from alerts.alarm_rows import Key
from alerts.facts import rule_for
from alerts.fold import fold, mature, settle
from alerts.journal import Entry, append
from alerts.office import Office
from alerts.rows import select
from alerts.track import Seen, Step, Track
from alerts.turn import Turn
from core.clock import Clock
from core.db import Connection, Pool, listen, transaction
from core.errors import StoreRejectedError, StoreUnavailableError
from core.failpoint import passing
from core.metrics import ALARM_EVENTS
from core.model import Edge, Severity
from devices.kind import AlarmRule

log = logging.getLogger(__name__)

BATCH: Final = 200
"""The most findings in one transaction: it holds the log's lock while it appends."""

_CURSOR_NAME: Final = "alerts"
_LOCK_ENGINE: Final = 0x4349_5410
_TIMERS_EVERY: Final = timedelta(seconds=1)
_RETRY_S: Final = 1.0

_CURSOR_MADE: Final = (
    "INSERT INTO hub.cursor (name, position, updated_at) VALUES (%s, 0, %s) ON CONFLICT DO NOTHING"
)
_CURSOR: Final = "SELECT position FROM hub.cursor WHERE name = %s FOR UPDATE"
_MOVE_CURSOR: Final = "UPDATE hub.cursor SET position = %s, updated_at = %s WHERE name = %s"
_FINDINGS: Final = sql.SQL("""
SELECT finding_id, device_no, rule_id, detector, kind, metric, edge, ts, first_ts, received_at,
       severity, value, expected, threshold, unit, confidence, flags, explain_zh, explain_en
  FROM hub.finding WHERE finding_id > %(position)s ORDER BY finding_id LIMIT %(limit)s
""")
# one statement, one snapshot: how far a device's clock has come, and no finding of it is unread
_WAITING: Final = sql.SQL("""
SELECT w.device_no, w.rule_id, s.last_ts AS heard, s.last_contact_at AS contact FROM (
    SELECT device_no, rule_id FROM hub.alarm_pending
     UNION
    SELECT device_no, rule_id FROM hub.alarm
     WHERE condition_state = 'clearing' OR (condition_state = 'active' AND sources = '{}')
) AS w LEFT JOIN hub.device_seen AS s USING (device_no)
 WHERE NOT EXISTS (SELECT 1 FROM hub.finding AS f
                    WHERE f.finding_id > %(position)s AND f.device_no = w.device_no)
 ORDER BY w.device_no, w.rule_id
""")
# the alarms of a device that fell silent stay, and say so
_STALE: Final = """
UPDATE hub.alarm AS a SET data_stale = NOT a.data_stale
 WHERE a.condition_state <> 'cleared' AND a.rule_id <> 'offline'
   AND a.data_stale <> EXISTS (SELECT 1 FROM hub.alarm AS o
       WHERE o.device_no = a.device_no AND o.rule_id = 'offline' AND o.condition_state = 'active')
"""


async def step(
    pool: Pool,
    clock: Clock,
    connector: str | None,
    *,
    office: Office | None = None,
    timers: bool = True,
) -> int:
    """Read one batch of findings; when there are no more, let time pass.

    Args:
        pool: The database.
        clock: The hub's time.
        connector: Which platform takes work orders; None: none.
        office: The command centre's particulars; its connector is replaced by ``connector``.
        timers: Look at what time brings.

    Returns:
        How many findings were read; 0: all are, and timers were looked at.
    """
    office = replace(office or Office(), connector=connector)
    try:
        return await _turn(pool, clock, office, limit=BATCH, timers=timers)
    except StoreRejectedError:
        log.warning("a batch of findings was refused; they are taken one by one")
    try:
        return await _turn(pool, clock, office, limit=1, timers=timers)
    except StoreRejectedError as error:
        return await _refuse(pool, clock, str(error))


async def run_engine(
    *,
    pool: Pool,
    url: str,
    clock: Clock,
    connector: str | None,
    office: Office | None = None,
) -> NoReturn:
    """Work for ever: at each nudge, and every second for what time brings.

    Args:
        pool: The database.
        url: The same, for notifications and for the lock of the one holder.
        clock: The hub's time.
        connector: Which platform takes work orders; None: none.
        office: The command centre's particulars.
    """
    while True:
        try:
            await _work(pool, url, clock, connector, office=office)
        except (StoreUnavailableError, psycopg.OperationalError) as error:
            log.warning(
                "the alarm engine waits for the database",
                extra={"reason": str(error), "retry_in_s": _RETRY_S},
            )
            await asyncio.sleep(_RETRY_S)


async def _work(
    pool: Pool, url: str, clock: Clock, connector: str | None, *, office: Office | None
) -> NoReturn:
    async with _sole_holder(url) as holder:
        looked: datetime | None = None
        async for _ in listen(url, "hub_finding"):
            await holder.execute("SELECT 1")  # a lost lock ends our turn; the cursor is the fence
            now = clock.now()
            due = looked is None or not timedelta(0) <= now - looked < _TIMERS_EVERY
            while await step(pool, clock, connector, office=office, timers=due):
                pass
            looked = now if due else looked
    raise AssertionError("notifications never end")


async def _turn(pool: Pool, clock: Clock, office: Office, *, limit: int, timers: bool) -> int:
    async with transaction(pool) as conn:
        now = clock.now()
        position = await _lock_cursor(conn, clock)
        turn = Turn(conn, office, now)
        rows = await select(conn, _FINDINGS, {"position": position, "limit": limit})
        if rows:
            await _fold_rows(turn, rows)
            await conn.execute(_MOVE_CURSOR, [rows[-1]["finding_id"], now, _CURSOR_NAME])
        elif timers:
            await _pass_time(turn, position)
        await turn.finish()
        passing("alerts.before_commit")
    passing("alerts.after_commit")
    for action, count in turn.counts.items():
        ALARM_EVENTS.labels(action).inc(count)
    return len(rows)


async def _refuse(pool: Pool, clock: Clock, reason: str) -> int:
    """Pass over one finding that the database will never take, and say so in the log."""
    async with transaction(pool) as conn:
        position = await _lock_cursor(conn, clock)
        rows = await select(conn, _FINDINGS, {"position": position, "limit": 1})
        if not rows:
            raise StoreRejectedError(reason)
        row = rows[0]
        await conn.execute(_MOVE_CURSOR, [row["finding_id"], clock.now(), _CURSOR_NAME])
        entry = _ignored(row, f"#{row['device_no']}", reason)
        await append(conn, [entry], clock.now())
    log.error("a finding was passed over", extra={"finding": row["finding_id"], "reason": reason})
    return 1


@asynccontextmanager
async def _sole_holder(url: str) -> AsyncIterator[Connection]:
    """Wait to be the only engine; released with the connection, however that ends."""
    async with await psycopg.AsyncConnection.connect(
        url, autocommit=True, application_name="cityhub alerts lock"
    ) as conn:
        await conn.execute("SELECT pg_advisory_lock(%s)", [_LOCK_ENGINE])
        log.info("the alarm engine works")
        yield conn


async def _lock_cursor(conn: Connection, clock: Clock) -> int:
    await conn.execute(_CURSOR_MADE, [_CURSOR_NAME, clock.now()])
    row = await (await conn.execute(_CURSOR, [_CURSOR_NAME])).fetchone()
    assert row is not None  # noqa: S101 - it was made just now
    return int(row[0])


async def _fold_rows(turn: Turn, rows: list[dict[str, Any]]) -> None:
    await turn.take((row["device_no"], row["rule_id"]) for row in rows)
    for row in rows:
        key = row["device_no"], row["rule_id"]
        facts = turn.facts.get(row["device_no"])
        if facts is None or facts.state == "retired":
            gone = ("device_retired", facts.device_id) if facts else ("device_unknown", str(key[0]))
            turn.entries.append(_ignored(row, gone[1], gone[0]))
            continue
        seen = _seen(row)
        rule = rule_for(facts.kind, row["rule_id"], seen.severity)
        out_of_service = facts.state == "maintenance"
        # what the time before it has brought comes first, however many findings are read at once
        before = turn.tracks[key]
        step = Step(before)
        if seen.edge is Edge.CLEAR:
            step = mature(before, rule, turn.now, seen.ts, out_of_service=out_of_service)
        if not step.events:
            step = settle(before, rule, seen.ts, seen.received_at)
        await turn.apply(key, step, rule, kind=_kind_of(before, rule))
        step = fold(turn.tracks[key], seen, rule, turn.now, out_of_service=out_of_service)
        await turn.apply(key, step, rule, kind=row["kind"])


def _ignored(row: Mapping[str, Any], device: str, reason: str) -> Entry:
    """Return the line on a finding that became nothing: nothing is skipped in silence."""
    return Entry(
        log="alarm",
        actor=HUB,
        object="device",
        object_id=device,
        action="finding_ignored",
        reason=reason,
        detail={"finding_id": row["finding_id"], "rule_id": row["rule_id"]},
    )


async def _pass_time(turn: Turn, position: int) -> None:
    """Let pending breaches mature and quiet alarms clear, each by its device's own clock."""
    waiting = await select(turn.conn, _WAITING, {"position": position})
    await turn.take((row["device_no"], row["rule_id"]) for row in waiting)
    for row in waiting:
        key: Key = (row["device_no"], row["rule_id"])
        facts, track = turn.facts[key[0]], turn.tracks[key]
        rule = rule_for(facts.kind, key[1], _severity_of(track))
        heard, contact = row["heard"], row["contact"]
        if facts.is_virtual:
            heard = contact = turn.now  # it has no clock of its own: ours counts
        out_of_service = facts.state == "maintenance"
        step = mature(track, rule, turn.now, heard, out_of_service=out_of_service)
        if not step.events:
            step = settle(track, rule, heard, contact)
        await turn.apply(key, step, rule, kind=_kind_of(track, rule))
    await turn.conn.execute(_STALE)


def _severity_of(track: Track) -> Severity:
    if track.pending is not None:
        return track.pending.finding.severity
    return Severity.BLUE if track.alarm is None else track.alarm.severity


def _kind_of(track: Track, rule: AlarmRule) -> str:
    return track.pending.finding.kind if track.pending is not None else rule.rule_id


def _seen(row: Mapping[str, Any]) -> Seen:
    return Seen(
        edge=Edge(row["edge"]),
        kind=row["kind"],
        detector=row["detector"],
        measured=bool(row["metric"]),
        ts=row["ts"],
        first_ts=row["first_ts"],
        received_at=row["received_at"],
        severity=Severity(row["severity"]),
        explain_zh=row["explain_zh"],
        explain_en=row["explain_en"],
        value=row["value"],
        threshold=row["threshold"],
        baseline=row["expected"],
        unit=row["unit"],
        confidence=row["confidence"],
        flags=tuple(row["flags"]),
    )
