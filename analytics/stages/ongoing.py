"""When an episode that goes on is told again (仍在持续), so that nothing open stays unheard.

An alarm may end while its condition lasts: a person verifies a repair while the sensor is silent.
The sensor that speaks again and still breaches must be heard, hence a sparse ``update``: at most
one a minute of event time, and one with the first breaching row after a silence. The silence counts
in the device's own steps, the shortest seen in the episode; below three seconds nobody is silent.
"""

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from analytics.stages.state import Field, Rows

FLAG: Final = "ongoing"
"""Marks an update that says nothing new."""

_EVERY_US: Final = 60_000_000
_STEPS: Final = 3
_SHORTEST_US: Final = 3_000_000


class Told(Protocol):
    """The part of a state that is needed; each ``(devices, episodes)``.

    Attributes:
        told: When the open episode was last told, microseconds.
        heard: The last row since it opened; 0: none is open.
        pace: The shortest step between rows since it opened; 0: there was none yet.
    """

    told: NDArray[np.int64]
    heard: NDArray[np.int64]
    pace: NDArray[np.int64]


def fields(episodes: int) -> dict[str, Field]:
    """Return the arrays of :class:`Told` for so many episodes a device."""
    return {name: Field(np.int64, (episodes,)) for name in ("told", "heard", "pace")}


def tell_again(
    state: Told,
    at: Rows,
    ts: NDArray[np.int64],
    *,
    on: NDArray[np.bool_],
    breach: NDArray[np.bool_],
    told: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Return ``(n, episodes)`` which to tell again with one row of each of several devices.

    Args:
        state: Where it is remembered.
        at: ``(n,)`` rows of the state, none twice.
        ts: ``(n,)`` event time, microseconds.
        on: ``(n, episodes)``, open after this row.
        breach: ``(n, episodes)``, this very row says so: not the first row of a thing put right.
        told: ``(n, episodes)``, something was found in this row already.
    """
    now = ts[:, None]
    heard, pace = state.heard[at], state.pace[at]
    goes_on = on & (heard > 0)
    step = np.maximum(now - heard, 1)
    due = (step > np.maximum(_SHORTEST_US, _STEPS * pace)) | (now - state.told[at] >= _EVERY_US)
    again: NDArray[np.bool_] = goes_on & breach & ~told & due
    shortest = np.where(pace > 0, np.minimum(pace, step), step)
    state.pace[at] = np.where(goes_on, shortest, 0)
    state.heard[at] = np.where(on, now, 0)
    state.told[at] = np.where(told | again, now, state.told[at])
    return again
