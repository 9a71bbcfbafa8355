"""How a finding gets into its table: with its readings, and visible in the order of its number.

Numbers of a sequence become visible out of order when two transactions overlap, and ``alerts``
tails this table by number. So whoever appends takes one advisory lock just before, held to the
commit.
"""

import json
import math
from collections.abc import Sequence
from typing import Any, Final

from core.batch import Finding
from core.model import from_micros

LOCK_FINDINGS: Final = "SELECT pg_advisory_xact_lock(1129270275)"
INSERT_FINDING: Final = """
INSERT INTO hub.finding (device_no, rule_id, rule_version, detector, kind, metric, edge, ts,
    first_ts, received_at, severity, value, expected, threshold, unit, score, confidence, quality,
    flags, explain_zh, explain_en, detail)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""
NOTIFY_FINDING: Final = "SELECT pg_notify('hub_finding', '')"


def finding_rows(findings: Sequence[Finding]) -> list[tuple[Any, ...]]:
    """Return the parameters of :data:`INSERT_FINDING`, one tuple a finding."""
    return [
        (
            f.device_no,
            f.rule_id,
            f.rule_version,
            f.detector,
            f.kind,
            f.metric,
            f.edge.value,
            from_micros(f.ts),
            from_micros(f.first_ts),
            from_micros(f.received_at),
            int(f.severity),
            _number(f.value),
            _number(f.expected),
            _number(f.limit),
            f.unit,
            _number(f.score),
            f.confidence,
            f.quality,
            list(f.flags),
            f.explain.zh,
            f.explain.en,
            json.dumps(f.detail, ensure_ascii=False),
        )
        for f in findings
    ]


def _number(value: float) -> float | None:
    """Return what the table keeps: null where nothing was measured."""
    return float(value) if math.isfinite(value) else None
