"""One line an episode (告警段), at the moment at which it would have been raised.

A finding that goes on or clears tells nothing new; one that gets graver does, as an orange slope
that turns red, and one that begins again before it was over, as a flood's second wave.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from core.batch import Finding
from core.model import Edge, Severity

AGAIN: Final = "again"
"""Marks an update with which an episode begins anew."""
KINDS_TOLD: Final = frozenset(
    {
        "open",
        "shift",
        "settle",
        "step",
        "acceleration",
        "rise",
        "spike",
        "stuck",
        "lost",
        "drift",
    }
)
"""What the contract of ``cityhub backtest --kind`` knows; other findings are no part of it."""


def tell(findings: Iterable[Finding], names: Mapping[int, str]) -> Iterator[dict[str, Any]]:
    """Yield a line for each episode that begins or gets graver.

    Args:
        findings: In the order of time.
        names: Name of each device by its number.
    """
    told: dict[tuple[int, str, str], Severity] = {}
    for finding in findings:
        if finding.kind not in KINDS_TOLD:
            continue
        key = (finding.device_no, finding.detector, finding.rule_id)
        if finding.edge is Edge.CLEAR:
            told.pop(key, None)
            continue
        graver = finding.severity > told.get(key, Severity.BLUE)
        if finding.edge is Edge.UPDATE and not graver and AGAIN not in finding.flags:
            continue
        if finding.edge is not Edge.ONCE:
            told[key] = finding.severity
        yield line(finding, names[finding.device_no])


def line(finding: Finding, device: str) -> dict[str, Any]:
    """Return a finding as a line of the contract; ``ts`` is in Unix seconds."""
    seconds = finding.ts / 1_000_000
    return {
        "device": device,
        "detector": finding.detector,
        "kind": finding.kind,
        "severity": finding.severity.name.lower(),
        "ts": int(seconds) if seconds.is_integer() else seconds,
        "value": _rounded(finding.value),
        "expected": _rounded(finding.expected),
        "score": _rounded(finding.score),
        "explain": f"{finding.explain.en} | {finding.explain.zh}",
    }


def _rounded(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
