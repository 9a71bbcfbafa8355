"""What differs from device to device, read live: a change of a rule is heard without a restart.

The registry's mapping ``limits`` says of each device what of its kind's watches is not as shipped.
Its ``epoch`` tells that it changed; a plain mapping is looked at once in a second of hub time.
A stage keeps one line of figures for each different set, and knows the line of each device.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_LOOK_US: Final = 1_000_000
"""How often, in microseconds of hub time, a mapping without an epoch is looked at."""


class Lines:
    """The different sets of figures, and which of them is a device's.

    Args:
        own: By ``device_no``: live, its values replaced and never changed in place.

    Attributes:
        values: The sets; the first is empty, the kind's own.
    """

    def __init__(self, own: Mapping[int, Mapping[str, Any]]) -> None:
        self._own = own
        self._looked: int | None = None
        self.values: list[Mapping[str, Any]] = [{}]
        self._line_of = np.zeros(1, np.int32)

    def look(self, now: int) -> bool:
        """Look at the mapping if it may have changed; return whether to take ``values`` anew."""
        epoch: int = getattr(self._own, "epoch", now // _LOOK_US)
        if epoch == self._looked:
            return False
        self._looked = epoch
        own = dict(self._own)
        line_of = np.zeros(max(own, default=0) + 1, np.int32)
        lines: dict[int, int] = {}
        values: list[Mapping[str, Any]] = [{}]
        for device_no, differing in own.items():
            line = lines.setdefault(id(differing), len(values))
            if line == len(values):
                values.append(differing)
            line_of[device_no] = line
        self.values, self._line_of = values, line_of
        return True

    def of(self, device_no: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the line of each device, 0 where nothing differs."""
        if len(self.values) == 1:
            return np.zeros(len(device_no), np.int32)
        known = device_no < len(self._line_of)
        found: NDArray[np.int32] = np.where(
            known, self._line_of[np.where(known, device_no, 0)], 0
        ).astype(np.int32)
        return found


class OwnNumbers:
    """Numbers of one watch that a city may change, as columns.

    Args:
        watch: The watch, whose values hold where nothing differs.
        key: Its key (:func:`devices.rule_fields.watch_key`).
        own: See :class:`Lines`.
    """

    def __init__(self, watch: object, key: str, own: Mapping[int, Mapping[str, Any]]) -> None:
        self._watch, self._key, self._lines = watch, key, Lines(own)
        self._columns: dict[str, NDArray[np.float64]] = {}

    def of(self, name: str, device_no: NDArray[np.int32], now: int) -> NDArray[np.float64]:
        """Return a number of the watch for each device.

        Args:
            name: The watch's attribute.
            device_no: The devices.
            now: The hub's time, microseconds.
        """
        if self._lines.look(now):
            self._columns = {}
        if name not in self._columns:
            shipped = float(getattr(self._watch, name))
            changed = [values.get(self._key) for values in self._lines.values]
            self._columns[name] = np.array(
                [
                    float(each[name]) if isinstance(each, Mapping) and name in each else shipped
                    for each in changed
                ]
            )
        column: NDArray[np.float64] = self._columns[name][self._lines.of(device_no)]
        return column
