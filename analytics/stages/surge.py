"""Windows of a gauge's level: rows that jump and come back, and how fast the water rises.

A row off the median of the five before it waits for the next one: if that is back within half, it
was a spike and never enters a window; if not, it was real. A rise is the change of the median of
three rows over 15, 30, 60 and 120 minutes, against the gauge's noise and against its own usual
rises, which pumps and tides make. Windows go by time, so that a station that reports more often
while the water rises is judged alike; they begin again after a gap.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from analytics.stages.gauge_state import FAR, NEAR, Bools, Floats, GaugeState, Ints
from analytics.stages.state import Rows

MINUTE: Final = 60_000_000
LAG_MINUTES: Final = (15, 30, 60, 120)
_LAGS: Final = np.array(LAG_MINUTES, np.int64) * MINUTE
_FACTORS: Final = np.array([1.0, 1.0, 1.15, 1.3])  # analytics design, section 6
LEAST_RISE_M: Final = 0.06
_RISE_NOISES: Final = 6.0
_USUAL_CLIMBS: Final = 7.0
"""Times its usual rise: for a tide, whose mean rise is a third of its largest, a bit over twice."""
_CLIMB_ROWS: Final = 2000
_CLIMB_HUBER: Final = 3.0
_CLIMB_LEARNS: Final = 0.7  # of the threshold: what is about to be a rise teaches nothing
_HALF_HOUR: Final = 1  # place among the lags
STEP_M: Final = 0.1
STEP_NOISES: Final = 8.0
FALL_NOISES: Final = 10.0
_FALL_ROWS: Final = 12
_FALL_RATE: Final = 8.0
_BACK: Final = 0.5
_STAYS: Final = 0.4
_SPACING: Final = 0.8  # of a period between two rows of the far window
_SLACK_PERIODS: Final = 2.5
_NONE: Final = -9.0


@dataclass(frozen=True, slots=True)
class Held:
    """Rows that were held back, judged by the next one, ``(n,)`` each.

    Attributes:
        taken: This row entered the windows.
        aside: This row is held back now.
        spike: The held row was a spike.
        fall: The held row began a sudden fall that stays.
        ts: Time of the held row, microseconds. ``x``: its level.
        median: The level before it.
    """

    taken: Bools
    aside: Bools
    spike: Bools
    fall: Bools
    ts: Ints
    x: Floats
    median: Floats


@dataclass(frozen=True, slots=True)
class Climb:
    """How the water rises, ``(n,)`` each.

    Attributes:
        level: Median of the last three rows, metres.
        ratio: The largest rise over its threshold; below -1 where none can be judged.
        lag: Over which lag, by its place in :data:`LAG_MINUTES`.
        rise: That rise, metres.
        threshold: What it is held against, metres.
        half_hour: The rise of half an hour over the plain threshold, NaN where unknown.
        quarter: The same of a quarter of an hour.
    """

    level: Floats
    ratio: Floats
    lag: Ints
    rise: Floats
    threshold: Floats
    half_hour: Floats
    quarter: Floats

    @property
    def judged(self) -> Bools:
        """Where there was enough to judge by."""
        known: Bools = self.ratio > _NONE
        return known


def restart(state: GaugeState, at: Rows) -> None:
    """Begin the windows again."""
    state.count[at] = 0
    state.far_n[at] = 0
    state.held[at] = False


def take(state: GaugeState, at: Rows, ts: Ints, x: Floats, *, stuck: Bools, period: int) -> Held:
    """Take one row of each gauge into its windows, or hold it back."""
    noise = state.noise[at]
    median, enough = _median(state, at, NEAR), state.count[at] >= NEAR
    held_t, held_x = state.held_t[at].copy(), state.held_x[at].copy()
    waiting = state.held[at] & enough
    off = held_x - median
    spike = waiting & (np.abs(x - median) < _BACK * np.abs(off))
    real = waiting & ~spike
    fall = real & _falls(state, at, x, held_x) & ~stuck
    _append(state, at[real], held_t[real], held_x[real], period)
    median = np.where(real, _median(state, at, NEAR), median)
    newest, third = _newest(state, at, 1), _newest(state, at, 3)
    limit = np.maximum(STEP_M, STEP_NOISES * noise)
    expected = newest + (newest - third) / 2
    jumps = np.minimum(np.abs(x - median), np.minimum(np.abs(x - newest), np.abs(x - expected)))
    aside = enough & ~real & (jumps > limit)
    state.held[at] = aside
    state.held_t[at] = np.where(aside, ts, held_t)
    state.held_x[at] = np.where(aside, x, held_x)
    taken = ~aside
    _append(state, at[taken], ts[taken], x[taken], period)
    return Held(taken, aside, spike, fall, held_t, held_x, held_x - off)


def climb(state: GaugeState, at: Rows, ts: Ints, *, period: int, learns: Bools) -> Climb:
    """Return how the water rose up to this row of each gauge, and learn what is usual."""
    level = _median(state, at, 3)
    base = _bases(state, at, ts, period)
    change = level[:, None] - base
    plain = np.maximum(LEAST_RISE_M, _RISE_NOISES * state.noise[at])
    usual = state.climbs[at]
    threshold = np.maximum(plain[:, None] * _FACTORS, _USUAL_CLIMBS * usual)
    ratio = np.where(np.isnan(change), _NONE, change / threshold)
    lag = ratio.argmax(1)
    each = np.arange(len(at))
    best = ratio[each, lag]
    calm = learns & (best < _CLIMB_LEARNS)
    wanted = calm[:, None] & ~np.isnan(change)
    climbed = state.climbed[at] + calm
    rate = np.maximum(1 / _CLIMB_ROWS, 1 / np.maximum(climbed, 1))[:, None]
    size = np.clip(np.where(wanted, change, 0), 0, _CLIMB_HUBER * usual)
    state.climbs[at] = np.where(wanted, usual + rate * (size - usual), usual)
    state.climbed[at] = climbed
    quarter, half = change[:, 0] / plain, change[:, _HALF_HOUR] / plain
    return Climb(level, best, lag, change[each, lag], threshold[each, lag], half, quarter)


def history(state: GaugeState, row: int) -> tuple[Floats, Floats]:
    """Return seconds before the newest row, and levels, of one gauge's far window, oldest first."""
    count = int(state.far_n[row])
    slots = np.arange(max(0, count - FAR), count) % FAR
    t = state.far_t[row, slots]
    return (t - t[-1]) / 1e6, state.far_x[row, slots]


def _median(state: GaugeState, at: Rows, rows: int) -> Floats:
    """Return the median of the last rows, of fewer where there are fewer, 0 of none."""
    places = (state.count[at][:, None] - 1 - np.arange(rows)) % NEAR
    values = np.take_along_axis(state.near_x[at], places, 1)
    there = np.arange(rows) < state.count[at][:, None]
    values = np.sort(np.where(there, values, np.inf), 1)
    middle = np.maximum(np.minimum(state.count[at], rows) - 1, 0) // 2
    median = np.take_along_axis(values, middle[:, None], 1)[:, 0]
    return np.where(np.isinf(median), 0.0, median)


def _newest(state: GaugeState, at: Rows, back: int) -> Floats:
    """Return the ``back``-th last row of each gauge; anything where there are fewer."""
    values: Floats = state.near_x[at, (state.count[at] - back) % NEAR]
    return values


def _falls(state: GaugeState, at: Rows, x: Floats, held: Floats) -> Bools:
    """Return where a held row began a fall far faster than any before, and the next one agrees."""
    drop = held - _newest(state, at, 1)
    steep = drop < -np.maximum(STEP_M, FALL_NOISES * state.noise[at])
    rate = np.abs(_newest(state, at, 1) - _newest(state, at, NEAR)) / (NEAR - 1)
    stays = np.abs(x - held) < _STAYS * np.abs(drop)
    found: Bools = steep & stays & (state.count[at] >= _FALL_ROWS) & (-drop > _FALL_RATE * rate)
    return found


def _append(state: GaugeState, at: Rows, ts: Ints, x: Floats, period: int) -> None:
    place = state.count[at] % NEAR
    state.near_t[at, place], state.near_x[at, place] = ts, x
    state.count[at] += 1
    count = state.far_n[at]
    newest = state.far_t[at, (count - 1) % FAR]
    apart = (count == 0) | (ts - newest >= _SPACING * period)
    at, ts, x, count = at[apart], ts[apart], x[apart], count[apart]
    state.far_t[at, count % FAR], state.far_x[at, count % FAR] = ts, x
    state.far_n[at] = count + 1


def _bases(state: GaugeState, at: Rows, ts: Ints, period: int) -> Floats:
    """Return ``(n, lags)`` the level that long ago, the median of three rows; NaN where unknown."""
    count = state.far_n[at]
    newest = (count - 1) % FAR
    back = (newest[:, None] - np.arange(FAR)) % FAR  # how many rows before the newest, by slot
    there = back < np.minimum(count, FAR)[:, None]
    t = np.where(there, state.far_t[at], np.iinfo(np.int64).min)
    x, each = state.far_x[at], np.arange(len(at))
    slack = round(_SLACK_PERIODS * period)
    found = np.full((len(at), len(_LAGS)), np.nan)
    for place, lag in enumerate(_LAGS.tolist()):
        old = ts - lag + period // 10
        slot = np.where(t <= old[:, None], t, np.iinfo(np.int64).min).argmax(1)
        order = back[each, slot]
        known = there[each, slot] & (t[each, slot] <= old) & (t[each, slot] >= old - slack)
        known &= order + 2 < np.minimum(count, FAR)
        three = [x[each, (slot - n) % FAR] for n in range(3)]
        low, high = np.minimum(three[0], three[1]), np.maximum(three[0], three[1])
        median = np.maximum(low, np.minimum(high, three[2]))
        found[:, place] = np.where(known, median, np.nan)
    return found
