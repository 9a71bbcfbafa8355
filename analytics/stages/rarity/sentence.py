"""What an unusual behaviour is called: which feature stands out, in Chinese and in English."""

import math
from dataclasses import dataclass
from typing import Final

from analytics.stages.explain import duration, quantity, quantity_en
from analytics.stages.rarity.form import Form
from analytics.stages.rarity.kernel import Change
from core.model import Text
from devices.kind import Metric

BAND: Final = 3.0
"""The band that is told reaches so many mean sizes to either side; ours."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature of a form.

    Attributes:
        name: For ``detail`` of a finding: ``jump``, ``shift``, ``variability`` or ``season``.
        periods: The time scale it looks at, in rows or expected periods; 0: none.
    """

    name: str
    periods: float = 0.0


def features_of(form: Form) -> list[Feature]:
    """Return the features of a form, in the order of the kernel.

    >>> from analytics.stages.rarity.form import LITE
    >>> [(feature.name, round(feature.periods)) for feature in features_of(LITE)]
    [('jump', 1), ('shift', 33), ('shift', 124), ('variability', 19)]
    """
    times = form.times[:, 0].tolist()
    levels, steps = len(form.levels), len(form.steps)
    return [
        Feature("jump", 1.0),
        *(Feature("shift", time) for time in times[1:levels]),
        *(Feature("variability", time) for time in times[levels : levels + steps - 1]),
        *([Feature("season")] * form.season),
    ]


def explain(
    change: Change, feature: Feature, value: float, metric: Metric, period_s: float | None
) -> Text:
    """Return the sentence of an episode that begins, grows or ends.

    Args:
        change: What the kernel saw.
        feature: The feature that stands out.
        value: What was measured.
        metric: Of which metric.
        period_s: Expected seconds between rows; None: time scales are told in rows.
    """
    zh, en = metric.label.zh, metric.label.en
    if not change.now:
        return Text(f"{zh}恢复常态", f"{en} behaves as usual again")
    now_zh, now_en = quantity(value, metric), quantity_en(value, metric)
    usual_zh, usual_en = quantity(change.expected, metric), quantity_en(change.expected, metric)
    over_zh, over_en = _lasting(feature.periods, period_s)
    if feature.name == "variability":
        times = math.exp(min(abs(change.size) * change.scale, 20.0))
        more = change.size > 0
        return Text(
            f"{zh}近{over_zh}的波动约为平时的{_ratio(times, more=more)}，当前 {now_zh}",
            f"{en} varies {times:.1f} times {'more' if more else 'less'} than usual over about"
            f" {over_en}, now {now_en}",
        )
    if feature.name == "season":
        return Text(
            f"{zh} {now_zh}，与此时段的惯常值不符（通常约 {usual_zh}）",
            f"{en} {now_en} is unusual for this hour (usually about {usual_en})",
        )
    side_zh, side_en = ("升高", "up") if change.size > 0 else ("降低", "down")
    if feature.name == "shift":
        return Text(
            f"{zh}在约{over_zh}内持续{side_zh}至 {now_zh}（此前约 {usual_zh}）",
            f"{en} shifted {side_en} over about {over_en}, to {now_en} (before: {usual_en})",
        )
    return Text(
        f"{zh}突然{side_zh}至 {now_zh}（此前约 {usual_zh}）",
        f"{en} jumped {side_en} to {now_en} (before: {usual_en})",
    )


def band(change: Change, feature: Feature) -> tuple[float, float] | None:
    """Return what would have been usual, in the metric's unit; None for a variability."""
    if feature.name == "variability":
        return None
    return change.expected - BAND * change.scale, change.expected + BAND * change.scale


def _lasting(periods: float, period_s: float | None) -> tuple[str, str]:
    if period_s is None:
        return f" {periods:.0f} 次读数", f"{periods:.0f} readings"
    zh, en = duration(periods * period_s)
    return f" {zh}", en


def _ratio(times: float, *, more: bool) -> str:
    return f" {times:.1f} 倍" if more else f" 1/{times:.1f}"
