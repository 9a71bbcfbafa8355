"""Findings folded into spells (告警段), from the first breach to its end, to compare and count.

Two sets of rules found the same where spells of one device and rule overlap in time; what is left
over appears with the changed rules, or vanishes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from core.batch import Finding
from core.model import Edge, Severity, Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """One spell. Times are event time, microseconds UTC.

    Attributes:
        device_no: Which device.
        rule_id: Which rule.
        version: Of the rule that judged.
        detector: Which stage.
        metric: Which metric; empty for events.
        first: The first breach.
        opened: When it was found.
        closed: When it was over; the end of the span where it was not.
        severity: The gravest it was.
        explain: What was said when it opened.
        pulse: It is a single signal.
    """

    device_no: int
    rule_id: str
    version: int
    detector: str
    metric: str
    first: int
    opened: int
    closed: int
    severity: Severity
    explain: Text
    pulse: bool = False


class Spells:
    """Folds findings, which come in the order of time."""

    def __init__(self) -> None:
        self._open: dict[tuple[int, str, str, str], Spell] = {}
        self._over: list[Spell] = []

    def take(self, finding: Finding) -> None:
        """Take one finding."""
        key = (finding.device_no, finding.rule_id, finding.detector, finding.metric)
        known = self._open.get(key)
        match finding.edge:
            case Edge.CLEAR:
                if known is not None:
                    del self._open[key]
                    self._over.append(replace(known, closed=finding.ts))
            case Edge.ONCE:
                self._over.append(_spell(finding, pulse=True))
            case _ if known is None:
                self._open[key] = _spell(finding)
            case _:
                graver = max(known.severity, finding.severity)
                self._open[key] = replace(known, closed=finding.ts, severity=graver)

    def all(self, end: int) -> list[Spell]:
        """Return all spells by the time they opened; those that go on end with the span."""
        still = (replace(spell, closed=max(end, spell.opened)) for spell in self._open.values())
        return sorted([*self._over, *still], key=lambda spell: (spell.opened, spell.device_no))


def _spell(finding: Finding, *, pulse: bool = False) -> Spell:
    return Spell(
        device_no=finding.device_no,
        rule_id=finding.rule_id,
        version=finding.rule_version,
        detector=finding.detector,
        metric=finding.metric,
        first=finding.first_ts,
        opened=finding.ts,
        closed=finding.ts,
        severity=finding.severity,
        explain=finding.explain,
        pulse=pulse,
    )


def missing(spells: Iterable[Spell], others: Sequence[Spell]) -> Iterator[Spell]:
    """Yield the spells that overlap none of the others of their device and rule."""
    spans: dict[tuple[int, str], list[Spell]] = {}
    for other in others:
        spans.setdefault((other.device_no, other.rule_id), []).append(other)
    for spell in spells:
        there = spans.get((spell.device_no, spell.rule_id), ())
        if not any(each.first <= spell.closed and spell.first <= each.closed for each in there):
            yield spell
