"""Floods (告警洪峰) after ISA-18.2: more alarms in ten minutes than one person can take in."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

SLOT: Final = timedelta(minutes=10)
ENTRY: Final = 10
"""A flood begins with so many alarms a seat in ten minutes (ISA-18.2, EEMUA 191)."""
EXIT: Final = 5
"""It ends with a slot of fewer."""


@dataclass(frozen=True, slots=True)
class Floods:
    """Floods of a stretch of slots; counts are a seat's.

    Attributes:
        count: How many there were.
        slots: Slots in flood, of all.
        longest: Slots of the longest.
        peak: Most alarms in a slot of a flood.
    """

    count: int
    slots: int
    longest: int
    peak: float


def floods(alarms: Mapping[int, int], slots: int, seats: int) -> Floods:
    """Find the floods.

    Args:
        alarms: Alarms by number of the slot; one that is missing had none.
        slots: How many slots there are.
        seats: How many people share the alarms, at least 1.

    >>> floods({3: 12, 4: 6, 5: 4, 9: 10}, 144, 1)
    Floods(count=2, slots=3, longest=2, peak=12.0)
    """
    count = total = longest = running = 0
    peak, before = 0.0, -1
    for slot in sorted(slot for slot in alarms if 0 <= slot < slots):
        rate = alarms[slot] / seats
        goes_on = running and slot == before + 1 and rate >= EXIT
        if not goes_on:
            running = 0
            if rate < ENTRY:
                continue
            count += 1
        running, before = running + 1, slot
        total, longest, peak = total + 1, max(longest, running), max(peak, rate)
    return Floods(count, total, longest, peak)
