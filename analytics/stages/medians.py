"""Medians of what a device has so far, for many devices at once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def middle(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return ``(n, k)`` medians over the second axis of ``(n, m, k)``, leaving out NaN.

    NaN where there is nothing else. Written out, since numpy's own warns of such rows and takes
    several times as long.

    >>> middle(np.array([[[1.0], [np.nan], [4.0], [2.0]]])).tolist()
    [[2.0]]
    >>> middle(np.array([[[1.0], [np.nan], [4.0]]])).tolist()
    [[2.5]]
    """
    ordered = np.sort(values.astype(np.float64), 1)  # NaN goes last
    count = np.isfinite(ordered).sum(1)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0)[:, None] // 2, 1)[:, 0]
    high = np.take_along_axis(ordered, np.minimum(count // 2, values.shape[1] - 1)[:, None], 1)
    middle: NDArray[np.float64] = np.where(count % 2 == 1, low, (low + high[:, 0]) / 2)
    return middle
