"""Whose payloads are bad (报文异常): more than one record in twenty of a device within an hour.

One bad message is noise, a share of them a fault: a firmware that was shipped broken, a login that
two devices share. Maintainers get one finding a device and hour, at once where twenty records tell,
else when the hour is over. Hours are those of receipt, so the same traffic gives the same findings.
"""

from collections import Counter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.batch import Finding
from core.model import Edge, Severity, Text
from ingest.decode import Work
from ingest.reasons import REASONS

_SHARE: Final = 0.05
_ENOUGH: Final = 20
"""From so many records on a share means something before the hour is over."""
_HOUR: Final = 3_600_000_000


class PayloadWatch:
    """Counts the records of each device in the hour at hand."""

    def __init__(self) -> None:
        self._hour = 0
        self._good: NDArray[np.int64] = np.zeros(1024, np.int64)
        self._bad: Counter[int] = Counter()
        self._latest: dict[int, str] = {}
        self._told: set[int] = set()

    def look(self, work: Work) -> list[Finding]:
        """Count the records of a batch; return what is to be told of their senders."""
        found: list[Finding] = []
        if not work.raw.received_at:
            return found
        hour = work.raw.received_at[-1] // _HOUR
        if hour > self._hour:
            over = (self._hour + 1) * _HOUR
            found += [self._finding(number, over) for number in self._guilty(1)]
            self._hour = hour
            self._good[:] = 0
            self._bad.clear()
            self._told.clear()
        for rows in work.rows:
            self._add(rows.batch.device_no)
        self._add(np.array([event.device_no for _, event in work.events], np.int32))
        self._add(np.array([state.device_no for state in work.states], np.int32))
        if not work.refused:
            return found
        for refusal in work.refused:
            if refusal.device_no is not None:
                self._bad[refusal.device_no] += 1
                self._latest[refusal.device_no] = refusal.code
        at = work.raw.received_at[-1]
        return found + [self._finding(number, at) for number in self._guilty(_ENOUGH)]

    def _add(self, device_no: NDArray[np.int32]) -> None:
        if len(device_no):
            counts = np.bincount(device_no)
            if len(counts) > len(self._good):
                self._good = np.append(self._good, np.zeros(len(counts), np.int64))
            self._good[: len(counts)] += counts

    def _guilty(self, least: int) -> list[int]:
        """Return the devices whose share is too great, of those with at least so many records."""
        guilty = [
            number
            for number, bad in self._bad.items()
            if number not in self._told and bad + self._count(number) >= least
            if bad > _SHARE * (bad + self._count(number))
        ]
        self._told.update(guilty)
        return sorted(guilty)

    def _count(self, number: int) -> int:
        return int(self._good[number]) if number < len(self._good) else 0

    def _finding(self, number: int, at: int) -> Finding:
        bad, code = self._bad[number], self._latest[number]
        total = bad + self._count(number)
        share, why = bad / total, REASONS[code].text
        return Finding(
            device_no=number,
            rule_id="payload_invalid",
            detector="payloads",
            kind="payload",
            edge=Edge.ONCE,
            ts=at,
            first_ts=at // _HOUR * _HOUR if at % _HOUR else at - _HOUR,
            received_at=at,
            severity=Severity.BLUE,
            explain=Text(
                f"一小时内 {total} 条记录中有 {bad} 条无法解析，已隔离；最近一条：{why.zh}",
                f"{bad} of {total} records within the hour could not be read and stand in"
                f" quarantine; the latest: {why.en}",
            ),
            value=100 * share,
            limit=100 * _SHARE,
            unit="%",
            detail={"feature": "payload", "code": code, "bad": bad, "records": total},
        )
