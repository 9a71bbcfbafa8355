"""What a lamp's supply says of the lamp: which rows look faulty, judged against its own figures.

Each lamp learns three figures while it burns at 70 % or more: power at full level, power factor and
leakage, each as a reference that is fixed after 2,000 rows (a fortnight of nights at 5 min; then it
follows within half a year, the power factor not at all, or it would follow the very decay), a
recent mean of 16 rows, and its own noise from row to row. Nothing is learnt in a row that looks
faulty, nor while a fault is open. All numbers here are ours.

Faults of a row: dark with the switch on; current over twice its own; burning between half an hour
after sunrise and half an hour before sunset, unless its own light sensor says that it is dark;
recent power, power factor or leakage off its reference by more than four times its noise and by
an amount that matters; and the fourth change between dark and bright, a change in five minutes
forgotten again.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.stages import ongoing
from analytics.stages.state import Field, Rows, State

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

OUT, SHORT, DAY, WEAK, PF, LEAK, FLICKER = range(7)
FAULTS: Final = 7
HOLD: Final = np.array([2, 1, 2, 3, 3, 3, 1], np.int32)
"""So many faulty rows in a row open an episode."""
CLEAR_HOLD: Final = np.array([1, 2, 1, 3, 3, 3, 1], np.int32)
TRENDS: Final = (WEAK, PF, LEAK)

DEAD_W: Final = 2.0
DEAD_SHARE: Final = 0.1
NO_CURRENT_A: Final = 0.02
_LEAST_LEVEL: Final = 5.0
_FULL_LEVEL: Final = 70.0
_KNOWN_ROWS: Final = 20
SURE_ROWS: Final = 60
_FIXED_ROWS: Final = 2000
_LATER_RATE: Final = np.array([1 / 20_000, 0.0, 1 / 20_000])
_RECENT: Final = 1 / 16
_NOISE_RATE: Final = 1 / 200
_MEAN_STEP: Final = 1.128  # mean |step| of white noise in its standard deviations
_HUBER: Final = 5.0
NOISES: Final = 4.0
NOISE_FLOOR: Final = np.array([0.5, 0.002, 0.05])
"""W, 1 and mA: no lamp is quieter."""
LEAST_CHANGE: Final = np.array([0.15, 0.05, 5.0])
"""Power by a share of its own, power factor absolutely, leakage in mA."""
_RELATIVE: Final = np.array([True, False, False])
_SIGN: Final = np.array([-1.0, -1.0, 1.0])
DAY_W: Final = 10.0
DARK_LX: Final = 500.0
FLIPS: Final = 4.0
_MOST_FLIPS: Final = 6.0
_FLIP_US: Final = 300_000_000


class LampState(State):
    """What is known of each lamp, and what is under way.

    ``ref``, ``recent``, ``noise``, ``last`` and ``count`` are of power at full level, power factor
    and leakage; the others are of the faults in their order.
    """

    ref: Floats
    recent: Floats
    noise: Floats
    last: Floats
    count: NDArray[np.int32]
    bright: NDArray[np.int8]
    flips: Floats
    flipped: NDArray[np.int64]
    run: NDArray[np.int32]
    calm: NDArray[np.int32]
    since: NDArray[np.int64]
    on: Bools
    opened: NDArray[np.int64]
    busy: Bools
    told: NDArray[np.int64]
    heard: NDArray[np.int64]
    pace: NDArray[np.int64]

    def __init__(self) -> None:
        three, all_ = (len(TRENDS),), (FAULTS,)
        super().__init__(
            {
                **{name: Field(np.float64, three) for name in ("ref", "recent", "noise", "last")},
                "count": Field(np.int32, three),
                "bright": Field(np.int8, fill=-1),
                "flips": Field(np.float64),
                "flipped": Field(np.int64),
                "run": Field(np.int32, all_),
                "calm": Field(np.int32, all_),
                "since": Field(np.int64, all_),
                "on": Field(np.bool_, all_),
                "opened": Field(np.int64, all_),
                "busy": Field(np.bool_),
            }
            | ongoing.fields(FAULTS)
        )


@dataclass(frozen=True, slots=True)
class Supply:
    """One row of each of several lamps, ``(n,)`` each, NaN = not measured.

    Attributes:
        switched: The switch is on.
        share: Dimming as a share of full, 1 where it is not told.
        volt: V.
        amp: A.
        power: W.
        pf: Power factor.
        leak: mA.
        day: The sun is up, and the lamp's own light sensor does not say that it is dark.
    """

    switched: Bools
    share: Floats
    volt: Floats
    amp: Floats
    power: Floats
    pf: Floats
    leak: Floats
    day: Bools


@dataclass(frozen=True, slots=True)
class View:
    """What the rows look like; ``(n, faults)`` but for what is expected.

    Attributes:
        judged: The row tells of this fault.
        breach: It looks faulty.
        inside: It looks clearly sound.
        power: ``(n,)`` W expected at this level, NaN before it is learnt.
        amp: ``(n,)`` A, likewise.
    """

    judged: Bools
    breach: Bools
    inside: Bools
    power: Floats
    amp: Floats

    def take(self, at: Rows) -> "View":
        """Return some of the rows."""
        return View(self.judged[at], self.breach[at], self.inside[at], self.power[at], self.amp[at])


def step(s: LampState, at: Rows, ts: NDArray[np.int64], row: Supply) -> View:
    """Judge one row of each of several lamps, and learn from it where it is sound."""
    shape = (len(at), FAULTS)
    judged, breach, inside = _nothing(shape), _nothing(shape), _nothing(shape)
    lit = row.switched & (row.share * 100 >= _LEAST_LEVEL)
    ref, known = s.ref[at], s.count[at] >= _KNOWN_ROWS
    power = np.where(known[:, 0], ref[:, 0] * row.share, np.nan)
    factor = np.where(known[:, 1], ref[:, 1], 0.9)
    amp = power / (np.maximum(row.volt, 50.0) * factor)

    measured = ~np.isnan(row.power)
    dark_below = np.fmax(DEAD_W, DEAD_SHARE * power)
    dark = np.where(measured, row.power <= dark_below, row.amp <= NO_CURRENT_A)
    judged[:, OUT] = lit & (measured | ~np.isnan(row.amp))
    breach[:, OUT] = dark
    burns = np.fmax(1.5 * dark_below, np.fmin(5.0, 0.5 * power))
    inside[:, OUT] = np.where(measured, row.power >= burns, ~dark)

    judged[:, SHORT] = lit & ~np.isnan(row.amp)
    breach[:, SHORT] = row.amp > np.where(known[:, 0], np.fmax(2 * amp, amp + 0.3), 5.0)
    inside[:, SHORT] = row.amp < np.where(known[:, 0], 1.4 * amp + 0.1, 3.0)

    burning = np.where(measured, row.power > np.fmax(DAY_W, 0.05 * power), row.switched)
    judged[:, DAY] = row.day
    breach[:, DAY] = burning
    inside[:, DAY] = ~burning

    sound = lit & ~dark & ~breach[:, SHORT] & (row.share * 100 >= _FULL_LEVEL)
    trends = list(TRENDS)
    judged[:, trends], breach[:, trends], inside[:, trends] = _follow(s, at, row, sound)
    judged[:, FLICKER] = True
    flips = _flips(s, at, ts, lit & judged[:, OUT], dark)
    breach[:, FLICKER] = flips >= FLIPS
    inside[:, FLICKER] = flips <= 0
    breach &= judged
    return View(judged, breach, inside & judged, power, amp)


def _nothing(shape: tuple[int, int]) -> Bools:
    return np.zeros(shape, np.bool_)


def _follow(s: LampState, at: Rows, row: Supply, sound: Bools) -> tuple[Bools, Bools, Bools]:
    """Judge the three trends, then learn them, in arrays of ``(n, trends)``.

    Returns:
        Where they are judged, where they look faulty and where clearly sound.
    """
    x = np.stack([row.power / np.maximum(row.share, 0.05), row.pf, row.leak], 1)
    valid: Bools = sound[:, None] & ~np.isnan(x)
    count, ref, noise = s.count[at], s.ref[at], s.noise[at]
    x = np.where(valid, x, s.last[at])
    young = 1 / (count + 1.0)
    recent = s.recent[at] + np.where(valid, np.maximum(_RECENT, young), 0) * (x - s.recent[at])
    off: Floats = _SIGN * (recent - ref)
    allowed = allowance(ref, noise)
    sure: Bools = valid & (count >= SURE_ROWS)
    moved = np.abs(x - s.last[at])
    moved = np.where(
        count > _KNOWN_ROWS, np.minimum(moved, _HUBER * np.maximum(noise, NOISE_FLOOR)), moved
    )
    noise_rate = np.where(valid & (count > 0), np.maximum(_NOISE_RATE, young), 0)
    learns = valid & ~(sure & (off > 0.5 * allowed)) & ~s.on[at].any(axis=1, keepdims=True)
    rate = np.where(count < _FIXED_ROWS, young, _LATER_RATE)
    s.ref[at] = ref + np.where(learns, rate, 0) * (x - ref)
    s.noise[at] = noise + noise_rate * (moved / _MEAN_STEP - noise)
    s.recent[at] = recent
    s.last[at] = x
    s.count[at] = count + (learns & (count < _FIXED_ROWS))
    return sure, off > allowed, off < 0.5 * allowed


def allowance(ref: Floats, noise: Floats) -> Floats:
    """Return ``(n, trends)`` how far recent figures may be off their reference."""
    least = LEAST_CHANGE * np.where(_RELATIVE, ref, 1.0)
    allowed: Floats = np.maximum(least, NOISES * np.maximum(noise, NOISE_FLOOR))
    return allowed


def _flips(s: LampState, at: Rows, ts: NDArray[np.int64], told: Bools, dark: Bools) -> Floats:
    """Count changes between dark and bright; one is forgotten in five minutes."""
    before = s.bright[at]
    changed = told & (before >= 0) & (before == dark)
    gone = (ts - s.flipped[at]) / _FLIP_US
    flips: Floats = np.maximum(s.flips[at] - np.where(s.flipped[at] > 0, gone, 0), 0.0) + changed
    flips = np.minimum(flips, _MOST_FLIPS)
    s.flips[at] = flips
    s.flipped[at] = ts
    s.bright[at] = np.where(told, ~dark, -1)
    return flips
