"""Frozen gauges: rows that are too equal, or noise that is gone.

How many equal rows are too many hangs on the gauge: one that reads centimetres repeats itself most
of the time. Its share of equal steps is learnt from the first six of each run only, so that a
frozen sensor does not teach that freezing is usual. Noise is the Huberised size of second
differences, in which the slope of a flood cancels.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from analytics.stages.gauge_state import NEAR, Bools, Floats, GaugeState, Ints
from analytics.stages.state import Rows

LEAST_EQUAL: Final = 12
"""So many equal rows at the least (analytics design, section 6)."""
_CHANCE: Final = 1e-9  # of so many equal rows by the gauge's own share of them
_UNLEARNT_EQUAL: Final = 288  # needed while that share is not known: a day at five minutes
_LEARNT_STEPS: Final = 40
_LEARNING_RUN: Final = 6
_FORGET: Final = 1 - 1 / 500
_LONGEST_TIMES: Final = 2.5
"""A level that rests between two steps of the gauge is equal for long, whatever its short runs."""
_FORGET_RUNS: Final = 1 - 1 / 8000
_MOST_EQUAL: Final = 0.9995
_STILL_ROWS: Final = 8
_STILL_SHARE: Final = 0.15
_STILL_STAYS: Final = 0.4
_STILL_LEARNT: Final = 100
_STILL_NOISE_M: Final = 0.0025  # a gauge quieter than this rounds its noise away by itself
_STILL_FINE: Final = 0.3  # and so does one with a larger share of equal steps
_LATELY: Final = 1 / 8
_NOISE_ROWS: Final = 288
_LEAST_NOISE_M: Final = 0.0005
_OF_TWO: Final = 2  # rows before this one
_HUBER: Final = 3.0
_MEAN_ABS: Final = 0.7979  # E|z| of a standard normal


@dataclass(frozen=True, slots=True)
class Flat:
    """What one row of each gauge says, ``(n,)`` each.

    Attributes:
        stuck: The gauge is frozen in this row.
        begins: From this row on.
        ends: It moves again with this row.
        share: The share of equal steps that it was judged by, an upper estimate.
        needed: Equal rows it takes to be frozen.
        change: Second difference in units of a row's noise, NaN where there is none.
    """

    stuck: Bools
    begins: Bools
    ends: Bools
    share: Floats
    needed: Ints
    change: Floats


def step(state: GaugeState, at: Rows, ts: Ints, x: Floats, *, stuck: Bools, fresh: Bools) -> Flat:
    """Step one row of each of several gauges.

    Args:
        state: Of the stage.
        at: ``(n,)`` rows of the state.
        ts: Event time, microseconds.
        x: Level, metres.
        stuck: The gauge was frozen before.
        fresh: The row has none before it: the first, or the first after a gap.
    """
    equal = ~fresh & (x == state.value[at])
    before = state.run[at]
    run = np.where(equal, before + 1, 0)
    learns = ~fresh & (before < _LEARNING_RUN)
    kept = np.where(learns, _FORGET, 1.0)
    state.same[at] = state.same[at] * kept + (learns & equal)
    state.steps[at] = state.steps[at] * kept + learns
    share = np.minimum((state.same[at] + 2) / (state.steps[at] + 4), _MOST_EQUAL)
    rows = np.ceil(np.log(_CHANCE) / np.log(share)).astype(np.int64)
    rows = np.maximum(rows, np.ceil(_LONGEST_TIMES * state.longest[at]).astype(np.int64))
    known = state.steps[at] >= _LEARNT_STEPS
    needed = np.maximum(np.where(known, rows, np.maximum(rows, _UNLEARNT_EQUAL)), LEAST_EQUAL)
    change = _second_difference(state, at, ts, x)
    still = _still(state, at, change, stuck, share)
    frozen = (run >= needed - 1) | (still >= _STILL_ROWS)
    goes_on = stuck & (equal | (still > 0))
    now = frozen | goes_on
    _learn_runs(state, at, ended=~fresh & ~equal, needed=needed, coarse=share >= _STILL_FINE)
    state.run[at], state.still[at] = run, still
    _learn_noise(state, at, change, run)
    return Flat(now, now & ~stuck, stuck & ~now, share, needed, change)


def _learn_runs(state: GaugeState, at: Rows, *, ended: Bools, needed: Ints, coarse: Bools) -> None:
    """Learn the longest run; of a gauge that repeats itself little not from a frozen one."""
    length = state.run[at] + 1
    learns = ended & ((length < needed) | coarse)
    longest = state.longest[at] * _FORGET_RUNS
    longer = np.maximum(longest, np.minimum(length, needed))
    state.longest[at] = np.where(learns, longer, longest)


def _second_difference(state: GaugeState, at: Rows, ts: Ints, x: Floats) -> Floats:
    """Return how far the row before is off the line between its neighbours, in a row's noise."""
    count = state.count[at]
    newest, older = (count - 1) % NEAR, (count - 2) % NEAR
    t1, t0 = state.near_t[at, newest], state.near_t[at, older]
    x1, x0 = state.near_x[at, newest], state.near_x[at, older]
    span = np.maximum(ts - t0, 1)
    part = (t1 - t0) / span
    off = np.abs(x1 - (x0 + (x - x0) * part))
    size = np.sqrt(1 + part**2 + (1 - part) ** 2)
    return np.where(count >= _OF_TWO, off / size / _MEAN_ABS, np.nan)


def _still(state: GaugeState, at: Rows, change: Floats, stuck: Bools, share: Floats) -> Ints:
    """Return in how many rows running the noise is nearly gone."""
    known = ~np.isnan(change)
    lately = state.lately[at]
    moved = np.where(lately < 0, change, lately + _LATELY * (change - lately))
    lately = np.where(known, moved, -1.0)
    state.lately[at] = lately
    usual = state.noise[at]
    limit = np.where(stuck & (state.still[at] >= _STILL_ROWS), _STILL_STAYS, _STILL_SHARE) * usual
    able = known & (usual > _STILL_NOISE_M) & (state.learnt[at] > _STILL_LEARNT)
    low = able & (lately < limit) & (share < _STILL_FINE)
    return np.where(low, state.still[at] + 1, 0)


def _learn_noise(state: GaugeState, at: Rows, change: Floats, run: Ints) -> None:
    learns = ~np.isnan(change) & (run == 0) & (state.still[at] == 0)
    noise, learnt = state.noise[at], state.learnt[at] + learns
    rate = np.maximum(1 / _NOISE_ROWS, 1 / np.maximum(learnt, 1))
    moved = noise + rate * (np.minimum(change, _HUBER * noise) - noise)
    state.noise[at] = np.where(learns, np.maximum(moved, _LEAST_NOISE_M), noise)
    state.learnt[at] = learnt
