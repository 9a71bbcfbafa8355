"""Covers that rock under traffic (松动): shocks grow while the cover lies where it always lay.

Only rows that are not quiet tell of it. The strength of each shock, in logarithms, is averaged at
two speeds; the slow average with its scatter is what this cover is used to, and it stands still
while the fast one is clearly above. A heavier lorry is no loose cover: a dozen shocks must agree.

Every number is ours (measured on simulated covers).
"""

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from analytics.stages.rest import Bools, Floats, length3
from analytics.stages.state import Field, Rows

_FAST_ROWS: Final = 16
_SLOW_ROWS: Final = 400
_LEAST_ROWS: Final = 20  # shocks before there is a habit to compare with
_SCATTER: Final = 0.7  # of the logarithm, until learnt
_LEAST_SCATTER: Final = 0.3
_SIGMAS: Final = 4.0
_GROWN: Final = 0.5  # 65 % stronger
_HABIT_SIGMAS: Final = 2.0  # beyond it nothing is learnt
_STRENGTH_G: Final = (0.02, 2.5)  # weaker is no shock, stronger no measurement
_AGAIN_US: Final = 86_400_000_000


class Rocked(Protocol):
    """The part of a state that is needed; each ``(devices,)``.

    Attributes:
        shocks: How many there were.
        shock: The fast average of their logarithm.
        usual_shock: The slow one.
        shock_scatter: Mean square of their deviation from it.
        rocked: When it was told last, microseconds.
    """

    shocks: NDArray[np.int64]
    shock: Floats
    usual_shock: Floats
    shock_scatter: Floats
    rocked: NDArray[np.int64]


def fields() -> dict[str, Field]:
    """Return the arrays of :class:`Rocked`."""
    return {
        "shocks": Field(np.int64),
        "shock": Field(np.float64),
        "usual_shock": Field(np.float64),
        "shock_scatter": Field(np.float64, fill=_SCATTER**2),
        "rocked": Field(np.int64, fill=-_AGAIN_US),
    }


def step(s: Rocked, at: Rows, ts: NDArray[np.int64], push: Floats, shaken: Bools) -> Bools:
    """Take in one row of each of several covers; return which rock, told once a day.

    Args:
        s: The state, changed in place.
        at: ``(n,)`` rows of the state, none twice.
        ts: ``(n,)`` event time, microseconds.
        push: ``(n, 3)`` acceleration in g besides gravity at rest.
        shaken: ``(n,)`` the row is a shock, and the cover neither open nor moved.
    """
    rocks = np.zeros(len(at), np.bool_)
    strength = length3(push)
    some = np.flatnonzero(shaken & (strength > _STRENGTH_G[0]) & (strength < _STRENGTH_G[1]))
    if not len(some):
        return rocks
    at, log = at[some], np.log(strength[some])
    s.shocks[at] += 1
    count = s.shocks[at]
    s.shock[at] += np.maximum(1 / _FAST_ROWS, 1 / count) * (log - s.shock[at])
    scatter = np.maximum(np.sqrt(s.shock_scatter[at]), _LEAST_SCATTER)
    grown = s.shock[at] - s.usual_shock[at]
    # the averages' own scatter: of a window of 2 n - 1 rows, and of the habit itself
    own = scatter * np.sqrt(1 / (2 * _FAST_ROWS - 1) + 1 / np.minimum(count, _SLOW_ROWS))
    known = count > _LEAST_ROWS
    over = known & (grown > _SIGMAS * own) & (grown > _GROWN)
    tell = over & (ts[some] - s.rocked[at] >= _AGAIN_US)
    s.rocked[at] = np.where(tell, ts[some], s.rocked[at])
    learns = ~known | (grown < _HABIT_SIGMAS * own)
    k, log, rate = at[learns], log[learns], np.maximum(1 / _SLOW_ROWS, 1 / count[learns])
    off = log - s.usual_shock[k]
    s.usual_shock[k] += rate * off
    young = s.shocks[k] <= 2  # noqa: PLR2004 - one value has no scatter
    s.shock_scatter[k] += np.where(young, 0, rate * (off**2 - s.shock_scatter[k]))
    rocks[some] = tell
    return rocks
