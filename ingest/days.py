"""The day partitions that a batch needs (日分区): made before its transaction, and not too many.

A day costs the server some 3.5 ms of CPU, once a kind (measured). One message may name 400 of them,
and nothing else would be stored meanwhile. So a batch adds a bounded number of days, the newest;
readings of the others wait in quarantine, where they can be taken up again without that bound.
"""

from datetime import date
from typing import Any, Final

import numpy as np
import psycopg

from core.tables import days_of, known_days, make_days
from devices.kind import DeviceKind
from ingest.decode import Refusal, Work

Connection = psycopg.Connection[Any]
_DAY: Final = 86_400_000_000


class Days:
    """The days that have a partition, by kind.

    Args:
        most_new: How many a batch may add a kind.
    """

    def __init__(self, most_new: int) -> None:
        self._most_new = most_new
        self._known: dict[str, set[date]] = {}

    def forget(self) -> None:
        """Ask anew: retention may have dropped a day that we knew."""
        self._known.clear()

    def bound(self, conn: Connection, work: Work) -> None:
        """Refuse the readings of a batch whose days are too many, the oldest days first."""
        for place, rows in enumerate(work.rows):
            day = rows.batch.ts // _DAY
            if not len(day) or int(day.max() - day.min()) < self._most_new:
                continue
            known = self._known.get(rows.kind.name) or known_days(conn, rows.kind.table)
            new = [n for n in np.unique(day).tolist() if not days_of([n * _DAY]) <= known]
            if len(new) <= self._most_new:
                continue
            too_many = np.isin(day, new[: -self._most_new])
            work.refused += [
                Refusal(message, "too_many_days", device_no=device_no)
                for message, device_no in zip(
                    rows.message[too_many].tolist(),
                    rows.batch.device_no[too_many].tolist(),
                    strict=True,
                )
            ]
            work.rows[place] = rows.only(np.flatnonzero(~too_many))

    def make(self, conn: Connection, work: Work) -> None:
        """Make those that are missing.

        Tomorrow is made with the first batch of today, so that nobody waits for it at midnight.
        """
        for rows in work.rows:
            self._make(conn, rows.kind, np.unique(rows.batch.ts // _DAY).tolist(), work.now)

    def _make(self, conn: Connection, kind: DeviceKind, days: list[int], now: int) -> None:
        wanted = days_of([now, now + _DAY, *(day * _DAY for day in days)])
        if not wanted <= self._known.get(kind.name, set()):
            self._known[kind.name] = make_days(conn, kind.table, wanted)
