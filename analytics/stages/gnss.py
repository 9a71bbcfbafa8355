"""Steps of a displacement point: three days against the fifteen before, by the point's own noise.

Daily positions scatter by a few millimetres and wander besides (flicker noise), each station in its
own way. So a step counts only where it is far over the scatter of the station's daily differences
*and* far over what the same statistic usually is at this station. The median of three days gives a
day of delay and spares one false alarm a station-year, against a test of the last day alone.

A day is its median so far, so daily, six-hourly and hourly points are judged by the same figures,
each with every row. After an earthquake the ground creeps on: for 180 days motion under a tenth of
the step is no step of its own.

Every number is ours: on nine real stations over ten years 11 of 11 earthquakes over 8 mm are found,
with 0.05 false alarms a station-year. What remains are real motions of several days, which only
neighbours could tell from a step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analytics.stages.columns import Columns
from analytics.stages.medians import middle
from analytics.stages.order import fresh_rows, passes
from analytics.stages.state import Field, Rows, State, StatefulStage
from core.batch import Batch, Finding
from core.model import Edge, Severity, Text
from devices.kind import DeviceKind
from devices.motion import GroundStep

Floats = NDArray[np.float64]

_DAY_US: Final = 86_400_000_000
_ROWS_A_DAY: Final = 24  # the newest of a day; more would only cost
_AFTER: Final = 3  # days whose median is set against …
_BEFORE: Final = 15  # … the median of so many before
_STEPS: Final = 200  # daily differences that the noise is learnt from …
_LEAST_STEPS: Final = 29  # … so many at least
_LEAST_MM: Final = 0.3  # added to the noise: rounding, and stations that are too good to be true
_USUAL: Final = 400  # days of the station's own statistic …
_LEAST_USUAL: Final = 40
_SKIPPED_USUAL: Final = 5  # … without the last ones, which a step under way would spoil
_CREEP: Final = 5  # days at both ends of the fifteen that tell creep
_CREEP_SHARE: Final = 0.9  # nine days lie between the medians of a step, ten between those
_RAYLEIGH: Final = 1.1774  # median of the length of two standard normal variables
_LEAST_OWN: Final = 0.5
_MAD: Final = 1.4826
_SIGMAS: Final = 5.0
_TIMES_USUAL: Final = 5.5
_HOLD_DAYS: Final = 30  # with a position
_RELAXING_DAYS: Final = 180
_RELAXING_SHARE: Final = 0.1
_NEVER: Final = -(1 << 40)


class _StepState(State):
    """Of each point; lengths in mm, the newest value last.

    Attributes:
        day: Number of the present day, -1 before the first row.
        today: Its rows, NaN where there is none.
        counted: How many rows it has had.
        closed: Positions of the days before.
        days: How many there were of them, ever.
        steps: Differences from day to day, without sign.
        usual: The statistic at the end of each day.
        now: The statistic of today so far.
        noise: Standard deviation of a daily position, by axis.
        own: What the statistic usually is, over that of white noise.
        alarmed: ``days`` at the last step found.
        step_day: Day of the last step found.
        step_mm: Its size.
        told: How grave it was told.
    """

    day: NDArray[np.int64]
    today: NDArray[np.float32]
    counted: NDArray[np.int64]
    closed: NDArray[np.float32]
    days: NDArray[np.int64]
    steps: NDArray[np.float32]
    usual: NDArray[np.float32]
    now: NDArray[np.float32]
    noise: Floats
    own: Floats
    alarmed: NDArray[np.int64]
    step_day: NDArray[np.int64]
    step_mm: Floats
    told: NDArray[np.int8]

    def __init__(self) -> None:
        super().__init__(
            {
                "day": Field(np.int64, fill=-1),
                "today": Field(np.float32, (_ROWS_A_DAY, 2), np.nan),
                "counted": Field(np.int64),
                "closed": Field(np.float32, (_AFTER - 1 + _BEFORE, 2), np.nan),
                "days": Field(np.int64),
                "steps": Field(np.float32, (_STEPS + _AFTER - 1, 2), np.nan),
                "usual": Field(np.float32, (_USUAL,), np.nan),
                "now": Field(np.float32, fill=np.nan),
                "noise": Field(np.float64, (2,), np.nan),
                "own": Field(np.float64, fill=1),
                "alarmed": Field(np.int64, fill=_NEVER),
                "step_day": Field(np.int64, fill=_NEVER),
                "step_mm": Field(np.float64),
                "told": Field(np.int8),
            }
        )


class GnssStep(StatefulStage[_StepState]):
    """The step watch of one kind.

    Args:
        kind: The kind.
        watch: Its watch.
        own: The devices' own limits by ``device_no``, live.
    """

    name = "gnss_step"
    version = 1

    def __init__(
        self, kind: DeviceKind, watch: GroundStep, own: Mapping[int, Mapping[str, Any]]
    ) -> None:
        self._watch = watch
        self._limits = own
        self._columns = Columns(kind)
        super().__init__(_StepState())

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

    def _step(self, batch: Batch, rows: Rows, place: NDArray[np.float32]) -> list[Finding]:
        """Step one row of each of several points."""
        state = self.state
        at = state.rows(batch.device_no[rows])
        day = batch.ts[rows] // _DAY_US
        over = (state.day[at] >= 0) & (day > state.day[at])
        if over.any():
            _close_day(state, at[over])
        state.day[at] = day
        state.today[at, state.counted[at] % _ROWS_A_DAY] = place
        state.counted[at] += 1
        able = (state.days[at] >= state.closed.shape[1]) & ~np.isnan(state.noise[at, 0])
        at, rows = at[able], rows[able]
        if not len(at):
            return []
        today = middle(state.today[at])[:, None]
        days = np.concatenate([state.closed[at].astype(np.float64), today], 1)
        moved = np.sort(days[:, -_AFTER:], 1)[:, _AFTER // 2]
        moved = moved - np.sort(days[:, :_BEFORE], 1)[:, _BEFORE // 2]
        size = np.sqrt(moved[:, 0] ** 2 + moved[:, 1] ** 2)
        # While it is not known what is usual here, creep must not pass for a step.
        usual = np.sort(days[:, :_CREEP], 1)[:, _CREEP // 2]
        creep = np.sort(days[:, _BEFORE - _CREEP : _BEFORE], 1)[:, _CREEP // 2] - usual
        young = np.isnan(state.usual[at, -_SKIPPED_USUAL - _LEAST_USUAL])
        share = np.where(young, _CREEP_SHARE, 0) * np.sqrt(creep[:, 0] ** 2 + creep[:, 1] ** 2)
        parts = moved / state.noise[at]
        score = np.sqrt(parts[:, 0] ** 2 + parts[:, 1] ** 2)
        state.now[at] = score
        score = score * np.maximum(1 - share / np.maximum(size, 1e-9), 0)
        since = day[able] - state.step_day[at]
        relaxing = (since < _RELAXING_DAYS) & (size < _RELAXING_SHARE * state.step_mm[at])
        new = (score > _SIGMAS) & (score / state.own[at] > _TIMES_USUAL) & ~relaxing
        new &= state.days[at] - state.alarmed[at] > _HOLD_DAYS
        grows = ~new & (since <= _AFTER) & (size > state.step_mm[at])
        state.step_mm[at] = np.where(new | grows, size, state.step_mm[at])
        state.step_day[at] = np.where(new, day[able], state.step_day[at])
        state.alarmed[at] = np.where(new, state.days[at], state.alarmed[at])
        state.told[at] = np.where(new, 0, state.told[at])
        found = []
        for n in np.flatnonzero(new | grows):
            severity = self._severity(int(batch.device_no[rows[n]]), float(size[n]))
            if severity > state.told[at[n]]:
                state.told[at[n]] = severity
                case = _Case(batch, int(rows[n]), int(at[n]), moved[n], float(score[n]))
                found.append(self._finding(case, severity))
        return found

    def _severity(self, device_no: int, size: float) -> Severity:
        """Return how grave a step of this size is here; below a device's own limits it is blue."""
        own = self._limits.get(device_no, {}).get(self._watch.rule_id)
        if not isinstance(own, Mapping):
            return self._watch.severity
        reached = [s for s in Severity if size >= own.get(s.name.lower(), np.inf)]
        return max(reached, default=Severity.BLUE)

    def _finding(self, case: "_Case", severity: Severity) -> Finding:
        state, batch, row, at = self.state, case.batch, case.row, case.at
        moved, score = case.moved, case.score
        east, north = float(moved[0]), float(moved[1])
        size = float(np.hypot(east, north))
        own = float(state.own[at])
        noise = float(np.sqrt((state.noise[at, 0] ** 2 + state.noise[at, 1] ** 2) / 2))
        return Finding(
            device_no=int(batch.device_no[row]),
            rule_id=self._watch.rule_id,
            detector=self.name,
            kind="step",
            edge=Edge.ONCE,
            ts=int(batch.ts[row]),
            first_ts=int(batch.ts[row]) - (_AFTER // 2) * _DAY_US,
            received_at=int(batch.rx[row]),
            severity=severity,
            explain=Text(
                f"水平位移发生 {size:.1f} mm 的阶跃（东 {east:+.1f}、北 {north:+.1f}），"
                f"为自身噪声的 {score:.0f} 倍、平时水平的 {score / own:.0f} 倍",
                f"a lasting horizontal step of {size:.1f} mm (east {east:+.1f}, north {north:+.1f})"
                f": {score:.0f} times its noise, {score / own:.0f} times what is usual here",
            ),
            metric=self._watch.east,
            value=size,
            expected=0.0,
            limit=max(_SIGMAS, _TIMES_USUAL * own) * noise,
            unit="mm",
            score=score,
            quality=int(batch.quality[row]),
            detail={
                "lo": 0.0,
                "hi": round(max(_SIGMAS, _TIMES_USUAL * own) * noise, 2),
                "z": round(score / own, 2),
                "feature": "step",
                "rows": int(state.days[at]),
                "model": f"median of {_AFTER} d against {_BEFORE} d",
                "source": self._watch.source,
            },
        )


@dataclass(frozen=True, slots=True)
class _Case:
    """One row of one point: where it is in the batch and in the state, how far it moved, the z."""

    batch: Batch
    row: int
    at: int
    moved: Floats
    score: float


def _close_day(s: _StepState, at: Rows) -> None:
    """Close the present day of some points, and learn from it."""
    place = middle(s.today[at])
    step = np.abs(place - s.closed[at, -1])
    for ring, new in ((s.closed, place), (s.steps, step), (s.usual, s.now[at])):
        ring[at] = np.concatenate([ring[at, 1:], new[:, None].astype(np.float32)], 1)
    s.days[at] += 1
    s.today[at], s.counted[at], s.now[at] = np.nan, 0, np.nan
    learnt = s.steps[at, : 1 - _AFTER]
    enough = np.isfinite(s.steps[at, :, 0]).sum(1) >= _LEAST_STEPS
    scatter = _MAD * middle(learnt) / np.sqrt(2) + _LEAST_MM
    s.noise[at] = np.where(enough[:, None], scatter, np.nan)
    usual = s.usual[at, :-_SKIPPED_USUAL]
    known = np.isfinite(usual).sum(1) >= _LEAST_USUAL
    own = np.maximum(middle(usual[..., None])[:, 0] / _RAYLEIGH, _LEAST_OWN)
    s.own[at] = np.where(known, own, 1.0)
