"""Plans of street cleaning as tables say them: shifts, segments, and where the planned were."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
from psycopg import sql

from analytics.track import LEAST_SATELLITES, Plane, Track, believable
from core.db import Connection
from core.model import Quality, to_micros
from devices.kind import DeviceKind

Paths = Mapping[str, Sequence[Sequence[float]]]
"""Points of longitude and latitude, by code of the segment."""

LOOK_BACK: Final = timedelta(hours=24)
_MARGIN_DEG: Final = 0.002  # some 200 m: a vehicle that helps is near
_BAD: Final = int(Quality.NO_FIX | Quality.OUT_OF_RANGE | Quality.CLOCK_SUSPECT)


SELECT_PLANS: Final = """
SELECT p.plan_code, p.work, p.segments, p.weekdays, p.begins, p.ends,
       greatest(p.valid_from, '1970-01-01'), least(p.valid_to, '9000-01-01'),
       d.device_no, d.device_id, d.kind
  FROM hub.work_plan p JOIN hub.device d USING (device_id)
 WHERE d.state = 'active' AND p.valid_to > %(since)s AND p.valid_from <= %(now)s
 ORDER BY p.plan_code
"""
SELECT_PATHS: Final = """
SELECT segment_code, name, path FROM hub.road_segment WHERE segment_code = ANY(%s)
"""
SELECT_TRACKS: Final = sql.SQL("""
SELECT d.device_id, r.ts, r.lon, r.lat, {working}, {awake}
  FROM {table} r JOIN hub.device d USING (device_no)
 WHERE r.ts >= %(begin)s AND r.ts <= %(end)s AND r.lon IS NOT NULL AND r.lat IS NOT NULL
   AND r.quality & {bad} = 0 AND {enough}
   AND (d.device_no = %(own)s OR ({others} AND r.lon BETWEEN %(west)s AND %(east)s
        AND r.lat BETWEEN %(south)s AND %(north)s))
 ORDER BY d.device_id, r.ts
""")


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan of the registry."""

    plan_code: str
    work: str
    segments: Sequence[str]
    weekdays: str
    begins: time
    ends: time
    valid_from: datetime
    valid_to: datetime
    device_no: int
    device_id: str
    kind: str

    def shift(self, day: date, zone: ZoneInfo) -> tuple[datetime, datetime] | None:
        """Return begin and end, UTC, of the shift that begins on a day, if there is one."""
        if str(day.isoweekday()) not in self.weekdays:
            return None
        begin = datetime.combine(day, self.begins, zone).astimezone(UTC)
        later = self.ends <= self.begins
        end = datetime.combine(day + timedelta(days=later), self.ends, zone).astimezone(UTC)
        return (begin, end) if self.valid_from <= begin < self.valid_to else None


@dataclass(frozen=True, slots=True)
class Shift:
    """One shift of a plan."""

    plan: Plan
    begin: datetime
    end: datetime


async def load_plans(conn: Connection, now: datetime) -> list[Plan]:
    """Return the plans of active devices that hold about now."""
    rows = await conn.execute(SELECT_PLANS, {"since": now - LOOK_BACK, "now": now})
    return [Plan(*row) for row in await rows.fetchall()]


async def load_paths(
    conn: Connection, codes: Iterable[str]
) -> tuple[dict[str, list[list[float]]], dict[str, str]]:
    """Return the paths of segments and what staff call them, in the order of their codes."""
    rows = await (await conn.execute(SELECT_PATHS, [sorted(set(codes))])).fetchall()
    known = {code: (name or code, path["coordinates"]) for code, name, path in sorted(rows)}
    return (
        {code: path for code, (_, path) in known.items()},
        {code: name for code, (name, _) in known.items()},
    )


async def load_tracks(
    conn: Connection,
    shift: Shift,
    kind: DeviceKind,
    paths: Paths,
    plane: Plane,
) -> dict[str, Track]:
    """Return the tracks of the planned device, and of others that worked near its segments."""
    points = np.array([point for path in paths.values() for point in path])
    have = {metric.name for metric in kind.metrics}
    tools = [
        sql.SQL("coalesce({}, 0) >= 0.5").format(sql.Identifier(name))
        for name in ("brush", "spray")
        if name in have
    ]
    helps = sql.SQL("({})").format(sql.SQL(" OR ").join(tools)) if tools else sql.SQL("false")
    awake = sql.SQL("coalesce(r.acc, 1) >= 0.5" if "acc" in have else "true")
    enough = sql.SQL("(r.sats IS NULL OR r.sats >= {})").format(sql.Literal(LEAST_SATELLITES))
    query = SELECT_TRACKS.format(
        table=kind.table.identifier,
        working=helps,
        others=helps,
        awake=awake,
        bad=sql.Literal(_BAD),
        enough=enough if "sats" in have else sql.SQL("true"),
    )
    west, south = (points.min(0) - _MARGIN_DEG).tolist()
    east, north = (points.max(0) + _MARGIN_DEG).tolist()
    parameters = {
        "begin": shift.begin,
        "end": shift.end,
        "own": shift.plan.device_no,
        "west": west,
        "east": east,
        "south": south,
        "north": north,
    }
    rows: dict[str, list[tuple[Any, ...]]] = {}
    for name, *row in await (await conn.execute(query, parameters)).fetchall():
        rows.setdefault(name, []).append(tuple(row))
    return {name: believable(make_track(each, plane)) for name, each in rows.items()}


def make_track(rows: Sequence[tuple[Any, ...]], plane: Plane) -> Track:
    """Return rows of time, longitude, latitude, working and awake as a track."""
    ts, lon, lat, working, awake = zip(*rows, strict=True)
    x, y = plane.metres(np.array(lon, np.float64), np.array(lat, np.float64))
    times = np.array([to_micros(at) for at in ts], np.int64)
    return Track(times, x, y, np.array(working, np.bool_), np.array(awake, np.bool_))
