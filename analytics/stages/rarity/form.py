"""The two forms of multi-scale rarity and their numbers.

``full`` is the alarm form: eight features, two memories, what each hour usually scores. ``lite``
has four features and one memory, for the many metrics of which nobody expects much.

Sources:
    All numbers are ours, chosen on one half of the given half of NAB v1.1; most of them hardly
    matter (docs/explanation/detection.md tells which do). Rates are per row as in a back-test on a
    regular series; in service each becomes the time it stands for, in periods of the kind.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

BINS: Final = 24
"""Bins of a feature's size, over asinh of -30 to 30 times its own scale."""
LARGEST: Final = 30.0
CAP: Final = 5.0
"""A feature counts for its scale up to so many times that scale."""
FLOOR: Final = 0.01
"""Share of the range seen so far below which no change of level is one."""
STEADY: Final = 0.05
"""The same for a change of variability, in natural logarithms."""
SCALE_RATE: Final = 0.003
SEASON_BINS: Final = 48
SEASON_RATE: Final = 0.1
HOURS: Final = 24
HOUR_RATE: Final = 0.3
HOUR_WEIGHT: Final = 0.3
DAMPING: Final = 0.02
"""So much is a threshold raised by each past alert, which is forgotten over ``DAMPING_ROWS``."""
DAMPING_ROWS: Final = 1000.0
HOLD_OFF_ROWS: Final = 75
WARM_ROWS: Final = 100
"""So many rows after its first, or after a long gap, a series is not judged."""
MUTE_ROWS: Final = 500
"""In service a new series raises nothing for so many rows either: an hourly one has little to
compare with after three days."""
PRIOR_ROWS: Final = 20
"""The noise of the class counts like so many rows until a series knows its own."""
GAP_PERIODS: Final = 3.0
"""After such a gap the step across it says nothing of variability."""
LEAST_PERIODS: Final = 0.1
"""Two rows closer than this count as so far apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One form of the detector.

    Attributes:
        name: Its name.
        levels: Rates of the moving levels, fast to slow; the bands between them are features.
        steps: Rates of the mean absolute step, fast to slow; each is compared with the slowest.
        season: The level is compared with its usual value at this time of day.
        season_level: By place in ``levels``, which one.
        memories: How many rows the counts remember, each.
        loudest: The score is the mean of so many of the largest surprises; 0: root mean square.
        suspicion: From this score on a series is suspect: for ranking, never for a person.
        candidate: From this score on an alarm may come of it, if something else agrees.
    """

    name: str
    levels: tuple[float, ...]
    steps: tuple[float, ...]
    season: bool
    season_level: int
    memories: tuple[float, ...]
    loudest: int
    suspicion: float
    candidate: float

    @property
    def features(self) -> int:
        """How many features there are."""
        return len(self.levels) + len(self.steps) - 1 + self.season

    @property
    def rates(self) -> NDArray[np.float32]:
        """``(levels + steps + 1, 1)`` the rates per row, that of the scale last."""
        return np.array([*self.levels, *self.steps, SCALE_RATE], np.float32)[:, None]

    @property
    def times(self) -> NDArray[np.float32]:
        """The same as times, in periods: a row after one period weighs as its rate says."""
        return (-1 / np.log1p(-self.rates.astype(np.float64))).astype(np.float32)

    def noise_scales(self) -> NDArray[np.float32]:
        """Return ``(features,)`` the mean size of each feature in white noise of deviation 1.

        Zero where it does not hang on the noise, such as a change of variability.
        """
        scales = [
            *(_mean_size(rate) for rate in self.levels[:1]),
            *(
                _mean_difference(fast, slow)
                for fast, slow in zip(self.levels, self.levels[1:], strict=False)
            ),
            *(0.0 for _ in self.steps[1:]),
            *([_mean_difference(self.levels[self.season_level], SEASON_RATE)] * self.season),
        ]
        return np.array(scales, np.float32)


FULL: Final = Form(
    name="rarity",
    levels=(0.2, 0.08, 0.03, 0.008),
    steps=(0.2, 0.05, 0.01, 0.002),
    season=True,
    season_level=1,
    memories=(2_000, 10_000),
    loudest=4,
    suspicion=0.45,
    candidate=0.72,
)

LITE: Final = Form(
    name="rarity_lite",
    levels=(0.2, 0.03, 0.008),
    steps=(0.05, 0.002),
    season=False,
    season_level=0,
    memories=(2_000,),
    loudest=0,
    suspicion=0.55,
    candidate=0.8,
)

_MEAN_ABSOLUTE: Final = float(np.sqrt(2 / np.pi))  # of a standard normal variable


def _variance(fast: float, slow: float) -> float:
    """Return the covariance of two moving averages of the same white noise."""
    return fast * slow / (1 - (1 - fast) * (1 - slow))


def _mean_size(rate: float) -> float:
    """Return the mean of |x - level|, the level taken after x entered it."""
    return float((1 - rate) * np.sqrt(1 + _variance(rate, rate)) * _MEAN_ABSOLUTE)


def _mean_difference(fast: float, slow: float) -> float:
    variance = _variance(fast, fast) + _variance(slow, slow) - 2 * _variance(fast, slow)
    return float(np.sqrt(variance) * _MEAN_ABSOLUTE)
