"""Stored readings through the stages of service, once as the rules are and once as they might be.

Rows come by event time over a cursor of the server, a few thousand at a time, so the memory does
not grow with the span. Rows that came late or twice carry their bits and step nothing, as in
service; receive times are not kept, so a row counts as received when it was measured.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import psycopg
from psycopg import sql

from analytics.backtest.spells import Spell, Spells
from analytics.stages import build_stages
from core.batch import Batch, DeviceEvent, Finding, Stage
from core.model import to_micros
from devices.kind import DeviceKind
from devices.limits import LiveLimits
from devices.registry import Registry
from devices.rulebook import Rulebook

ROWS: Final = 5_000
"""Rows a batch."""

_READINGS: Final = sql.SQL("""
SELECT ts, coalesce(seq, -1), device_no, quality, {columns} FROM {table}
 WHERE ts >= %(start)s AND ts < %(end)s ORDER BY ts, device_no, seq
""")
_EVENTS: Final = """
SELECT e.ts, coalesce(e.seq, -1), e.device_no, e.name, e.active, e.detail, e.quality
  FROM hub.device_event AS e JOIN hub.device AS d USING (device_no)
 WHERE d.kind = %(kind)s AND e.ts >= %(start)s AND e.ts < %(end)s ORDER BY e.ts, e.seq
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one set of rules makes of a span.

    Attributes:
        spells: Spells that would have become alarms, by the time at which they opened.
        quiet: The others: too short for the rule's delay, or of a disabled rule.
        findings: How many findings there were in all.
    """

    spells: Sequence[Spell]
    quiet: Sequence[Spell]
    findings: int


@dataclass(frozen=True, slots=True)
class Span:
    """What is asked.

    Attributes:
        kind: Of which devices.
        start: From when on, aware.
        end: Before when, aware.
        warm_days: Days before ``start`` from which detectors learn, and of which nothing is told.
    """

    kind: DeviceKind
    start: datetime
    end: datetime
    warm_days: float = 0.0


class Trial:
    """One set of rules and the stages under it.

    Args:
        registry: The devices.
        rules: What was changed.
        span: What is asked.
    """

    def __init__(self, registry: Registry, rules: Rulebook, span: Span) -> None:
        limits = LiveLimits()
        limits.become(rules.differing(registry.by_no.values()))
        self._registry, self._rules, self._start = registry, rules, to_micros(span.start)
        self._stages: Sequence[Stage] = build_stages(span.kind, limits)
        self._spells = Spells()
        self._findings = 0

    def step(self, batch: Batch) -> None:
        """Judge readings."""
        quality = batch.quality.copy()  # the next trial must see it as it was stored
        found = [finding for stage in self._stages for finding in stage.apply(batch)]
        batch.quality[:] = quality
        self._take(found)

    def step_events(self, events: Sequence[DeviceEvent]) -> None:
        """Judge what devices raised themselves."""
        found = [finding for stage in self._stages for finding in stage.apply_events(events)]
        self._take(found)

    def outcome(self, end: int) -> Outcome:
        """Return what would have been raised by ``end``, microseconds."""
        spells = [each for each in self._spells.all(end) if each.opened >= self._start]
        loud, quiet = list[Spell](), list[Spell]()
        for spell in spells:
            (loud if self._sounds(spell) else quiet).append(spell)
        return Outcome(loud, quiet, self._findings)

    def _take(self, found: list[Finding]) -> None:
        found.sort(key=lambda finding: finding.ts)
        for finding in found:
            device = self._registry.by_no.get(finding.device_no)
            self._findings += finding.ts >= self._start
            self._spells.take(self._rules.stamped(finding, device))

    def _sounds(self, spell: Spell) -> bool:
        """Return whether a spell lasted long enough, under a rule that is enabled."""
        device = self._registry.by_no.get(spell.device_no)
        if device is None:
            return False
        rule = self._rules.rule(spell.rule_id, device)
        lasted = (spell.closed - spell.first) / 1e6
        return rule.enabled and (spell.pulse or lasted >= rule.on_delay_s)


def run_history(
    conn: psycopg.Connection[Any], span: Span, registry: Registry, rules: Sequence[Rulebook]
) -> list[Outcome]:
    """Return what each set of rules makes of the same stored readings, read once.

    Args:
        conn: The database; its transaction is left open.
        span: Of which kind, and when.
        registry: The devices.
        rules: The sets of rules.
    """
    trials = [Trial(registry, each, span) for each in rules]
    start = span.start - timedelta(days=span.warm_days)
    told = _signals(conn, span.kind, start, span.end)
    waiting = next(told, None)
    end = to_micros(span.end)
    for batch in _batches(conn, span.kind, start, span.end):
        for trial in trials:
            trial.step(batch)
        until: list[DeviceEvent] = []
        while waiting is not None and waiting.ts <= batch.now:
            until.append(waiting)
            waiting = next(told, None)
        for trial in trials:
            trial.step_events(until)
    rest = [*([waiting] if waiting else []), *told]
    for trial in trials:
        trial.step_events(rest)
    return [trial.outcome(end) for trial in trials]


def _batches(
    conn: psycopg.Connection[Any], kind: DeviceKind, start: datetime, end: datetime
) -> Iterator[Batch]:
    names = [metric.name for metric in (*kind.reals, *kind.exacts)]
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    query = _READINGS.format(columns=columns, table=kind.table.identifier)
    with conn.cursor("backtest_readings") as cursor:
        cursor.itersize = ROWS
        cursor.execute(query, {"start": start, "end": end})
        while rows := cursor.fetchmany(ROWS):
            yield _batch(kind, rows)


def _batch(kind: DeviceKind, rows: Sequence[tuple[Any, ...]]) -> Batch:
    ts = np.array([to_micros(row[0]) for row in rows], np.int64)
    reals = len(kind.reals)
    cells = np.array([[np.nan if c is None else c for c in row[4:]] for row in rows], np.float64)
    cells = cells.reshape(len(rows), reals + len(kind.exacts))
    return Batch(
        kind=kind.name,
        device_no=np.array([row[2] for row in rows], np.int32),
        ts=ts,
        rx=ts.copy(),
        seq=np.array([row[1] for row in rows], np.int64),
        values=np.ascontiguousarray(cells[:, :reals].T, np.float32),
        exact=np.ascontiguousarray(cells[:, reals:].T),
        quality=np.array([row[3] for row in rows], np.int16),
        now=int(ts[-1]),
    )


def _signals(
    conn: psycopg.Connection[Any], kind: DeviceKind, start: datetime, end: datetime
) -> Iterator[DeviceEvent]:
    with conn.cursor("backtest_events") as cursor:
        cursor.itersize = ROWS
        cursor.execute(_EVENTS, {"kind": kind.name, "start": start, "end": end})
        for ts, seq, device_no, name, active, detail, quality in cursor:
            at = to_micros(ts)
            yield DeviceEvent(
                device_no=device_no,
                name=name,
                ts=at,
                rx=at,
                seq=seq,
                on=active,
                values=detail,
                quality=quality,
            )
