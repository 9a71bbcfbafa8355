"""Batches for tests of detectors: readings as rows, cut and repeated at will."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from analytics.stages.ongoing import FLAG
from core.batch import Batch, DeviceEvent, Finding, Stage
from devices.kind import DeviceKind

START = 1_780_000_000_000_000
"""Some time in 2026, microseconds."""
SECOND = 1_000_000
HOUR = 3600 * SECOND


@dataclass(frozen=True)
class Row:
    """One reading."""

    device_no: int
    ts: int
    values: dict[str, float] = field(default_factory=dict)
    quality: int = 0
    seq: int = -1
    rx: int | None = None


def make_batch(kind: DeviceKind, rows: Sequence[Row], now: int | None = None) -> Batch:
    """Return the rows as columns, in their order."""

    def columns(names: Iterable[str]) -> list[list[float]]:
        return [[row.values.get(name, float("nan")) for row in rows] for name in names]

    n = len(rows)
    reals = columns(metric.name for metric in kind.reals)
    exacts = columns(metric.name for metric in kind.exacts)
    return Batch(
        kind=kind.name,
        device_no=np.array([row.device_no for row in rows], np.int32),
        ts=np.array([row.ts for row in rows], np.int64),
        rx=np.array([row.ts if row.rx is None else row.rx for row in rows], np.int64),
        seq=np.array([row.seq for row in rows], np.int64),
        values=np.array(reals, np.float32).reshape(len(reals), n),
        exact=np.array(exacts, np.float64).reshape(len(exacts), n),
        quality=np.array([row.quality for row in rows], np.int16),
        now=now if now is not None else max((row.ts for row in rows), default=START),
    )


def judge(
    stages: Sequence[Stage], kind: DeviceKind, rows: Sequence[Row], cuts: Sequence[int] = ()
) -> list[Finding]:
    """Return what the stages find in the rows, which come in batches cut at these places."""
    found: list[Finding] = []
    edges = [0, *sorted(cuts), len(rows)]
    for start, end in pairwise(edges):
        if start < end:
            batch = make_batch(kind, rows[start:end])
            for stage in stages:
                found += stage.apply(batch)
    return in_order(found)


def judge_events(stages: Sequence[Stage], events: Sequence[DeviceEvent]) -> list[Finding]:
    """Return what the stages find in events."""
    return in_order(finding for stage in stages for finding in stage.apply_events(events))


def in_order(found: Iterable[Finding]) -> list[Finding]:
    """Return findings by device and time; within one time as they came."""
    return sorted(found, key=lambda f: (f.device_no, f.ts, f.rule_id))


def told(found: Iterable[Finding]) -> list[tuple[str, str]]:
    """Return rule and edge of each finding that says something new."""
    return [(finding.rule_id, finding.edge.value) for finding in news(found)]


def news(found: Iterable[Finding]) -> list[Finding]:
    """Return the findings but those that only tell that an episode goes on."""
    return [finding for finding in found if FLAG not in finding.flags]


def comparable(found: Iterable[Finding]) -> list[str]:
    """Return findings in a form in which NaN equals NaN."""
    return [repr(finding) for finding in found]
