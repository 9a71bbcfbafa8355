"""Slow change of a gauge's level: a ramp against the same hours of yesterday, and fading noise.

From one gauge a slow drift and a slow real rise look alike, so a ramp is only ever *suspect*; what
proves it is a neighbour (:mod:`analytics.reach`).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from analytics.stages.gauge_state import HOURS, Bools, Floats, GaugeState, Ints
from analytics.stages.state import Rows

HOUR_US: Final = 3_600_000_000
_DAY_US: Final = 24 * HOUR_US
_HOUR_ROWS: Final = 6  # rows that make an hour
_RAMP_M: Final = 0.08
_RAMP_NOISES: Final = 8.0
_RAMP_HALVES: Final = 0.15  # of the threshold: what each half of the last twelve hours adds
_RAMP_EVEN: Final = 3.0  # one half adds at most so many times the other
_RAMP_HOURS: Final = 2
_AFTER_RISE: Final = 30 * HOUR_US
_AFTER_FALL: Final = _DAY_US
_RAMP_OVER: Final = 0.3
_FADED: Final = 0.25
_FADED_OVER: Final = 0.5
_FADED_DAYS: Final = 4
_FADED_ROWS: Final = 100
_FADED_NOISE_M: Final = 0.0025
_DAY_RATE: Final = 0.2


@dataclass(frozen=True, slots=True)
class Wander:
    """What one row of each gauge says, ``(n,)`` each.

    Attributes:
        begins: A ramp is found with this row.
        ends: It is over.
        day: Change against the same hour of yesterday, metres, NaN where unknown.
        mean: Mean level of the last whole hour.
        threshold: What the change is held against, metres.
    """

    begins: Bools
    ends: Bools
    day: Floats
    mean: Floats
    threshold: Floats


def step(
    state: GaugeState, at: Rows, ts: Ints, x: Floats, *, counts: Bools, ramping: Bools
) -> Wander:
    """Step one row of each of several gauges.

    Args:
        state: Of the stage.
        at: ``(n,)`` rows of the state.
        ts: Event time, microseconds.
        x: Level, metres.
        counts: The row is believed: neither held back nor frozen.
        ramping: A ramp was found before and is not over.
    """
    hour = ts // HOUR_US
    turns = (hour != state.hour[at]) & (state.hour_rows[at] > 0)
    begins, ends = np.zeros(len(at), np.bool_), np.zeros(len(at), np.bool_)
    day, mean = np.full(len(at), np.nan), np.full(len(at), np.nan)
    threshold = np.maximum(_RAMP_M, _RAMP_NOISES * state.noise[at])
    if turns.any():
        rows, there = at[turns], np.flatnonzero(turns)
        _close_hour(state, rows)
        now = state.hour[rows]
        change = [_against_yesterday(state, rows, now - back) for back in (0, 6, 12)]
        ramp = _ramps(change, threshold[there])
        ramp &= ts[there] - state.rose[rows] > _AFTER_RISE
        ramp &= ts[there] - state.fell[rows] > _AFTER_FALL
        state.ramp[rows] = np.where(ramp, state.ramp[rows] + 1, 0)
        begins[there] = (state.ramp[rows] == _RAMP_HOURS) & ~ramping[there]
        ends[there] = ramping[there] & (np.abs(change[0]) < _RAMP_OVER * threshold[there])
        day[there], mean[there] = change[0], state.hour_x[rows, now % HOURS]
    new = hour != state.hour[at]
    state.hour_sum[at] = np.where(new, 0, state.hour_sum[at]) + np.where(counts, x, 0)
    state.hour_rows[at] = np.where(new, 0, state.hour_rows[at]) + counts
    state.hour[at] = hour
    return Wander(begins, ends, day, mean, threshold)


def fade(
    state: GaugeState, at: Rows, ts: Ints, change: Floats, *, share: Floats, faded: Bools
) -> Bools:
    """Return where a gauge's noise over the last whole day is far under its own history.

    Args:
        state: Of the stage.
        at: ``(n,)`` rows of the state.
        ts: Event time, microseconds.
        change: See :class:`analytics.stages.flatline.Flat`.
        share: Likewise.
        faded: It was before.
    """
    day = ts // _DAY_US
    turns = (day != state.day[at]) & (state.day_rows[at] >= _FADED_ROWS)
    mean = state.day_sum[at] / np.maximum(state.day_rows[at], 1)
    usual, days = state.day_usual[at], state.days[at]
    able = turns & (days >= _FADED_DAYS) & (usual > _FADED_NOISE_M) & (share < _FADED_OVER)
    now = np.where(able, mean < np.where(faded, _FADED_OVER, _FADED) * usual, faded)
    learns = turns & ~now
    rate = np.maximum(_DAY_RATE, 1 / (days + 1))
    state.day_usual[at] = np.where(learns, usual + rate * (mean - usual), usual)
    state.days[at] = days + learns
    known, new = ~np.isnan(change), day != state.day[at]
    state.day_sum[at] = np.where(new, 0, state.day_sum[at]) + np.where(known, change, 0)
    state.day_rows[at] = np.where(new, 0, state.day_rows[at]) + known
    state.day[at] = day
    result: Bools = now.astype(np.bool_)
    return result


def _close_hour(state: GaugeState, at: Rows) -> None:
    """Keep the mean of the hour that is over, if it has rows enough."""
    rows, hour = state.hour_rows[at], state.hour[at]
    place = hour % HOURS
    enough = rows >= _HOUR_ROWS
    state.hour_t[at, place] = np.where(enough, hour, -1)
    state.hour_x[at, place] = state.hour_sum[at] / np.maximum(rows, 1)


def _against_yesterday(state: GaugeState, at: Rows, hour: Ints) -> Floats:
    day = hour - 24
    known = (state.hour_t[at, hour % HOURS] == hour) & (state.hour_t[at, day % HOURS] == day)
    change = state.hour_x[at, hour % HOURS] - state.hour_x[at, day % HOURS]
    return np.where(known, change, np.nan)


def _ramps(change: list[Floats], threshold: Floats) -> Bools:
    """Return where the last twelve hours rose like a ramp; NaN compares as no."""
    now, six, twelve = change
    late, early = now - six, six - twelve
    least = _RAMP_HALVES * threshold
    even = np.maximum(late, early) < _RAMP_EVEN * np.minimum(late, early)
    found: Bools = (now > threshold) & (late > least) & (early > least) & even
    return found
