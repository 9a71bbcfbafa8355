"""What findings of water gauges say: one sentence, and the figures behind it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analytics.stages import ongoing as ongoing_
from analytics.stages import surge
from analytics.stages.arrival import Arrival, estimate
from analytics.stages.explain import duration, quantity, quantity_en
from analytics.stages.gauge_state import RISE, STUCK, GaugeState
from core.batch import Batch, Finding
from core.model import Edge, Severity, Text
from devices.kind import DeviceKind
from devices.water_level import WaterLevel

if TYPE_CHECKING:
    from analytics.stages.gauge import Step

_HOUR_S: Final = 3600.0
_SPAN_MIN: Final = 60  # of a rise that its estimate looks back, at most
_APART_S: Final = 30.0
_STEPS: Final = (
    ("orange", Text("警戒水位", "the warning level")),
    ("red", Text("保证水位", "the guarantee level")),
    ("yellow", Text("汛限水位", "the flood limit")),
)
"""Steps of a station's ladder and what hydrologists call them; the warning level is told first."""
_GOES_ON: Final = Text("，仍在持续", ", and goes on")


@dataclass(frozen=True, slots=True)
class Case:
    """One row of one gauge, as plain figures.

    Attributes:
        batch: The batch.
        row: Where it is in it.
        at: Row of the state.
        n: Place in the step.
        step: The step.
        state: The state.
        value: The level measured, metres.
        noise: The gauge's own, metres.
    """

    batch: Batch
    row: int
    at: int
    n: int
    step: "Step"
    state: GaugeState
    value: float
    noise: float


class GaugeWords:
    """Makes findings for one watch.

    Args:
        kind: The kind.
        watch: Its watch.
        own: The devices' own limits, live.
        detector: Name of the stage.
        version: Of the stage.
    """

    def __init__(
        self,
        kind: DeviceKind,
        watch: WaterLevel,
        own: Mapping[int, Mapping[str, Any]],
        detector: str,
        version: int,
    ) -> None:
        self._watch, self._own = watch, own
        self._metric = kind.metric(watch.metric)
        self._place = [metric.name for metric in kind.reals].index(watch.metric)
        self._severity = {rule.rule_id: rule.severity for rule in kind.rules}
        self._detector, self._version = detector, version

    def case(self, state: GaugeState, step: "Step", n: int) -> Case:
        """Return a place of a step as a case."""
        row, at = int(step.rows[n]), int(step.at[n])
        value = _plain(float(step.batch.values[self._place, row]))
        return Case(step.batch, row, at, n, step, state, value, float(state.noise[at]))

    def spike(self, case: Case) -> Finding:
        """A row jumped and was back with the next one."""
        held = case.step.held
        x, before = _plain(float(held.x[case.n])), float(held.median[case.n])
        limit = max(surge.STEP_M, surge.STEP_NOISES * case.noise)
        explain = Text(
            f"水位突跳到 {self._zh(x)}，随即恢复（此前 {self._zh(before)}），不计入涨速",
            f"level jumped to {self._en(x)} and was back at once (before: {self._en(before)}); "
            "kept out of the rate of rise",
        )
        return self._finding(
            case,
            self._watch.spike_rule,
            "spike",
            Edge.ONCE,
            explain,
            first_ts=int(held.ts[case.n]),
            value=x,
            expected=before,
            limit=limit,
            score=abs(x - before) / limit,
            detail=_band(before, limit) | {"z": _z(x - before, case), "feature": "spike"},
        )

    def fall(self, case: Case) -> Finding:
        """The level fell at once and stays there: a sensor that was cleaned or moved."""
        held = case.step.held
        x, before = _plain(float(held.x[case.n])), float(held.median[case.n])
        limit = max(surge.STEP_M, surge.FALL_NOISES * case.noise)
        explain = Text(
            f"水位突降 {self._zh(before - x)} 后保持不变，疑似传感器被清洗或移动",
            f"level fell by {self._en(before - x)} at once and stays: the sensor may have been "
            "cleaned or moved",
        )
        return self._suspect(
            case, explain, before=before, limit=limit, change=x - before, feature="fall"
        )

    def drift(self, case: Case) -> Finding:
        """The level creeps along a line, and nothing says whether it is the water."""
        slow = case.step.slow
        day, mean = float(slow.day[case.n]), float(slow.mean[case.n])
        limit = float(slow.threshold[case.n])
        explain = Text(
            f"水位一天内缓慢上移 {self._zh(day)}，疑似漂移，待相邻站比对",
            f"level crept up by {self._en(day)} within a day: drift is suspected, a neighbour "
            "must tell",
        )
        return self._suspect(
            case, explain, before=mean - day, limit=limit, change=day, feature="ramp_24h"
        )

    def stuck(self, case: Case, edge: Edge, *, ongoing: bool) -> Finding:
        """The gauge repeats one value, or its noise is gone."""
        flat, n = case.step.flat, case.n
        equal = int(case.state.run[case.at]) + 1
        since = int(case.state.since[case.at, STUCK])
        lasts_zh, lasts_en = duration((int(case.batch.ts[case.row]) - since) / 1e6)
        share = float(flat.share[n])
        if edge is Edge.CLEAR:
            explain = Text("水位读数恢复变化", "the level moves again")
        elif equal >= int(flat.needed[n]):
            explain = Text(
                f"水位连续 {equal} 次读数均为 {self._zh(case.value)}，疑似冻结",
                f"{equal} readings in a row of exactly {self._en(case.value)}: the gauge looks "
                "frozen",
            )
        else:
            explain = Text(
                "水位读数的自然波动消失，疑似冻结",
                "the usual noise of the level is gone: the gauge looks frozen",
            )
        if ongoing:
            explain = _and(explain, Text(f"，已持续 {lasts_zh}", f", for {lasts_en}"))
        return self._finding(
            case,
            self._watch.stuck_rule,
            "stuck",
            edge,
            explain,
            first_ts=since,
            value=case.value,
            limit=float(flat.needed[n]),
            score=equal / float(flat.needed[n]),
            unit="{count}" if edge is not Edge.CLEAR else self._metric.unit,
            flags=(ongoing_.FLAG,) * ongoing,
            detail={"equal_rows": equal, "usual_share": round(share, 3), "feature": "flat_line"},
        )

    def rise(self, case: Case, edge: Edge, flags: tuple[str, ...]) -> Finding:
        """The water rises faster than usual, or faster again, or no more."""
        climb, n = case.step.climb, case.n
        level, rise = float(climb.level[n]), float(climb.rise[n])
        threshold, minutes = float(climb.threshold[n]), surge.LAG_MINUTES[int(climb.lag[n])]
        arrival, goal = self._arrival(case, level)
        detail: dict[str, Any] = {"feature": f"rise_{minutes}min", "z": _z(rise, case)}
        detail |= _band(level - rise, threshold)
        if edge is Edge.CLEAR:
            explain = Text(
                f"水位不再上涨，现 {self._zh(level)}",
                f"the water rises no more, it stands at {self._en(level)}",
            )
        else:
            rate = arrival.rate if arrival and arrival.rate > 0 else rise / (60 * minutes)
            detail["rate"] = round(rate * _HOUR_S, 4)
            explain = Text(
                f"水位 {minutes} 分钟上涨 {self._zh(rise)}，涨速 {rate * _HOUR_S:.2f} m/h",
                f"level up {self._en(rise)} in {minutes} min, {rate * _HOUR_S:.2f} m/h",
            )
            if arrival and goal and not np.isnan(arrival.seconds):
                detail |= _eta(arrival)
                explain = _and(explain, _when(arrival, goal))
            if ongoing_.FLAG in flags:
                explain = _and(explain, _GOES_ON)
            elif flags:
                explain = _and(Text("再次加速上涨：", "rising faster again: "), explain)
        return self._finding(
            case,
            self._watch.rise_rule,
            "rise",
            edge,
            explain,
            first_ts=int(case.state.since[case.at, RISE]),
            value=_short(level),
            expected=_short(level - rise),
            limit=_short(level - rise + threshold),
            score=round(float(climb.ratio[n]), 4),
            flags=flags,
            detail=detail,
        )

    def _arrival(self, case: Case, level: float) -> tuple[Arrival | None, Text | None]:
        """Return how fast the water rises, and when and where it arrives."""
        own = self._own.get(int(case.batch.device_no[case.row]), {})
        ladder = own.get(self._metric.name)
        goals = [
            (float(ladder[name]), label)
            for name, label in _STEPS
            if isinstance(ladder, Mapping) and isinstance(ladder.get(name), int | float)
        ]
        target, label = next(((at, label) for at, label in goals if at > level), (np.nan, None))
        seconds, levels = surge.history(case.state, case.at)
        now = int(case.batch.ts[case.row])
        since = (now - int(case.state.far_t[case.at].max())) / 1e6
        if since > _APART_S and case.step.held.taken[case.n]:  # the newest row is not among them
            seconds, levels = np.append(seconds - since, 0.0), np.append(levels, case.value)
        span = 60 * min(surge.LAG_MINUTES[int(case.step.climb.lag[case.n])], _SPAN_MIN)
        recent = seconds >= -span - _APART_S
        return estimate(seconds[recent], levels[recent], target, case.noise), label

    def _suspect(
        self,
        case: Case,
        explain: Text,
        *,
        before: float,
        limit: float,
        change: float,
        feature: str,
    ) -> Finding:
        return self._finding(
            case,
            self._watch.suspect_rule,
            "drift",
            Edge.ONCE,
            explain,
            first_ts=int(case.batch.ts[case.row]),
            value=_short(before + change),
            expected=_short(before),
            limit=limit,
            score=abs(change) / limit,
            flags=("suspect",),
            detail=_band(before, limit) | {"z": _z(change, case), "feature": feature},
        )

    def _finding(
        self,
        case: Case,
        rule_id: str,
        kind: str,
        edge: Edge,
        explain: Text,
        *,
        detail: dict[str, Any],
        unit: str = "",
        **figures: Any,
    ) -> Finding:
        batch, row = case.batch, case.row
        return Finding(
            device_no=int(batch.device_no[row]),
            rule_id=rule_id,
            detector=self._detector,
            kind=kind,
            edge=edge,
            ts=int(batch.ts[row]),
            received_at=int(batch.rx[row]),
            severity=self._severity.get(rule_id, Severity.BLUE),
            explain=explain,
            metric=self._metric.name,
            unit=unit or self._metric.unit,
            quality=int(batch.quality[row]),
            rule_version=self._version,
            detail={
                "rows": int(case.state.rows_seen[case.at]),
                "noise": round(case.noise, 5),
                "source": self._watch.source,
                **detail,
            },
            **figures,
        )

    def _zh(self, value: float) -> str:
        return quantity(value, self._metric)

    def _en(self, value: float) -> str:
        return quantity_en(value, self._metric)


def _eta(arrival: Arrival) -> dict[str, Any]:
    high = None if np.isnan(arrival.high) else round(arrival.high)
    return {"eta_s": round(arrival.seconds), "eta_lo_s": round(arrival.low), "eta_hi_s": high}


def _when(arrival: Arrival, goal: Text) -> Text:
    """Return the time to a level with its band, such as 约 38 分钟到警戒水位 (33–45 分钟)."""
    zh, en = _span(arrival.seconds)
    unit_s, unit_zh, unit_en = _unit(arrival.seconds)
    low = f"{arrival.low / unit_s:.0f}"
    if np.isnan(arrival.high):
        band = Text(f"最快 {low} {unit_zh}", f"at the earliest {low} {unit_en}")
    else:
        high = f"{arrival.high / unit_s:.0f}"
        band = Text(f"{low}–{high} {unit_zh}", f"{low}–{high} {unit_en}")
    return Text(f"，约 {zh}到{goal.zh}（{band.zh}）", f", about {en} to {goal.en} ({band.en})")


def _unit(seconds: float) -> tuple[float, str, str]:
    return (60.0, "分钟", "min") if seconds < 3 * _HOUR_S else (_HOUR_S, "小时", "h")


def _span(seconds: float) -> tuple[str, str]:
    unit_s, zh, en = _unit(seconds)
    return f"{seconds / unit_s:.0f} {zh}", f"{seconds / unit_s:.0f} {en}"


def _band(middle: float, width: float) -> dict[str, Any]:
    return {"lo": _short(middle - width), "hi": _short(middle + width)}


def _z(change: float, case: Case) -> float:
    return round(change / max(case.noise, 1e-9), 2)


def _short(value: float) -> float:
    return round(value, 4)


def _plain(value: float) -> float:
    """Return a stored value without the digits that single precision adds."""
    return float(str(np.float32(value)))


def _and(first: Text, second: Text) -> Text:
    return Text(first.zh + second.zh, first.en + second.en)
