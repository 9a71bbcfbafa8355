"""What is known of a device beside its alarm: place, component, and when it was last heard."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg import sql

from alerts.alarm import Alarm
from alerts.rows import select
from core.db import Connection
from devices import KINDS
from devices.kind import AlarmRule

_FACTS: Final = sql.SQL("""
SELECT d.device_no, d.device_id, d.name, d.kind, d.state, d.dept_code, d.component_code,
       coalesce(c.name, '') AS component_name, coalesce(d.grid_code, c.grid_code) AS grid_code,
       coalesce(g.name, '') AS grid_name, coalesce(d.lon, c.lon, g.lon) AS lon,
       coalesce(d.lat, c.lat, g.lat) AS lat, d.interval_s,
       s.last_ts AS heard, s.last_contact_at AS contact
  FROM hub.device d
  LEFT JOIN hub.component c USING (component_code)
  LEFT JOIN hub.grid_cell g ON g.grid_code = coalesce(d.grid_code, c.grid_code)
  LEFT JOIN hub.device_seen s USING (device_no)
 WHERE d.device_no = ANY(%(devices)s)
""")
_POSITIONS: Final = """
SELECT k.device_no, p.lon, p.lat
  FROM unnest(%(devices)s::int4[], %(at)s::timestamptz[]) AS k (device_no, at)
 CROSS JOIN LATERAL (
    SELECT lon, lat FROM {} AS r
     WHERE r.device_no = k.device_no AND r.ts > k.at - %(within)s::interval AND r.ts <= k.at
       AND lon IS NOT NULL AND lat IS NOT NULL ORDER BY r.ts DESC LIMIT 1) AS p
"""
_STALE_POSITION: Final = timedelta(hours=1)
SILENT_INTERVALS: Final = 3.0
"""After so many intervals without a word a sensor can say nothing of a repair; ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A device as its alarms need it.

    Attributes:
        device_no: Its number.
        device_id: Its id.
        name: What staff call it, may be empty.
        kind: Its kind, those of virtual devices included.
        state: ``active``, ``maintenance`` or ``retired``.
        dept_code: Its owner.
        component_code: The component it watches.
        component_name: Its name.
        grid_code: The grid cell it stands in.
        grid_name: Its name.
        lon: WGS-84 degrees; of a moving device where it was.
        lat: The same.
        interval_s: How often it reports, in seconds; None: as its kind.
        heard: The newest event time believed of it.
        contact: When anything was last heard of it, receive time.
    """

    device_no: int
    device_id: str
    name: str
    kind: str
    state: str
    dept_code: str | None
    component_code: str | None
    component_name: str
    grid_code: str | None
    grid_name: str
    lon: float | None
    lat: float | None
    interval_s: float | None
    heard: datetime | None
    contact: datetime | None

    @property
    def called(self) -> str:
        """What to call it."""
        return self.name or self.device_id

    @property
    def is_virtual(self) -> bool:
        """Whether it is a gateway, a feeder, or a part of the hub: it measures nothing itself."""
        return self.kind not in KINDS

    @property
    def moves(self) -> bool:
        """Whether it has no fixed place."""
        kind = KINDS.get(self.kind)
        return kind is not None and kind.moves

    def is_silent(self, now: datetime) -> bool:
        """Whether it says nothing any more, so that only a person can look."""
        if self.is_virtual:
            return False
        interval_s = self.interval_s or KINDS[self.kind].interval_s
        limit = timedelta(seconds=SILENT_INTERVALS * interval_s)
        return self.contact is None or now - self.contact > limit


async def load_facts(conn: Connection, devices: Iterable[int]) -> dict[int, Facts]:
    """Return what is known of devices, by number; unknown ones are missing."""
    rows = await select(conn, _FACTS, {"devices": list(set(devices))})
    return {row["device_no"]: Facts(**row) for row in rows}


async def locate_all(
    conn: Connection, several: Mapping[int, Facts], at: Mapping[int, datetime]
) -> dict[int, Facts]:
    """Return devices that move where they were: at their last fix within the hour before.

    Args:
        conn: The database.
        several: The devices, by number.
        at: When, of each.
    """
    found = dict(several)
    for kind in sorted({facts.kind for facts in several.values()}):
        devices = [number for number, facts in several.items() if facts.kind == kind]
        parameters = {
            "devices": devices,
            "at": [at[number] for number in devices],
            "within": _STALE_POSITION,
        }
        query = sql.SQL(_POSITIONS).format(KINDS[kind].table.identifier)
        for row in await select(conn, query, parameters):
            number = row["device_no"]
            found[number] = replace(found[number], lon=row["lon"], lat=row["lat"])
    return found


def describe(alarm: Alarm, facts: Facts, rule: AlarmRule) -> dict[str, Any]:
    """Return what a line of the feed shows of an alarm, so that it needs no join."""
    return {
        "alarm_id": alarm.alarm_id,
        "incident_id": alarm.incident_id,
        "case_no": alarm.case_no,
        "device_id": facts.device_id,
        "device_name": facts.called,
        "device_kind": facts.kind,
        "rule_id": rule.rule_id,
        "label": {"zh": rule.label.zh, "en": rule.label.en},
        "text": {"zh": alarm.explain_zh, "en": alarm.explain_en},
        "severity": alarm.severity.name.lower(),
        "audience": rule.audience.value,
        "condition_state": alarm.condition_state.value,
        "ack_state": alarm.ack_state.value,
        "suppression": alarm.suppression.value,
        "flapping": alarm.flapping,
        "unconfirmed": alarm.unconfirmed,
        "value": alarm.value,
        "limit": alarm.threshold,
        "unit": alarm.unit,
        "started_at": alarm.started_at,
        "component_code": facts.component_code,
        "grid_code": facts.grid_code,
        "lon": facts.lon,
        "lat": facts.lat,
        "version": alarm.version,
    }
