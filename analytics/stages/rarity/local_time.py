"""The time of day in the city, for what repeats daily."""

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

_SECOND: Final = 1_000_000
_HOUR: Final = 3_600 * _SECOND
_DAY: Final = 86_400 * _SECOND
_MONTH: Final = 28 * _DAY
"""No place moves its clock twice within so long."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class LocalTime:
    """Seconds since midnight in one time zone.

    Args:
        zone: IANA name, such as ``"Asia/Shanghai"``.
    """

    def __init__(self, zone: str) -> None:
        self._zone = ZoneInfo(zone)
        self._known: dict[int, int] = {}

    def seconds(self, ts: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return ``(n,) float32`` seconds since midnight of times in microseconds UTC."""
        if not len(ts):
            return np.zeros(0, np.float32)
        first, last = int(ts.min()), int(ts.max())
        offset = self._offset(first)
        if last - first < _MONTH and self._offset(last) == offset:
            local = ts + offset
        else:
            hours, which = np.unique(ts // _HOUR, return_inverse=True)
            offsets = np.array([self._offset(int(hour) * _HOUR) for hour in hours], np.int64)
            local = ts + offsets[which]
        return (local % _DAY // _SECOND).astype(np.float32)

    def _offset(self, ts: int) -> int:
        """Return how far the city's clock is ahead of UTC, microseconds."""
        hour = ts // _HOUR
        if hour not in self._known:
            at = (_EPOCH + timedelta(hours=hour)).astimezone(self._zone)
            offset = at.utcoffset() or timedelta(0)
            self._known[hour] = offset // timedelta(microseconds=1)
            if len(self._known) > 100_000:  # noqa: PLR2004 - a back-test over years
                self._known.clear()
                self._known[hour] = offset // timedelta(microseconds=1)
        return self._known[hour]
