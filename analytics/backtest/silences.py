"""Who fell silent in a file of readings, by the judgement of the sweep in service.

The sweep looks at the clock every few seconds; here time only passes in the file, so it looks at
the two moments at which something can change: when a device has been quiet too long, and when it is
heard again. After the last row of the file no time passes.
"""

from collections.abc import Iterator

import numpy as np

from analytics.backtest.files import Readings
from analytics.heartbeat import CARRIERS, Fleet, Lost, Memory, judge
from analytics.stages.explain import duration
from core.batch import Finding
from core.model import Edge, Severity, Text
from devices.kind import DeviceKind


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
    memory = Memory(passed_at=begin, available_since=begin)
    allowed = int(_fleet({1: begin}, interval).allowed[0])
    for now in _moments(heard, allowed, end):
        contact = {
            no: int(ts[np.searchsorted(ts, now, "right") - 1])
            for no, ts in heard.items()
            if ts[0] <= now
        }
        fleet = _fleet(contact, interval)
        for change in judge(fleet, memory, now):
            if isinstance(change, Lost):
                no = int(fleet.device_no[change.place])
                yield _finding(no, contact[no], now - 1, interval)


def _moments(
    heard: dict[int, np.ndarray[tuple[int], np.dtype[np.int64]]], allowed: int, end: int
) -> list[int]:
    moments: set[int] = set()
    for ts in heard.values():
        later = np.append(ts[1:], end + 1)
        gaps = later - ts > allowed
        moments.update((ts[gaps] + allowed + 1).tolist())
        moments.update(later[gaps & (later <= end)].tolist())
    return sorted(moments)


def _fleet(contact: dict[int, int], interval: int) -> Fleet:
    count = len(contact)
    return Fleet(
        np.array(list(contact), np.int32),
        np.full((len(CARRIERS), count), -1, np.int32),
        np.full(count, interval, np.int64),
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
