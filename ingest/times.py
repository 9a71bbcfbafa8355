"""Which time the hub believes (时间规则).

A device time is believed from 400 days before receipt to five minutes after it. Else the row stands
under its receive time, flagged, with the device's own time kept beside it: a clock eight hours off
is the commonest fault in the field, and its readings must be neither lost nor misplaced.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.model import Quality
from devices.kind import DeviceKind

_SECOND: Final = 1_000_000
FAR_APART: Final = 60 * _SECOND
"""Device time and receipt further apart than this: both are kept."""


@dataclass(frozen=True, slots=True)
class TimeRules:
    """How far a device time may be from its receipt.

    Attributes:
        future: At most so far ahead, in microseconds.
        age: At most so far behind, in microseconds.
    """

    future: int
    age: int

    @classmethod
    def of(cls, *, max_future_s: float, max_age_days: float) -> "TimeRules":
        """Return the rules that settings tell."""
        return cls(round(max_future_s * _SECOND), round(max_age_days * 86_400 * _SECOND))


@dataclass(frozen=True, slots=True)
class Believed:
    """What became of some times; each ``(n,)``.

    Attributes:
        ts: Event time, microseconds UTC.
        quality: Bits 0 to 3.
        odd: Rows in which the two times are kept, see :func:`both_times`.
    """

    ts: NDArray[np.int64]
    quality: NDArray[np.int16]
    odd: NDArray[np.intp]


def believe(
    device: NDArray[np.int64],
    given: NDArray[np.bool_],
    history: NDArray[np.bool_],
    rx: NDArray[np.int64],
    *,
    rules: TimeRules,
    lateness: int,
) -> Believed:
    """Apply the time rules.

    Args:
        device: ``(n,)`` device times, microseconds UTC; anything where ``given`` is false.
        given: ``(n,)``, where the device gave a time.
        history: ``(n,)``, where the device says that it sends late.
        rx: ``(n,)`` receive times, microseconds UTC.
        rules: How far they may be apart.
        lateness: From this age on a row is history only, in microseconds.
    """
    age = rx - device
    usual = min(lateness, FAR_APART, rules.age)
    ahead = min(FAR_APART, rules.future)
    if len(rx) and given.all() and not history.any() and age.max() <= usual and age.min() >= -ahead:
        # Nearly every batch; a small one pays for each call, not for its rows.
        return Believed(device.copy(), np.zeros(len(rx), np.int16), np.empty(0, np.intp))
    good = given & (age >= -rules.future) & (age <= rules.age)
    wrong = given & ~good
    quality = np.zeros(len(rx), np.int16)
    quality[~given] |= Quality.NO_DEVICE_TIME
    quality[wrong] |= Quality.CLOCK_SUSPECT
    quality[good & (age > lateness)] |= Quality.LATE
    quality[history] |= Quality.BACKLOG
    odd = np.flatnonzero(wrong | (good & (np.abs(age) > FAR_APART)))
    return Believed(np.where(good, device, rx), quality, odd)


def both_times(device: int, rx: int, *, suspect: bool) -> dict[str, Any]:
    """Return what ``extra`` keeps: ``t`` not believed, or ``rx`` far away, in milliseconds."""
    return (
        {"t": device / 1000 if device % 1000 else device // 1000} if suspect else {"rx": rx // 1000}
    )


def lateness_of(kind: DeviceKind | None) -> int:
    """Return the age from which on no rule of a kind would sound, in microseconds."""
    rules = kind.rules if kind is not None else ()
    return round(max((rule.allowed_lateness_s for rule in rules), default=900.0) * _SECOND)
