"""The slow role that watches vehicles within their shifts: brush and spray, place, long stops.

Once a minute it steps the readings that came since, of vehicles with a shift now. A vehicle on one
of its segments at sweeping speed with brush and spray off for five minutes runs dry; one more than
a kilometre from all of them for ten is off its route; one that stands for half an hour with its
ignition on stands long. A hole in the positions ends every count: nobody knows what happened in it.
The numbers are ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NoReturn
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from psycopg import sql

from analytics.coverage import Places, cut
from analytics.shifts import Shift, load_paths, load_plans
from analytics.slow import count, is_holder, recall, remember, repeat, store_findings
from analytics.stages.explain import duration
from analytics.track import HOLE_US, LEAST_SATELLITES, Plane
from core.batch import Finding
from core.clock import Clock
from core.db import Connection, Pool, transaction
from core.model import Edge, Quality, Severity, Text, from_micros, to_micros
from devices import KINDS
from devices.kind import DeviceKind
from devices.rounds import Rounds
from devices.rules import find_rule

ROLE: Final = "patrol"
_VERSION: Final = 1
_LOCK: Final = 1129270361
_MOST_BACK: Final = timedelta(minutes=10)
_ON_PLAN_M: Final = 25.0
_OFF_PLAN_M: Final = 1000.0
_SWEEPING_KMH: Final = (2.0, 20.0)
_STANDING_KMH: Final = 1.0
_MINUTE_US: Final = 60_000_000
_BAD: Final = int(Quality.NO_FIX | Quality.OUT_OF_RANGE | Quality.CLOCK_SUSPECT | Quality.LATE)

SELECT_ROWS: Final = sql.SQL("""
SELECT device_no, ts, lon, lat, coalesce(speed, 0),
       coalesce(brush, 0) >= 0.5 OR coalesce(spray, 0) >= 0.5, coalesce(acc, 1) >= 0.5
  FROM {table}
 WHERE device_no = ANY(%(devices)s) AND ts > %(since)s AND ts <= %(now)s
   AND lon IS NOT NULL AND lat IS NOT NULL AND quality & {bad} = 0
   AND (sats IS NULL OR sats >= {least})
 ORDER BY device_no, ts
""")


class Habit(msgspec.Struct):
    """Something a vehicle does: since when, and whether it was told; 0: it does not."""

    since: int = 0
    told: bool = False


class Driver(msgspec.Struct):
    """What is under way of one vehicle: its kind, the last position, and its three habits."""

    kind: str
    last: int = 0
    dry: Habit = msgspec.field(default_factory=Habit)
    off: Habit = msgspec.field(default_factory=Habit)
    stop: Habit = msgspec.field(default_factory=Habit)


class Memory(msgspec.Struct):
    """Up to when readings were looked at, microseconds, and the vehicles by number."""

    until: int = 0
    drivers: dict[int, Driver] = {}


@dataclass(frozen=True, slots=True)
class Fix:
    """One position within a shift."""

    ts: int
    away_m: float
    speed: float
    working: bool
    awake: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """A habit that is told, or over: which, and since when."""

    habit: str
    since: int
    ts: int
    opens: bool


HOLDS: Final[Mapping[str, int]] = {"dry": 5, "off": 10, "stop": 30}
"""Minutes a habit lasts before it is told."""


def step(driver: Driver, fix: Fix) -> list[Turn]:
    """Take one position of a vehicle; return what is told or over."""
    if driver.last and fix.ts - driver.last > HOLE_US:
        for name in HOLDS:
            known = getattr(driver, name)
            known.since = known.since if known.told else 0
    driver.last = fix.ts
    slow, fast = _SWEEPING_KMH
    standing = fix.awake and fix.speed < _STANDING_KMH
    doing = {
        "dry": fix.away_m <= _ON_PLAN_M and slow <= fix.speed <= fast and not fix.working,
        "off": fix.away_m > _OFF_PLAN_M,
        "stop": standing,
    }
    over = {
        "dry": fix.working or fix.away_m > 2 * _ON_PLAN_M,
        "off": not doing["off"],
        "stop": not standing,
    }
    found = []
    for name, minutes in HOLDS.items():
        habit: Habit = getattr(driver, name)
        if doing[name] and not habit.since:
            habit.since = fix.ts
        elif over[name] and habit.since:
            if habit.told:
                found.append(Turn(name, habit.since, fix.ts, opens=False))
            habit.since, habit.told = 0, False
        if doing[name] and not habit.told and fix.ts - habit.since >= minutes * _MINUTE_US:
            habit.told = True
            found.append(Turn(name, habit.since, fix.ts, opens=True))
    return found


async def run_patrol(*, pool: Pool, clock: Clock, zone: ZoneInfo, every: float) -> NoReturn:
    """Watch for ever, ``every`` so many seconds."""
    await repeat("watching vehicles", lambda: patrol(pool, clock, zone), every)


async def patrol(pool: Pool, clock: Clock, zone: ZoneInfo) -> list[Finding] | None:
    """Make one pass.

    Returns:
        What was found, or None where another process is at it.
    """
    async with transaction(pool) as conn:
        if not await is_holder(conn, _LOCK):
            return None
        now = clock.now()
        memory = await recall(conn, ROLE, _VERSION, Memory, Memory())
        shifts = await _current(conn, now, zone)
        findings = _leave(memory, shifts, now)
        for kind in KINDS.values():
            theirs = {no: shift for no, shift in shifts.items() if shift.plan.kind == kind.name}
            if theirs and _watch_of(kind.name) is not None:
                findings += await _look(conn, kind, memory, theirs, now)
        memory.until = to_micros(now)
        await store_findings(conn, findings)
        await remember(conn, ROLE, _VERSION, memory, to_micros(now))
    count(findings)
    return findings


async def _current(conn: Connection, now: datetime, zone: ZoneInfo) -> dict[int, Shift]:
    """Return the shift of each vehicle that has one now."""
    today = now.astimezone(zone).date()
    found: dict[int, Shift] = {}
    for plan in await load_plans(conn, now):
        for back in range(2):
            times = plan.shift(today - timedelta(days=back), zone)
            if plan.work != "presence" and times and times[0] <= now < times[1]:
                found[plan.device_no] = Shift(plan, *times)
    return found


def _leave(memory: Memory, shifts: Mapping[int, Shift], now: datetime) -> list[Finding]:
    """Forget vehicles whose shift is over; what was told of them is over too."""
    found = []
    for device_no in memory.drivers.keys() - shifts.keys():
        driver = memory.drivers.pop(device_no)
        for name in HOLDS:
            habit: Habit = getattr(driver, name)
            if habit.told:
                turn = Turn(name, habit.since, to_micros(now), opens=False)
                found.append(_finding(driver.kind, device_no, turn))
    return found


async def _look(
    conn: Connection, kind: DeviceKind, memory: Memory, shifts: Mapping[int, Shift], now: datetime
) -> list[Finding]:
    """Step what the vehicles of one kind sent since the last pass."""
    paths, _ = await load_paths(conn, (c for s in shifts.values() for c in s.plan.segments))
    since = max(from_micros(memory.until), now - _MOST_BACK)
    query = SELECT_ROWS.format(
        table=kind.table.identifier, bad=sql.Literal(_BAD), least=sql.Literal(LEAST_SATELLITES)
    )
    parameters = {"devices": sorted(shifts), "since": since, "now": now}
    rows: dict[int, list[Sequence[Any]]] = {}
    for device_no, *row in await (await conn.execute(query, parameters)).fetchall():
        rows.setdefault(device_no, []).append(row)
    found = []
    for device_no, theirs in rows.items():
        shift = shifts[device_no]
        plan = {code: paths[code] for code in shift.plan.segments if code in paths}
        if not plan:
            continue
        first = next(iter(plan.values()))[0]
        plane = Plane(first[0], first[1])
        away = _away(cut(plan, plane), plane, theirs)
        driver = memory.drivers.setdefault(device_no, Driver(kind.name))
        for row, distance in zip(theirs, away, strict=True):
            if shift.begin <= row[0]:
                fix = Fix(to_micros(row[0]), distance, row[3], row[4], row[5])
                found += [_finding(kind.name, device_no, turn) for turn in step(driver, fix)]
    return found


def _away(places: Places, plane: Plane, rows: Sequence[Sequence[Any]]) -> list[float]:
    """Return how far each position is from the nearest planned place, in metres."""
    x, y = plane.metres(
        np.array([row[1] for row in rows], np.float64),
        np.array([row[2] for row in rows], np.float64),
    )
    off = np.hypot(places.x[:, None] - x[None, :], places.y[:, None] - y[None, :])
    nearest: list[float] = off.min(axis=0).tolist()
    return nearest


def _watch_of(kind: str) -> Rounds | None:
    known = KINDS.get(kind)
    watches = known.watches if known else ()
    return next((watch for watch in watches if isinstance(watch, Rounds)), None)


_WORDS: Final = {
    "dry": Text(
        "在计划路段行驶而扫刷、喷水均未开启", "on a planned segment with brush and spray off"
    ),
    "off": Text("距计划路段超过 1 km", "more than 1 km from its planned segments"),
    "stop": Text("班次内停车未熄火", "stands with its ignition on within its shift"),
}


def _finding(kind: str, device_no: int, turn: Turn) -> Finding:
    watch = _watch_of(kind)
    rules = {} if watch is None else _rules(watch)
    rule_id = rules.get(turn.habit, turn.habit)
    rule = find_rule(kind, rule_id)
    lasted = (turn.ts - turn.since) / 1e6
    words, (zh, en) = _WORDS[turn.habit], duration(lasted)
    explain = Text(f"{words.zh}，已持续 {zh}", f"{words.en}, for {en}")
    if not turn.opens:
        explain = Text(f"已结束：{words.zh}", f"over: {words.en}")
    return Finding(
        device_no=device_no,
        rule_id=rule_id,
        detector=ROLE,
        kind=turn.habit,
        edge=Edge.OPEN if turn.opens else Edge.CLEAR,
        ts=turn.ts,
        first_ts=turn.since,
        received_at=turn.ts,
        severity=rule.severity if rule else Severity.BLUE,
        explain=explain,
        value=lasted,
        limit=HOLDS[turn.habit] * 60.0,
        unit="s",
        detail={"feature": turn.habit},
    )


def _rules(watch: Rounds) -> Mapping[str, str]:
    return {"dry": watch.dry_rule, "off": watch.off_rule, "stop": watch.stop_rule}
