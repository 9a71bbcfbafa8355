"""``cityhub simulate run storm``: a storm of alarms through the hub's own parts, and its judge.

In lock-step, on a clock that jumps: contacts and findings are written as ingest writes them, the
sweep for silent devices and the alarm engine are the real ones. Ten minutes take seconds.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psycopg

from alerts.engine import Known, step
from analytics.silence import sweep
from cityhub.folder import DataFolder
from cityhub.postgres import EmbeddedPostgres
from core.batch import Finding
from core.clock import ManualClock
from core.db import Pool, open_pool, transaction
from core.findings import INSERT_FINDING, LOCK_FINDINGS, finding_rows
from core.migrate import migrate
from core.model import Edge, Severity, Text, to_micros
from core.tables import make_tables
from devices import KINDS
from devices.rules import find_rule
from simulators.scenes.storm import LASTS_S, Fault, Storm, make_storm
from simulators.storm_score import Row, judge_storm

START: Final = datetime(2026, 11, 21, 12, tzinfo=UTC)
_STEP_S: Final = 10.0
_CALM_S: Final = 120.0
_AFTER_S: Final = 300.0

_ADD: Final = """
INSERT INTO hub.device (device_id, kind, name, lon, lat, gateway, feeder, interval_s)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""
_HEAR: Final = """
INSERT INTO hub.device_seen (device_no, last_contact_at, last_reading_at, last_ts)
SELECT device_no, %(at)s, %(at)s, %(at)s FROM hub.device
 WHERE interval_s IS NOT NULL AND device_id <> ALL (%(silent)s)
ON CONFLICT (device_no) DO UPDATE SET last_contact_at = excluded.last_contact_at,
    last_reading_at = excluded.last_reading_at, last_ts = excluded.last_ts
"""
_ROWS: Final = """
SELECT i.incident_id, coalesce(i.cause_node, ''), array_agg(d.device_id)
  FROM hub.incident i JOIN hub.alarm a USING (incident_id) JOIN hub.device d USING (device_no)
 WHERE i.state = 'open' AND (a.condition_state <> 'cleared' OR a.latched AND a.reset_at IS NULL)
 GROUP BY 1, 2 ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it.

    Attributes:
        abnormal: Devices that turned abnormal because of a cause.
        alarms: Alarms raised in all.
        rows: Rows on the operator's list at the end.
        lost: Findings that the engine did not read, and links of the log that do not hold.
        wrong: What the judge says, in words.
    """

    abnormal: int
    alarms: int
    rows: int
    lost: int
    wrong: list[str]


async def run_storm(pool: Pool, storm: Storm) -> Report:
    """Take a storm through the hub; return the judge's word.

    Args:
        pool: A migrated database without devices.
        storm: What happens.
    """
    clock, known = ManualClock(START), Known()
    await _settle(pool, storm)
    numbers = await _numbers(pool)
    silent: set[str] = set()
    left = list(storm.faults)
    now = -_CALM_S
    while now <= LASTS_S + _AFTER_S:
        due = [fault for fault in left if fault.after_s <= now]
        left = left[len(due) :]
        silent |= {fault.device_id for fault in due if not fault.rule_id}
        async with transaction(pool) as conn:
            await conn.execute(_HEAR, {"at": clock.now(), "silent": sorted(silent)})
            found = [_finding(fault, numbers, clock.now()) for fault in due if fault.rule_id]
            await conn.execute(LOCK_FINDINGS)
            async with conn.cursor() as cursor:
                await cursor.executemany(INSERT_FINDING, finding_rows(found))
        await sweep(pool, clock)
        while await step(pool, clock, None, known=known):
            pass
        clock.advance(_STEP_S)
        now += _STEP_S
    return await _report(pool, storm)


async def _settle(pool: Pool, storm: Storm) -> None:
    async with transaction(pool) as conn, conn.cursor() as cursor:
        await cursor.executemany(
            _ADD,
            [
                (
                    each.device_id, each.kind, each.name, each.lon, each.lat,
                    each.gateway or None, each.feeder or None, each.interval_s,
                )
                for each in storm.devices
            ],
        )  # fmt: skip


async def _numbers(pool: Pool) -> dict[str, tuple[int, str]]:
    async with pool.connection() as conn:
        rows = await (
            await conn.execute("SELECT device_id, device_no, kind FROM hub.device")
        ).fetchall()
    return {device_id: (number, kind) for device_id, number, kind in rows}


def _finding(fault: Fault, numbers: Mapping[str, tuple[int, str]], at: datetime) -> Finding:
    """Return what a detector says of a device; its delay is over, as that of a lamp long dark."""
    number, kind = numbers[fault.device_id]
    rule = find_rule(kind, fault.rule_id)
    ts = to_micros(at)
    return Finding(
        device_no=number,
        rule_id=fault.rule_id,
        detector="storm",
        kind=fault.rule_id,
        edge=Edge.OPEN,
        ts=ts,
        first_ts=ts - round((rule.on_delay_s if rule else 0) * 1e6),
        received_at=ts,
        severity=rule.severity if rule else Severity.YELLOW,
        explain=Text("演练", "a drill"),
    )


async def _report(pool: Pool, storm: Storm) -> Report:
    async with pool.connection() as conn:
        rows = [
            Row(number, node, frozenset(members))
            for number, node, members in await (await conn.execute(_ROWS)).fetchall()
        ]
        query = (
            "SELECT (SELECT count(*) FROM hub.alarm),"
            " (SELECT count(*) FROM hub.finding WHERE finding_id >"
            " (SELECT position FROM hub.cursor WHERE name = 'alerts')),"
            " (SELECT count(*) FROM hub.broken_link(1::int2)),"
            " (SELECT count(*) FROM hub.alarm a WHERE NOT EXISTS (SELECT 1 FROM hub.event_log e"
            " WHERE e.object = 'alarm' AND e.object_id = a.alarm_id::text"
            " AND e.action IN ('raised', 'recorded')))"
        )
        counts: Any = await (await conn.execute(query)).fetchone()
    return Report(
        abnormal=sum(len(devices) for devices in storm.causes.values()),
        alarms=counts[0],
        rows=len(rows),
        lost=counts[1] + counts[2] + counts[3],
        wrong=judge_storm(storm, rows),
    )


async def drill_storm(*, abnormal: int, causes: int, say: Callable[[str], None]) -> Report:
    """Take a storm through a hub of its own, on a fresh embedded PostgreSQL.

    Args:
        abnormal: How many devices turn abnormal.
        causes: Because of how many causes.
        say: Takes a word on what is going on.
    """
    with _open_folder() as folder, DataFolder(folder / "data") as data:
        server = EmbeddedPostgres(data, home=None, port=0, say=say)
        await server.start()
        try:
            url = server.superuser_url
            migrate(url)
            with psycopg.connect(url, autocommit=True) as conn:
                make_tables(conn, [kind.table for kind in KINDS.values()])
            say(f"{abnormal:,} devices turn abnormal within {LASTS_S:.0f} s")
            async with open_pool(url, 2, name="storm") as pool:
                return await run_storm(pool, make_storm(abnormal=abnormal, causes=causes))
        finally:
            server.stop()


@contextmanager
def _open_folder() -> Iterator[Path]:
    """Lend a folder that a server's account can pass through."""
    with tempfile.TemporaryDirectory(prefix="cityhub-storm-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder
