"""The sweep for silent devices: a slow role that looks at ``device_seen`` and writes findings.

Who has been announced stands in the database, in the transaction of the findings, so a restart
announces nothing twice. One sweep runs at a time, held by an advisory lock.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NoReturn

import msgspec
import numpy as np

from analytics.heartbeat import (
    CARRIERS,
    NOBODY,
    CarrierLost,
    Change,
    Fleet,
    Heard,
    Lost,
    Memory,
    judge,
)
from analytics.periods import Kept, Periods
from analytics.slow import count, recall, remember, store_findings
from analytics.stages.explain import duration
from core.batch import Finding
from core.clock import Clock
from core.db import Connection, Pool, transaction
from core.errors import StoreUnavailableError
from core.model import Edge, Severity, Text, from_micros, to_micros
from devices import KINDS
from devices.kind import DeviceKind
from devices.rules import find_rule

log = logging.getLogger(__name__)

_VERSION: Final = 1
_OUTAGE_US: Final = 60_000_000
"""Microseconds without a pass after which the hub counts as having been away, at the least."""
_MISSED: Final = 3
"""So many passes in a row must be missing for that; else a sweep made seldom would find nobody."""
_NAMED_CHILDREN: Final = 200
_PERIODS: Final = "periods"
_KEEP_US: Final = 600_000_000

TRY_LOCK: Final = "SELECT pg_try_advisory_xact_lock(1129270355)"
SELECT_FLEET: Final = """
SELECT d.device_no, d.device_id, d.kind, d.gateway, d.feeder, d.network, d.grid_code,
       d.interval_s, s.last_contact_at
  FROM hub.device d JOIN hub.device_seen s USING (device_no)
 WHERE d.state = 'active'
 ORDER BY d.device_no
"""
SELECT_CARRIERS: Final = "SELECT device_id, device_no FROM hub.device WHERE kind = ANY(%s)"
CELL_PREFIX: Final = "CELL-"
MAKE_CELL: Final = """
INSERT INTO hub.device (device_id, kind, name, grid_code, dept_code)
SELECT %(device_id)s, 'cell', coalesce(nullif(g.name, ''), g.grid_code), g.grid_code, g.dept_code
  FROM hub.grid_cell g WHERE g.grid_code = %(grid_code)s
ON CONFLICT (device_id) DO UPDATE SET state = 'active'
RETURNING device_no
"""
SELECT_MEMORY: Final = """
SELECT state FROM hub.detector_state
 WHERE source = 'silence' AND kind = '' AND stage = 'silence' AND version = %s
"""
STORE_MEMORY: Final = """
INSERT INTO hub.detector_state (source, kind, stage, version, state, taken_at)
VALUES ('silence', '', 'silence', %s, %s, %s)
ON CONFLICT (source, kind, stage) DO UPDATE
   SET version = excluded.version, state = excluded.state, taken_at = excluded.taken_at
"""


async def run_sweep(*, pool: Pool, clock: Clock, every: float, grace: float) -> NoReturn:
    """Sweep for ever.

    Args:
        pool: The database.
        clock: The hub's clock.
        every: Seconds between two passes.
        grace: Seconds after this start in which nobody is announced as silent.
    """
    judged_from = clock.micros() + round(grace * 1e6)
    away, learnt = False, None
    kept_at = clock.micros()
    while True:
        try:
            learnt = learnt or await _recall_periods(pool)
            told = await sweep(
                pool, clock, judged_from=judged_from, away=away, periods=learnt, every=every
            )
            if told is not None:
                away = False
                if clock.micros() - kept_at > _KEEP_US:
                    kept_at = clock.micros()
                    await _keep_periods(pool, learnt, kept_at)
        except StoreUnavailableError as error:
            away = True
            log.warning("no sweep for silent devices; trying again", extra={"reason": str(error)})
        await asyncio.sleep(every)


async def sweep(
    pool: Pool,
    clock: Clock,
    *,
    judged_from: int = 0,
    away: bool = False,
    periods: Periods | None = None,
    every: float = 0.0,
) -> list[Finding] | None:
    """Make one pass.

    Args:
        pool: The database.
        clock: The hub's clock.
        judged_from: Nobody is announced as silent before, microseconds.
        away: The hub could not store anything since the last pass: silence counts from now.
        periods: What was learnt of how often each device speaks, and goes on learning; None: only
            what registry and kinds declare.
        every: Seconds between two passes.

    Returns:
        What was found, or None where another sweep holds the lock.

    Raises:
        StoreUnavailableError: The database is not there.
    """
    async with transaction(pool) as conn:
        held = await (await conn.execute(TRY_LOCK)).fetchone()
        if held is None or not held[0]:
            return None
        now = clock.micros()
        memory = await _recall(conn, now)
        if away or now - memory.passed_at > max(_OUTAGE_US, _MISSED * every * 1e6):
            memory.available_since = now
        periods = Periods.empty() if periods is None else periods
        watched = await _watched(conn, periods)
        changes = judge(watched.fleet, memory, now, opening=now >= judged_from)
        changes = await _name_cells(conn, changes, watched, memory)
        findings = [_finding(change, watched, now) for change in changes]
        await store_findings(conn, findings)
        state = msgspec.msgpack.encode(memory)
        await conn.execute(STORE_MEMORY, [_VERSION, state, from_micros(now)])
    count(findings)
    return findings


@dataclass(frozen=True, slots=True)
class _Watched:
    """The fleet with its names; lists run beside the fleet's arrays.

    ``cells`` are the grid codes of cells that have no row in the registry, by their number.
    """

    fleet: Fleet
    device_id: list[str]
    kind: list[str]
    cells: dict[int, str]


async def _watched(conn: Connection, periods: Periods) -> _Watched:
    """Read the devices that can be silent: active, heard before, and not of a kind that sleeps."""
    carriers = dict(await (await conn.execute(SELECT_CARRIERS, [list(CARRIERS)])).fetchall())
    cells: dict[str, int] = {}

    def cell(grid_code: str | None, kind: DeviceKind) -> int:
        if not grid_code or kind.moves:
            return NOBODY
        there = carriers.get(CELL_PREFIX + grid_code)
        return cells.setdefault(grid_code, NOBODY - 1 - len(cells)) if there is None else there

    rows = []
    for row in await (await conn.execute(SELECT_FLEET)).fetchall():
        device_no, device_id, name, gateway, feeder, network, grid_code, own, contact = row
        kind = KINDS.get(name)
        if kind is not None and not kind.sleeps and find_rule(name, "offline"):
            interval = own or max(kind.interval_s, kind.idle_interval_s or 0)
            carried = (carriers.get(each, NOBODY) for each in (gateway, feeder, network))
            times = (interval * 1e6, to_micros(contact))
            rows.append((device_no, *carried, cell(grid_code, kind), *times, device_id, name))
    columns = list(zip(*rows, strict=True)) or [()] * 9
    device_no = np.array(columns[0], np.int32)
    contact = np.array(columns[6], np.int64)
    period, jitter = periods.follow(device_no, contact, np.array(columns[5], np.int64))
    fleet = Fleet(device_no, np.array(columns[1:5], np.int32), period, contact, jitter)
    numbers = {number: grid_code for grid_code, number in cells.items()}
    return _Watched(fleet, list(columns[7]), list(columns[8]), numbers)


async def _name_cells(
    conn: Connection, changes: Sequence[Change], watched: _Watched, memory: Memory
) -> list[Change]:
    """Give cells that are blamed for the first time a row in the registry."""
    named = list[Change]()
    for change in changes:
        if isinstance(change, CarrierLost) and change.device_no in watched.cells:
            grid_code = watched.cells[change.device_no]
            row = await (
                await conn.execute(
                    MAKE_CELL, {"device_id": CELL_PREFIX + grid_code, "grid_code": grid_code}
                )
            ).fetchone()
            if row is None:
                continue
            memory.carriers[row[0]] = memory.carriers.pop(change.device_no)
            named.append(replace(change, device_no=row[0]))
        else:
            named.append(change)
    return named


async def _recall(conn: Connection, now: int) -> Memory:
    """Return what was said before; without any, the hub has been listening from now on."""
    row = await (await conn.execute(SELECT_MEMORY, [_VERSION])).fetchone()
    if row is None:
        return Memory(passed_at=now, available_since=now)
    try:
        return msgspec.msgpack.decode(row[0], type=Memory)
    except msgspec.DecodeError as error:
        log.warning("the memory of silent devices is lost", extra={"reason": str(error)})
        return Memory(passed_at=now, available_since=now)


async def _recall_periods(pool: Pool) -> Periods:
    """Return how often each device speaks, as far as it was learnt."""
    async with transaction(pool) as conn:
        kept = await recall(conn, _PERIODS, _VERSION, Kept, Periods.empty().keep())
    try:
        return Periods.of(kept)
    except ValueError as error:
        log.warning("how often devices speak is learnt anew", extra={"reason": str(error)})
        return Periods.empty()


async def _keep_periods(pool: Pool, periods: Periods, now: int) -> None:
    async with transaction(pool) as conn:
        await remember(conn, _PERIODS, _VERSION, periods.keep(), now)


def _finding(change: Change, watched: _Watched, now: int) -> Finding:
    match change:
        case Lost():
            return _lost(change.place, watched, now)
        case CarrierLost():
            return _carrier_lost(change, watched, now)
        case Heard():
            return _heard(change, now)


def _lost(place: int, watched: _Watched, now: int) -> Finding:
    fleet = watched.fleet
    contact, interval = int(fleet.contact[place]), float(fleet.interval[place]) / 1e6
    quiet = (now - contact) / 1e6
    (zh, en), (every_zh, every_en) = duration(quiet), duration(interval)
    rule = find_rule(watched.kind[place], "offline")
    return Finding(
        device_no=int(fleet.device_no[place]),
        rule_id="offline",
        detector="silence",
        kind="lost",
        edge=Edge.OPEN,
        ts=now,
        first_ts=contact,
        received_at=now,
        severity=rule.severity if rule else Severity.BLUE,
        explain=Text(
            f"已 {zh}未收到任何消息（应至少每 {every_zh}一次）",
            f"nothing heard for {en}; expected at least every {every_en}",
        ),
        value=quiet,
        expected=interval,
        limit=float(fleet.allowed[place]) / 1e6,
        unit="s",
        detail={"feature": "silence", "lo": 0.0, "hi": float(fleet.allowed[place]) / 1e6},
    )


_TOGETHER: Final = {
    "gateway": Text(
        "网关下 {carried} 台设备中有 {count} 台同时失联",
        "{count} of the {carried} devices behind this gateway fell silent together",
    ),
    "network": Text(
        "该运营商网络的 {carried} 台设备中有 {count} 台同时失联，疑似网络中断",
        "{count} of the {carried} devices on this operator's network fell silent together",
    ),
    "cell": Text(
        "本网格 {carried} 台设备中有 {count} 台同时失联，疑似停电或基站中断",
        "{count} of the {carried} devices in this grid cell fell silent together",
    ),
    "feeder": Text(
        "回路上 {carried} 台设备中有 {count} 台同时失联，疑似失电",
        "{count} of the {carried} devices on this feeder fell silent together: power is likely out",
    ),
}


_CARRIER_RULES: Final = {
    "gateway": "gateway_offline",
    "feeder": "feeder_down",
    "network": "network_down",
    "cell": "cell_down",
}


def _carrier_rule(kind: str) -> tuple[str, Severity]:
    """Return the alarm rule of a silent gateway or feeder, and how grave it is."""
    rule = find_rule(kind, _CARRIER_RULES[kind])
    return (rule.rule_id, rule.severity) if rule else ("offline", Severity.BLUE)


def _carrier_lost(change: CarrierLost, watched: _Watched, now: int) -> Finding:
    rule_id, severity = _carrier_rule(change.kind)
    figures = {"carried": change.carried, "count": len(change.places)}
    words = _TOGETHER[change.kind]
    return Finding(
        device_no=change.device_no,
        rule_id=rule_id,
        detector="silence",
        kind="lost",
        edge=Edge.OPEN,
        ts=now,
        first_ts=change.first_ts,
        received_at=now,
        severity=severity,
        explain=Text(words.zh.format(**figures), words.en.format(**figures)),
        value=float(len(change.places)),
        expected=0.0,
        unit="{count}",
        detail={
            "feature": "silence_together",
            "neighbour_count": change.carried,
            "devices": [watched.device_id[place] for place in change.places[:_NAMED_CHILDREN]],
            "carried": change.carried,
        },
    )


def _heard(change: Heard, now: int) -> Finding:
    rule_id, severity = (
        _carrier_rule(change.carrier) if change.carrier else ("offline", Severity.BLUE)
    )
    return Finding(
        device_no=change.device_no,
        rule_id=rule_id,
        detector="silence",
        kind="lost",
        edge=Edge.CLEAR,
        ts=now,
        first_ts=change.first_ts,
        received_at=now,
        severity=severity,
        explain=Text("已恢复通信", "heard again")
        if change.watched
        else Text("已停用，不再监测", "out of service, no longer watched"),
        unit="s",
    )
