"""Where rising water comes from (来水): rain and rises upstream, in the words of the alarm.

A rise that rain or another gauge upstream explains says so. One that nothing explains although
there are stations upstream, all of them heard, is suspect after a quarter of an hour: a sensor, or
water that came from elsewhere.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from core.batch import Finding
from core.db import Connection
from core.model import Edge, Severity, Text, from_micros, to_micros
from devices import KINDS
from devices.rules import find_rule
from devices.water_level import WaterLevel

_KIND: Final = KINDS["water_gauge"]
_RULE: Final = next(w for w in _KIND.watches if isinstance(w, WaterLevel)).rise_rule
_BEFORE_US: Final = 6 * 3_600_000_000
"""So long before a rise its cause may lie: the window of hydrology in the cause tree."""
_LOOK_BACK_US: Final = 12 * 3_600_000_000
_WAIT_US: Final = 900_000_000
_RAIN_MM: Final = 2.0
_RISE_M: Final = 0.1
_STEPS: Final = 3  # upstream, at most

SELECT_RISES: Final = """
SELECT DISTINCT ON (device_no) device_no, edge, ts, first_ts, value, expected FROM hub.finding
 WHERE received_at > %(since)s AND rule_id = %(rule)s AND kind = 'rise' AND device_no = ANY(%(of)s)
   AND NOT flags && '{suspect,explained}'
 ORDER BY device_no, finding_id DESC
"""
SELECT_RAIN: Final = """
SELECT device_no, greatest(coalesce(sum(rain), 0), coalesce(max(rain_tot) - min(rain_tot), 0))
  FROM hub.reading_rain_gauge
 WHERE device_no = ANY(%(of)s) AND ts > %(since)s AND ts <= %(now)s
 GROUP BY device_no
"""
SELECT_LEVELS: Final = """
SELECT device_no, (array_agg(level ORDER BY ts DESC))[1] - min(level) FROM hub.reading_water_gauge
 WHERE device_no = ANY(%(of)s) AND ts > %(since)s AND ts <= %(now)s AND level IS NOT NULL
   AND quality & 16 = 0
 GROUP BY device_no
"""


@dataclass(frozen=True, slots=True)
class Upstream:
    """One edge: the child's water comes from the parent, a device of this kind."""

    child: int
    parent: int
    kind: str


class Told(msgspec.Struct):
    """What was said of an open rise: since when it lasts, ``explained`` or ``suspect``."""

    first_ts: int
    word: str


async def explain(
    conn: Connection,
    edges: Sequence[Upstream],
    names: Mapping[int, str],
    told: dict[int, Told],
    now: int,
) -> list[Finding]:
    """Say of each open rise where its water comes from, once.

    Args:
        conn: The database.
        edges: Of the rivers.
        names: What staff call each device.
        told: What was said before; changed in place.
        now: The hub's time, microseconds.
    """
    gauges = sorted({edge.child for edge in edges})
    parameters = {"since": from_micros(now - _LOOK_BACK_US), "rule": _RULE, "of": gauges}
    rows = await (await conn.execute(SELECT_RISES, parameters)).fetchall()
    rising = {row[0]: row for row in rows if row[1] != Edge.CLEAR.value}
    for gauge in told.keys() - rising.keys():
        del told[gauge]
    found = []
    for gauge, (_, _, ts, first_ts, value, expected) in rising.items():
        begun = to_micros(first_ts)
        # a microsecond later: the stage's own finding of that row has its place in the table
        rise = _Rise(gauge, to_micros(ts) + 1, begun, value, expected)
        before = told.get(gauge)
        if before and before.first_ts == begun and before.word == "explained":
            continue
        causes, heard = await _causes(conn, _above(edges, gauge), begun - _BEFORE_US, now)
        if causes:
            word, text = "explained", _because(causes, names)
        elif heard and now - begun >= _WAIT_US:
            word, text = "suspect", _NOTHING
        else:
            continue
        if before and before.first_ts == begun and before.word == word:
            continue
        told[gauge] = Told(begun, word)
        detail = {"upstream": {names[no]: round(size, 2) for no, _, size in causes}}
        found.append(_finding(rise, word, text, now, detail))
    return found


def _above(edges: Sequence[Upstream], gauge: int) -> list[Upstream]:
    """Return the edges upstream of a gauge, the nearest first."""
    found: list[Upstream] = []
    level = {gauge}
    for _ in range(_STEPS):
        here = [edge for edge in edges if edge.child in level and edge not in found]
        found += here
        level = {edge.parent for edge in here}
    return found


async def _causes(
    conn: Connection, above: Sequence[Upstream], since: int, now: int
) -> tuple[list[tuple[int, str, float]], bool]:
    """Return what rained or rose upstream, and whether all that stands there was heard."""
    found, heard = [], True
    for kind, query, least in (
        ("rain_gauge", SELECT_RAIN, _RAIN_MM),
        ("water_gauge", SELECT_LEVELS, _RISE_M),
    ):
        stations = list(dict.fromkeys(edge.parent for edge in above if edge.kind == kind))
        if not stations:
            continue
        parameters = {"of": stations, "since": from_micros(since), "now": from_micros(now)}
        sizes = dict(await (await conn.execute(query, parameters)).fetchall())
        heard &= len(sizes) == len(stations)
        found += [(no, kind, float(sizes[no])) for no in stations if sizes.get(no, 0) >= least]
    return found, heard and bool(above)


def _because(causes: Sequence[tuple[int, str, float]], names: Mapping[int, str]) -> Text:
    zh = "、".join(
        f"{names[no]} 降雨 {size:.1f} mm"
        if kind == "rain_gauge"
        else f"{names[no]} 上涨 {size:.2f} m"
        for no, kind, size in causes
    )
    en = ", ".join(
        f"{size:.1f} mm of rain at {names[no]}"
        if kind == "rain_gauge"
        else f"{names[no]} up {size:.2f} m"
        for no, kind, size in causes
    )
    return Text(f"上涨来自上游：{zh}", f"the rise comes from upstream: {en}")


_NOTHING: Final = Text(
    "上游雨量站和水位站均无相应变化，上涨存疑（传感器异常或区间来水）",
    "no rain and no rise upstream: the rise is suspect (the sensor, or water from elsewhere)",
)


@dataclass(frozen=True, slots=True)
class _Rise:
    """An open rise, by the last finding of it."""

    gauge: int
    ts: int
    first_ts: int
    value: float | None
    expected: float | None


def _finding(rise: _Rise, word: str, text: Text, now: int, detail: Mapping[str, object]) -> Finding:
    """Return an update of the rise; it speaks for the stage, which alone ends the alarm."""
    rule = find_rule(_KIND.name, _RULE)
    value, expected = (math.nan if x is None else x for x in (rise.value, rise.expected))
    return Finding(
        device_no=rise.gauge,
        rule_id=_RULE,
        detector="gauge",
        kind="rise",
        edge=Edge.UPDATE,
        ts=rise.ts,
        first_ts=rise.first_ts,
        received_at=now,
        severity=rule.severity if rule else Severity.ORANGE,
        explain=text,
        metric="level",
        value=value,
        expected=expected,
        unit="m",
        flags=(word,),
        detail=dict(detail),
    )
