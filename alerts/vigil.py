"""Whether the hub itself was there (值守): its outages, and the grace after a start (启动宽限).

What the hub was away is no device's lateness, and what fell due meanwhile is told once, in one
summary, instead of by a storm of escalations. Other rules run at once.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from psycopg import sql

from alerts.alarm import HUB
from alerts.journal import Entry
from alerts.rows import select
from core.clock import Clock
from core.db import Connection, Pool, transaction
from core.presence import SILENT_S
from devices import KINDS

AWAY_S: Final = 60.0
"""A shorter absence is none; ours."""
GRACE_S: Final = 300.0
"""The grace lasts at least so long after a start; ours."""
LONGEST_GRACE_S: Final = 1_800.0
"""And at most so long, whatever the source's lag; ours."""
LAG_S: Final = 30.0
"""It ends once the source lags by less; ours."""

_ALIVE_EVERY: Final = timedelta(seconds=5)
_NAMED: Final = 200
_INTERVALS: Final = json.dumps(
    {
        kind.name: max(kind.interval_s, kind.idle_interval_s or 0)
        for kind in KINDS.values()
        if not kind.sleeps
    }
)
_NAME: Final = "alerts"
_VIGIL: Final = sql.SQL(
    "SELECT alive_at, down_since, grace_since FROM hub.vigil WHERE name = 'alerts' FOR UPDATE"
)
_FIRST: Final = "INSERT INTO hub.vigil (name, alive_at) VALUES ('alerts', %s)"
_BACK: Final = """
UPDATE hub.vigil SET alive_at = %(now)s, down_since = coalesce(down_since, %(since)s),
       grace_since = %(now)s WHERE name = 'alerts'
"""
_ALIVE: Final = "UPDATE hub.vigil SET alive_at = %s WHERE name = 'alerts' AND alive_at < %s"
_OVER: Final = "UPDATE hub.vigil SET grace_since = NULL, down_since = NULL WHERE name = 'alerts'"
_AWAY: Final = """
INSERT INTO hub.outage (began_at)
SELECT %s WHERE NOT EXISTS (SELECT 1 FROM hub.outage WHERE ended_at IS NULL)
"""
_RETURNED: Final = "UPDATE hub.outage SET ended_at = greatest(began_at, %s) WHERE ended_at IS NULL"
_OUTAGES: Final = sql.SQL("""
SELECT began_at, coalesce(ended_at, %(end)s) AS ended_at FROM hub.outage
 WHERE began_at < %(end)s AND (ended_at IS NULL OR ended_at > %(start)s)
""")
# ages by the database's clock; the log's lag is in messages, so the last two minutes' rate is asked
_INGEST: Final = sql.SQL("""
SELECT extract(epoch FROM clock_timestamp() - started_at)::float8 AS up_s,
       extract(epoch FROM clock_timestamp() - at)::float8 AS silent_s,
       (SELECT coalesce(sum((s ->> 2)::float8), 0)
          FROM jsonb_array_elements(figures #> '{cityhub_log_lag_messages,samples}') AS s) AS lag,
       (SELECT sum(received) / 120.0 FROM hub.ledger
         WHERE minute >= %(now)s::timestamptz - interval '2 minutes') AS rate
  FROM hub.role_status
 WHERE role = 'ingest'
""")
_CENSUS: Final = sql.SQL("""
SELECT count(*) FILTER (WHERE contact >= %(since)s) AS heard,
       count(*) FILTER (WHERE contact < %(since)s AND interval_s <= %(elapsed)s) AS silent,
       count(*) FILTER (WHERE contact < %(since)s AND interval_s > %(elapsed)s) AS not_due,
       (array_agg(device_id ORDER BY device_id) FILTER (
            WHERE contact < %(since)s AND interval_s <= %(elapsed)s))[:%(named)s] AS silent_ids
  FROM (SELECT d.device_id, s.last_contact_at AS contact,
               coalesce(d.interval_s, (%(intervals)s::jsonb ->> d.kind)::float8) AS interval_s
          FROM hub.device d JOIN hub.device_seen s USING (device_no)
         WHERE d.state = 'active' AND %(intervals)s::jsonb ? d.kind) AS one
""")
_OVERDUE_ALARMS: Final = sql.SQL("""
SELECT alarm_id FROM hub.alarm WHERE timer_at <= %(since)s AND ack_state = 'unacked'
   AND notified_at IS NOT NULL ORDER BY severity DESC, alarm_id
""")
_OVERDUE_CASES: Final = sql.SQL("""
SELECT case_no FROM hub.case
 WHERE coalesce(handle_due_2, handle_due_at) BETWEEN %(down)s AND %(now)s
   AND state IN ('filed', 'dispatched', 'in_progress') ORDER BY case_no
""")


@dataclass(frozen=True, slots=True)
class Grace:
    """The time after a start.

    Attributes:
        down_since: When the hub was last known to live before.
        since: When it was back.
    """

    down_since: datetime
    since: datetime


@dataclass(frozen=True, slots=True)
class Census:
    """What the grace ends with.

    Attributes:
        entry: The one line of the log.
        overdue: Alarms whose ladder fell due meanwhile; it begins anew with this summary.
    """

    entry: Entry
    overdue: Sequence[int]


@dataclass(frozen=True, slots=True)
class Ingest:
    """What the ingest role said of itself.

    Attributes:
        up_s: Seconds since it started.
        silent_s: Seconds since it said so.
        lag: Messages of the log that it has not committed.
        rate: Messages a second that it took lately; None: none.
    """

    up_s: float
    silent_s: float
    lag: float
    rate: float | None

    @property
    def caught_up(self) -> bool:
        """Whether it lives and is near the end of its source."""
        rate = max(float(self.rate or 0), 1.0)
        return self.silent_s < SILENT_S and float(self.lag) < LAG_S * rate


async def begin(pool: Pool, clock: Clock) -> None:
    """Take the watch: after an absence, count it as the hub's own, and begin a grace.

    Called once by whoever starts as the engine, and again after an outage of the database.
    """
    now = clock.now()
    async with transaction(pool) as conn:
        rows = await select(conn, _VIGIL, {})
        if not rows:
            await conn.execute(_FIRST, [now])
            return
        since: datetime = rows[0]["alive_at"]
        if (now - since).total_seconds() <= AWAY_S:
            return
        await conn.execute(_BACK, {"now": now, "since": since})
        ingest = await _ingest(conn, now)
        # if ingest went on without us, readings were taken all the while
        lives = ingest is not None and ingest.silent_s < SILENT_S
        if ingest is None or not lives or ingest.up_s < (now - since).total_seconds():
            await conn.execute(_AWAY, [since])


async def keep(conn: Connection, now: datetime) -> tuple[Grace | None, Census | None]:
    """Say that the engine lives; return the grace that goes on, or the census that ends it."""
    await conn.execute(_ALIVE, [now, now - _ALIVE_EVERY])
    ingest = await _ingest(conn, now)
    caught_up = ingest is not None and ingest.caught_up
    if caught_up:
        await conn.execute(_RETURNED, [now])
    elif ingest is not None and ingest.silent_s > AWAY_S:  # it died, and we live
        await conn.execute(_AWAY, [now - timedelta(seconds=ingest.silent_s)])
    rows = await select(conn, _VIGIL, {})
    if not rows or rows[0]["grace_since"] is None:
        return None, None
    grace = Grace(rows[0]["down_since"], rows[0]["grace_since"])
    elapsed = (now - grace.since).total_seconds()
    if elapsed >= LONGEST_GRACE_S:
        await conn.execute(_RETURNED, [now])
    if elapsed < GRACE_S or (not caught_up and elapsed < LONGEST_GRACE_S):
        return grace, None
    await conn.execute(_OVER)
    return None, await _take_census(conn, grace, now)


async def held_seconds(conn: Connection, spans: Sequence[tuple[datetime, datetime]]) -> list[float]:
    """Return for how long the hub was away within each span of time."""
    if not spans:
        return []
    start, end = min(span[0] for span in spans), max(span[1] for span in spans)
    outages = await select(conn, _OUTAGES, {"start": start, "end": end})
    return [
        sum(
            max((min(to, row["ended_at"]) - max(at, row["began_at"])).total_seconds(), 0.0)
            for row in outages
        )
        for at, to in spans
    ]


async def _ingest(conn: Connection, now: datetime) -> Ingest | None:
    """Return the ingest role heard last, of those alive the one up longest; None: never any."""
    rows = [Ingest(**row) for row in await select(conn, _INGEST, {"now": now})]
    alive = [one for one in rows if one.silent_s < SILENT_S]
    if alive:
        return max(alive, key=lambda one: one.up_s)
    return min(rows, key=lambda one: one.silent_s, default=None)


async def _take_census(conn: Connection, grace: Grace, now: datetime) -> Census:
    (count,) = await select(
        conn,
        _CENSUS,
        {
            "since": grace.since,
            "elapsed": (now - grace.since).total_seconds(),
            "intervals": _INTERVALS,
            "named": _NAMED,
        },
    )
    alarms = [
        row["alarm_id"] for row in await select(conn, _OVERDUE_ALARMS, {"since": grace.since})
    ]
    cases = [
        row["case_no"]
        for row in await select(conn, _OVERDUE_CASES, {"down": grace.down_since, "now": now})
    ]
    detail = {
        "down_since": grace.down_since,
        "up_since": grace.since,
        "heard": count["heard"],
        "silent": count["silent"],
        "not_due": count["not_due"],
        "silent_devices": count["silent_ids"] or [],
        "overdue": {
            "alarms": alarms[:_NAMED],
            "alarm_count": len(alarms),
            "cases": cases[:_NAMED],
            "case_count": len(cases),
        },
        "loud": True,
    }
    entry = Entry(
        log="alarm",
        actor=HUB,
        object="system",
        object_id=_NAME,
        action="restart_census",
        detail=detail,
    )
    return Census(entry, alarms)
