"""Who fell silent in a file of readings, by the judgement of the sweep in service.

The sweep looks at the clock every few seconds; here time only passes in the file, so it looks at
the two moments at which something can change: when a device has been quiet too long, and when it is
heard again. After the last row of the file no time passes.

A file declares no interval, so each device's own is learnt as it goes: the median of its last gaps,
never shorter than the kind's. Nobody is called lost before three gaps are known.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.backtest.files import Readings
from analytics.heartbeat import CARRIERS, Fleet, Lost, Memory, judge
from analytics.periods import GAPS
from analytics.stages.explain import duration
from core.batch import Finding
from core.model import Edge, Severity, Text
from devices.kind import DeviceKind

_KNOWN: Final = 3
_NEVER: Final = 1 << 60  # microseconds: longer than any file

Times = NDArray[np.int64]


def silences(kind: DeviceKind, readings: Readings) -> Iterator[Finding]:
    """Yield a finding for each silence, at the moment at which it would have been announced.

    Args:
        kind: Whose intervals to judge by.
        readings: In the order of time.
    """
    if not len(readings):
        return
    numbers = np.unique(readings.device_no)
    heard = {int(no): readings.ts[readings.device_no == no] for no in numbers}
    interval = round(max(kind.interval_s, kind.idle_interval_s or 0) * 1e6)
    begin, end = int(readings.ts[0]), int(readings.ts[-1])
    periods = {no: _periods(ts, interval) for no, ts in heard.items()}
    memory = Memory(passed_at=begin, available_since=begin)
    for now in _moments(heard, periods, end):
        last = {
            no: int(np.searchsorted(ts, now, "right")) - 1
            for no, ts in heard.items()
            if ts[0] <= now
        }
        contact = {no: int(heard[no][row]) for no, row in last.items()}
        period = {no: int(periods[no][row]) for no, row in last.items()}
        fleet = _fleet(contact, period)
        for change in judge(fleet, memory, now):
            if isinstance(change, Lost):
                no = int(fleet.device_no[change.place])
                yield _finding(no, contact[no], now - 1, period[no])


def _periods(ts: Times, interval: int) -> Times:
    """Return how often a device speaks as known after each of its rows, microseconds."""
    known = np.full(len(ts), _NEVER, np.int64)
    gaps = np.diff(ts)
    for row in range(_KNOWN, len(ts)):
        known[row] = max(interval, int(np.median(gaps[max(0, row - GAPS) : row])))
    return known


def _moments(heard: dict[int, Times], periods: dict[int, Times], end: int) -> list[int]:
    moments: set[int] = set()
    for no, ts in heard.items():
        allowed = _fleet(
            dict(enumerate(ts.tolist())), dict(enumerate(periods[no].tolist()))
        ).allowed
        later = np.append(ts[1:], end + 1)
        gaps = later - ts > allowed
        moments.update((ts[gaps] + allowed[gaps] + 1).tolist())
        moments.update(later[gaps & (later <= end)].tolist())
    return sorted(moments)


def _fleet(contact: dict[int, int], period: dict[int, int]) -> Fleet:
    count = len(contact)
    return Fleet(
        np.array(list(contact), np.int32),
        np.full((len(CARRIERS), count), -1, np.int32),
        np.array(list(period.values()), np.int64),
        np.array(list(contact.values()), np.int64),
    )


def _finding(device_no: int, contact: int, now: int, interval: int) -> Finding:
    seconds = (now - contact) / 1e6
    (zh, en), (every_zh, every_en) = duration(seconds), duration(interval / 1e6)
    return Finding(
        device_no=device_no,
        rule_id="offline",
        detector="silence",
        kind="lost",
        edge=Edge.ONCE,
        ts=now,
        first_ts=contact,
        received_at=now,
        severity=Severity.BLUE,
        explain=Text(
            f"已 {zh}未收到任何消息（应至少每 {every_zh}一次）",
            f"nothing heard for {en}; expected at least every {every_en}",
        ),
        value=seconds,
        expected=interval / 1e6,
        score=seconds * 1e6 / interval,
        unit="s",
    )
