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

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

OUT, SHORT, DAY, WEAK, PF, LEAK, FLICKER = range(7)
FAULTS: Final = 7
HOLD: Final = np.array([2, 1, 2, 3, 3, 3, 1], np.int32)
"""So many faulty rows in a row open an episode."""
CLEAR_HOLD: Final = np.array([1, 2, 1, 3, 3, 3, 1], np.int32)
TRENDS: Final = (WEAK, PF, LEAK)

_F = np.float32
_NAN: Final = _F("nan")
_HALF: Final = _F(0.5)
_HALF_AS_MUCH: Final = _F(1.5)
DEAD_W: Final = _F(2.0)
_DEAD_SHARE: Final = _F(0.1)  # of the power at full level: a driver's own draw does not dim
_DEAD_DIMMED: Final = _F(0.25)  # of the power at the level of the moment, at the most
NO_CURRENT_A: Final = _F(0.02)
_BURNS_W: Final = _F(5.0)
_SURGE_A: Final = _F(0.3)
_MOST_A: Final = _F(5.0)
_NEARLY: Final = _F(1.4)
_NEARLY_A: Final = _F(0.1)
_LEAST_V: Final = _F(50.0)
_USUAL_PF: Final = _F(0.9)
_LEAST_SHARE: Final = _F(0.05)
_FULL_SHARE: Final = _F(0.7)
DAY_W: Final = _F(10.0)
_DAY_SHARE: Final = _F(0.05)
DARK_LX: Final = _F(500.0)

_KNOWN_ROWS: Final = 20
SURE_ROWS: Final = 60
_FIXED_ROWS: Final = 2000
_LATER_RATE: Final = np.array([[1 / 20_000], [0.0], [1 / 20_000]], _F)
_RECENT: Final = _F(1 / 16)
_NOISE_RATE: Final = _F(1 / 200)
_MEAN_STEP: Final = _F(1.128)  # mean |step| of white noise in its standard deviations
_HUBER: Final = _F(5.0)
NOISES: Final = _F(4.0)
NOISE_FLOOR: Final = np.array([[0.5], [0.002], [0.05]], _F)
"""W, 1 and mA: no lamp is quieter."""
LEAST_CHANGE: Final = np.array([[0.15], [0.05], [5.0]], _F)
"""Power by a share of its own, power factor absolutely, leakage in mA."""
_RELATIVE: Final = np.array([[True], [False], [False]])
_SIGN: Final = np.array([[-1.0], [-1.0], [1.0]], _F)
FLIPS: Final = _F(4.0)
_MOST_FLIPS: Final = _F(6.0)
_FLIP_US: Final = 300_000_000

_COUNT: Final = slice(12, 15)
_FLIPS: Final = 15
_BRIGHT: Final = 16
_TRENDS: Final = slice(WEAK, LEAK + 1)


class LampState(State):
    """What is learnt of each lamp.

    Attributes:
        memory: ``(rows, 17)`` packed, so that a batch gathers one row a lamp: reference, recent
            mean, noise, last value and rows learnt, of power at full level, power factor and
            leakage each; changes between dark and bright; whether it was bright, -1 unknown.
        flipped: When those changes were counted last, microseconds.
    """

    memory: Floats
    flipped: NDArray[np.int64]

    def __init__(self) -> None:
        super().__init__({"memory": Field(np.float32, (17,)), "flipped": Field(np.int64)})

    def trend(self, at: int, fault: int) -> tuple[float, float, float, int]:
        """Return reference, recent mean, noise and rows learnt of the figure behind a fault."""
        ref, recent, noise, _, count = self.memory[at, fault - WEAK : 15 : 3].tolist()
        return ref, recent, noise, int(count)

    def flips(self, at: int) -> float:
        """Return how many changes between dark and bright are not forgotten."""
        return float(self.memory[at, _FLIPS])


class CaseState(State):
    """Faults under way, of lamps that ever had one."""

    run: NDArray[np.int32]
    calm: NDArray[np.int32]
    since: NDArray[np.int64]
    on: Bools
    opened: NDArray[np.int64]
    told: NDArray[np.int64]
    heard: NDArray[np.int64]
    pace: NDArray[np.int64]

    def __init__(self) -> None:
        each = (FAULTS,)
        super().__init__(
            {
                "run": Field(np.int32, each),
                "calm": Field(np.int32, each),
                "since": Field(np.int64, each),
                "on": Field(np.bool_, each),
                "opened": Field(np.int64, each),
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

    def take(self, at: Rows) -> "Supply":
        """Return some of the rows."""
        return Supply(
            *(getattr(self, name)[at] for name in ("switched", "share", "volt", "amp", "power")),
            *(getattr(self, name)[at] for name in ("pf", "leak", "day")),
        )


@dataclass(frozen=True, slots=True)
class View:
    """What the rows look like; ``(faults, n)`` but for what is expected.

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


def dead_below(power: Floats, share: Floats) -> Floats:
    """Return up to which power a lamp is dark, in watts.

    Args:
        power: ``(n,)`` what it draws at its level when it is sound, watts; NaN: not yet learnt.
        share: ``(n,)`` its level, 0 to 1.
    """
    full = power / np.fmax(share, _LEAST_SHARE)
    below: Floats = np.fmax(np.fmin(_DEAD_SHARE * full, _DEAD_DIMMED * power), DEAD_W)
    return below


def step(s: LampState, at: Rows, ts: NDArray[np.int64], row: Supply, faulty: Bools) -> View:
    """Judge one row of each of several lamps, and learn from it where it is sound.

    Args:
        s: What is learnt.
        at: The lamps' rows in it, none twice.
        ts: Event times, microseconds.
        row: What was measured.
        faulty: ``(n,)`` a fault is open: nothing is learnt.
    """
    memory = np.ascontiguousarray(s.memory[at].T)
    judged, breach, inside = np.zeros((3, FAULTS, len(at)), np.bool_)
    lit = row.switched & (row.share >= _LEAST_SHARE)
    known = memory[_COUNT] >= _KNOWN_ROWS
    power = np.where(known[0], memory[0] * row.share, _NAN)
    factor = np.where(known[1], memory[1], _USUAL_PF)
    amp = power / (np.maximum(row.volt, _LEAST_V) * factor)

    measured = ~np.isnan(row.power)
    dark_below = dead_below(power, row.share)
    dark = np.where(measured, row.power <= dark_below, row.amp <= NO_CURRENT_A)
    judged[OUT] = lit & (measured | ~np.isnan(row.amp))
    breach[OUT] = dark
    burns = np.fmax(_HALF_AS_MUCH * dark_below, np.fmin(_HALF * power, _BURNS_W))
    inside[OUT] = np.where(measured, row.power >= burns, ~dark)

    judged[SHORT] = lit & ~np.isnan(row.amp)
    breach[SHORT] = row.amp > np.where(known[0], amp + np.fmax(amp, _SURGE_A), _MOST_A)
    inside[SHORT] = row.amp < np.where(known[0], _NEARLY * amp + _NEARLY_A, _HALF * _MOST_A)

    burning = np.where(measured, row.power > np.fmax(_DAY_SHARE * power, DAY_W), row.switched)
    judged[DAY] = row.day
    breach[DAY] = burning
    inside[DAY] = ~burning

    sound = lit & ~dark & ~breach[SHORT] & (row.share >= _FULL_SHARE)
    which = np.flatnonzero(sound)
    if len(which) == len(at):
        trends = _follow(memory, row, ~faulty)
        judged[_TRENDS], breach[_TRENDS], inside[_TRENDS] = trends
    elif len(which):
        part = memory[:, which]
        trends = _follow(part, row.take(which), ~faulty[which])
        memory[:, which] = part
        for whole, told in zip((judged, breach, inside), trends, strict=True):
            whole[_TRENDS, which] = told
    flips = _flips(memory, ts - s.flipped[at], lit & judged[OUT], dark)
    judged[FLICKER] = True
    breach[FLICKER] = flips >= FLIPS
    inside[FLICKER] = flips <= 0
    breach &= judged
    inside &= judged
    s.memory[at] = memory.T
    s.flipped[at] = ts
    return View(judged, breach, inside, power, amp)


def _follow(memory: Floats, row: Supply, may_learn: Bools) -> tuple[Bools, Bools, Bools]:
    """Judge the three trends in rows that burn, then learn them, in arrays of ``(trends, n)``.

    Returns:
        Where they are judged, where they look faulty and where clearly sound.
    """
    ref, recent, noise, last, count = memory[:15].reshape(5, 3, -1)
    x = np.stack([row.power / row.share, row.pf, row.leak])
    valid = ~np.isnan(x)
    x = np.where(valid, x, last)
    young = 1 / (count + 1)
    recent += np.where(valid, np.maximum(young, _RECENT), 0) * (x - recent)
    off = _SIGN * (recent - ref)
    allowed = allowance(ref, noise)
    sure = valid & (count >= SURE_ROWS)
    calm = off < _HALF * allowed

    moved = np.abs(x - last)
    cap = np.where(count > _KNOWN_ROWS, _HUBER * np.maximum(noise, NOISE_FLOOR), np.inf)
    rate = np.where(valid & (count > 0), np.maximum(young, _NOISE_RATE), 0)
    noise += rate * (np.minimum(moved, cap) / _MEAN_STEP - noise)
    learns = valid & (calm | ~sure) & may_learn
    ref += np.where(learns, np.where(count < _FIXED_ROWS, young, _LATER_RATE), 0) * (x - ref)
    last[:] = x
    count += learns & (count < _FIXED_ROWS)
    return sure, off > allowed, calm


def allowance(ref: Floats, noise: Floats) -> Floats:
    """Return ``(trends, n)`` how far recent figures may be off their reference."""
    least = np.where(_RELATIVE, LEAST_CHANGE * ref, LEAST_CHANGE)
    allowed: Floats = np.maximum(least, NOISES * np.maximum(noise, NOISE_FLOOR))
    return allowed


def _flips(memory: Floats, since: NDArray[np.int64], told: Bools, dark: Bools) -> Floats:
    """Count changes between dark and bright; one is forgotten in five minutes."""
    before = memory[_BRIGHT]
    changed = told & (before >= 0) & ((before > 0) == dark)
    gone = np.minimum(since / _FLIP_US, _MOST_FLIPS).astype(np.float32)
    flips: Floats = np.minimum(np.maximum(memory[_FLIPS] - gone, 0) + changed, _MOST_FLIPS)
    memory[_FLIPS] = flips
    memory[_BRIGHT] = np.where(told, ~dark, -1)
    return flips
