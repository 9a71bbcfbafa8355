"""What is learnt of a thing that lies still: its gravity, direction, noise and thermal drift.

Each device is measured against itself. Its tilt is a vector in degrees in the plane of rest, freed
of temperature by a recursive ridge regression whose doubt widens the band at temperatures not yet
seen. Inside an episode nothing of this is learnt but the scatter of norm and tilt.

Every number is ours, found on simulated covers. Sums are written out: numpy's own order depends on
the length of the array, and findings must not depend on where batches are cut.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.stages.state import Field, Rows, State

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

DEG: Final = 57.29578
CALIBRATION_ROWS: Final = 9
SPEEDS: Final = (1 / 4, 1 / 12, 1 / 40, 1 / 120)
"""Rates of the four averages, a row."""
RING: Final = 12
STEADY_G: Final = 0.05
"""Rows within this of one another were not shaken between."""

_ALIKE_ROWS: Final = 6  # of the nine
_NORM_NOISE_G: Final = (0.001, 0.03)
_LEAST_NOISE_DEG: Final = 0.05
_MEAN_STEP: Final = 1.128  # mean |difference| of two samples of unit noise
_MEAN_ABS: Final = 1.2533  # standard deviation over mean |deviation|
_MAD: Final = 1.4826  # standard deviation over median |deviation|
_HUBER: Final = 3.0  # no row counts for more than so many of the present scale
_NORM_RATE: Final = 0.01
_NORM_NOISE_RATE: Final = 0.005
_NOISE_ROWS: Final = 200

_PRIOR_SLOPE: Final = 0.10  # deg per Cel, one standard deviation
_INFLATION: Final = 2.0  # residuals are not independent
_UNSEEN_SLOPE: Final = 0.015  # deg per Cel beyond the temperatures seen so far
_FORGETTING: Final = 1 - 1 / 8640  # a row
_YOUNG_ROWS: Final = 5  # of the regression
_SLOW_VARIANCE: Final = (0.1**2, 0.3**2)  # what temperature leaves behind, in deg²
_SLOW_ROWS: Final = 720

_FIELDS: Final = {
    "learnt": Field(np.int64),
    "first": Field(np.float64, (CALIBRATION_ROWS, 3)),
    "row": Field(np.float64, (3,)),
    "row_at": Field(np.int64, fill=np.iinfo(np.int64).min // 2),
    "norm": Field(np.float64, fill=1),
    "norm_noise": Field(np.float64, fill=0.005),
    "rest": Field(np.float64, (3,)),
    "axis1": Field(np.float64, (3,)),
    "axis2": Field(np.float64, (3,)),
    "noise": Field(np.float64),
    "noise_rows": Field(np.int64),
    "tilt": Field(np.float64, (2,)),
    "has_tilt": Field(np.bool_),
    "heat": Field(np.float64, fill=np.nan),
    "heat0": Field(np.float64),
    "coldest": Field(np.float64),
    "warmest": Field(np.float64),
    "moments": Field(np.float64, (7,)),
    "average": Field(np.float64, (len(SPEEDS), 2)),
    "weight": Field(np.float64, (len(SPEEDS),)),
    "slow": Field(np.float64, fill=_SLOW_VARIANCE[0]),
    "over": Field(np.int64, (len(SPEEDS),)),
    "ring": Field(np.float64, (RING, 2)),
    "ring_at": Field(np.int64),
    "far": Field(np.int64),
    "direction": Field(np.float64, (3,)),
    "loose": Field(np.int64),
    "loose_at": Field(np.float64, (3,)),
    "moved": Field(np.bool_),
    "gone": Field(np.bool_),
    "back": Field(np.int64),
    "righted": Field(np.int64),
    "hold": Field(np.int64),
    "heard_rows": Field(np.int64),
    "shaken": Field(np.float64),
}


class RestState(State):
    """What is known of each device: directions in its own axes, angles in deg, norms in g.

    Attributes:
        learnt: Rows learnt from: first those of calibration, then the quiet ones.
        first: The rows of calibration.
        row: The last row of all, in g.
        row_at: Its time, microseconds.
        norm: Its own norm of gravity. A gain error of 3 % must not lock a device out.
        norm_noise: The scatter of that norm.
        rest: Unit vector of gravity at rest.
        axis1: Unit vector in the plane of rest; with ``axis2`` the axes of the tilt vector.
        axis2: See ``axis1``.
        noise: Standard deviation of one component of the tilt vector.
        noise_rows: How many rows that was learnt from.
        tilt: The last tilt vector.
        has_tilt: Whether there is one.
        heat: The last temperature, Cel; NaN if none was ever measured.
        heat0: The temperature at calibration, from which the others are counted.
        coldest: The lowest so counted.
        warmest: The highest so counted.
        moments: Weighted sums ``1, T, TT, y1, y2, Ty1, Ty2`` of the regression.
        average: The residual averaged at four speeds.
        weight: Sum of the weights in each average: below 1 while young.
        slow: Variance of what the slowest average does by itself.
        over: Consecutive rows over the threshold, by speed.
        ring: The last residuals, to tell a shift from settling.
        ring_at: Where the next goes.
        far: Consecutive agreeing quiet rows far from rest.
        direction: Direction of gravity in the last quiet row.
        loose: Consecutive rows alike and far from rest, by the loose gate.
        loose_at: The last of these, in the axes of rest.
        moved: In an episode of shift or settling.
        gone: In an episode of opening.
        back: Consecutive quiet rows at the reference, inside an episode.
        righted: Consecutive quiet rows within :data:`RIGHTED_DEG`, inside an opening.
        hold: Rows before the slow test speaks again.
        heard_rows: Rows measured.
        shaken: Share of them that were not quiet, of late.
    """

    learnt: NDArray[np.int64]
    first: Floats
    row: Floats
    row_at: NDArray[np.int64]
    norm: Floats
    norm_noise: Floats
    rest: Floats
    axis1: Floats
    axis2: Floats
    noise: Floats
    noise_rows: NDArray[np.int64]
    tilt: Floats
    has_tilt: Bools
    heat: Floats
    heat0: Floats
    coldest: Floats
    warmest: Floats
    moments: Floats
    average: Floats
    weight: Floats
    slow: Floats
    over: NDArray[np.int64]
    ring: Floats
    ring_at: NDArray[np.int64]
    far: NDArray[np.int64]
    direction: Floats
    loose: NDArray[np.int64]
    loose_at: Floats
    moved: Bools
    gone: Bools
    back: NDArray[np.int64]
    righted: NDArray[np.int64]
    hold: NDArray[np.int64]
    heard_rows: NDArray[np.int64]
    shaken: Floats

    def __init__(self, more: dict[str, Field]) -> None:
        super().__init__({**_FIELDS, **more})


def calibrate(s: RestState, at: Rows, acceleration: Floats, heat: Floats) -> None:
    """Take a row near 1 g for the reference; the median of nine is the direction of rest.

    Six of them must be alike, else the oldest is dropped: a device that begins its life under
    traffic waits for a calm hour.
    """
    s.first[at, s.learnt[at]] = acceleration
    s.learnt[at] += 1
    full = s.learnt[at] == CALIBRATION_ROWS
    at, heat = at[full], heat[full]
    off = s.first[at] - np.median(s.first[at], 1)[:, None]
    alike = (np.sqrt(dot(off, off)) < STEADY_G).sum(1) >= _ALIKE_ROWS
    shaken = at[~alike]
    s.first[shaken, :-1] = s.first[shaken, 1:]
    s.learnt[shaken] -= 1
    at, heat = at[alike], heat[alike]
    if not len(at):
        return
    first = s.first[at]
    norms = np.sqrt(dot(first, first))
    s.norm[at] = np.median(norms, 1)
    spread = np.median(np.abs(norms - s.norm[at][:, None]), 1)
    s.norm_noise[at] = np.clip(_MAD * spread, *_NORM_NOISE_G)
    first = first / norms[..., None]
    rest = _unit(np.median(first, 1))
    aside = np.where(np.abs(rest[:, :1]) < 0.8, [[1.0, 0, 0]], [[0, 1.0, 0]])  # noqa: PLR2004 - not along it
    s.rest[at] = rest
    s.axis1[at] = _unit(aside - dot(aside, rest)[:, None] * rest)
    s.axis2[at] = np.cross(rest, s.axis1[at])
    s.heat0[at] = heat
    y1 = dot(first, s.axis1[at][:, None]) * DEG
    y2 = dot(first, s.axis2[at][:, None]) * DEG
    steps = np.abs(np.concatenate([np.diff(y1, axis=1), np.diff(y2, axis=1)], 1))
    s.noise[at] = np.maximum(np.median(steps, 1) * _MAD / np.sqrt(2), _LEAST_NOISE_DEG)
    s.noise_rows[at] = CALIBRATION_ROWS - 1


def follow_norm(s: RestState, at: Rows, norm: Floats) -> None:
    """Follow the device's own norm and its scatter; ageing and cold change the gain."""
    off, cap = norm - s.norm[at], _HUBER * s.norm_noise[at]
    s.norm[at] += _NORM_RATE * np.clip(off, -cap, cap)
    s.norm_noise[at] += _NORM_NOISE_RATE * (
        np.minimum(np.abs(off), cap) * _MEAN_ABS - s.norm_noise[at]
    )


def follow_noise(s: RestState, at: Rows, y: Floats) -> None:
    """Follow the noise by the steps between quiet rows: a slow drift has none."""
    off = np.abs(y - s.tilt[at])
    mean = (off[:, 0] + off[:, 1]) / 2 / _MEAN_STEP
    has = s.has_tilt[at]
    s.tilt[at], s.has_tilt[at] = y, True
    at, mean = at[has], mean[has]
    s.noise_rows[at] += 1
    rate = np.maximum(1 / _NOISE_ROWS, 1 / s.noise_rows[at])
    now = s.noise[at]
    s.noise[at] = np.maximum(now + rate * (np.minimum(mean, _HUBER * now) - now), _LEAST_NOISE_DEG)


def predict(s: RestState, at: Rows, heat: Floats, variance: Floats) -> tuple[Floats, Floats, Bools]:
    """Return the tilt expected at this temperature, its variance, and where it is too early."""
    m = s.moments[at]
    count = np.maximum(m[:, 0], 1e-9)
    mean_heat = m[:, 1] / count
    spread = np.maximum(m[:, 2] - m[:, 1] * mean_heat, 0) + variance / _PRIOR_SLOPE**2
    mean = m[:, 3:5] / count[:, None]
    slope = (m[:, 5:7] - m[:, 1:2] * mean) / spread[:, None]
    away = heat - mean_heat
    unseen = np.maximum(0, np.maximum(heat - s.warmest[at], s.coldest[at] - heat))
    doubt = _INFLATION * variance * (1 / count + away**2 / spread) + (_UNSEEN_SLOPE * unseen) ** 2
    return mean + slope * away[:, None], doubt, m[:, 0] < _YOUNG_ROWS


def coefficient(s: RestState, row: int) -> float:
    """Return by how much a device tilts with temperature, as far as learnt; degrees per Cel."""
    count, heat, square, y1, y2, heat1, heat2 = s.moments[row].tolist()
    if count < _YOUNG_ROWS:
        return 0.0
    mean = heat / count
    prior = float(s.noise[row]) ** 2 / _PRIOR_SLOPE**2
    spread = max(square - heat * mean, 0.0) + prior
    return math.hypot(heat1 - y1 * mean, heat2 - y2 * mean) / float(spread)


def learn(
    s: RestState,
    at: Rows,
    *,
    heat: Floats,
    y: Floats,
    live: Bools,
    trust: Floats,
) -> None:
    """Learn tilt against temperature, and what temperature leaves behind; never in an episode."""
    live = live & ~(s.moved[at] | s.gone[at]) & (s.far[at] == 0)
    at, heat, y = at[live], heat[live], y[live]
    weight = trust[live][:, None]
    ones = np.ones(len(at))
    y1, y2 = y[:, 0], y[:, 1]
    terms = np.stack([ones, heat, heat * heat, y1, y2, heat * y1, heat * y2], 1)
    s.moments[at] = s.moments[at] * _FORGETTING + terms * weight
    s.coldest[at] = np.minimum(s.coldest[at], heat)
    s.warmest[at] = np.maximum(s.warmest[at], heat)
    slowest = s.average[at, -1]
    power = (slowest[:, 0] ** 2 + slowest[:, 1] ** 2) / 2
    now = s.slow[at]
    s.slow[at] = np.clip(now + (np.minimum(power, 4 * now) - now) / _SLOW_ROWS, *_SLOW_VARIANCE)


def dot(a: Floats, b: Floats) -> Floats:
    """Return the scalar products of vectors along the last axis."""
    product: Floats = a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2]
    return product


def length(y: Floats) -> Floats:
    """Return the lengths of ``(n, 2)`` vectors."""
    size: Floats = np.sqrt(y[:, 0] ** 2 + y[:, 1] ** 2)
    return size


def length3(a: Floats) -> Floats:
    """Return the lengths of ``(n, 3)`` vectors."""
    size: Floats = np.sqrt(dot(a, a))
    return size


def _unit(a: Floats) -> Floats:
    unit: Floats = a / np.sqrt(dot(a, a))[..., None]
    return unit
