"""One step of many series: features, how rare each is for its series, score, and alert.

Everything is elementwise over columns of single precision, in chunks that stay in the cache, and
sums are written out in a fixed order: so the same rows give the same bits wherever a batch is cut.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.stages.rarity import form as numbers
from analytics.stages.rarity.form import BINS, Form
from analytics.stages.rarity.memory import (
    F4,
    NEVER,
    Alerts,
    Column,
    RarityState,
)
from analytics.stages.state import Rows

CHUNK: Final = 8_000
"""Series stepped at once; columns fit the cache. No power of two, or the figures of a series would
all fall into one set of it: the transpositions took three times as long at 8,192 (measured)."""
_ONE: Final = np.float32(1)
_TINY: Final = np.float32(1e-12)
_SCALED: Final = np.float32(BINS / 2 / np.arcsinh(numbers.LARGEST))
_HEAVY: Final = 1e18
_CLIPPED_ROWS: Final = 20
_CALM: Final = 0.85
_ALIKE: Final = 0.05
_BLOCK: Final = 400


@dataclass(frozen=True, slots=True)
class Points:
    """One value each of several series.

    Attributes:
        series: ``(n,)`` rows of the state, none twice.
        metric: ``(n,)`` which watched metric of the device each is.
        values: ``(n,)`` what was measured.
        ts: ``(n,)`` event time, microseconds UTC.
        local: ``(n,)`` seconds since midnight in the city.
    """

    series: Rows
    metric: NDArray[np.int8]
    values: F4
    ts: NDArray[np.int64]
    local: F4

    def take(self, at: slice) -> "Points":
        """Return some of them."""
        return Points(
            self.series[at], self.metric[at], self.values[at], self.ts[at], self.local[at]
        )


@dataclass(frozen=True, slots=True)
class Change:
    """An episode that begins, grows or ends with a point, and what its score is made of.

    Attributes:
        at: Which point.
        was: Its rank before: 0 nothing, 1 suspicion, 2 alarm candidate.
        now: Its rank after.
        opened: When it began, microseconds.
        rows: Rows learnt before this one.
        expected: What was expected of the feature that stands out, in the metric's unit.
        scale: Its mean size, likewise; of a change of variability its logarithm.
        feature: Which feature stands out.
        size: How large it is, in such scales, signed.
        rarity: How rare that is for the series, 0 to 1.
    """

    at: int
    was: int
    now: int
    opened: int
    rows: int
    expected: float
    scale: float
    feature: int
    size: float
    rarity: float


@dataclass(frozen=True, slots=True)
class Scored:
    """What a step made of its points.

    Attributes:
        score: ``(n,)`` how rare, 0 to 1; 0 for a series' first row.
        alert: ``(n,)`` 1 where a suspicion begins or is repeated, 2 for an alarm candidate.
        changes: Episodes that begin, grow or end.
    """

    score: F4
    alert: NDArray[np.int8]
    changes: list[Change]


class Kernel:
    """The detector of one form over one state.

    Args:
        form: The form.
        state: What is remembered.
        prior: ``(metrics, features)`` scale of each feature for a series that is new; 0: none.
        period_us: How often a device reports, microseconds; None: rates are per row, whatever time
            passes, as back-tests on regular series want it.
        mute_us: A new series raises nothing for so long, microseconds.
        mute_rows: Nor for so many rows.
    """

    def __init__(
        self,
        form: Form,
        state: RarityState,
        *,
        prior: F4,
        period_us: float | None,
        mute_us: int,
        mute_rows: int = 0,
    ) -> None:
        self._form = form
        self._state = state
        self._prior = np.ascontiguousarray(prior.T)
        self._known = np.where(prior.any(1), numbers.PRIOR_ROWS, 0).astype(np.float32)
        self._period = period_us
        self._mute = mute_us
        self._mute_rows = np.float32(mute_rows)
        self._levels = slice(Column.SERIES, Column.SERIES + len(form.levels))
        self._steps = slice(self._levels.stop, self._levels.stop + len(form.steps))
        self._scales = slice(self._steps.stop, self._steps.stop + form.features)
        self._places = np.arange(form.features, dtype=np.intp)[:, None]
        self._rates = form.rates
        self._decay = -1 / form.times
        self._longest = float(3 * form.times[len(form.levels) - 1, 0])

    def step(self, points: Points) -> Scored:
        """Judge points, then learn them."""
        n = len(points.series)
        parts = [self._step(points.take(slice(at, at + CHUNK))) for at in range(0, n, CHUNK)]
        if len(parts) == 1:
            return parts[0]
        changes = [
            _moved(change, part * CHUNK)
            for part, scored in enumerate(parts)
            for change in scored.changes
        ]
        return Scored(
            np.concatenate([part.score for part in parts]),
            np.concatenate([part.alert for part in parts]),
            changes,
        )

    def _step(self, points: Points) -> Scored:
        state, form = self._state, self._form
        old = state.read(points.series)
        g = _columns(old)
        fresh = g[Column.ROWS] == 0
        begins = np.flatnonzero(fresh)
        if len(begins):
            self._begin(g, begins, points)
        x = points.values - g[Column.BASE]
        rates = self._elapse(g, points)
        floor = (g[Column.HIGH] - g[Column.LOW]) * np.float32(numbers.FLOOR) + _TINY
        levels = g[self._levels]
        before = levels[0].copy()
        features, usual = self._features(g, x, rates, floor, points)
        divisor = g[self._scales] + floor
        steady = slice(len(form.levels), len(form.levels) + len(form.steps) - 1)
        divisor[steady] = g[self._scales][steady] + np.float32(numbers.STEADY)
        size = features / divisor
        rare = self._rarity(g, size, points.series)
        self._rescale(g, features, divisor, rates[-1], points.metric)
        np.maximum(g[Column.HIGH], x, out=g[Column.HIGH])
        np.minimum(g[Column.LOW], x, out=g[Column.LOW])
        g[Column.PREVIOUS] = x
        score = _loudest(rare) if form.loudest else _root_mean_square(rare)
        score[begins] = 0
        if form.season:
            score = self._less_usual(g, score, points)
        alert, turned = self._alert(g, score, points)
        changes = []
        for at, was, opened in turned:
            loudest = _outstanding(rare[:, at], size[:, at])
            seasonal = form.season and loudest == form.features - 1
            changes.append(
                Change(
                    at=at,
                    was=was,
                    now=int(g[Column.OPEN, at]),
                    opened=opened,
                    rows=int(g[Column.ROWS, at]),
                    expected=float(g[Column.BASE, at] + (usual if seasonal else before)[at]),
                    scale=float(divisor[loudest, at]),
                    feature=loudest,
                    size=float(size[loudest, at]),
                    rarity=float(rare[loudest, at]),
                )
            )
        g[Column.ROWS] += _ONE
        state.write(points.series, old, np.ascontiguousarray(g.T))
        return Scored(score, alert, changes)

    def _begin(self, g: F4, at: Rows, points: Points) -> None:
        """Make the first row of a series where it begins."""
        state, series = self._state, points.series[at]
        g[Column.BASE, at] = points.values[at]
        g[Column.GROWN : Column.GROWN + 2, at] = _ONE
        g[Column.HOUR, at] = -1
        g[self._scales, at] = self._prior[:, points.metric[at]]
        alerts = state.flat("alerts")[series]
        later = alerts.copy()
        later[:, Alerts.AT : Alerts.AT + 2] = NEVER
        state.put("alerts", series, alerts, later)
        for name in ("born", "last"):
            state.put(name, series, state.flat(name)[series], points.ts[at])

    def _elapse(self, g: F4, points: Points) -> F4:
        """Return ``(rates, n or 1)`` how much this row weighs in each average."""
        g[Column.WARM] += _ONE
        if self._period is None:
            return self._rates
        last = self._state.flat("last").take(points.series, mode="clip")
        self._state.put("last", points.series, last, points.ts)
        passed = (points.ts - last).astype(np.float32)
        passed *= np.float32(1 / self._period)
        np.maximum(passed, np.float32(numbers.LEAST_PERIODS), out=passed)
        rates: F4 = np.expm1(passed * self._decay)
        np.negative(rates, out=rates)
        gap = passed > np.float32(numbers.GAP_PERIODS)
        if gap.any():
            first = len(self._form.levels)
            steps = rates[first : first + len(self._form.steps)]
            np.copyto(steps, np.float32(-1), where=gap)  # marks: leave the step out
            np.copyto(g[Column.WARM], np.float32(0), where=passed > np.float32(self._longest))
        return rates

    def _features(self, g: F4, x: F4, rates: F4, floor: F4, points: Points) -> tuple[F4, F4]:
        """Return ``(features, n)``, and the usual level at this time of day."""
        form = self._form
        weight = _ONE / (g[Column.ROWS] + _ONE)
        many, others = len(form.levels), len(form.steps) - 1
        features = np.empty((form.features, len(x)), np.float32)
        levels, steps = g[self._levels], g[self._steps]
        levels += np.maximum(rates[:many], weight) * (x - levels)
        np.subtract(x, levels[0], out=features[0])
        np.subtract(levels[:-1], levels[1:], out=features[1:many])
        logs = np.log(steps + floor * np.float32(0.1))
        np.subtract(logs[:-1], logs[-1], out=features[many : many + others])
        step = np.abs(x - g[Column.PREVIOUS])
        pace = rates[many : many + others + 1]
        pace = np.maximum(pace, np.where(pace[0] < 0, np.float32(0), weight))
        steps += pace * (step - steps)
        if not form.season:
            return features, x
        season = self._state.flat("season")
        at = (points.local * np.float32(numbers.SEASON_BINS / 86_400)).astype(np.intp)
        at += points.series * numbers.SEASON_BINS
        usual = season[at]
        known = usual == usual  # noqa: PLR0124 - not NaN
        difference = levels[form.season_level] - usual
        features[-1] = np.where(known, difference, np.float32(0))
        later = np.where(known, usual + np.float32(numbers.SEASON_RATE) * (x - usual), x)
        self._state.put("season", at, usual, later)
        return features, usual

    def _rarity(self, g: F4, size: F4, series: Rows) -> F4:
        """Return ``(features, n)`` how rare each size is: 0 for the usual, 1 for a first time."""
        form, state = self._form, self._state
        bins = np.arcsinh(size)
        bins *= _SCALED
        bins += np.float32(BINS / 2)
        np.clip(bins, 0, BINS - 1, out=bins)
        at = bins.astype(np.intp)
        at *= form.features  # the same bin of all features lies together: most are near the middle
        at += self._places
        at += series * (form.features * BINS)
        counts = state.flat("counts").take(at, mode="clip")
        later = counts.copy()
        both = len(form.memories) > 1
        columns = ((counts.real, later.real), (counts.imag, later.imag))
        parts = columns if both else ((counts, later),)
        rare: F4 | None = None
        for n, (memory, (count, more)) in enumerate(zip(form.memories, parts, strict=True)):
            grown = g[Column.GROWN + n]
            grown *= np.float32(1 / (1 - 1 / memory))
            total = np.minimum(g[Column.ROWS], np.float32(memory)) + np.float32(BINS / 2)
            known = np.log(count * (np.float32(2) / grown) + _ONE)
            known *= np.float32(1 / len(form.memories)) / np.log(total + total)
            rare = known if rare is None else np.add(rare, known, out=rare)
            np.add(more, grown, out=more)
        assert rare is not None  # noqa: S101 - every form remembers
        np.subtract(_ONE, rare, out=rare)
        state.put("counts", at, counts, later)
        heavy = np.flatnonzero(g[Column.GROWN] > np.float32(_HEAVY))
        if len(heavy):
            self._lighten(g, series, heavy)
        return rare

    def _lighten(self, g: F4, series: Rows, heavy: Rows) -> None:
        """Divide counts and weights by the weight, before it overflows."""
        width = self._form.features * BINS
        at = series[heavy][:, None] * width + np.arange(width)
        counts = self._state.flat("counts")[at]
        later = counts.copy()
        if len(self._form.memories) > 1:
            later.real /= g[Column.GROWN, heavy][:, None]
            later.imag /= g[Column.GROWN + 1, heavy][:, None]
        else:
            later /= g[Column.GROWN, heavy][:, None]
        self._state.put("counts", at, counts, later)
        g[Column.GROWN : Column.GROWN + 2, heavy] = _ONE

    def _rescale(
        self, g: F4, features: F4, divisor: F4, rate: F4, metric: NDArray[np.int8]
    ) -> None:
        """Learn how large the features usually are."""
        rows = g[Column.ROWS]
        size = np.abs(features)
        cap = divisor * np.where(rows > _CLIPPED_ROWS, np.float32(numbers.CAP), np.float32(np.inf))
        np.minimum(size, cap, out=size)
        known = self._known[metric] if len(self._known) > 1 else self._known[0]
        weight = _ONE / (rows + _ONE + known)
        scales = g[self._scales]
        scales += np.maximum(rate, weight) * (size - scales)

    def _less_usual(self, g: F4, score: F4, points: Points) -> F4:
        """Return the score less what this hour of the day usually brings."""
        hour = (points.local * np.float32(numbers.HOURS / 86_400)).astype(np.intp)
        hours = self._state.flat("hours")
        changed = g[Column.HOUR] != hour
        over = np.flatnonzero(changed & (g[Column.HOUR] >= 0))
        first = points.series * numbers.HOURS
        if len(over):
            at = first[over] + g[Column.HOUR, over].astype(np.intp)
            usual, peak = hours[at], g[Column.PEAK, over]
            later = usual + np.float32(numbers.HOUR_RATE) * (peak - usual)
            later = np.where(usual == usual, later, np.float32(0.5) * peak)  # noqa: PLR0124
            self._state.put("hours", at, usual, later)
        g[Column.PEAK, changed] = 0
        g[Column.HOUR] = hour
        np.maximum(g[Column.PEAK], score, out=g[Column.PEAK])
        usual = hours[first + hour]
        usual = np.where(usual == usual, usual, np.float32(0))  # noqa: PLR0124 - not NaN
        np.multiply(usual, np.float32(numbers.HOUR_WEIGHT), out=usual)
        less: F4 = np.subtract(score, usual)
        return less

    def _alert(
        self, g: F4, score: F4, points: Points
    ) -> tuple[NDArray[np.int8], list[tuple[int, int, int]]]:
        """Return the alert of each row, and which episodes changed: place, rank before, begin."""
        form, state = self._form, self._state
        alert = np.zeros(len(score), np.int8)
        loud = score >= np.float32(min(form.suspicion, form.candidate))
        loud &= g[Column.WARM] > numbers.WARM_ROWS
        loud &= g[Column.ROWS] >= self._mute_rows
        near = np.flatnonzero(loud | (g[Column.OPEN] > 0))
        if not len(near):
            return alert, []
        series, ts, rows = points.series[near], points.ts[near], g[Column.ROWS, near]
        old, mine = state.flat("alerts")[series], score[near]
        line = old.copy()
        judged = loud[near] & (ts - state.flat("born")[series] >= self._mute)
        told = np.zeros(len(near), np.int8)
        for n, threshold in enumerate((form.suspicion, form.candidate)):
            passed = rows - line[:, Alerts.AT + n]
            past = line[:, Alerts.PAST + n] * np.exp(passed * np.float32(-1 / numbers.DAMPING_ROWS))
            raised = mine >= np.float32(threshold) + np.float32(numbers.DAMPING) * past
            raised &= judged & (passed >= np.float32(numbers.HOLD_OFF_ROWS))
            line[raised, Alerts.PAST + n] = past[raised] + _ONE
            line[raised, Alerts.AT + n] = rows[raised]
            told[raised] = n + 1
        alert[near] = told
        was = g[Column.OPEN, near].astype(np.int8)
        now = np.maximum(was, told)
        calm = (now > 0) & (mine < np.float32(_CALM * form.suspicion))
        line[:, Alerts.CALM] = np.where(calm, line[:, Alerts.CALM] + _ONE, 0)
        now[line[:, Alerts.CALM] >= CALM_ROWS] = 0
        line[now == 0, Alerts.CALM] = 0
        g[Column.OPEN, near] = now
        state.put("alerts", series, old, line)
        opened = state.flat("opened")[series]
        begun = np.where((was == 0) & (now > 0), ts, opened)
        state.put("opened", series, opened, begun)
        changed = np.flatnonzero(was != now)
        return alert, [(int(near[n]), int(was[n]), int(begun[n])) for n in changed]


CALM_ROWS: Final = 20
"""An episode ends after so many calm rows in a row."""


def _columns(lines: F4) -> F4:
    """Return lines as columns, a block that fits the first cache after the other."""
    columns = np.empty(lines.shape[::-1], np.float32)
    for at in range(0, len(lines), _BLOCK):
        columns[:, at : at + _BLOCK] = lines[at : at + _BLOCK].T
    return columns


def _outstanding(rare: F4, size: F4) -> int:
    """Return which feature to name: the largest of those that are about as rare as the rarest."""
    about = rare >= rare.max() - np.float32(_ALIKE)
    return int(np.argmax(np.where(about, np.abs(size), -1)))


def _moved(change: Change, by: int) -> Change:
    return Change(
        change.at + by,
        change.was,
        change.now,
        change.opened,
        change.rows,
        change.expected,
        change.scale,
        change.feature,
        change.size,
        change.rarity,
    )


def _root_mean_square(rare: F4) -> F4:
    """Return the root of the mean of squares of four."""
    a, b, c, d = rare * rare
    score: F4 = np.sqrt(((a + b) + (c + d)) * np.float32(0.25))
    return score


def _loudest(rare: F4) -> F4:
    """Return the mean of the four largest of eight: two sorted fours, then half a bitonic merge."""
    low, high = _sorted4(rare[:4]), _sorted4(rare[4:])
    best = [np.maximum(low[n], high[3 - n]) for n in range(4)]
    score: F4 = ((best[0] + best[1]) + (best[2] + best[3])) * np.float32(0.25)
    return score


def _sorted4(rows: F4) -> tuple[F4, F4, F4, F4]:
    a, b, c, d = rows
    a, b = np.minimum(a, b), np.maximum(a, b)
    c, d = np.minimum(c, d), np.maximum(c, d)
    a, c = np.minimum(a, c), np.maximum(a, c)
    b, d = np.minimum(b, d), np.maximum(b, d)
    return a, np.minimum(b, c), np.maximum(b, c), d
