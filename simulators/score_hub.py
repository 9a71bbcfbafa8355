"""What the hub raised, for :mod:`simulators.score`: read from its tables as a stranger would."""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psycopg

from core.model import Severity
from devices import KINDS
from simulators.score import ALLOWED_S, OUTCOMES, Raised, Score, judge
from simulators.truth import read_scenario, read_truth

_ALARMS: Final = """
SELECT d.device_id, a.rule_id, coalesce(f.detector, ''), a.severity_peak, a.audience, a.started_at,
       a.raised_at, a.notified_at IS NOT NULL, coalesce(a.clear_reason, '')
  FROM hub.alarm AS a JOIN hub.device AS d USING (device_no)
  LEFT JOIN LATERAL (
    SELECT detector FROM hub.finding AS f
     WHERE f.device_no = a.device_no AND f.rule_id = a.rule_id AND f.edge <> 'clear'
       AND f.ts >= a.started_at ORDER BY f.finding_id LIMIT 1) AS f ON true
 WHERE a.raised_at >= %(start)s AND a.raised_at <= %(end)s AND NOT a.retroactive
"""
_FINDINGS: Final = """
SELECT d.device_id, f.rule_id, f.detector, f.severity, '', f.first_ts, f.received_at, false, ''
  FROM hub.finding AS f JOIN hub.device AS d USING (device_no)
 WHERE f.edge IN ('open', 'once') AND f.received_at >= %(start)s AND f.received_at <= %(end)s
"""
_COUNT: Final = """
SELECT count(*) FROM hub.finding WHERE received_at >= %(start)s AND received_at <= %(end)s
"""
_LAST: Final = "SELECT greatest(max(raised_at), max(last_seen_at)) FROM hub.alarm"
_DEVICES: Final = """
SELECT device_id, kind, interval_s FROM hub.device WHERE state = 'active' AND kind = ANY(%s)
"""
MET: Final[Mapping[str, float]] = {"recall": 1.0, "forbidden": 0.0}
"""What a run must keep that says nothing of bounds: all its ``must`` and no ``must_not``."""


def score_hub(
    conn: psycopg.Connection[Any],
    truth: Path,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    of_findings: bool = False,
    allowed_s: float = ALLOWED_S,
    bounds: Mapping[str, float] | None = None,
) -> Score:
    """Hold a hub against a truth file.

    Args:
        conn: The hub's database; only read.
        truth: The file.
        start: Of the run; None: as the file says, else its first cause.
        end: Likewise; else the last time anything was raised.
        of_findings: Judge findings, as if each opening were an alarm.
        allowed_s: See :func:`simulators.score.judge`.
        bounds: What it must keep; these replace those of the file of the same names.

    Raises:
        ValueError: The file is none, or says nothing, or names a bound that is no figure.
    """
    causes, scenario = read_truth(truth), read_scenario(truth)
    first = scenario.get("start") or min((each["start"] for each in causes.values()), default="")
    if not start and not first:
        raise ValueError(f"{truth} names no cause; say from when to judge")
    start = start or datetime.fromisoformat(first)
    if end is None and scenario.get("end"):
        end = datetime.fromisoformat(scenario["end"])
    if end is None:
        row = conn.execute(_LAST).fetchone()
        end = max(start, row[0]) if row and row[0] else start
    span = {"start": start, "end": end}
    rows = conn.execute(_FINDINGS if of_findings else _ALARMS, span).fetchall()
    raised = [
        Raised(**dict(zip(_NAMES, (*r[:3], Severity(r[3]), *r[4:]), strict=True))) for r in rows
    ]
    devices = conn.execute(_DEVICES, [list(KINDS)]).fetchall()
    found = conn.execute(_COUNT, span).fetchone()
    return judge(
        causes.values(),
        raised,
        devices=len(devices),
        days=(end - start).total_seconds() / 86_400,
        findings=found[0] if found else 0,
        intervals={name: own or _slowest(kind) for name, kind, own in devices},
        allowed_s=allowed_s,
        bounds={**scenario.get("expect", MET), **(bounds or {})},
    )


_NAMES: Final = (
    *("device_id", "rule_id", "detector", "severity", "audience"),
    *("started_at", "raised_at", "notified", "clear_reason"),
)


def _slowest(kind: str) -> float:
    return max(KINDS[kind].interval_s, KINDS[kind].idle_interval_s or 0.0)


def describe(score: Score) -> dict[str, Any]:
    """Return a score for programs, JSON-ready; what cannot be told is null."""
    return {
        "figures": {name: _plain(value) for name, value in score.figures().items()},
        "bounds": dict(score.bounds),
        "broken": score.broken(),
        "devices": score.devices,
        "days": score.days,
        "causes": score.causes,
        "findings": score.findings,
        **{
            f"by_{by}": {
                name: {key: _plain(value) for key, value in row.items()}
                for name, row in score.groups(by).items()
            }
            for by in ("cause", "rule", "detector", "severity")
        },
        "expectations": [
            {
                "truth_id": each.truth_id,
                "cause": each.cause,
                "devices": list(each.devices),
                "rule": each.rule_id,
                "delay_s": each.delay_s,
                "verdict": each.failing or "met",
            }
            for each in score.expectations
        ],
        "unexpected": [
            {
                "outcome": outcome,
                "device": alarm.device_id,
                "rule": alarm.rule_id,
                "detector": alarm.detector,
                "severity": alarm.severity.text.en,
                "started_at": alarm.started_at.isoformat(),
            }
            for alarm, outcome in score.judged
            if outcome not in {"hit", "beside"}
        ],
    }


def tabulate(score: Score) -> str:
    """Return a score for people: a table by cause, rule, detector and severity, and the figures."""
    lines = []
    head = ("expected", "met", *OUTCOMES, "recall", "precision")
    for by in ("cause", "rule", "detector", "severity"):
        rows = score.groups(by)
        if rows:
            lines.append(f"{by:<20}" + "".join(f"{name:>10}" for name in head))
            lines += [
                f"{name:<20}" + "".join(f"{_cell(row[column]):>10}" for column in head)
                for name, row in rows.items()
            ]
            lines.append("")
    lines += [f"{name:<28} {_cell(value)}" for name, value in score.figures().items()]
    lines += [
        f"{each.failing:<9} {each.truth_id} {each.cause}: {each.rule_id} on {_few(each.devices)}"
        for each in score.expectations
        if each.failing
    ]
    lines += [
        f"{outcome:<9} {alarm.rule_id} on {alarm.device_id} by {alarm.detector or '-'},"
        f" {alarm.started_at:%Y-%m-%d %H:%M:%S%z}"
        for alarm, outcome in score.judged
        if outcome in {"false", "forbidden", "extra"}
    ]
    lines += [f"NOT KEPT: {each}" for each in score.broken()]
    return "\n".join(lines)


def write_json(score: Score) -> str:
    """Return :func:`describe` as text."""
    return json.dumps(describe(score), ensure_ascii=False)


def _few(devices: Sequence[str]) -> str:
    return devices[0] if len(devices) == 1 else f"one of {len(devices)} devices"


def _cell(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.0f}" if value == int(value) else f"{value:.3f}"


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
