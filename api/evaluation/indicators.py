"""The indicators (指标): each a formula in both languages and what of a case it counts.

Marks say where a formula is from: ``c`` a standard (GB/T 30428.4, CJ/T 292), ``p`` published
bulletins, ``o`` our own. "Due" (应处置, 应结案) means that the deadline, extended where it was,
falls in the period, or the step was done in it; what was done before the period is not due in it
again. The deadline of closing is that of handling: the wait for verification is charged to nobody.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, TypeVar

from api.evaluation.facts import AlarmFact, CaseFact
from api.evaluation.period import Period
from core.model import Text

T = TypeVar("T", CaseFact, AlarmFact)


@dataclass(frozen=True, slots=True)
class Rate(Generic[T]):
    """A share.

    Attributes:
        code: Its name in data.
        label: Its name for people.
        formula: How it is made.
        mark: Where the formula is from.
        count: What a thing adds to numerator and denominator.
        less_is_better: The score takes one minus it.
    """

    code: str
    label: Text
    formula: Text
    mark: str
    count: Callable[[T, Period], tuple[int, int]]
    less_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Span(Generic[T]):
    """A length of time; ``quantile`` says which of them, 0.5 being the median."""

    code: str
    label: Text
    formula: Text
    mark: str
    seconds: Callable[[T, Period], float | None]
    quantile: float = 0.5


def _filing(case: CaseFact, period: Period) -> tuple[int, int]:
    reported = case.reported_at in period
    return reported and case.filed_at is not None and case.filed_at < period.end, reported


def _accuracy(case: CaseFact, period: Period) -> tuple[int, int]:
    if case.first_dispatched_at not in period:
        return 0, 0
    right = int(case.dispatched_at is not None)
    return right, right + case.return_count


def _of_dispatched(
    has: Callable[[CaseFact], bool],
) -> Callable[[CaseFact, Period], tuple[int, int]]:
    def count(case: CaseFact, period: Period) -> tuple[int, int]:
        dispatched = case.first_dispatched_at in period
        return dispatched and has(case), dispatched

    return count


def _is_due(case: CaseFact, done_at: datetime | None, period: Period) -> bool:
    if case.state in {"merged", "rejected", "void"} or case.filed_at is None:
        return False
    waits = done_at is None or done_at >= period.start
    return done_at in period or (case.handle_due_at in period and waits)


def _in_time(case: CaseFact) -> bool:
    handled, due = case.handled_at, case.handle_due_at
    return handled is not None and (due is None or handled <= due)


def _handled(case: CaseFact, period: Period) -> tuple[int, int]:
    due = _is_due(case, case.handled_at, period)
    return due and case.handled_at in period, due


def _handled_on_time(case: CaseFact, period: Period) -> tuple[int, int]:
    done, due = _handled(case, period)
    return done and _in_time(case), due


def _overdue(case: CaseFact, period: Period) -> tuple[int, int]:
    on_time, due = _handled_on_time(case, period)
    return due and not on_time, due


def _closed(case: CaseFact, period: Period) -> tuple[int, int]:
    due = _is_due(case, case.done_at, period)
    return due and case.done_at in period, due


def _closed_on_time(case: CaseFact, period: Period) -> tuple[int, int]:
    done, due = _closed(case, period)
    return done and _in_time(case), due


def _closed_of_accepted(case: CaseFact, period: Period) -> tuple[int, int]:
    accepted = case.reported_at in period and case.filed_at is not None
    return accepted and case.done_at is not None and case.done_at < period.end, accepted


def _rework(case: CaseFact, period: Period) -> tuple[int, int]:
    verified = case.verified_at in period
    return verified and case.rework_count > 0, verified


def _machine_first(case: CaseFact, period: Period) -> tuple[int, int]:
    filed = case.filed_at in period and case.state != "merged"
    first = case.machine_at is not None and (
        case.citizen_at is None or case.machine_at < case.citizen_at
    )
    return filed and first, filed


def _sensor_verified(case: CaseFact, period: Period) -> tuple[int, int]:
    closed = case.done_at in period
    return closed and case.verify_method.startswith("sensor"), closed


def _recurred(case: CaseFact, period: Period) -> tuple[int, int]:
    closed = case.first_closed_at in period
    return closed and case.recurrence_count > 0, closed


def _false(alarm: AlarmFact, period: Period) -> tuple[int, int]:
    raised = alarm.raised_at in period
    return raised and alarm.is_false, raised


def _between(first: datetime | None, last: datetime | None) -> float | None:
    return None if first is None or last is None else (last - first).total_seconds()


def _wall(case: CaseFact, period: Period) -> float | None:
    if case.handled_at not in period:
        return None
    return _between(case.dispatched_at or case.filed_at, case.handled_at)


def _charged(case: CaseFact, period: Period) -> float | None:
    wall = _wall(case, period)
    return None if wall is None else max(0.0, wall - case.paused_s)


def _lead(case: CaseFact, period: Period) -> float | None:
    first, _ = _machine_first(case, period)
    return _between(case.machine_at, case.citizen_at) if first else None


def _to_close(case: CaseFact, period: Period) -> float | None:
    return _between(case.filed_at, case.done_at) if case.done_at in period else None


def _to_ack(alarm: AlarmFact, period: Period) -> float | None:
    return _between(alarm.raised_at, alarm.acked_at) if alarm.raised_at in period else None


CASE_RATES: Final[tuple[Rate[CaseFact], ...]] = (
    Rate(
        "filing", Text("立案率", "Filing rate"),
        Text("本期上报中已立案数 ÷ 本期上报数", "filed of those reported ÷ reported in the period"),
        "c", _filing,
    ),
    Rate(
        "dispatch_accuracy", Text("派遣准确率", "Dispatch accuracy"),
        Text("1 − 退办次数 ÷ 派遣次数", "1 − dispatches returned ÷ dispatches"), "c", _accuracy,
    ),
    Rate(
        "handled", Text("处置率", "Handling rate"),
        Text("处置数 ÷ 应处置数", "handled ÷ due to be handled"), "c", _handled,
    ),
    Rate(
        "handled_on_time", Text("按期处置率", "Handled on time"),
        Text("按期处置数 ÷ 应处置数", "handled in time ÷ due to be handled"), "c", _handled_on_time,
    ),
    Rate(
        "closed", Text("结案率", "Closing rate"),
        Text("结案数 ÷ 应结案数", "closed ÷ due to be closed"), "p", _closed,
    ),
    Rate(
        "closed_on_time", Text("按期结案率", "Closed on time"),
        Text("按期处置并结案数 ÷ 应结案数", "closed, and handled in time ÷ due to be closed"),
        "p", _closed_on_time,
    ),
    Rate(
        "closed_of_accepted", Text("受理结案比", "Closed of accepted"),
        Text("本期立案中已结案数 ÷ 本期受理立案数（与结案率并列，不替代）",
             "closed ÷ filed, of those reported in the period; never the closing rate"),
        "o", _closed_of_accepted,
    ),
    Rate(
        "overdue", Text("超期率", "Overdue rate"),
        Text("超期数 ÷ 应处置数", "not handled in time ÷ due to be handled"), "c", _overdue, True,
    ),
    Rate(
        "rework", Text("返工率", "Rework rate"),
        Text("有返工的案件数 ÷ 核查通过案件数", "cases with rework ÷ cases verified"),
        "c", _rework, True,
    ),
    Rate(
        "returned", Text("退办率", "Return rate"),
        Text("有退办的案件数 ÷ 派遣案件数", "cases returned ÷ cases dispatched"),
        "c", _of_dispatched(lambda case: case.return_count > 0), True,
    ),
    Rate(
        "extended", Text("延期率", "Extension rate"),
        Text("有延期的案件数 ÷ 派遣案件数", "cases extended ÷ cases dispatched"),
        "c", _of_dispatched(lambda case: case.extension_count > 0), True,
    ),
    Rate(
        "suspended", Text("挂账率", "Suspension rate"),
        Text("挂账中的案件数 ÷ 派遣案件数", "cases now suspended ÷ cases dispatched"),
        "c", _of_dispatched(lambda case: case.suspended), True,
    ),
    Rate(
        "machine_first", Text("机器先于市民率", "Machine before citizen"),
        Text("设备先于市民发现的立案数 ÷ 立案数", "filed cases a device told of first ÷ filed"),
        "o", _machine_first,
    ),
    Rate(
        "sensor_verified", Text("传感器核查率", "Verified by sensor"),
        Text("经传感器核查的结案数 ÷ 结案数", "closed on a sensor's evidence ÷ closed"),
        "o", _sensor_verified,
    ),
    Rate(
        "recurred", Text("复发率", "Recurrence rate"),
        Text("复发案件数 ÷ 首次结案数", "cases that recurred ÷ cases first closed"),
        "o", _recurred, True,
    ),
)  # fmt: skip
ALARM_RATES: Final[tuple[Rate[AlarmFact], ...]] = (
    Rate(
        "false_alarm", Text("误报率", "False alarm rate"),
        Text("案件不予立案或作废的告警数 ÷ 产生告警数",
             "alarms whose case was refused or voided ÷ alarms raised"),
        "o", _false, True,
    ),
)  # fmt: skip
CASE_SPANS: Final[tuple[Span[CaseFact], ...]] = (
    Span(
        "handling_median", Text("处置时长中位数", "Handling time, median"),
        Text("派遣至处置，自然时间", "dispatch to handled, wall time"), "o", _wall,
    ),
    Span(
        "handling_p90", Text("处置时长 P90", "Handling time, p90"),
        Text("派遣至处置，自然时间，九成不超过", "dispatch to handled, wall time, nine of ten"),
        "o", _wall, 0.9,
    ),
    Span(
        "charged_median", Text("计时处置时长中位数", "Charged handling time, median"),
        Text("派遣至处置，扣除暂停", "dispatch to handled, pauses taken off"), "o", _charged,
    ),
    Span(
        "charged_p90", Text("计时处置时长 P90", "Charged handling time, p90"),
        Text("派遣至处置，扣除暂停，九成不超过",
             "dispatch to handled, pauses taken off, nine of ten"), "o", _charged, 0.9,
    ),
    Span(
        "lead", Text("机器领先时间", "Machine's lead"),
        Text("设备发现至市民上报，中位数", "device to citizen report, median"), "o", _lead,
    ),
    Span(
        "mttr", Text("MTTR 结案时长", "MTTR"),
        Text("立案至结案，中位数", "filed to closed, median"), "o", _to_close,
    ),
)  # fmt: skip
ALARM_SPANS: Final[tuple[Span[AlarmFact], ...]] = (
    Span(
        "mtta", Text("MTTA 确认时长", "MTTA"),
        Text("告警产生至确认，中位数", "raised to acknowledged, median"), "o", _to_ack,
    ),
)  # fmt: skip
