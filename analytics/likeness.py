"""The slow role that compares devices with their neighbours on a circuit or in a grid cell.

Once a minute it looks at the newest reading of each device of a kind with a
:class:`devices.kind.Neighbours` watch. What a device usually measures at this hour comes from the
hourly roll-ups of the week before, of hours in which it measured about the same throughout: the
hour of dusk says nothing of a lamp. What is far off must last ten minutes, and is over when it has
not been so for ten.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NoReturn

import msgspec
import numpy as np
from psycopg import sql

from analytics.neighbours import FAR, LEAST_MEMBERS, Members, Verdict, judge
from analytics.slow import count, is_holder, recall, remember, repeat, store_findings
from analytics.stages.explain import quantity, quantity_en
from core.batch import Finding
from core.clock import Clock
from core.db import Connection, Pool, transaction
from core.model import Edge, Severity, Text, from_micros
from core.rollups import Level, RollupTable, figure
from devices import KINDS
from devices.kind import DeviceKind
from devices.neighbours import Neighbours
from devices.rules import find_rule

ROLE: Final = "likeness"
_VERSION: Final = 1
_LOCK: Final = 1129270357
_DAYS: Final = 7
_LEAST_DAYS: Final = 3
_STEADY: Final = 0.3  # of an hour's mean: what it may range over and still be one state
_SPREAD: Final = 0.05  # of its usual value: no device is quieter
_FRESH_INTERVALS: Final = 2
_LASTS_US: Final = 600_000_000
_GROUP_LASTS_US: Final = 120_000_000  # a circuit is told before its lamps one by one
_MAD: Final = 1.4826

SELECT_NOW: Final = sql.SQL("""
SELECT d.device_no, d.device_id, {group}, l.ts, l.{metric}::float8
  FROM hub.device d JOIN {latest} l USING (device_no)
 WHERE d.state = 'active' AND d.kind = %(kind)s AND l.ts > %(since)s AND l.ts <= %(now)s
   AND l.{metric} IS NOT NULL AND l.quality & 18 = 0
 ORDER BY d.device_no
""")
SELECT_USUAL: Final = sql.SQL("""
SELECT device_no, {avg}::float8, {least}::float8, {most}::float8 FROM {table}
 WHERE at = ANY(%(hours)s) AND device_no = ANY(%(devices)s) AND {avg} IS NOT NULL
 ORDER BY device_no
""")
SELECT_CARRIERS: Final = "SELECT device_id, device_no FROM hub.device WHERE kind = 'feeder'"


class _Case(msgspec.Struct):
    """Something far off: since when, when it was so last, whether it was told."""

    first: int
    last: int
    told: bool = False
    rule_id: str = ""


class Memory(msgspec.Struct):
    """What is under way, by ``kind metric device_no``; numbers of groups count as devices."""

    cases: dict[str, _Case] = {}


@dataclass(frozen=True, slots=True)
class _Stray:
    """A device or group found far off now."""

    device_no: int
    rule_id: str
    kind: str
    severity: Severity
    value: float
    expected: float
    explain: Text
    detail: Mapping[str, Any]
    score: float
    lasts_us: int = _LASTS_US


async def run_likeness(*, pool: Pool, clock: Clock, every: float) -> NoReturn:
    """Compare for ever, ``every`` so many seconds."""
    await repeat("comparing neighbours", lambda: compare_all(pool, clock), every)


async def compare_all(pool: Pool, clock: Clock) -> list[Finding] | None:
    """Make one pass.

    Returns:
        What was found, or None where another process is at it.
    """
    async with transaction(pool) as conn:
        if not await is_holder(conn, _LOCK):
            return None
        now = clock.micros()
        memory = await recall(conn, ROLE, _VERSION, Memory, Memory())
        findings: list[Finding] = []
        for kind in KINDS.values():
            for watch in kind.watches:
                if isinstance(watch, Neighbours):
                    strays = await _strays(conn, kind, watch, now)
                    findings += _follow(memory, kind, watch, strays, now)
        await store_findings(conn, findings)
        await remember(conn, ROLE, _VERSION, memory, now)
    count(findings)
    return findings


async def _strays(conn: Connection, kind: DeviceKind, watch: Neighbours, now: int) -> list[_Stray]:
    interval_s = max(kind.interval_s, kind.idle_interval_s or 0)
    query = SELECT_NOW.format(
        group=sql.Identifier("d", watch.group),
        metric=sql.Identifier(watch.metric),
        latest=sql.Identifier("hub", f"latest_{kind.name}"),
    )
    since = now - round(_FRESH_INTERVALS * interval_s * 1e6)
    parameters = {"kind": kind.name, "since": from_micros(since), "now": from_micros(now)}
    rows = await (await conn.execute(query, parameters)).fetchall()
    if len(rows) < LEAST_MEMBERS:
        return []
    device_nos = [row[0] for row in rows]
    usual = await _usual(conn, kind, watch, device_nos, from_micros(now))
    names = sorted({row[2] for row in rows if row[2]})
    number = {name: n for n, name in enumerate(names)}
    nothing = (math.nan, math.nan)
    members = Members(
        np.array(device_nos, np.int64),
        np.array([number.get(row[2], -1) for row in rows], np.int64),
        np.array([row[4] for row in rows], np.float64),
        np.array([usual.get(no, nothing)[0] for no in device_nos]),
        np.array([usual.get(no, nothing)[1] for no in device_nos]),
    )
    verdict = judge(members, watch.least)
    carriers = dict(await (await conn.execute(SELECT_CARRIERS)).fetchall())
    return [
        *_alone(kind, watch, members, verdict),
        *_groups(
            kind, watch, members, verdict, {n: carriers.get(name) for name, n in number.items()}
        ),
    ]


async def _usual(
    conn: Connection, kind: DeviceKind, watch: Neighbours, device_nos: list[int], now: datetime
) -> dict[int, tuple[float, float]]:
    """Return the usual value at this hour and its standard deviation, by device."""
    row = await (
        await conn.execute("SELECT origin FROM hub.rollup_kind WHERE kind = %s", [kind.name])
    ).fetchone()
    if row is None:
        return {}
    hour = Level.HOUR.floor(now, row[0])
    query = SELECT_USUAL.format(
        avg=figure(watch.metric, "avg"),
        least=figure(watch.metric, "min"),
        most=figure(watch.metric, "max"),
        table=RollupTable(kind.table, Level.HOUR).identifier,
    )
    hours = [hour - timedelta(days=day) for day in range(1, _DAYS + 1)]
    known: dict[int, list[float]] = {}
    parameters = {"hours": hours, "devices": device_nos}
    for device_no, mean, least, most in await (await conn.execute(query, parameters)).fetchall():
        if most - least <= max(_STEADY * abs(mean), watch.least / 2):
            known.setdefault(device_no, []).append(mean)
    return {no: _middle(means, watch) for no, means in known.items() if len(means) >= _LEAST_DAYS}


def _middle(means: list[float], watch: Neighbours) -> tuple[float, float]:
    values = np.array(means)
    median = float(np.median(values))
    spread = _MAD * float(np.median(np.abs(values - median)))
    return median, max(spread, _SPREAD * abs(median), watch.least / FAR)


def _alone(
    kind: DeviceKind, watch: Neighbours, members: Members, verdict: Verdict
) -> Iterable[_Stray]:
    metric = kind.metric(watch.metric)
    rule = find_rule(kind.name, watch.rule_id)
    for n in np.flatnonzero(verdict.alone):
        value, usual = float(members.value[n]), float(members.usual[n])
        median, number = float(verdict.median[n]), int(verdict.count[n])
        yield _Stray(
            int(members.device_no[n]),
            watch.rule_id,
            "low" if verdict.own[n] < 0 else "high",
            rule.severity if rule else Severity.BLUE,
            value,
            usual,
            Text(
                f"{metric.label.zh} {quantity(value, metric)}，平时此时为"
                f" {quantity(usual, metric)}，同组 {number} 台中位数为 {quantity(median, metric)}",
                f"{metric.label.en} {quantity_en(value, metric)}; usual at this hour"
                f" {quantity_en(usual, metric)}, and the median of its {number} neighbours is"
                f" {quantity_en(median, metric)}",
            ),
            {
                "feature": watch.metric,
                "z": float(verdict.own[n]),
                "lo": usual - FAR * float(members.spread[n]),
                "hi": usual + FAR * float(members.spread[n]),
                "neighbour_median": median,
                "neighbour_count": number,
                "neighbour_z": float(verdict.z[n]),
            },
            abs(float(verdict.z[n])),
        )


def _groups(
    kind: DeviceKind,
    watch: Neighbours,
    members: Members,
    verdict: Verdict,
    carriers: Mapping[int, int | None],
) -> Iterable[_Stray]:
    """Yield groups that are astray as a whole, on the row of their feeder."""
    metric = kind.metric(watch.metric)
    for side, groups, rule_id in (
        ("low", verdict.low, watch.low_rule),
        ("high", verdict.high, watch.high_rule),
    ):
        for group in groups.tolist():
            device_no, inside = carriers[group], members.group == group
            rule = find_rule("feeder", rule_id)
            if device_no is None or rule is None:
                continue
            median = float(np.median(members.value[inside]))
            usual = float(np.nanmedian(members.usual[inside]))
            number = int(inside.sum())
            yield _Stray(
                device_no,
                rule_id,
                side,
                rule.severity,
                median,
                usual,
                Text(
                    f"回路 {number} 盏灯整体异常：{metric.label.zh}中位数"
                    f" {quantity(median, metric)}，平时此时为 {quantity(usual, metric)}",
                    f"all {number} lamps of this feeder at once: median {metric.label.en}"
                    f" {quantity_en(median, metric)}, usual at this hour"
                    f" {quantity_en(usual, metric)}",
                ),
                {"feature": watch.metric, "neighbour_count": number},
                math.nan,
                _GROUP_LASTS_US,
            )


def _follow(
    memory: Memory, kind: DeviceKind, watch: Neighbours, strays: Iterable[_Stray], now: int
) -> list[Finding]:
    """Open what lasts, clear what is over."""
    found: list[Finding] = []
    prefix = f"{kind.name} {watch.metric} "
    for stray in strays:
        case = memory.cases.setdefault(
            f"{prefix}{stray.device_no} {stray.rule_id}", _Case(now, now, rule_id=stray.rule_id)
        )
        case.last = now
        if not case.told and now - case.first >= stray.lasts_us:
            case.told = True
            found.append(_opening(kind, watch, stray, case, now))
    for key, case in list(memory.cases.items()):
        if key.startswith(prefix) and case.last != now and now - case.last >= _LASTS_US:
            del memory.cases[key]
            if case.told:
                found.append(_ending(watch, int(key.split()[2]), case, now))
    return found


def _opening(kind: DeviceKind, watch: Neighbours, stray: _Stray, case: _Case, now: int) -> Finding:
    return Finding(
        device_no=stray.device_no,
        rule_id=stray.rule_id,
        detector="neighbours",
        kind=stray.kind,
        edge=Edge.OPEN,
        ts=now,
        first_ts=case.first,
        received_at=now,
        severity=stray.severity,
        explain=stray.explain,
        metric=watch.metric,
        value=stray.value,
        expected=stray.expected,
        limit=FAR,
        unit=kind.metric(watch.metric).unit,
        score=stray.score,
        detail=dict(stray.detail),
    )


def _ending(watch: Neighbours, device_no: int, case: _Case, now: int) -> Finding:
    return Finding(
        device_no=device_no,
        rule_id=case.rule_id,
        detector="neighbours",
        kind="like",
        edge=Edge.CLEAR,
        ts=now,
        first_ts=case.first,
        received_at=now,
        severity=Severity.BLUE,
        explain=Text("已与平时及同组一致", "as usual and like its neighbours again"),
        metric=watch.metric,
    )
