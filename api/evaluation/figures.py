"""Figures (评价结果): the indicators of a set of cases and alarms, cut by what a city compares."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from zoneinfo import ZoneInfo

from api.evaluation.facts import AlarmFact, CaseFact, Shift, shift_of
from api.evaluation.indicators import (
    ALARM_RATES,
    ALARM_SPANS,
    CASE_RATES,
    CASE_SPANS,
    Rate,
    Span,
    T,
)
from api.evaluation.period import Period
from api.shapes import Shape, Words
from api.store import Look

Cut = Literal["city", "dept", "grid", "class", "shift", "source"]
CUTS: Final[tuple[Cut, ...]] = ("city", "dept", "grid", "class", "shift", "source")

_WEIGHTS: Final = """
SELECT DISTINCT ON (indicator) indicator, weight FROM hub.score_weight
 WHERE valid_from <= %s ORDER BY indicator, valid_from DESC
"""


class Figure(Shape):
    """One indicator of one row."""

    code: str
    label: Words
    formula: Words
    mark: str
    """Where the formula is from: `c` a standard, `p` published bulletins, `o` our own."""
    unit: Literal["share", "s"]
    """A share of one, or seconds."""
    numerator: int | None
    """Null for a length of time."""
    denominator: int
    """Of a length of time: how many were measured."""
    value: float | None
    """Null: there was nothing to divide by."""


class Counts(Shape):
    """How many cases, whatever became of them."""

    reported: int
    filed: int
    handled: int
    closed: int
    alarms: int


class Line(Shape):
    """One department, cell, sub-class, shift or source, or the whole city."""

    key: str
    """Its code; empty: the whole city, or what belongs to none."""
    label: Words
    counts: Counts
    score: float | None
    """0 to 100, by the weights; null: no weighted figure has a value."""
    figures: list[Figure]


class Weight(Shape):
    """What an indicator adds to the score."""

    code: str
    weight: float


@dataclass(frozen=True, slots=True)
class Facts:
    """What is evaluated, and how shifts are told."""

    cases: Sequence[CaseFact]
    alarms: Sequence[AlarmFact]
    shifts: Sequence[Shift]
    zone: ZoneInfo


def evaluate(
    facts: Facts,
    period: Period,
    by: Cut,
    *,
    weights: Mapping[str, float],
    names: Mapping[str, Words],
) -> list[Line]:
    """Return a row for each value of the cut, in the order of their codes.

    Args:
        facts: Cases and alarms that touch the period.
        period: Nothing in it lies in the future; see :meth:`Period.upto`.
        by: What to cut by.
        weights: What each indicator weighs in the score.
        names: What people call the values of the cut, by code.
    """
    key = _key_of(by, facts)
    cases: dict[str, list[CaseFact]] = defaultdict(list)
    alarms: dict[str, list[AlarmFact]] = defaultdict(list)
    for case in facts.cases:
        cases[key(case)].append(case)
    for alarm in facts.alarms:
        alarms[key(alarm)].append(alarm)
    keys = sorted({*cases, *alarms} | ({""} if by == "city" else set()))
    return [
        _line(
            each,
            names.get(each) or Words(zh=each or "未归属", en=each or "unassigned"),
            (cases[each], alarms[each]),
            period,
            weights,
        )
        for each in keys
    ]


def _key_of(by: Cut, facts: Facts) -> Callable[[CaseFact | AlarmFact], str]:
    match by:
        case "city":
            return lambda _: ""
        case "dept":
            return lambda fact: fact.dept_code
        case "grid":
            return lambda fact: fact.grid_code
        case "class":
            return lambda fact: fact.class_code
        case "source":
            return lambda fact: fact.source
        case "shift":
            return lambda fact: shift_of(fact.began_at, facts.shifts, facts.zone)


def _line(
    key: str,
    label: Words,
    facts: tuple[Sequence[CaseFact], Sequence[AlarmFact]],
    period: Period,
    weights: Mapping[str, float],
) -> Line:
    cases, alarms = facts
    figures = [
        *(_share(rate, cases, period) for rate in CASE_RATES),
        *(_share(rate, alarms, period) for rate in ALARM_RATES),
        *(_length(span, cases, period) for span in CASE_SPANS),
        *(_length(span, alarms, period) for span in ALARM_SPANS),
    ]
    return Line(
        key=key,
        label=label,
        counts=Counts(
            reported=_happened(period, (case.reported_at for case in cases)),
            filed=_happened(period, (case.filed_at for case in cases)),
            handled=_happened(period, (case.handled_at for case in cases)),
            closed=_happened(period, (case.done_at for case in cases)),
            alarms=_happened(period, (alarm.raised_at for alarm in alarms)),
        ),
        score=score_of({figure.code: figure.value for figure in figures}, weights),
        figures=figures,
    )


def _happened(period: Period, times: Iterable[datetime | None]) -> int:
    return sum(at in period for at in times)


def _share(rate: Rate[T], things: Iterable[T], period: Period) -> Figure:
    counted = [rate.count(thing, period) for thing in things]
    numerator, denominator = sum(part for part, _ in counted), sum(whole for _, whole in counted)
    return Figure(
        code=rate.code,
        label=Words.of(rate.label),
        formula=Words.of(rate.formula),
        mark=rate.mark,
        unit="share",
        numerator=numerator,
        denominator=denominator,
        value=numerator / denominator if denominator else None,
    )


def _length(span: Span[T], things: Iterable[T], period: Period) -> Figure:
    lengths = [seconds for thing in things if (seconds := span.seconds(thing, period)) is not None]
    return Figure(
        code=span.code,
        label=Words.of(span.label),
        formula=Words.of(span.formula),
        mark=span.mark,
        unit="s",
        numerator=None,
        denominator=len(lengths),
        value=quantile(lengths, span.quantile),
    )


def quantile(values: Sequence[float], share: float) -> float | None:
    """Return a quantile, between two values in proportion, as ``percentile_cont`` does.

    >>> quantile([4, 1, 3, 2], 0.5), quantile([10], 0.9), quantile([], 0.5)
    (2.5, 10, None)
    """
    if not values:
        return None
    ranked = sorted(values)
    place = share * (len(ranked) - 1)
    low = math.floor(place)
    if low + 1 >= len(ranked):
        return ranked[-1]
    return ranked[low] + (ranked[low + 1] - ranked[low]) * (place - low)


_LESS: Final = frozenset(rate.code for rate in CASE_RATES if rate.less_is_better) | frozenset(
    rate.code for rate in ALARM_RATES if rate.less_is_better
)


def score_of(values: Mapping[str, float | None], weights: Mapping[str, float]) -> float | None:
    """Return the score, 0 to 100: the weighted mean of the figures that have a value.

    >>> score_of({"handled_on_time": 0.8, "rework": 0.1}, {"handled_on_time": 40, "rework": 10})
    82.0
    """
    total = gained = 0.0
    for code, weight in weights.items():
        value = values.get(code)
        if value is not None:
            total += weight
            gained += weight * (1 - value if code in _LESS else value)
    return round(100 * gained / total, 2) if total else None


async def read_weights(look: Look, at: datetime) -> dict[str, float]:
    """Return what each indicator weighs at a time."""
    return {row["indicator"]: row["weight"] for row in await look.rows(_WEIGHTS, [at])}
