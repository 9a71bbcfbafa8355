"""The alarm engine: tails findings by a cursor, and lets time pass over what is open.

One transaction holds cursor, alarms, incidents, cases, work orders, outbox and log, so killing it
anywhere repeats nothing and skips nothing. Findings become visible in the order of their numbers
(:mod:`core.findings`), so a number is cursor enough. One engine works; a second waits for its lock,
and even two at once do no harm: the cursor's row is locked first.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, NoReturn

import psycopg
from psycopg import sql

from alerts import vigil
from alerts.alarm import HUB
from alerts.attending import attend
from alerts.calendar_rows import store_calendar
from alerts.families import WINDOW_S
from alerts.fold import fold
from alerts.journal import Entry, append
from alerts.lapse import lapse
from alerts.notices import tell
from alerts.office import Office
from alerts.passing import mature, settle
from alerts.regrouping import find_regroupings, regroup
from alerts.roster import load_roster
from alerts.rows import select
from alerts.track import Seen, Step
from alerts.turn import Turn
from core.clock import Clock
from core.db import Connection, Pool, listen, transaction
from core.errors import StoreRejectedError, StoreUnavailableError
from core.failpoint import passing
from core.metrics import ALARM_EVENTS
from core.model import Edge, Severity
from devices.rulebook import Rulebook

log = logging.getLogger(__name__)

BATCH: Final = 500
"""The most findings in one transaction: it holds the log's lock while it appends."""

_CURSOR_NAME: Final = "alerts"
_LOCK_ENGINE: Final = 0x4349_5410
_TIMERS_EVERY: Final = timedelta(seconds=1)
_RETRY_S: Final = 1.0
_LATE_S: Final = 60.0
"""Only of what came later than this is it asked whether the hub itself was away."""

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


@dataclass(slots=True)
class Known:
    """What an engine knows from the turns before; all of it can be read anew.

    Attributes:
        rules: The rules of the city.
        lapsed: Up to which change of a rule all that is open was looked at.
        suspected_at: When an alarm was last raised that may speak for a node above it; None: that
            is not known yet.
    """

    rules: Rulebook = field(default_factory=Rulebook)
    lapsed: int = 0
    suspected_at: datetime | None = None

    def suspects(self, now: datetime) -> bool:
        """Return whether alarms of late may speak for a node above them."""
        at = self.suspected_at
        return at is None or abs((now - at).total_seconds()) <= WINDOW_S


async def step(
    pool: Pool,
    clock: Clock,
    connector: str | None,
    *,
    office: Office | None = None,
    timers: bool = True,
    known: Known | None = None,
) -> int:
    """Read one batch of findings; when there are no more, let time pass.

    Args:
        pool: The database.
        clock: The hub's time.
        connector: Which platform takes work orders; None: none.
        office: The command centre's particulars; its connector is replaced by ``connector``.
        timers: Look at what time brings.
        known: What is known from the turns before; None: nothing.

    Returns:
        How many findings were read; 0: all are, and timers were looked at.
    """
    office = replace(office or Office(), connector=connector)
    known = known or Known()
    try:
        count = await _read(pool, clock, office, known, limit=BATCH)
    except StoreRejectedError:
        log.warning("a batch of findings was refused; they are taken one by one")
        try:
            count = await _read(pool, clock, office, known, limit=1)
        except StoreRejectedError as error:
            count = await _refuse(pool, clock, str(error))
    if count == 0 and timers:
        await pass_time(pool, clock, office, known)
    return count


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
    office = replace(office or Office(), connector=connector)
    while True:
        try:
            await _work(pool, url, clock, office)
        except (StoreUnavailableError, psycopg.OperationalError) as error:
            log.warning(
                "the alarm engine waits for the database",
                extra={"reason": str(error), "retry_in_s": _RETRY_S},
            )
            await asyncio.sleep(_RETRY_S)


async def _work(pool: Pool, url: str, clock: Clock, office: Office) -> NoReturn:
    async with _sole_holder(url) as holder:
        await vigil.begin(pool, clock)
        async with transaction(pool) as conn:
            await store_calendar(conn, clock.now())
        known, looked = Known(), clock.now() - _TIMERS_EVERY
        async for _ in listen(url, "hub_finding", "hub_rule"):
            await holder.execute("SELECT 1")  # a lost lock ends our turn; the cursor is the fence
            count = 1
            while count:
                if not timedelta(0) <= clock.now() - looked < _TIMERS_EVERY:
                    looked = clock.now()
                    await pass_time(pool, clock, office, known)
                connector = office.connector
                count = await step(pool, clock, connector, office=office, timers=False, known=known)
    raise AssertionError("notifications never end")


async def pass_time(pool: Pool, clock: Clock, office: Office, known: Known) -> None:
    """Let time pass over all that is open, in one transaction."""
    async with _turning(pool, clock, office, known) as (turn, position):
        found = await find_regroupings(turn, suspects=known.suspects(turn.now))
        rules_changed = known.rules.change != known.lapsed
        await lapse(turn, position, rules_changed=rules_changed, further=found.keys)
        await regroup(turn, found)
        await tell(turn)
    known.lapsed = turn.rules.change
    known.suspected_at = known.suspected_at or turn.now
    _count(turn)
    await attend(pool, clock, office, known.rules)


async def _read(pool: Pool, clock: Clock, office: Office, known: Known, *, limit: int) -> int:
    async with _turning(pool, clock, office, known) as (turn, position):
        rows = await select(turn.conn, _FINDINGS, {"position": position, "limit": limit})
        if rows:
            await _fold_rows(turn, rows)
            last = rows[-1]["finding_id"]
            await turn.conn.execute(_MOVE_CURSOR, [last, turn.now, _CURSOR_NAME])
            passing("alerts.after_cursor")
    if rows and turn.suspicious:
        known.suspected_at = turn.now
    _count(turn)
    return len(rows)


@asynccontextmanager
async def _turning(
    pool: Pool, clock: Clock, office: Office, known: Known
) -> AsyncIterator[tuple[Turn, int]]:
    """Lend a turn with the cursor's position, and finish it."""
    async with transaction(pool) as conn:
        now = clock.now()
        position = await _lock_cursor(conn, clock)
        await known.rules.refresh(conn)
        turn = Turn(conn, office, now, known.rules, await load_roster(conn, now))
        yield turn, position
        await turn.finish()
        passing("alerts.before_commit")
    passing("alerts.after_commit")


def _count(turn: Turn) -> None:
    for action, count in turn.counts.items():
        ALARM_EVENTS.labels(action).inc(count)


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


async def _fold_rows(turn: Turn, rows: Sequence[Mapping[str, Any]]) -> None:
    await turn.take((row["device_no"], row["rule_id"]) for row in rows)
    held = await _held(turn.conn, rows)
    for row in rows:
        key = row["device_no"], row["rule_id"]
        facts = turn.facts.get(row["device_no"])
        if facts is None or facts.state == "retired":
            gone = ("device_retired", facts.device_id) if facts else ("device_unknown", str(key[0]))
            turn.entries.append(_ignored(row, gone[1], gone[0]))
            continue
        rule = turn.rule(key)
        if not rule.enabled:
            continue
        seen = _seen(row, held.get(row["finding_id"], 0.0))
        shade = turn.shades.get(key)
        # what the time before it has brought comes first, however many findings are read at once
        before = turn.tracks[key]
        step = Step(before)
        if seen.edge is Edge.CLEAR:
            step = mature(before, rule, turn.now, seen.ts, shade=shade)
        if not step.events:
            step = settle(before, rule, turn.now, seen.ts, seen.received_at)
        turn.apply(key, step, rule, turn.kind_of(before, rule))
        step = fold(turn.tracks[key], seen, rule, turn.now, shade=shade)
        turn.apply(key, step, rule, row["kind"])


async def _held(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """Return for how long the hub was away while a late finding was on its way, by its number."""
    late = [row for row in rows if (row["received_at"] - row["ts"]).total_seconds() > _LATE_S]
    spans = [(row["ts"], row["received_at"]) for row in late]
    held = await vigil.held_seconds(conn, spans)
    return {row["finding_id"]: seconds for row, seconds in zip(late, held, strict=True)}


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


def _seen(row: Mapping[str, Any], held_s: float) -> Seen:
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
        held_s=held_s,
    )
