"""Tells maintainers of a device gone mad (上报风暴): far more readings in a minute than any should.

Nothing of it is dropped or slowed: what is acknowledged is stored, and a city's other devices do
not feel one that sends 5,000 a second. History that a device sends late does not count.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.batch import Finding
from core.model import Edge, Quality, Severity, Text
from ingest.rows import Rows

_MINUTE: Final = 60_000_000
_HOUR: Final = 60 * _MINUTE


class Chatter:
    """Counts readings by device, in the minute of receipt.

    Args:
        limit: Readings a minute that are too many.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._minute = 0
        self._counts: NDArray[np.int64] = np.zeros(1024, np.int64)  # by device_no
        self._told: dict[int, int] = {}

    def look(self, rows: Sequence[Rows], now: int) -> list[Finding]:
        """Count the readings of a batch; return who is told of, once a device and hour.

        Args:
            rows: The readings.
            now: The hub's time of the batch, microseconds UTC.
        """
        found = []
        for minute in sorted({at for block in rows for at in np.unique(block.batch.rx // _MINUTE)}):
            if minute != self._minute:
                self._minute = minute
                self._counts[:] = 0
            found += self._count(rows, minute, now)
        return found

    def _count(self, rows: Sequence[Rows], minute: int, now: int) -> list[Finding]:
        found = []
        for block in rows:
            of_minute = block.batch.rx // _MINUTE == minute
            history = block.batch.quality & Quality.BACKLOG != 0
            live = block.batch.device_no[of_minute & ~history]
            counts = np.bincount(live, minlength=1)
            if len(counts) > len(self._counts):
                self._counts = np.append(self._counts, np.zeros(len(counts), np.int64))
            totals = self._counts[: len(counts)]
            totals += counts
            for number in np.flatnonzero((totals > self._limit) & (counts > 0)).tolist():
                if now - self._told.get(number, -_HOUR) >= _HOUR:
                    self._told[number] = now
                    found.append(self._finding(number, int(totals[number]), now))
        return found

    def _finding(self, device_no: int, count: int, now: int) -> Finding:
        return Finding(
            device_no=device_no,
            rule_id="chatty",
            detector="chatter",
            kind="chatty",
            edge=Edge.ONCE,
            ts=now,
            first_ts=now,
            received_at=now,
            severity=Severity.BLUE,
            explain=Text(
                f"设备在一分钟内上报 {count} 条，超过 {self._limit} 条；数据照常入库。",
                f"The device sent {count} readings within a minute, more than {self._limit}; they"
                " are stored as any others.",
            ),
            value=float(count),
            limit=float(self._limit),
            unit="/min",
            detail={"feature": "pace", "hi": float(self._limit)},
        )
