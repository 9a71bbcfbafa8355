"""What is remembered of a displacement point, and how a position enters it.

Positions are taken every six hours, the median of what came since. Missing ones lie on the straight
line to the next. One that lies far from the last five is held for a row: a glitch, unless the next
confirms it.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.stages import ongoing
from analytics.stages.medians import middle
from analytics.stages.slope_fit import SLOT_S, SLOTS, Floats
from analytics.stages.state import Field, Rows, State

Bools = NDArray[np.bool_]

ROUNDS: Final = 4
"""Of so many rows some must agree."""
LAST: Final = 5
"""Accepted positions from which a glitch is told."""

_SLOT_US: Final = SLOT_S * 1_000_000
_GAP_SLOTS: Final = 28  # after a week without a position the window starts again
_SINCE: Final = 12  # rows of a slot that are kept
_GLITCH_MM: Final = 10.0
_GLITCH_SIGMAS: Final = 8.0
_CONFIRMS: Final = 0.5  # share of its jump within which the next must lie
_NOISE_MM: Final = 2.0  # until learnt
_LEAST_NOISE_MM: Final = 0.3
_NOISE_ROWS: Final = 200
_HUBER: Final = 3.0
_MEAN_STEP: Final = 1.128  # mean |difference| of two samples of unit noise


class SlopeState(State):
    """Of each point; lengths in mm, the newest value last.

    Attributes:
        first: Time of the first row, microseconds: slots count from it.
        slot: Number of the last slot, -1 before the first.
        since: Rows since that slot began, NaN where there is none.
        counted: How many.
        last_at: Time of the last row.
        window: Positions, a slot each.
        real: Which of them were measured.
        filled: How many slots since the window started.
        last: The last accepted positions.
        noise: Standard deviation of one component.
        learnt: Differences that was learnt from.
        held: The last position was held back as a glitch.
        seen: The last position before glitches were taken out.
        red: Whether the last rows said red.
        orange: Likewise.
        beside: Whether the last rows said red of a failure beside a step.
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
    real: Bools
    filled: NDArray[np.int64]
    last: NDArray[np.float32]
    noise: Floats
    learnt: NDArray[np.int64]
    held: Bools
    seen: NDArray[np.float32]
    red: Bools
    orange: Bools
    beside: Bools
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
                "real": Field(np.bool_, (SLOTS,)),
                "filled": Field(np.int64),
                "last": Field(np.float32, (LAST, 2), np.nan),
                "noise": Field(np.float64, fill=_NOISE_MM),
                "learnt": Field(np.int64),
                "held": Field(np.bool_),
                "seen": Field(np.float32, (2,)),
                "red": Field(np.bool_, (ROUNDS,)),
                "orange": Field(np.bool_, (ROUNDS,)),
                "beside": Field(np.bool_, (ROUNDS,)),
                "level": Field(np.int8),
                "calm": Field(np.int64),
                "opened": Field(np.int64),
            }
            | ongoing.fields(1)
        )


def collect(s: SlopeState, at: Rows, ts: NDArray[np.int64], place: NDArray[np.float32]) -> Bools:
    """Take a row of each of several points in; return where it begins a slot.

    Args:
        s: The state, changed in place.
        at: ``(n,)`` rows of the state, none twice.
        ts: ``(n,)`` event time, microseconds.
        place: ``(n, 2)`` east and north, mm.
    """
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
        passed = np.where(_after_gap(s, k, passed), 1, passed)
        _take(s, k, here, passed)
    return begins


def _after_gap(s: SlopeState, at: Rows, passed: NDArray[np.int64]) -> Bools:
    """Start the window again where too many slots are missing; return where."""
    too_many = passed > _GAP_SLOTS
    gone = at[too_many]
    s.filled[gone], s.last[gone], s.held[gone] = 0, np.nan, False
    for ring in (s.red, s.orange, s.beside):
        ring[gone] = False
    return too_many


def _take(s: SlopeState, at: Rows, here: NDArray[np.float32], passed: NDArray[np.int64]) -> None:
    """Take the position of a new slot, unless it is a glitch; follow the noise.

    Slots missing before it lie on the straight line to it; before a glitch they hold the last one.
    """
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
    before = s.window[at, -1].astype(np.float64)
    target = np.where(use[:, None], here, before)
    for slot in range(1, int(passed.max()) + 1):
        some = passed >= slot
        share = (slot / passed[some])[:, None]
        place = before[some] + share * (target[some] - before[some])
        _push(s, at[some], place.astype(np.float32), taken[some] & (passed[some] == slot))
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


def _push(s: SlopeState, at: Rows, place: NDArray[np.float32], real: Bools) -> None:
    s.window[at] = np.concatenate([s.window[at, 1:], place[:, None]], 1)
    s.real[at] = np.concatenate([s.real[at, 1:], real[:, None]], 1)
    s.filled[at] += 1


def _distance(a: NDArray[np.float32], b: Floats | NDArray[np.float32]) -> Floats:
    off = a.astype(np.float64) - b
    distance: Floats = np.sqrt(off[:, 0] ** 2 + off[:, 1] ** 2)
    return distance
