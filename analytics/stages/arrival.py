"""When rising water reaches a level, and how sure that is: a line or a parabola through the rise.

The parabola is taken only where its bend is clear of its own error; a flood that still gathers way
comes sooner than a line says. Else it is the line through the later half. The band holds what all
of them say, and what the error of the slope allows.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from analytics.stages.gauge_state import Floats

_LEAST_ROWS: Final = 4
_BENT_ROWS: Final = 8
_BENT: Final = 2.0  # standard errors
_BAND: Final = 2.0
_SLOWEST: Final = 1e-6  # metres a second, under 4 mm/h: nothing arrives
_FARTHEST_S: Final = 21_600.0
"""Nobody can say more than six hours ahead when a river comes."""
_LEAST_BAND: Final = 0.1  # of the estimate, on each side: rivers are no lines


@dataclass(frozen=True, slots=True)
class Arrival:
    """An estimate.

    Attributes:
        rate: How fast the water rises now, metres a second.
        seconds: Until it reaches the level; NaN: not within six hours.
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
        seconds: Times of the rows since the rise began, the newest 0, rising.
        level: Metres.
        target: The level in question, metres; NaN: only the rate is wanted.
        noise: Standard deviation of a row, metres.
    """
    if len(seconds) < _LEAST_ROWS:
        return None
    way = target - float(level[-1])
    half = len(seconds) // 2
    fits = [_fit(seconds, level, 1, noise)]
    if len(seconds) - half >= _LEAST_ROWS:
        fits.append(_fit(seconds[half:], level[half:], 1, noise))
    if len(seconds) >= _BENT_ROWS:
        bent = _fit(seconds, level, 2, noise)
        if abs(bent[0][2]) > _BENT * bent[1][2]:
            fits.append(bent)
    terms, errors = fits[-1]
    rate, error = float(terms[1]), _BAND * float(errors[1])
    expected = _reach(way, terms)
    others = [_reach(way, fit[0]) for fit in fits]
    fast = _until(way, rate + error, 0.0)
    slow = _until(way, rate - error, 0.0)
    low = min(
        [x for x in (*others, fast, expected * (1 - _LEAST_BAND)) if not np.isnan(x)],
        default=expected,
    )
    sure = not np.isnan(slow) and not any(np.isnan(x) for x in others)
    high = max(*others, slow, expected * (1 + _LEAST_BAND)) if sure else float("nan")
    return Arrival(rate, expected, low, high)


def _reach(way: float, terms: Floats) -> float:
    bend = float(terms[2]) if len(terms) > 2 else 0.0  # noqa: PLR2004 - a parabola has three terms
    return _until(way, float(terms[1]), bend)


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
