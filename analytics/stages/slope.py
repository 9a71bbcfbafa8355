"""Slopes and dam bodies that go ever faster: orange, then red, days before they fail.

After rain a slope jumps and comes to rest, in autumn it creeps, before a failure it accelerates
until it goes, and for days all three look alike. So four explanations compete over the last thirty
days (:mod:`analytics.stages.slope_fit`), and only where a failure explains clearly more than creep
and rain do is it told. The tangent angle (切线角, Xu Qiang) and how long it may take are shown as
explanation and trigger nothing: from one window they call every rain step a failure.

Positions are taken every six hours, the median of what came since; those missing hold the last one.
One that lies far from the last five is held for a row: a glitch, unless the next confirms it.

Every number is ours (measured on simulated slopes).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.stages import ongoing
from analytics.stages.columns import Columns
from analytics.stages.order import fresh_rows, passes
from analytics.stages.slope_fit import REMAINS, SLOT_S, SLOTS, Fit, Floats, explain
from analytics.stages.slope_track import LAST, SlopeState, collect
from analytics.stages.state import Rows, StatefulStage
from core.batch import Batch, Episode, Finding
from core.model import Edge, Severity, Text
from devices.kind import DeviceKind
from devices.motion import GroundAcceleration

Bools = NDArray[np.bool_]

_LEAST_REAL: Final = 1 / 3  # of the window; daily positions are too few to tell rain from failure
_RED_GAIN, _RED_OVER_ONE = 45.0, 8.0  # in variances of the noise
_ORANGE_GAIN, _ORANGE_OVER_ONE = 30.0, 5.0
_OVER_ONE_SHARE: Final = 0.02
_OVER_TWO: Final = -8.0
_BESIDE_OVER_ONE: Final = 60.0  # of a failure beside a step, over that step alone …
_BESIDE_OVER_TWO, _BESIDE_SHARE = 20.0, 0.005  # … and over two steps: they must not do as well
_BESIDE_ORANGE: Final = 10.0
_LEAST_MM_A_DAY: Final = 1.5
_NEED: Final = 2  # of four rows so many must agree
_LEAST_EVEN: Final = 0.5  # mm a day
_CALM_SLOTS: Final = 40
_LIKELY: Final = 4.0  # two standard deviations
_STAGES: Final = ((85.0, "临滑", "imminent"), (80.0, "加速中期", "accelerating"))
_EARLY: Final = ("加速初期", "early acceleration")


class Slope(StatefulStage[SlopeState]):
    """The acceleration watch of one kind.

    Args:
        kind: The kind.
        watch: Its watch.
    """

    name = "slope"
    version = 1

    def __init__(self, kind: DeviceKind, watch: GroundAcceleration) -> None:
        self._watch = watch
        self._columns = Columns(kind)
        super().__init__(SlopeState())

    def judge(self, batch: Batch) -> Sequence[Finding]:
        """See :meth:`StatefulStage.judge`."""
        rows = fresh_rows(batch)
        axes = (self._watch.east, self._watch.north)
        place = np.stack([self._columns.read(batch, axis, rows) for axis in axes], 1)
        measured = np.isfinite(place[:, 0]) & np.isfinite(place[:, 1])
        rows, place = rows[measured], place[measured]
        return [
            finding
            for at in passes(batch.device_no[rows])
            for finding in self._step(batch, rows[at], place[at])
        ]

    def take_up(self, row: int, episode: Episode) -> None:
        """See :meth:`StatefulStage.take_up`."""
        if episode.rule_id != self._watch.rule_id:
            return
        state = self.state
        level = 2 if episode.severity is Severity.RED else 1
        state.level[row] = level if episode.is_open else 0
        state.calm[row] = 0
        state.opened[row] = episode.first_ts
        state.told[row] = episode.ts
        state.heard[row] = episode.ts if episode.is_open else 0

    def _step(self, batch: Batch, rows: Rows, place: NDArray[np.float32]) -> list[Finding]:
        """Step one row of each of several points."""
        state = self.state
        at = state.rows(batch.device_no[rows])
        begins = collect(state, at, batch.ts[rows], place)
        at, rows = at[begins], rows[begins]
        full = (state.filled[at] >= SLOTS) & (state.real[at].sum(1) >= _LEAST_REAL * SLOTS)
        at, rows = at[full], rows[full]
        return self._weigh(batch, rows, at) if len(at) else []

    def _weigh(self, batch: Batch, rows: Rows, at: Rows) -> list[Finding]:
        """Weigh the explanations of full windows."""
        state = self.state
        variance = state.noise[at] ** 2
        fit = explain(state.window[at], _LIKELY * variance)
        said = weigh(fit, variance)
        rings = (state.red, said.red), (state.beside, said.beside), (state.orange, said.orange)
        for ring, new in rings:
            ring[at] = np.concatenate([ring[at, 1:], new[:, None]], 1)
        some = said.orange & (state.orange[at].sum(1) >= _NEED)
        sure = said.red & (state.red[at].sum(1) >= _NEED) | state.beside[at].all(1)
        now = np.where(sure, 2, np.where(some, 1, 0))
        before = state.level[at]
        state.calm[at] = np.where(now > 0, 0, state.calm[at] + 1)
        ends = (before > 0) & (state.calm[at] >= _CALM_SLOTS)
        after = np.where(ends, 0, np.maximum(before, now))
        state.level[at] = after
        ts = batch.ts[rows]
        state.opened[at] = np.where((before == 0) & (after > 0), ts, state.opened[at])
        moves = after != before
        again = ongoing.tell_again(
            state,
            at,
            ts,
            on=(after > 0)[:, None],
            breach=(now > 0)[:, None],
            told=moves[:, None],
        )[:, 0]
        found = []
        for n in np.flatnonzero(moves | again):
            case = _Case(batch, int(rows[n]), int(at[n]), said, int(n), int(after[n]))
            if ends[n]:
                found.append(self._ended(case, int(before[n])))
            elif again[n]:
                finding = self._accelerates(case, Edge.UPDATE)
                found.append(replace(finding, flags=(ongoing.FLAG,)))
            else:
                found.append(self._accelerates(case, Edge.UPDATE if before[n] else Edge.OPEN))
        return found

    def _accelerates(self, case: "_Case", edge: Edge) -> Finding:
        said, n = case.said, case.n
        velocity, remains, gain = (
            float(each[n]) for each in (said.velocity, said.remains, said.gain)
        )
        over_one, over_two = float(said.over_one[n]), float(said.over_two[n])
        angle = _tangent_angle(self.state.window[case.at], velocity)
        stage_zh, stage_en = next(((zh, en) for least, zh, en in _STAGES if angle >= least), _EARLY)
        lo, hi = float(said.soonest[n]), float(said.latest[n])
        span_zh, span_en = f"{lo:g}～{hi:g} 天", f"{lo:g} to {hi:g}"
        if hi >= REMAINS[-1]:  # no longer time is tried
            span_zh, span_en = f"{lo:g} 天以上", f"{lo:g} or more"
        explain_it = Text(
            f"加速变形：速度 {velocity:.1f} mm/天，切线角 {angle:.0f}°（{stage_zh}），"
            f"照此发展约 {remains:g} 天（{span_zh}）后失稳",
            f"accelerating: {velocity:.1f} mm/d, tangent angle {angle:.0f}° ({stage_en}); about"
            f" {remains:g} days ({span_en}) to failure if it goes on",
        )
        day_s = 86_400
        detail = {
            "lo": 0.0,
            "hi": _LEAST_MM_A_DAY,
            "z": round(float(np.sqrt(gain)), 2),
            "feature": "acceleration",
            "rows": int(self.state.filled[case.at]),
            "model": f"inverse velocity; over one step {over_one:+.0f}, over two {over_two:+.0f}",
            "rate": round(velocity, 2),
            "eta_s": round(remains * day_s),
            "eta_lo_s": round(lo * day_s),
            "eta_hi_s": round(hi * day_s),
            "tangent_deg": round(angle, 1),
            "source": self._watch.source,
        }
        finding = self._finding(case, edge, case.level, explain_it)
        limit = _RED_GAIN if case.level > 1 else _ORANGE_GAIN
        return replace(
            finding, value=velocity, score=gain, limit=limit, expected=0.0, detail=detail
        )

    def _ended(self, case: "_Case", before: int) -> Finding:
        days = _CALM_SLOTS * SLOT_S / 86_400
        calm = Text(f"已 {days:g} 天无加速迹象", f"no acceleration for {days:g} days")
        velocity = float(case.said.velocity[case.n])
        return replace(self._finding(case, Edge.CLEAR, before, calm), value=velocity)

    def _finding(self, case: "_Case", edge: Edge, level: int, explain_it: Text) -> Finding:
        batch, row = case.batch, case.row
        return Finding(
            device_no=int(batch.device_no[row]),
            rule_id=self._watch.rule_id,
            detector=self.name,
            kind="acceleration",
            edge=edge,
            ts=int(batch.ts[row]),
            first_ts=int(self.state.opened[case.at]),
            received_at=int(batch.rx[row]),
            severity=Severity.RED if level > 1 else Severity.ORANGE,
            explain=explain_it,
            metric=self._watch.east,
            unit="mm/d",
            quality=int(batch.quality[row]),
        )


@dataclass(frozen=True, slots=True)
class _Case:
    """One point: its row in the batch and in the state, what is said of it, and its level."""

    batch: Batch
    row: int
    at: int
    said: "Weighed"
    n: int
    level: int


@dataclass(frozen=True, slots=True)
class Weighed:
    """What one fit of each of several slopes says; every array is ``(n,)``.

    Attributes:
        red: A failure alone explains far more than creep and rain.
        beside: A failure beside a rain step does.
        orange: One of them explains more.
        gain: Of the failure over the straight line, in variances of the noise.
        over_one: The same over one step.
        over_two: The same over two.
        velocity: Of the ground now, mm a day.
        remains: Days to that failure.
        soonest: Least days that explain about as much.
        latest: Most days.
    """

    red: Bools
    beside: Bools
    orange: Bools
    gain: Floats
    over_one: Floats
    over_two: Floats
    velocity: Floats
    remains: Floats
    soonest: Floats
    latest: Floats


def weigh(fit: Fit, variance: Floats) -> Weighed:
    """Weigh the gains of the explanations against one another.

    Args:
        fit: Of each slope.
        variance: ``(n,)`` of its noise, mm².
    """
    gain, one, two, after = (each / variance for each in (fit.failure, fit.one, fit.two, fit.after))
    fast = (gain - two > _OVER_TWO) & (fit.velocity > _LEAST_MM_A_DAY)
    red = fast & (gain > _RED_GAIN) & (gain - one > _RED_OVER_ONE + _OVER_ONE_SHARE * gain)
    orange = fast & (gain > _ORANGE_GAIN) & (gain - one > _ORANGE_OVER_ONE)
    comes = (after - one > _BESIDE_OVER_ONE) & (fit.after_velocity > _LEAST_MM_A_DAY)
    beside = comes & (after - two > _BESIDE_OVER_TWO + _BESIDE_SHARE * after)
    maybe = comes & (after - two > _BESIDE_ORANGE)
    alone = red | orange | ~maybe
    return Weighed(
        red,
        beside,
        orange | maybe,
        np.where(alone, gain, after),
        np.where(alone, gain, after) - one,
        np.where(alone, gain, after) - two,
        np.where(alone, fit.velocity, fit.after_velocity),
        np.where(alone, fit.remains, fit.after_remains),
        np.where(alone, fit.soonest, fit.after_remains),
        np.where(alone, fit.latest, fit.after_remains),
    )


def _tangent_angle(window: NDArray[np.float32], velocity: float) -> float:
    """Return the improved tangent angle in degrees.

    It is the slope of displacement over time in units of the even creep before: of the first half
    of the window, and at least half a millimetre a day: less cannot be told from standing still.
    """
    half = SLOTS // 2
    moved = window[half - LAST : half].mean(0) - window[:LAST].mean(0)
    days = (half - LAST) * SLOT_S / 86_400
    even = max(float(np.hypot(*moved.astype(np.float64))) / days, _LEAST_EVEN)
    return float(np.degrees(np.arctan(velocity / even)))
