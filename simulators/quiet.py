"""Quiet series: what a city's sensors send when nothing is wrong, for judging false alerts.

Two weeks at five minutes each, by name and seed. Nothing in them is an anomaly; whatever is raised
after the days of learning is noise.
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

PERIOD_S: Final = 300
DAYS: Final = 14
ROWS: Final = DAYS * 86_400 // PERIOD_S
LEARNING_ROWS: Final = 3 * 86_400 // PERIOD_S
START_S: Final = 1_780_012_800
"""Midnight UTC of a Friday in 2026, so that both weeks have a weekend."""

Values = NDArray[np.float64]
_SECONDS: Final = np.arange(ROWS) * float(PERIOD_S)
_HOURS: Final = _SECONDS % 86_400 / 3600
_DAY: Final = (_SECONDS // 86_400).astype(np.intp)
_PHASE: Final = 2 * np.pi * _SECONDS


def quiet_series(name: str, seed: int) -> Values:
    """Return the values of a quiet series.

    Raises:
        KeyError: There is none of this name.
    """
    place = list(QUIET).index(name)
    return QUIET[name](np.random.default_rng([seed, place]))


def _sine(_: np.random.Generator) -> Values:
    return 10 + 5 * np.sin(_PHASE / 86_400)


def _noisy_sine(chance: np.random.Generator) -> Values:
    return _sine(chance) + 0.3 * 5 * chance.standard_normal(ROWS)


def _lamp(chance: np.random.Generator, minutes: int) -> Values:
    """A lamp's power by schedule, each switching off by up to so many minutes."""
    off = 6 + chance.integers(-minutes, minutes + 1, DAYS)[_DAY] / 60
    on = 18.5 + chance.integers(-minutes, minutes + 1, DAYS)[_DAY] / 60
    power = 120 + 1.2 * chance.standard_normal(ROWS)
    return np.where((off > _HOURS) | (on <= _HOURS), power, 0.0)


def _walk(chance: np.random.Generator) -> Values:
    return np.cumsum(chance.standard_normal(ROWS))


def _ar1(chance: np.random.Generator) -> Values:
    shocks = chance.standard_normal(ROWS)
    values = np.zeros(ROWS)
    for n in range(1, ROWS):
        values[n] = 0.9 * values[n - 1] + shocks[n]
    return values


def _tide(chance: np.random.Generator) -> Values:
    waves = ((2.0, 44_714), (0.6, 43_200), (0.3, 86_164))  # M2, S2 and K1, seconds
    level: Values = sum(
        (size * np.sin(_PHASE / period) for size, period in waves), start=np.zeros(ROWS)
    )
    return level + 0.02 * chance.standard_normal(ROWS)


def _weekday(chance: np.random.Generator) -> Values:
    """A load with a weekday and a weekend shape."""
    works = (_DAY + 4) % 7 < 5  # noqa: PLR2004 - day 0 is a Friday
    work = 30 * np.exp(-(((_HOURS - 13) / 4) ** 2))
    rest = 8 * np.exp(-(((_HOURS - 14) / 5) ** 2))
    return 20 + np.where(works, work, rest) + chance.standard_normal(ROWS)


QUIET: Final[Mapping[str, Callable[[np.random.Generator], Values]]] = {
    "sine": _sine,
    "noisy_sine": _noisy_sine,
    "lamp_fixed": lambda chance: _lamp(chance, 0),
    "lamp_15_min": lambda chance: _lamp(chance, 15),
    "random_walk": _walk,
    "ar1": _ar1,
    "white": lambda chance: chance.standard_normal(ROWS),
    "tide": _tide,
    "heavy_tail": lambda chance: chance.standard_t(3, ROWS),
    "weekday_weekend": _weekday,
}
"""By name; heavy tails are Student's t with three degrees of freedom."""
