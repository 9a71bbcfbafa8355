"""How well the hub did, by what really happened (评分): pure, no I/O.

An alarm *hits* a cause where device and rule are those of one of the cause's ``must``, and it began
between one sample before the cause and the allowed delay after its end. One expectation takes one
alarm; further ones are *extra*. What a ``must_not`` names is *forbidden*. What befalls a device of
a cause besides, such as a stolen cover gone silent, is *beside it* (附带): told, and neither good
nor bad. An alarm without a cause is *false*.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from core.model import Severity

ALLOWED_S: Final = 3600.0
"""How long after the end of its cause an alarm may begin, unless told otherwise; ours."""

OUTCOMES: Final = ("hit", "extra", "beside", "forbidden", "false")


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """An alarm, or a finding taken for one.

    Attributes:
        device_id: On which device, feeder or gateway.
        rule_id: By which rule.
        detector: Which stage saw it; empty where that is not known.
        severity: The gravest it was.
        audience: Whom it concerns.
        started_at: When it began, event time.
        raised_at: When it was raised.
        notified: Whether somebody was told.
        clear_reason: Why it cleared; empty where it did not, or of itself.
    """

    device_id: str
    rule_id: str
    detector: str
    severity: Severity
    audience: str
    started_at: datetime
    raised_at: datetime
    notified: bool = True
    clear_reason: str = ""


@dataclass(slots=True, kw_only=True)
class Expectation:
    """One thing that had to be raised.

    Attributes:
        truth_id: Because of which cause.
        cause: What kind of cause.
        devices: On one of these devices, or on this node.
        rule_id: By which rule.
        severity: At least so grave; None: whatever.
        start: When the cause began.
        opens: An alarm of it began no earlier.
        closes: And no later.
        within_s: So soon it had to be raised; None: no bound.
        raised: The alarm that met it.
    """

    truth_id: str
    cause: str
    devices: tuple[str, ...]
    rule_id: str
    severity: Severity | None
    start: datetime
    opens: datetime
    closes: datetime
    within_s: float | None
    raised: Raised | None = None

    @property
    def delay_s(self) -> float | None:
        """How long it took, in seconds; None: it never came."""
        return None if self.raised is None else (self.raised.raised_at - self.start).total_seconds()

    @property
    def failing(self) -> str:
        """What is wrong: ``missed``, ``weak`` (not grave enough), ``late``; empty: nothing."""
        if self.raised is None:
            return "missed"
        if self.severity is not None and self.raised.severity < self.severity:
            return "weak"
        late = self.within_s is not None and (self.delay_s or 0.0) > self.within_s
        return "late" if late else ""


@dataclass(frozen=True, slots=True)
class Score:
    """What a run is worth.

    Attributes:
        expectations: All that had to be raised, with what was.
        judged: Each alarm with its outcome, one of :data:`OUTCOMES`.
        devices: How many devices there are.
        days: How long the run was.
        findings: How many findings lie behind the alarms.
        causes: How many causes there were.
        bounds: What the run must keep: :meth:`figures` by name.
        forbidden: How many alarms were forbidden, by ``truth_id`` of the cause that forbids them.
    """

    expectations: Sequence[Expectation]
    judged: Sequence[tuple[Raised, str]]
    devices: int
    days: float
    findings: int
    causes: int
    bounds: Mapping[str, float] = field(default_factory=dict)
    forbidden: Mapping[str, int] = field(default_factory=dict)

    def count(self, outcome: str) -> int:
        """Return how many alarms had an outcome."""
        return sum(1 for _, each in self.judged if each == outcome)

    def figures(self) -> dict[str, float]:
        """Return the figures that bounds may name; NaN where there is nothing to divide by."""
        met = [each for each in self.expectations if not each.failing]
        delays = sorted(each.delay_s or 0.0 for each in self.expectations if each.raised)
        wrong = self.count("false") + self.count("forbidden")
        shown = self.count("hit") + self.count("extra") + wrong
        return {
            "recall": _share(len(met), len(self.expectations)),
            "precision": _share(self.count("hit"), shown),
            "delay_p50_s": _quantile(delays, 0.5),
            "delay_p95_s": _quantile(delays, 0.95),
            "delay_worst_s": delays[-1] if delays else math.nan,
            "missed": len(self.expectations) - len(met),
            "extra": self.count("extra"),
            "forbidden": self.count("forbidden"),
            "false": self.count("false"),
            "false_per_100_device_days": _share(100 * wrong, self.devices * self.days),
            "alarms_per_finding": _share(len(self.judged), self.findings),
            "notifications_per_cause": _share(
                sum(1 for alarm, _ in self.judged if alarm.notified), self.causes
            ),
        }

    def broken(self) -> list[str]:
        """Return which bounds are not kept, in words; a figure that is not there keeps none."""
        figures = self.figures()
        found = []
        for name, bound in self.bounds.items():
            value, at_least = figures[name], name in {"recall", "precision"}
            if not (value >= bound if at_least else value <= bound):
                found.append(f"{name} is {value:.3g}, {'under' if at_least else 'over'} {bound:g}")
        return found

    def groups(self, by: str) -> dict[str, dict[str, float]]:
        """Return counts, recall and precision by ``rule``, ``detector``, ``severity`` or ``cause``.

        What was missed has no detector, hence no recall by it.
        """
        rows: dict[str, Counter[str]] = defaultdict(Counter)
        for expected in self.expectations:
            if by != "detector":
                name = {
                    "rule": expected.rule_id,
                    "cause": expected.cause,
                    "severity": expected.severity.text.en if expected.severity else "-",
                }[by]
                rows[name]["expected"] += 1
                rows[name]["met"] += not expected.failing
        for alarm, outcome in self.judged:
            if by == "cause":
                continue
            name = {
                "rule": alarm.rule_id,
                "detector": alarm.detector or "-",
                "severity": alarm.severity.text.en,
            }[by]
            rows[name][outcome] += 1
        return {name: _row(counts) for name, counts in sorted(rows.items())}


def judge(
    truth: Iterable[Mapping[str, Any]],
    alarms: Iterable[Raised],
    *,
    devices: int,
    days: float,
    findings: int = 0,
    intervals: Mapping[str, float] | None = None,
    allowed_s: float = ALLOWED_S,
    bounds: Mapping[str, float] | None = None,
) -> Score:
    """Hold alarms against what really happened.

    Args:
        truth: The last line of each cause.
        alarms: What was raised.
        devices: How many devices there are.
        days: How long the run was.
        findings: How many findings lie behind the alarms.
        intervals: How often each device reports, in seconds; for *one sample before*.
        allowed_s: How long after the end of its cause an alarm may begin.
        bounds: What the run must keep, by the names of :meth:`Score.figures`.

    Raises:
        ValueError: A bound with a name that is no figure.
    """
    causes = [_Cause.of(line, intervals or {}, allowed_s) for line in truth]
    expected = [each for cause in causes for each in cause.expectations()]
    forbidden = Counter[str]()
    judged = [
        (alarm, _outcome(alarm, expected, causes, forbidden))
        for alarm in sorted(alarms, key=lambda alarm: (alarm.raised_at, alarm.started_at))
    ]
    score = Score(
        expected, judged, devices, days, findings, len(causes), dict(bounds or {}), forbidden
    )
    for name in score.bounds:
        if name not in score.figures():
            raise ValueError(f"{name!r} is no figure; there are {', '.join(score.figures())}")
    return score


@dataclass(frozen=True, slots=True)
class _Cause:
    line: Mapping[str, Any]
    start: datetime
    opens: datetime
    closes: datetime

    @classmethod
    def of(
        cls, line: Mapping[str, Any], intervals: Mapping[str, float], allowed_s: float
    ) -> "_Cause":
        start, end = (datetime.fromisoformat(line[name]) for name in ("start", "end"))
        sample = max((intervals.get(name, 0.0) for name in line["devices"]), default=0.0)
        return cls(
            line, start, start - timedelta(seconds=sample), end + timedelta(seconds=allowed_s)
        )

    def expectations(self) -> Iterable[Expectation]:
        """Yield what had to be raised: once a device or node, or ``count`` times in all.

        A ``count`` of one is once a device: of a scene that befalls several, each must be told.
        """
        line = self.line
        for must in line.get("must", ()):
            on_node = must.get("on", "device") == "node"
            severity = must.get("severity")
            targets, count = [line["node"]] if on_node else line["devices"], must.get("count", 1)
            whom = [(each,) for each in targets] if count == 1 else [tuple(targets)] * int(count)
            for devices in whom:
                yield Expectation(
                    truth_id=line["truth_id"],
                    cause=line["cause"],
                    devices=devices,
                    rule_id=must["rule"],
                    severity=Severity[severity.upper()] if severity else None,
                    start=self.start,
                    opens=self.opens,
                    closes=self.closes,
                    within_s=must.get("within_s"),
                )

    def holds(self, alarm: Raised) -> bool:
        """Return whether an alarm is on one of its devices, in its time."""
        on = alarm.device_id == self.line["node"] or alarm.device_id in self.line["devices"]
        return on and self.opens <= alarm.started_at <= self.closes

    def forbids(self, alarm: Raised) -> bool:
        """Return whether a ``must_not`` names an alarm that :meth:`holds`."""
        return any(self._named(alarm, each) for each in self.line.get("must_not", ()))

    def _named(self, alarm: Raised, unwanted: Mapping[str, Any]) -> bool:
        if unwanted["rule"] != alarm.rule_id or int(unwanted.get("count", 1)) > 1:
            return False  # more than one is an extra
        if unwanted.get("on") and (unwanted["on"] == "node") != (
            alarm.device_id == self.line["node"] and alarm.device_id not in self.line["devices"]
        ):
            return False
        if "audience" in unwanted and unwanted["audience"] != alarm.audience:
            return False
        if unwanted.get("notified") and not alarm.notified:
            return False
        return bool(unwanted.get("clears_by", alarm.clear_reason) == alarm.clear_reason)


def _outcome(
    alarm: Raised,
    expected: Sequence[Expectation],
    causes: Sequence[_Cause],
    forbidden: Counter[str],
) -> str:
    meant = [
        each
        for each in expected
        if alarm.device_id in each.devices
        and alarm.rule_id == each.rule_id
        and each.opens <= alarm.started_at <= each.closes
    ]
    holding = [cause for cause in causes if cause.holds(alarm)]
    for cause in holding:
        if cause.forbids(alarm):
            forbidden[cause.line["truth_id"]] += 1
            return "forbidden"
    for each in meant:
        if each.raised is None:
            each.raised = alarm
            return "hit"
    if meant:
        return "extra"
    return "beside" if holding else "false"


def _row(counts: Counter[str]) -> dict[str, float]:
    shown = sum(counts[name] for name in OUTCOMES if name != "beside")
    return {
        "expected": counts["expected"],
        "met": counts["met"],
        **{name: counts[name] for name in OUTCOMES},
        "recall": _share(counts["met"], counts["expected"]),
        "precision": _share(counts["hit"], shown),
    }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that so large a share does not exceed; NaN of none."""
    if not values:
        return math.nan
    return values[max(0, math.ceil(share * len(values)) - 1)]
