"""The steps of a kind's limits as columns: who breaches what, by the kind's numbers or its own.

A device's own ``limits`` in the registry replace the kind's ladder for that metric as a whole: a
river station's warning level has nothing to do with another's. Where a metric is watched for too
much and for too little, the key is the rule instead (:func:`devices.limits.limit_keys`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.model import Severity
from devices.kind import DeviceKind, Limit
from devices.limits import limit_keys

STEPS: Final = len(Severity)
"""Steps of each limit, blue first; one that a device has not is NaN."""
_LOOK_US: Final = 1_000_000
"""How often, in microseconds of hub time, the registry is looked at for changed limits."""
_NAMES: Final = {severity: severity.name.lower() for severity in Severity}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one limit.

    Attributes:
        place: Which limit, by its place among the kind's.
        limit: That limit.
        severity: Which of its steps.
    """

    place: int
    limit: Limit
    severity: Severity


class Ladder:
    """Thresholds of every step for every device.

    Args:
        kind: The kind.
        own: The devices' own by ``device_no``: the registry's live mapping, whose values are
            replaced by a reload and never changed in place.
    """

    def __init__(self, kind: DeviceKind, own: Mapping[int, Mapping[str, Any]]) -> None:
        self.limits = [watch for watch in kind.watches if isinstance(watch, Limit)]
        self._key = {limit: key for key, limit in limit_keys(kind).items()}
        self.steps = [
            Step(place, limit, severity)
            for place, limit in enumerate(self.limits)
            for severity in sorted(Severity)
        ]
        self._own = own
        self._known: dict[int, Mapping[str, Any]] = {}
        self._looked = -_LOOK_US
        defaults = [dict(step.limit.steps).get(step.severity, np.nan) for step in self.steps]
        self._table = np.array([defaults], np.float64)
        self._line_of = np.zeros(1, np.int32)  # by device_no; line 0 is the kind's

    def thresholds(self, device_no: NDArray[np.int32], now: int) -> NDArray[np.float64]:
        """Return ``(steps, n)`` thresholds, NaN where a device has no such step.

        Args:
            device_no: The devices.
            now: The hub's time, microseconds.
        """
        if abs(now - self._looked) >= _LOOK_US:
            self._looked = now
            self._look()
        if len(self._table) == 1:
            return np.broadcast_to(self._table.T, (len(self.steps), len(device_no)))
        known = device_no < len(self._line_of)
        lines = np.where(known, self._line_of[np.where(known, device_no, 0)], 0)
        return np.ascontiguousarray(self._table[lines].T)

    def _look(self) -> None:
        """Take over what changed in the registry since the last look."""
        own = dict(self._own)
        if own == self._known:
            return
        self._known = own
        self._table = np.vstack([self._table[:1], *(self._line(limits) for limits in own.values())])
        self._line_of = np.zeros(max(own, default=0) + 1, np.int32)
        self._line_of[list(own)] = np.arange(1, len(own) + 1)

    def _line(self, own: Mapping[str, Any]) -> NDArray[np.float64]:
        line: NDArray[np.float64] = self._table[0].copy()
        for n, step in enumerate(self.steps):
            ladder = own.get(self._key[step.limit])
            if isinstance(ladder, Mapping):
                value = ladder.get(_NAMES[step.severity])
                line[n] = value if isinstance(value, int | float) else np.nan
        return line


def breaching(
    values: NDArray[Any], threshold: NDArray[np.float64], limit: Limit, margin: float = 0.0
) -> NDArray[np.bool_]:
    """Return which values are at or past their threshold, or within a margin of it.

    The comparison is made in the values' own precision: 0.3 as the table stores it is 0.3.
    """
    edge = (threshold + (margin if limit.below else -margin)).astype(values.dtype)
    past: NDArray[np.bool_] = values <= edge if limit.below else values >= edge
    return past
