"""When rising water reaches a level, and how sure that is: a line or a parabola through the rise.

The parabola is taken only where its bend is clear of its own error; a flood that still gathers way
comes sooner than a line says. The band is what the error of the fit and of the noise allow.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from analytics.stages.gauge_state import Floats

_SPAN_S: Final = 3600.0  # of the past, at most; the flood before is another flood
_LEAST_ROWS: Final = 4
_BENT_ROWS: Final = 8
_BENT: Final = 3.0  # standard errors
_BAND: Final = 2.0
_SLOWEST: Final = 1e-6  # metres a second, under 4 mm/h: nothing arrives
_FARTHEST_S: Final = 172_800.0
_LEAST_BAND: Final = 0.1  # of the estimate, on each side: rivers are no lines


@dataclass(frozen=True, slots=True)
class Arrival:
    """An estimate.

    Attributes:
        rate: How fast the water rises now, metres a second.
        seconds: Until it reaches the level; NaN: not within two days.
        low: At the earliest.
        high: At the latest; NaN: perhaps never.
    """

    rate: float
    seconds: float
    low: float
    high: float


def estimate(seconds: Floats, level: Floats, target: float, noise: float) -> Arrival | None:
    """Estimate when a level is reached, or return None where there is too little to say.

    Args:
        seconds: Times of the rows, the newest 0, rising.
        level: Metres.
        target: The level in question, metres; NaN: only the rate is wanted.
        noise: Standard deviation of a row, metres.
    """
    recent = seconds >= -_SPAN_S
    t, x = seconds[recent], level[recent]
    begin = int(np.argmin(x[: max(len(x) - _LEAST_ROWS + 1, 1)]))  # the rise, not what was before
    t, x = t[begin:], x[begin:]
    if len(t) < _LEAST_ROWS:
        return None
    fit = _fit(t, x, 2, noise) if len(t) >= _BENT_ROWS else None
    if fit is None or abs(fit[0][2]) < _BENT * fit[1][2]:
        fit = _fit(t, x, 1, noise)
    terms, errors = fit
    now, rate = float(terms[0]), float(terms[1])
    bend = float(terms[2]) if len(terms) > 2 else 0.0  # noqa: PLR2004 - a parabola has three terms
    way = target - now
    error = _BAND * float(errors[1])
    expected = _until(way, rate, bend)
    fast = _until(way, rate + error, max(bend, 0.0))
    slow = _until(way, rate - error, min(bend, 0.0))
    low = min(fast, expected * (1 - _LEAST_BAND))
    high = max(slow, expected * (1 + _LEAST_BAND))
    return Arrival(rate, expected, low, float("nan") if np.isnan(slow) else high)


def _fit(t: Floats, x: Floats, degree: int, noise: float) -> tuple[Floats, Floats]:
    """Return terms of a polynomial, constant first, and their standard errors."""
    scale = max(float(-t[0]), 1.0)
    basis = np.vander(t / scale, degree + 1, increasing=True)
    inverse = np.linalg.pinv(basis.T @ basis)
    terms = inverse @ (basis.T @ x)
    spare = max(len(t) - degree - 1, 1)
    residual = float(np.sqrt(((x - basis @ terms) ** 2).sum() / spare))
    errors = np.sqrt(np.maximum(np.diag(inverse), 0)) * max(residual, noise)
    units = scale ** np.arange(degree + 1)
    return terms / units, errors / units


def _until(way: float, rate: float, bend: float) -> float:
    """Return the first time at which ``rate t + bend t²`` is the way, NaN where it never is."""
    if np.isnan(way):
        return float("nan")
    if way <= 0:
        return 0.0
    under = rate * rate + 4 * bend * way
    if rate <= _SLOWEST or under < 0:
        return float("nan")
    seconds = 2 * way / (rate + float(np.sqrt(under)))
    return seconds if seconds <= _FARTHEST_S else float("nan")
