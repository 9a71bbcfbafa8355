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
from analytics.stages.medians import middle
from analytics.stages.order import fresh_rows, passes
from analytics.stages.slope_fit import SLOT_S, SLOTS, Fit, Floats, explain
from analytics.stages.state import Field, Rows, State, StatefulStage
from core.batch import Batch, Episode, Finding
from core.model import Edge, Severity, Text
from devices.kind import DeviceKind
from devices.motion import GroundAcceleration

Bools = NDArray[np.bool_]

_SLOT_US: Final = SLOT_S * 1_000_000
_GAP_SLOTS: Final = 8  # after so many missing ones the window starts again
_SINCE: Final = 12  # rows of a slot that are kept
_LAST: Final = 5
_GLITCH_MM: Final = 10.0
_GLITCH_SIGMAS: Final = 8.0
_CONFIRMS: Final = 0.5  # share of its jump within which the next must lie

_NOISE_MM: Final = 2.0  # until learnt
_LEAST_NOISE_MM: Final = 0.3
_NOISE_ROWS: Final = 200
_HUBER: Final = 3.0
_MEAN_STEP: Final = 1.128  # mean |difference| of two samples of unit noise

_RED_GAIN, _RED_OVER_ONE = 45.0, 8.0  # in variances of the noise
_ORANGE_GAIN, _ORANGE_OVER_ONE = 30.0, 5.0
_OVER_ONE_SHARE: Final = 0.02
_OVER_TWO: Final = -8.0
_LEAST_MM_A_DAY: Final = 1.5
_ROUNDS, _NEED = 4, 2  # of four rows so many must agree
_CALM_SLOTS: Final = 40
_LIKELY: Final = 4.0  # two standard deviations
_STAGES: Final = ((85.0, "临滑", "imminent"), (80.0, "加速中期", "accelerating"))
_EARLY: Final = ("加速初期", "early acceleration")


class _SlopeState(State):
    """Of each point; lengths in mm, the newest value last.

    Attributes:
        first: Time of the first row, microseconds: slots count from it.
        slot: Number of the last slot, -1 before the first.
        since: Rows since that slot began, NaN where there is none.
        counted: How many.
        last_at: Time of the last row.
        window: Positions, a slot each.
        filled: How many slots since the window started.
        last: The last accepted positions.
        noise: Standard deviation of one component.
        learnt: Differences that was learnt from.
        held: The last position was held back as a glitch.
        seen: The last position before glitches were taken out.
        red: Whether the last rows said red.
        orange: Likewise.
        level: 0 nothing, 1 orange, 2 red.
        calm: Slots without either.
        opened: When the open episode began.
    """

    first: NDArray[np.int64]
    slot: NDArray[np.int64]
    since: NDArray[np.float32]
    counted: NDArray[np.int64]
    last_at: NDArray[np.int64]
    window: NDArray[np.float32]
    filled: NDArray[np.int64]
    last: NDArray[np.float32]
    noise: Floats
    learnt: NDArray[np.int64]
    held: Bools
    seen: NDArray[np.float32]
    red: Bools
    orange: Bools
    level: NDArray[np.int8]
    calm: NDArray[np.int64]
    opened: NDArray[np.int64]
    told: NDArray[np.int64]
    heard: NDArray[np.int64]
    pace: NDArray[np.int64]

    def __init__(self) -> None:
        super().__init__(
            {
                "first": Field(np.int64),
                "slot": Field(np.int64, fill=-1),
                "since": Field(np.float32, (_SINCE, 2), np.nan),
                "counted": Field(np.int64),
                "last_at": Field(np.int64),
                "window": Field(np.float32, (SLOTS, 2)),
                "filled": Field(np.int64),
                "last": Field(np.float32, (_LAST, 2), np.nan),
                "noise": Field(np.float64, fill=_NOISE_MM),
                "learnt": Field(np.int64),
                "held": Field(np.bool_),
                "seen": Field(np.float32, (2,)),
                "red": Field(np.bool_, (_ROUNDS,)),
                "orange": Field(np.bool_, (_ROUNDS,)),
                "level": Field(np.int8),
                "calm": Field(np.int64),
                "opened": Field(np.int64),
            }
            | ongoing.fields(1)
        )


class Slope(StatefulStage[_SlopeState]):
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
        super().__init__(_SlopeState())

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
        begins = _collect(state, at, batch.ts[rows], place)
        at, rows = at[begins], rows[begins]
        full = state.filled[at] >= SLOTS
        at, rows = at[full], rows[full]
        return self._weigh(batch, rows, at) if len(at) else []

    def _weigh(self, batch: Batch, rows: Rows, at: Rows) -> list[Finding]:
        """Weigh the explanations of full windows."""
        state = self.state
        variance = state.noise[at] ** 2
        fit = explain(state.window[at], _LIKELY * variance)
        gain = fit.failure / variance
        over_one, over_two = gain - fit.one / variance, gain - fit.two / variance
        sure = (over_two > _OVER_TWO) & (fit.velocity > _LEAST_MM_A_DAY)
        orange = sure & (gain > _ORANGE_GAIN) & (over_one > _ORANGE_OVER_ONE)
        red = sure & (gain > _RED_GAIN) & (over_one > _RED_OVER_ONE + _OVER_ONE_SHARE * gain)
        for ring, new in ((state.red, red), (state.orange, orange)):
            ring[at] = np.concatenate([ring[at, 1:], new[:, None]], 1)
        now = np.where(orange & (state.orange[at].sum(1) >= _NEED), 1, 0)
        now = np.where(red & (state.red[at].sum(1) >= _NEED), 2, now)
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
            case = _Case(batch, int(rows[n]), int(at[n]), fit, int(n), int(after[n]))
            if ends[n]:
                found.append(self._ended(case, int(before[n])))
            elif again[n]:
                finding = self._accelerates(case, Edge.UPDATE, gain[n], over_one[n], over_two[n])
                found.append(replace(finding, flags=(ongoing.FLAG,)))
            else:
                edge = Edge.UPDATE if before[n] else Edge.OPEN
                found.append(self._accelerates(case, edge, gain[n], over_one[n], over_two[n]))
        return found

    def _accelerates(
        self, case: "_Case", edge: Edge, gain: float, over_one: float, over_two: float
    ) -> Finding:
        fit, n = case.fit, case.n
        velocity, remains = float(fit.velocity[n]), float(fit.remains[n])
        angle = _tangent_angle(self.state.window[case.at], velocity)
        stage_zh, stage_en = next(((zh, en) for least, zh, en in _STAGES if angle >= least), _EARLY)
        lo, hi = float(fit.soonest[n]), float(fit.latest[n])
        explain_it = Text(
            f"加速变形：速度 {velocity:.1f} mm/天，切线角 {angle:.0f}°（{stage_zh}），"
            f"照此发展约 {remains:g} 天（{lo:g}～{hi:g} 天）后失稳",
            f"accelerating: {velocity:.1f} mm/d, tangent angle {angle:.0f} deg ({stage_en}); about"
            f" {remains:g} days ({lo:g} to {hi:g}) to failure if it goes on",
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
            finding, value=velocity, score=float(gain), limit=limit, expected=0.0, detail=detail
        )

    def _ended(self, case: "_Case", before: int) -> Finding:
        days = _CALM_SLOTS * SLOT_S / 86_400
        calm = Text(f"已 {days:g} 天无加速迹象", f"no acceleration for {days:g} days")
        velocity = float(case.fit.velocity[case.n])
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
    """One point: its row in the batch and in the state, its place in the fit, and its level."""

    batch: Batch
    row: int
    at: int
    fit: Fit
    n: int
    level: int


def _collect(s: _SlopeState, at: Rows, ts: NDArray[np.int64], place: NDArray[np.float32]) -> Bools:
    """Take a row of each of several points in; return where it begins a slot."""
    new = s.slot[at] < 0
    s.first[at] = np.where(new, ts, s.first[at])
    slot = (ts - s.first[at] + _SLOT_US // 2) // _SLOT_US
    stale = ts - s.last_at[at] > _SLOT_US
    s.last_at[at] = ts
    s.since[at[stale]], s.counted[at[stale]] = np.nan, 0
    s.since[at, s.counted[at] % _SINCE] = place
    s.counted[at] += 1
    begins = slot > s.slot[at]
    passed = np.where(new, 1, slot - s.slot[at])[begins]
    k = at[begins]
    if len(k):
        here = middle(s.since[k]).astype(np.float32)
        s.since[k], s.counted[k] = np.nan, 0
        s.slot[k] = slot[begins]
        _hold_missing(s, k, passed, new[begins])
        _take(s, k, here)
    return begins


def _hold_missing(s: _SlopeState, at: Rows, passed: NDArray[np.int64], new: Bools) -> None:
    """Hold the last position over missing slots; after too many the window starts again."""
    gone = at[passed > _GAP_SLOTS]
    s.filled[gone], s.last[gone], s.held[gone] = 0, np.nan, False
    s.red[gone], s.orange[gone] = False, False
    for missing in range(1, _GAP_SLOTS):
        some = at[(passed > missing) & (passed <= _GAP_SLOTS) & ~new]
        if not len(some):
            break
        _push(s, some, s.window[some, -1])


def _take(s: _SlopeState, at: Rows, here: NDArray[np.float32]) -> None:
    """Take the position of a new slot, unless it is a glitch; follow the noise."""
    usual = middle(s.last[at])
    usual = np.where(np.isnan(usual), here, usual)
    jump = _distance(here, usual)
    far = jump > np.maximum(_GLITCH_MM, _GLITCH_SIGMAS * s.noise[at])
    far &= np.isfinite(s.last[at, 0, 0])
    confirmed = far & s.held[at] & (_distance(here, s.seen[at]) < _CONFIRMS * jump)
    taken = ~far | confirmed
    s.window[at[confirmed], -1] = s.seen[at[confirmed]]
    s.held[at], s.seen[at] = far & ~confirmed, here
    use = taken | (s.filled[at] == 0)
    _push(s, at, np.where(use[:, None], here, s.window[at, -1]))
    step = np.abs(here.astype(np.float64) - s.last[at, -1])
    mean = (step[:, 0] + step[:, 1]) / 2 / _MEAN_STEP
    known = taken & np.isfinite(mean)
    k, mean = at[known], mean[known]
    s.learnt[k] += 1
    rate = np.maximum(1 / _NOISE_ROWS, 1 / s.learnt[k])
    now = s.noise[k]
    s.noise[k] = np.maximum(now + rate * (np.minimum(mean, _HUBER * now) - now), _LEAST_NOISE_MM)
    k = at[taken]
    s.last[k] = np.concatenate([s.last[k, 1:], here[taken][:, None]], 1)


def _push(s: _SlopeState, at: Rows, place: NDArray[np.float32]) -> None:
    s.window[at] = np.concatenate([s.window[at, 1:], place[:, None]], 1)
    s.filled[at] += 1


def _distance(a: NDArray[np.float32], b: Floats | NDArray[np.float32]) -> Floats:
    off = a.astype(np.float64) - b
    distance: Floats = np.sqrt(off[:, 0] ** 2 + off[:, 1] ** 2)
    return distance


def _tangent_angle(window: NDArray[np.float32], velocity: float) -> float:
    """Return the improved tangent angle in degrees.

    It is the slope of displacement over time in units of the even creep before: of the first half
    of the window, and at least a tenth of a millimetre a day.
    """
    half = SLOTS // 2
    moved = window[half - _LAST : half].mean(0) - window[:_LAST].mean(0)
    days = (half - _LAST) * SLOT_S / 86_400
    even = max(float(np.hypot(*moved.astype(np.float64))) / days, 0.1)
    return float(np.degrees(np.arctan(velocity / even)))
