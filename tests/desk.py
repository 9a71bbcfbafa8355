"""A small city and its findings, for the tests of alarms and cases."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from alerts.engine import step
from core.batch import Finding
from core.clock import ManualClock
from core.db import Pool
from core.findings import INSERT_FINDING, LOCK_FINDINGS, finding_rows
from core.model import Edge, Severity, Text, to_micros

NOON: Final = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)  # noon in the city
GRID: Final = "14118200100101"
COVER: Final = "1411820102000001"

_CITY: Final = f"""
INSERT INTO hub.department (dept_code, name_zh, name_en, is_street) VALUES
    ('SZ', '市政所', 'Public works', false), ('LD', '路灯所', 'Street lights', false),
    ('JD', '街道办', 'Street office', true);
INSERT INTO hub.grid_cell (grid_code, name, dept_code) VALUES ('{GRID}', '东大街', 'JD');
INSERT INTO hub.component (component_code, name, grid_code, dept_code, lon, lat)
    VALUES ('{COVER}', '雨水井盖', '{GRID}', 'SZ', 111.79, 37.26);
"""


def finding(device_no: int, **changes: Any) -> Finding:
    """Return a cover found open at noon, or as the changes say."""
    base = Finding(
        device_no=device_no,
        rule_id="cover_open",
        detector="displacement",
        kind="open",
        edge=Edge.OPEN,
        ts=to_micros(NOON),
        first_ts=to_micros(NOON),
        received_at=to_micros(NOON),
        severity=Severity.RED,
        explain=Text("倾角95°, 超过90°", "tilt 95°, over 90°"),
        metric="tilt",
        value=95.0,
        limit=90.0,
        unit="deg",
    )
    return replace(base, **changes)


_EMPTY: Final = """
SET session_replication_role = replica; -- the log of events may not be emptied otherwise
TRUNCATE hub.event_log, hub.event_head, hub.outbox, hub.work_order, hub.case, hub.alarm,
    hub.alarm_pending, hub.incident, hub.finding, hub.cursor, hub.device_seen, hub.device,
    hub.component, hub.grid_cell, hub.department, hub.audit, hub.duty, hub.shelf,
    hub.maintenance_window, hub.case_count, hub.topology_edge, hub.vigil, hub.outage,
    hub.roster, hub.staff
    RESTART IDENTITY CASCADE;
RESET session_replication_role
"""


@dataclass
class Desk:
    """The database of a test, with a clock that the test moves."""

    pool: Pool
    clock: ManualClock
    connector: str | None = "webhook"

    async def settle_city(self) -> None:
        async with self.pool.connection() as conn:
            await conn.execute(_CITY)

    async def empty(self) -> None:
        """Forget everything, so that one test may begin anew."""
        await self.run(_EMPTY)

    async def device(
        self, device_id: str = "MH-1", kind: str = "manhole_cover", **columns: Any
    ) -> int:
        values = {"device_id": device_id, "kind": kind, "name": f"{device_id}号"} | columns
        names = ", ".join(values)
        places = ", ".join(f"%({name})s" for name in values)
        (number,) = await self.row(
            f"INSERT INTO hub.device ({names}) VALUES ({places}) RETURNING device_no", values
        )
        return int(number)

    async def cover(self, device_id: str = "MH-1", **columns: Any) -> int:
        """A cover at a component that public works own."""
        return await self.device(device_id, component_code=COVER, **columns)

    async def find(self, *findings: Finding) -> None:
        async with self.pool.connection() as conn, conn.transaction():
            await conn.execute(LOCK_FINDINGS)
            async with conn.cursor() as cursor:
                await cursor.executemany(INSERT_FINDING, finding_rows(findings))

    async def hear(self, device_no: int, seconds: float = 0) -> None:
        """The device is heard so long after noon, by its clock and ours."""
        at = NOON + timedelta(seconds=seconds)
        await self.run(
            "INSERT INTO hub.device_seen VALUES (%s, %s, %s, %s) ON CONFLICT (device_no) DO UPDATE"
            " SET last_contact_at = EXCLUDED.last_contact_at, last_ts = EXCLUDED.last_ts",
            [device_no, at, at, at],
        )

    async def work(self) -> None:
        """Let the engine read everything, and time pass."""
        while await step(self.pool, self.clock, self.connector):
            pass

    async def run(self, query: str, parameters: Any = None) -> None:
        async with self.pool.connection() as conn:
            await conn.execute(query, parameters)

    async def rows(self, query: str, parameters: Any = None) -> Sequence[tuple[Any, ...]]:
        async with self.pool.connection() as conn:
            return await (await conn.execute(query, parameters)).fetchall()

    async def row(self, query: str, parameters: Any = None) -> tuple[Any, ...]:
        (row,) = await self.rows(query, parameters)
        return row

    async def actions_of(self, kind: str = "alarm") -> list[str]:
        rows = await self.rows(
            "SELECT action FROM hub.event_log WHERE object = %s ORDER BY event_id", [kind]
        )
        return [action for (action,) in rows]


def later(seconds: float) -> int:
    """Return so many seconds after noon, as findings count."""
    return to_micros(NOON + timedelta(seconds=seconds))
