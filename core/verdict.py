"""What detectors make of a row, after QARTOD: bits 12 to 14 of its quality (质控结论)."""

from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray


class Verdict(IntEnum):
    """What the checks of detectors make of a row, the worst of them, after QARTOD.

    It stands in bits 12 to 14 of the quality. A failed row carries bit 12 as well as one that was
    not evaluated: neither may enter the state of a detector that comes later.
    """

    PASS = 0
    NOT_EVALUATED = 1
    SUSPECT = 2
    FAIL = 3
    MISSING = 4


_VERDICT_SHIFT: Final = 12
_VERDICT_MASK: Final = 7 << _VERDICT_SHIFT


def verdict_of(quality: int) -> Verdict:
    """Return the verdict in a row's quality.

    >>> verdict_of(4 | Verdict.SUSPECT << 12).name
    'SUSPECT'
    """
    return Verdict((quality & _VERDICT_MASK) >> _VERDICT_SHIFT)


def worsen(quality: NDArray[np.int16], rows: NDArray[np.intp], verdict: Verdict) -> None:
    """Put a verdict on rows of a quality column where it is worse than theirs.

    >>> column = np.array([4, Verdict.FAIL << 12], np.int16)
    >>> worsen(column, np.array([0, 1]), Verdict.SUSPECT)
    >>> [verdict_of(int(row)).name for row in column]
    ['SUSPECT', 'FAIL']
    """
    there = quality[rows]
    worse = (there & _VERDICT_MASK) < verdict << _VERDICT_SHIFT
    changed = (there & ~_VERDICT_MASK) | (verdict << _VERDICT_SHIFT)
    quality[rows] = np.where(worse, changed, there).astype(np.int16)
