"""Ground that moves: creep, steps after rain that come to rest, and acceleration before a failure.

All in mm along one direction, over days. ``creep = rate · t``. A step after rain relaxes:
``size · (1 - exp(-t / tau))``. Before a failure the inverse of the velocity falls to zero in a
straight line (Fukuzono 1985), so displacement grows as ``-size · ln((T - t) / T)``, with ``T`` the
days from onset to failure. The formulas take floats and arrays alike.
"""

from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

Days = TypeVar("Days", float, NDArray[np.float64])

_LAST_D: Final = 0.05
"""The last hour before a failure adds no more: the point is gone or the formula is."""


def relax(since_d: Days, size: float, tau_d: float) -> Days:
    """Return how far a step after rain has come, in mm; nothing before it began.

    >>> float(round(relax(1.0, 10.0, 1.0), 2)), float(relax(-1.0, 10.0, 1.0))
    (6.32, 0.0)
    """
    risen: Days = size * (1 - np.exp(-np.maximum(since_d, 0.0) / tau_d))
    return risen


def accelerate(since_d: Days, size: float, lasts_d: float) -> Days:
    """Return how far a failing slope has come since the onset, in mm; nothing before it.

    >>> float(round(accelerate(30.0, 40.0, 60.0), 1))
    27.7
    """
    left = np.maximum(lasts_d - np.maximum(since_d, 0.0), _LAST_D)
    come: Days = -size * np.log(np.minimum(left / lasts_d, 1.0))
    return come
