"""Who is unlike its neighbours (同组比对): a pure judgement over groups that should be alike.

A member is compared twice: with its own usual value at this hour, and with the median of its group
by the median absolute deviation. Only one that is far from both is told; what befalls all of them
is the group's, told once. Groups under five members are not judged. The numbers are ours.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

LEAST_MEMBERS: Final = 5
FAR: Final = 6.0
"""Deviations from its own usual value, and from its group's median, that count as far."""
SHARE: Final = 0.8
"""So many of a group's members astray in one direction are the group's own news."""
_MAD: Final = 1.4826  # median absolute deviation to standard deviation of Gaussian noise
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Members:
    """Those to compare now, ``(n,)`` each.

    Attributes:
        device_no: Who.
        group: Number of the group, -1 if none.
        value: What it measures now.
        usual: What it usually measures at this hour, NaN if not known.
        spread: Its own standard deviation around that.
    """

    device_no: Ints
    group: Ints
    value: Floats
    usual: Floats
    spread: Floats


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the comparison says, ``(n,)`` each but the groups.

    Attributes:
        own: Deviation from its own usual value, in its own standard deviations; NaN: not known.
        z: Deviation from the group's median, in the group's; NaN: not judged.
        median: Of the group.
        count: Members of the group.
        alone: It is far from both, and not by its group's fault.
        low: Groups nearly all of whose members are far below their usual values.
        high: Likewise above.
    """

    own: Floats
    z: Floats
    median: Floats
    count: Ints
    alone: NDArray[np.bool_]
    low: Ints
    high: Ints


def compare(group: Ints, value: Floats, floor: float) -> tuple[Floats, Floats, Ints]:
    """Return z, median and size of the group of each member, by two sorts.

    Args:
        group: ``(n,)`` numbers from 0.
        value: ``(n,)``, none NaN.
        floor: The least standard deviation a group can have.

    >>> z, median, count = compare(np.zeros(5, int), np.array([1, 1.1, 0.9, 1, 9]), 0.1)
    >>> z.round(1).tolist(), median[0].item(), count[0].item()
    ([0.0, 0.7, -0.7, 0.0, 54.0], 1.0, 5)
    """
    median, count = _medians(group, value)
    spread, _ = _medians(group, np.abs(value - median))
    z: Floats = (value - median) / np.maximum(_MAD * spread, floor)
    return z, median, count


def _medians(group: Ints, value: Floats) -> tuple[Floats, Ints]:
    """Return the median and the size of the group of each member."""
    order = np.lexsort((value, group))
    sorted_group, ordered = group[order], value[order]
    first = np.flatnonzero(np.concatenate(([True], sorted_group[1:] != sorted_group[:-1])))
    counts = np.diff(np.append(first, len(value)))
    middle = (ordered[first + (counts - 1) // 2] + ordered[first + counts // 2]) / 2
    median, count = np.empty(len(value)), np.empty(len(value), np.int64)
    median[order], count[order] = np.repeat(middle, counts), np.repeat(counts, counts)
    return median, count


def judge(members: Members, least: float) -> Verdict:
    """Compare members with themselves and with one another.

    Args:
        members: Those measured lately.
        least: The smallest change that matters, in the metric's unit.
    """
    n = len(members.device_no)
    own = np.full(n, np.nan)
    known = ~np.isnan(members.usual) & ~np.isnan(members.value)
    scale = np.maximum(members.spread, least / FAR)
    own[known] = ((members.value - members.usual) / scale)[known]
    z, median, count = np.full(n, np.nan), np.full(n, np.nan), np.zeros(n, np.int64)
    able = np.flatnonzero((members.group >= 0) & ~np.isnan(members.value))
    if len(able):
        z[able], median[able], count[able] = compare(
            members.group[able], members.value[able], least / FAR
        )
    judged = count >= LEAST_MEMBERS
    z[~judged] = np.nan
    low = _astray(members.group, known & judged, own < -FAR)
    high = _astray(members.group, known & judged, own > FAR)
    alone = (np.abs(own) > FAR) & (np.abs(z) > FAR) & (np.sign(own) == np.sign(z))
    alone &= ~np.isin(members.group, np.concatenate([low, high]))
    return Verdict(own, z, median, count, alone, low, high)


def _astray(group: Ints, judged: NDArray[np.bool_], far: NDArray[np.bool_]) -> Ints:
    """Return the groups nearly all of whose judged members are far off in one direction."""
    groups, inverse = np.unique(group[judged], return_inverse=True)
    all_of = np.bincount(inverse, minlength=len(groups))
    strays = np.bincount(inverse, far[judged], minlength=len(groups))
    found: Ints = groups[(all_of >= LEAST_MEMBERS) & (strays >= SHARE * all_of)]
    return found
