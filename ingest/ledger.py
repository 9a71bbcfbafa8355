"""The hub's own account (台账): received = stored + duplicate + quarantined, a minute and source.

In records: a message without a readable record counts one. The table's CHECK holds the equation, so
a mistake in counting fails the transaction instead of lying to somebody.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import psycopg
from numpy.typing import NDArray

from core.model import from_micros

MINUTE: Final = 60_000_000
_ADD: Final = """
INSERT INTO hub.ledger AS l (source, minute, received, stored, duplicate, quarantined)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (source, minute) DO UPDATE SET received = l.received + excluded.received,
    stored = l.stored + excluded.stored, duplicate = l.duplicate + excluded.duplicate,
    quarantined = l.quarantined + excluded.quarantined
"""


class Ledger:
    """What became of the records of one batch, by the minute of their receipt.

    ``received`` is counted before anything is written, the rest by what the database said.
    """

    def __init__(self) -> None:
        self.received: Counter[int] = Counter()
        self.stored: Counter[int] = Counter()
        self.duplicate: Counter[int] = Counter()
        self.quarantined: Counter[int] = Counter()

    def receive(self, times: Sequence[int] | NDArray[np.int64]) -> None:
        """Count records by receive time, microseconds UTC."""
        self.received.update(_minutes(times))

    def store(self, times: NDArray[np.int64]) -> None:
        """Count records that were all new by receive time, microseconds UTC."""
        self.stored.update(_minutes(times))

    def write(self, minute: int, *, taken: int, stored: int) -> None:
        """Count what the database did with so many records of one minute."""
        self.stored[minute] += stored
        self.duplicate[minute] += taken - stored

    def refuse(self, times: Sequence[int]) -> None:
        """Count records that went to quarantine by receive time, microseconds UTC."""
        self.quarantined.update(_minutes(times))

    def take_for_stored(self) -> None:
        """Count what was not refused as stored: an earlier attempt wrote it, and its account."""
        self.stored = self.received - self.quarantined

    def add(self, conn: psycopg.Connection[Any], source: str) -> None:
        """Add to the table, in the caller's transaction."""
        for minute in sorted(self.received):  # nearly always one
            conn.execute(
                _ADD,
                [
                    source,
                    from_micros(minute * MINUTE),
                    self.received[minute],
                    self.stored[minute],
                    self.duplicate[minute],
                    self.quarantined[minute],
                ],
            )


def _minutes(times: Sequence[int] | NDArray[np.int64]) -> dict[int, int]:
    """Return how many times lie in each minute.

    >>> _minutes([59_000_000, 59_999_999, 60_000_000])
    {0: 2, 1: 1}
    """
    minutes = np.asarray(times, np.int64) // MINUTE
    if len(minutes) and minutes[0] == minutes[-1] and (minutes == minutes[0]).all():
        return {int(minutes[0]): len(minutes)}  # nearly always
    minutes, counts = np.unique(minutes, return_counts=True)
    return dict(zip(minutes.tolist(), counts.tolist(), strict=True))
