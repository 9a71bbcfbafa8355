"""Gauges of one reach (河段) against each other: a pure judgement that proves a drift.

The level of one gauge is regressed on a neighbour's of now and of up to three hours before, a
recursive ridge with slow forgetting, hour by hour. A drift is the median of the last 24 residuals
far beyond its own usual size, for six hours. The scale is that median's own history and not row
noise: residuals of a river are autocorrelated, and sums in units of noise alarm on nearly every
pair (197 of 200 measured). A neighbour higher or lower than ever before proves nothing yet: so much
of the residual as half of that excess is not counted, and is learnt from. Else learning stops while
the median is beyond half the threshold.

Two gauges accuse each other, and both must; a third one decides which is to blame. Without a third
nothing can: both are named, and it is said that one of them drifts.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

FLOOR_M: Final = 0.08
TIMES: Final = 6.0
WARM_HOURS: Final = 72
HELD_HOURS: Final = 6
_RESIDUALS: Final = 24
_LEAST_RESIDUALS: Final = 12
_YOUNG_HOURS: Final = 24
_SETTLED_HOURS: Final = 48
_FORGET: Final = 1 - 1 / 720  # 30 days
_USUAL_RATE: Final = 0.005
_SCALE_RATE: Final = 0.01
_LEAST_SCALE_M: Final = 0.003
_FIRST_SCALE_M: Final = 0.02
_FIRST_USUAL_M: Final = 0.012
_HUBER: Final = 3.0
_MEAN_ABS: Final = 1.2533  # standard deviation over mean absolute value of a normal
_RIDGE: Final = 1e-3
_TERMS: Final = 5  # a constant, the neighbour now, and 1, 2 and 3 hours before
_EXCESS_SHARE: Final = 0.5
_EXCESS_M: Final = 0.02
Floats = NDArray[np.float64]


@dataclass(slots=True)
class Pairs:
    """What is remembered of pairs, ``(n, …)`` each: a gauge and the neighbour it is held against.

    Attributes:
        matrix: ``(n, k, k)`` and ``vector`` ``(n, k)``: of the regression.
        hours: Hours learnt from.
        scale: Usual size of a residual. ``usual``: of the median of 24.
        residuals: ``(n, 24)`` the last ones, the newest last, NaN where unknown.
        before: ``(n, k - 2)`` the neighbour's last hours, the newest first, NaN where unknown.
        low: Its lowest level learnt from. ``high``: its highest.
        beyond: Hours running in which the median was beyond its threshold.
    """

    matrix: Floats
    vector: Floats
    hours: Floats
    scale: Floats
    usual: Floats
    residuals: Floats
    before: Floats
    low: Floats
    high: Floats
    beyond: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Judged:
    """What one hour says, ``(n,)`` each.

    Attributes:
        drifts: The gauge differs from its neighbour, for six hours.
        median: Of its last residuals, metres.
        threshold: What that is held against.
        expected: Its level by its neighbour's, NaN where unknown.
        coefficient: Metres by which it usually follows a metre of its neighbour's.
    """

    drifts: NDArray[np.bool_]
    median: Floats
    threshold: Floats
    expected: Floats
    coefficient: Floats


@dataclass(frozen=True, slots=True)
class Blame:
    """A gauge that drifts.

    Attributes:
        place: The pair that shows it best.
        certain: A third gauge says so too; else it may be the neighbour that drifts.
    """

    place: int
    certain: bool


def new_pairs(count: int) -> Pairs:
    """Return pairs of which nothing is known."""
    return Pairs(
        np.tile(np.eye(_TERMS) * _RIDGE, (count, 1, 1)),
        np.zeros((count, _TERMS)),
        np.zeros(count),
        np.full(count, _FIRST_SCALE_M),
        np.full(count, _FIRST_USUAL_M),
        np.full((count, _RESIDUALS), np.nan),
        np.full((count, _TERMS - 2), np.nan),
        np.full(count, np.inf),
        np.full(count, -np.inf),
        np.zeros(count, np.int64),
    )


def step(pairs: Pairs, level: Floats, neighbour: Floats) -> Judged:
    """Step one hour of all pairs; changes them.

    Args:
        pairs: What is remembered.
        level: ``(n,)`` mean of the hour of each gauge, metres, NaN where it said nothing.
        neighbour: Likewise of its neighbour.
    """
    before = pairs.before
    known = ~np.isnan(level) & ~np.isnan(neighbour) & ~np.isnan(before).any(1)
    y = np.where(known, level, 0.0)
    lags = np.where(known[:, None], np.column_stack([neighbour, before]), 0.0)
    phi = np.column_stack([np.ones(len(y)), lags])
    newest = np.where(np.isnan(neighbour), before[:, 0], neighbour)
    pairs.before = np.column_stack([newest, before[:, :-1]])
    weights = np.linalg.solve(pairs.matrix, pairs.vector[:, :, None])[:, :, 0]
    expected = (weights * phi).sum(1)
    excess = np.maximum(0.0, np.maximum(lags.max(1) - pairs.high, pairs.low - lags.min(1)))
    excess = np.where(known & (pairs.hours > 0), excess, 0.0)
    off = y - expected
    residual = np.sign(off) * np.maximum(np.abs(off) - _EXCESS_SHARE * excess, 0.0)
    kept = np.where(known & (pairs.hours > _YOUNG_HOURS), residual, np.nan)
    pairs.residuals = np.concatenate([pairs.residuals[:, 1:], kept[:, None]], 1)
    median = _median(pairs.residuals)
    threshold = np.maximum(FLOOR_M, TIMES * pairs.usual)
    over = (pairs.hours > WARM_HOURS) & (np.abs(median) > threshold)
    pairs.beyond = np.where(over, pairs.beyond + 1, 0)
    calm = (np.abs(median) < threshold / 2) | (pairs.hours <= WARM_HOURS)
    _learn(pairs, phi, y, off, median, learns=known & calm, anew=excess > _EXCESS_M)
    pairs.hours = pairs.hours + known
    judged = known & (pairs.hours > _YOUNG_HOURS)
    return Judged(
        pairs.beyond >= HELD_HOURS,
        median,
        threshold,
        np.where(judged, expected, np.nan),
        weights[:, 1:].sum(1),
    )


def blame(pairs: Sequence[tuple[str, str]], judged: Judged) -> dict[str, Blame]:
    """Return the gauges that drift.

    Args:
        pairs: Gauge and neighbour of each pair.
        judged: What the hour says of them.
    """
    accused: dict[str, list[int]] = {}
    for place in np.flatnonzero(judged.drifts).tolist():
        accused.setdefault(pairs[place][0], []).append(place)
    partners = Counter(gauge for gauge, _ in pairs)
    guilt = {
        gauge: (len(places), len(places) / partners[gauge]) for gauge, places in accused.items()
    }
    found = {}
    for gauge, places in accused.items():
        others = [pairs[place][1] for place in places]
        mutual = [guilt[other] for other in others if other in guilt]  # else it proves nothing
        if mutual and guilt[gauge] >= max(mutual):
            best = max(places, key=lambda place: abs(judged.median[place]))
            found[gauge] = Blame(best, certain=guilt[gauge] > max(mutual))
    return found


def _median(residuals: Floats) -> Floats:
    """Return the median of each row's known values, 0 where there are too few."""
    known = ~np.isnan(residuals)
    count = known.sum(1)
    ordered = np.sort(np.where(known, residuals, np.inf), 1)
    rows = np.arange(len(residuals))
    low = ordered[rows, np.maximum(count - 1, 0) // 2]
    high = ordered[rows, np.minimum(count // 2, _RESIDUALS - 1)]
    enough = count >= _LEAST_RESIDUALS
    middle = np.where(enough, low, 0.0) / 2 + np.where(enough, high, 0.0) / 2
    return np.where(enough, middle, 0.0)


def _learn(
    pairs: Pairs,
    phi: Floats,
    y: Floats,
    residual: Floats,
    median: Floats,
    *,
    learns: NDArray[np.bool_],
    anew: NDArray[np.bool_],
) -> None:
    """Learn from an hour, the less the farther it is off."""
    size = np.maximum(np.abs(residual), 1e-9)
    weight = np.where(pairs.hours > _YOUNG_HOURS, np.minimum(1, 2 * pairs.scale / size), 1.0)
    weight = np.where(learns, np.where(anew, 1.0, weight), 0.0)
    pairs.low = np.where(learns, np.minimum(pairs.low, phi[:, 1:].min(1)), pairs.low)
    pairs.high = np.where(learns, np.maximum(pairs.high, phi[:, 1:].max(1)), pairs.high)
    outer = weight[:, None, None] * phi[:, :, None] * phi[:, None, :]
    grown = _FORGET * pairs.matrix + outer + 1e-6 * np.eye(_TERMS)
    pairs.matrix = np.where(learns[:, None, None], grown, pairs.matrix)
    vector = _FORGET * pairs.vector + (weight * y)[:, None] * phi
    pairs.vector = np.where(learns[:, None], vector, pairs.vector)
    rate = np.maximum(_SCALE_RATE, 1 / np.maximum(pairs.hours - 9, 1))
    bounded = np.minimum(np.abs(residual), _HUBER * pairs.scale) * _MEAN_ABS
    scale = np.maximum(pairs.scale + rate * (bounded - pairs.scale), _LEAST_SCALE_M)
    pairs.scale = np.where(learns & ~anew & (pairs.hours > _YOUNG_HOURS / 2), scale, pairs.scale)
    far = np.minimum(np.abs(median), _HUBER * pairs.usual) * _MEAN_ABS
    usual = pairs.usual + _USUAL_RATE * (far - pairs.usual)
    pairs.usual = np.where(learns & (pairs.hours > _SETTLED_HOURS), usual, pairs.usual)
