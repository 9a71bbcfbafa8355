"""The slow role that compares the gauges of a river and asks rising water where it comes from.

It follows the edges of kind ``hydrology`` in ``hub.topology_edge``. Each hour that is over, gauges
that follow one another are held against each other (:mod:`analytics.reach`); what differs for long
is a *proven* drift. Each pass it looks at the rises that are open: one that rain or a rise upstream
explains says so, one that nothing upstream explains is marked ``suspect``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final, NoReturn

import msgspec
import numpy as np
from psycopg import sql

from analytics import origin
from analytics.reach import Judged, Pairs, blame, new_pairs, step
from analytics.slow import count, is_holder, recall, remember, repeat, store_findings
from core.batch import Finding
from core.clock import Clock
from core.db import Connection, Pool, transaction
from core.model import Edge, Severity, Text, from_micros, to_micros
from core.rollups import Level, RollupTable, figure
from devices import KINDS
from devices.rules import find_rule
from devices.water_level import WaterLevel

ROLE: Final = "rivers"
_VERSION: Final = 1
_LOCK: Final = 1129270358
_HOUR: Final = timedelta(hours=1)
_SETTLES: Final = timedelta(minutes=15)  # after an hour, until its roll-up is believed
_MOST_HOURS: Final = 48  # judged in one pass
KIND: Final = KINDS["water_gauge"]
WATCH: Final = next(watch for watch in KIND.watches if isinstance(watch, WaterLevel))

SELECT_EDGES: Final = """
SELECT c.device_no, c.device_id, p.device_no, p.device_id, p.kind,
       coalesce(nullif(p.name, ''), p.device_id)
  FROM hub.topology_edge e
  JOIN hub.device c ON c.device_id = e.child
  JOIN hub.device p ON p.device_id = e.parent
 WHERE e.kind = 'hydrology' AND c.kind = 'water_gauge' AND c.state = 'active'
   AND p.state = 'active'
 ORDER BY c.device_no, p.device_no
"""
SELECT_HOUR: Final = sql.SQL("""
SELECT device_no, {avg}::float8 FROM {table} WHERE at = %(hour)s AND device_no = ANY(%(devices)s)
""")


class _Array(msgspec.Struct):
    shape: tuple[int, ...]
    dtype: str
    data: bytes


class Memory(msgspec.Struct):
    """What the role remembers.

    Attributes:
        hour: The last hour judged, microseconds; 0: none.
        pairs: Numbers of gauge and neighbour.
        arrays: Fields of :class:`analytics.reach.Pairs`, in the order of ``pairs``.
        drifts: When the open drift of each gauge was found.
        rises: What was said of the open rise of each gauge.
    """

    hour: int = 0
    pairs: list[tuple[int, int]] = []
    arrays: dict[str, _Array] = {}
    drifts: dict[int, int] = {}
    rises: dict[int, origin.Told] = {}


@dataclass(frozen=True, slots=True)
class River:
    """The edges of all rivers.

    Attributes:
        edges: Who follows from whom.
        names: What staff call each device, by number.
    """

    edges: list[origin.Upstream]
    names: dict[int, str]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Gauges that follow one another, each held against the other."""
        found = [(e.child, e.parent) for e in self.edges if e.kind == KIND.name]
        return sorted({*found, *((parent, child) for child, parent in found)})


async def run_rivers(*, pool: Pool, clock: Clock, every: float) -> NoReturn:
    """Watch the rivers for ever, ``every`` so many seconds."""
    await repeat("comparing gauges", lambda: compare(pool, clock), every)


async def compare(pool: Pool, clock: Clock) -> list[Finding] | None:
    """Make one pass.

    Returns:
        What was found, or None where another process is at it.
    """
    async with transaction(pool) as conn:
        if not await is_holder(conn, _LOCK):
            return None
        now = clock.micros()
        river = await _river(conn)
        memory = await recall(conn, ROLE, _VERSION, Memory, Memory())
        findings = await _judge_hours(conn, river, memory, now)
        findings += await origin.explain(conn, river.edges, river.names, memory.rises, now)
        await store_findings(conn, findings)
        await remember(conn, ROLE, _VERSION, memory, now)
    count(findings)
    return findings


async def _river(conn: Connection) -> River:
    rows = await (await conn.execute(SELECT_EDGES)).fetchall()
    edges = [origin.Upstream(row[0], row[2], row[4]) for row in rows]
    names = {row[0]: row[1] for row in rows} | {row[2]: row[5] for row in rows}
    return River(edges, names)


async def _judge_hours(conn: Connection, river: River, memory: Memory, now: int) -> list[Finding]:
    """Judge the hours that are over since the last one."""
    pairs = river.pairs
    begun = await _origin(conn)
    if not pairs or begun is None:
        return []
    state = _recalled(memory, pairs)
    last = Level.HOUR.floor(from_micros(now) - _SETTLES, begun) - _HOUR
    first = from_micros(memory.hour) + _HOUR if memory.hour else last
    first = max(first, last - _MOST_HOURS * _HOUR)
    query = SELECT_HOUR.format(
        avg=figure(WATCH.metric, "avg"), table=RollupTable(KIND.table, Level.HOUR).identifier
    )
    devices = sorted({device for pair in pairs for device in pair})
    findings: list[Finding] = []
    while first <= last:
        parameters = {"hour": first, "devices": devices}
        level = dict(await (await conn.execute(query, parameters)).fetchall())
        columns = [np.array([level.get(pair[side], np.nan) for pair in pairs]) for side in (0, 1)]
        judged = step(state, *columns)
        findings += _drifts(river, memory, judged, first + _HOUR, now)
        memory.hour = to_micros(first)
        first += _HOUR
    memory.pairs, memory.arrays = pairs, _kept(state)
    return findings


def _drifts(river: River, memory: Memory, judged: Judged, at: datetime, now: int) -> list[Finding]:
    """Open and clear the drifts of an hour."""
    pairs = river.pairs
    blamed = blame([(str(gauge), str(other)) for gauge, other in pairs], judged)
    findings = []
    for gauge, found in blamed.items():
        if int(gauge) not in memory.drifts:
            memory.drifts[int(gauge)] = to_micros(at)
            words = _words(river, judged, pairs, found.place, certain=found.certain)
            findings.append(
                _finding(river, memory, judged, found.place, edge=Edge.OPEN, words=words, now=now)
            )
    for gauge_no in list(memory.drifts):
        places = [n for n, pair in enumerate(pairs) if pair[0] == gauge_no]
        over = all(abs(judged.median[n]) < judged.threshold[n] / 2 for n in places)
        if over and places:
            words = Text("与相邻站恢复一致", "agrees with its neighbours again")
            findings.append(
                _finding(river, memory, judged, places[0], edge=Edge.CLEAR, words=words, now=now)
            )
        if over:
            del memory.drifts[gauge_no]
    return findings


def _words(
    river: River, judged: Judged, pairs: Sequence[tuple[int, int]], place: int, *, certain: bool
) -> Text:
    median, name = float(judged.median[place]), river.names[pairs[place][1]]
    zh, en = ("偏高", "above") if median > 0 else ("偏低", "below")
    doubt = Text("", "") if certain else Text("；二者之一漂移", "; one of the two drifts")
    return Text(
        f"与相邻站 {name} 的关系相比{zh} {abs(median):.2f} m，已持续 24 小时{doubt.zh}",
        f"{abs(median):.2f} m {en} what its neighbour {name} tells, over 24 h{doubt.en}",
    )


def _finding(
    river: River,
    memory: Memory,
    judged: Judged,
    place: int,
    *,
    edge: Edge,
    words: Text,
    now: int,
) -> Finding:
    gauge, other = river.pairs[place]
    median, threshold = float(judged.median[place]), float(judged.threshold[place])
    expected = float(judged.expected[place])
    rule = find_rule(KIND.name, WATCH.drift_rule)
    return Finding(
        device_no=gauge,
        rule_id=WATCH.drift_rule,
        detector=ROLE,
        kind="drift",
        edge=edge,
        ts=now,
        first_ts=memory.drifts[gauge],
        received_at=now,
        severity=rule.severity if rule else Severity.BLUE,
        explain=words,
        metric=WATCH.metric,
        value=round(expected + median, 3),
        expected=round(expected, 3),
        limit=round(threshold, 3),
        unit="m",
        score=round(abs(median) / threshold, 3),
        rule_version=_VERSION,
        detail={
            "lo": round(expected - threshold, 3),
            "hi": round(expected + threshold, 3),
            "feature": "neighbour_regression",
            "coefficient": round(float(judged.coefficient[place]), 3),
            "neighbour": river.names[other],
            "neighbour_count": sum(pair[0] == gauge for pair in river.pairs),
            "source": "ours",
        },
    )


async def _origin(conn: Connection) -> datetime | None:
    query = "SELECT origin FROM hub.rollup_kind WHERE kind = %s"
    row: Any = await (await conn.execute(query, [KIND.name])).fetchone()
    return row[0] if row else None


def _recalled(memory: Memory, pairs: list[tuple[int, int]]) -> Pairs:
    """Return what is remembered of these pairs; of new ones nothing."""
    state = new_pairs(len(pairs))
    place_of = {pair: place for place, pair in enumerate(memory.pairs)}
    known = [(n, place_of[pair]) for n, pair in enumerate(pairs) if pair in place_of]
    if known:
        to, start = (list(side) for side in zip(*known, strict=True))
        for name, kept in memory.arrays.items():
            array = np.frombuffer(kept.data, kept.dtype).reshape(kept.shape)
            getattr(state, name)[to] = array[start]
    return state


def _kept(state: Pairs) -> dict[str, _Array]:
    arrays = {field.name: getattr(state, field.name) for field in fields(Pairs)}
    return {
        name: _Array(array.shape, array.dtype.str, array.tobytes())
        for name, array in arrays.items()
    }
