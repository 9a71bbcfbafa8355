"""The limits of a kind as columns: who breaches what, by the kind's numbers or others.

What differs for a device stands in the live mapping of :mod:`devices.registry`: its own steps, or
what a rule of the city changed (:mod:`devices.rulebook`). Steps replace the kind's ladder for that
metric as a whole: a river station's warning level has nothing to do with another's.
Where a metric is watched for too much and for too little, the key is the rule instead
(:func:`devices.limits.limit_keys`).
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analytics.stages.own import Lines
from core.model import Severity
from devices.kind import DeviceKind, Limit
from devices.limits import limit_keys
from devices.rule_fields import STEPS as NAMES

STEPS: Final = len(Severity)
"""Steps of each limit, blue first; one that a device has not is NaN."""
_SECOND: Final = 1_000_000


class Ladder:
    """Thresholds and terms of every step for every device, by the line of its device.

    Args:
        kind: The kind.
        own: What differs, by ``device_no``: the registry's live mapping, whose values are replaced
            by a reload and never changed in place.

    Attributes:
        limits: The kind's limits.
        threshold: ``(lines, steps)``, limit by limit, NaN where there is no such step.
        first: ``(lines, limits)`` the step that is passed first, NaN where there is none.
        margin: ``(lines, limits)`` how far inside a value must be to clear.
        hold: ``(lines, steps)`` consecutive readings that open.
        hold_us: ``(lines, steps)`` how long they must last besides, microseconds.
        clear_hold: ``(lines, steps)`` consecutive readings that clear.
    """

    threshold: NDArray[np.float64]
    first: NDArray[np.float64]
    margin: NDArray[np.float64]
    hold: NDArray[np.float64]
    hold_us: NDArray[np.float64]
    clear_hold: NDArray[np.float64]

    def __init__(self, kind: DeviceKind, own: Mapping[int, Mapping[str, Any]]) -> None:
        self.limits = [watch for watch in kind.watches if isinstance(watch, Limit)]
        self._keys = [key for key, limit in limit_keys(kind).items() if limit in self.limits]
        self._lines = Lines(own)
        self._take([{}])

    def lines(self, device_no: NDArray[np.int32], now: int) -> NDArray[np.int32]:
        """Return the line of each device; line 0 is the kind's.

        Args:
            device_no: The devices.
            now: The hub's time, microseconds.
        """
        if self._lines.look(now):
            self._take(self._lines.values)
        return self._lines.of(device_no)

    def spread(self, table: NDArray[np.float64], lines: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return ``(columns, n)`` of a table, a column of it for each device."""
        if len(table) == 1:
            return np.broadcast_to(table.T, (table.shape[1], len(lines)))
        return np.ascontiguousarray(table[lines].T)

    def _take(self, values: list[Mapping[str, Any]]) -> None:
        """Take over what differs; the first line is the kind's."""
        shown = [[_Shown(limit, own.get(key)) for limit, key in self._each()] for own in values]
        several = len(self.limits)

        def column(name: str) -> NDArray[np.float64]:
            cells = [[each.number(name) for each in line] for line in shown]
            return np.array(cells, np.float64).reshape(len(values), several)

        steps = [[each.steps() for each in line] for line in shown]
        self.threshold = np.array(steps, np.float64).reshape(len(values), several * STEPS)
        self.first = np.full((len(values), several), np.nan)
        for n, limit in enumerate(self.limits):
            nearer = np.fmax if limit.below else np.fmin
            nearer.reduce(self.threshold[:, n * STEPS : (n + 1) * STEPS], 1, out=self.first[:, n])
        self.margin = column("clear_margin")
        self.hold = np.repeat(column("hold"), STEPS, 1)
        self.hold_us = np.repeat(column("hold_s") * _SECOND, STEPS, 1)
        self.clear_hold = np.repeat(column("clear_hold"), STEPS, 1)

    def _each(self) -> list[tuple[Limit, str]]:
        return list(zip(self.limits, self._keys, strict=True))


class _Shown:
    """One limit as it holds for some devices."""

    def __init__(self, limit: Limit, own: object) -> None:
        self._limit = limit
        self._own: Mapping[str, Any] = own if isinstance(own, Mapping) else {}

    def steps(self) -> list[float]:
        """Return the steps, blue first, NaN where there is none."""
        replaced = any(name in self._own for name in NAMES)
        steps = [self._own.get(name) if replaced else getattr(self._limit, name) for name in NAMES]
        return [float(step) if isinstance(step, int | float) else np.nan for step in steps]

    def number(self, name: str) -> float:
        """Return one of its other numbers."""
        own = self._own.get(name)
        return float(own if isinstance(own, int | float) else getattr(self._limit, name))


def breaching(
    values: NDArray[Any],
    threshold: NDArray[np.float64],
    limit: Limit,
    margin: NDArray[np.float64] | float = 0.0,
) -> NDArray[np.bool_]:
    """Return which values are at or past their threshold, or within a margin of it.

    The comparison is made in the values' own precision: 0.3 as the table stores it is 0.3.
    """
    edge = (threshold + (margin if limit.below else -margin)).astype(values.dtype)
    past: NDArray[np.bool_] = values <= edge if limit.below else values >= edge
    return past
