"""Clocks that are slow (时钟偏慢): live messages that only look like history.

A clock hours ahead is plain to see: nothing comes from the future. One hours behind looks like a
message that waited on its way, and what is late never sounds: the device would be deaf. What tells
the two apart is the pace. A backlog catches up, its times run faster than ours; a slow clock runs
beside ours at a steady distance. So a device is taken at its distance, over a quarter of an hour,

- when three live messages in a row keep it, over ten seconds of receipt or more;
- at once when it is eight hours to the minute, a local time mistaken for UTC, and no other late
  message came in the ten minutes before, nor with it;
- at once when the skew kept in ``hub.device_seen`` says so when the worker starts.

Then its rows stand at their receive time, flagged, until a message keeps another distance. What the
device marks as history (``h``) is left alone, and so is a whole backlog in one message.
"""

import json
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import psycopg

from core.batch import DeviceEvent
from core.model import Quality
from ingest.decode import Work
from ingest.rows import Rows

_SECOND: Final = 1_000_000
_MINUTE: Final = 60 * _SECOND
_LATE: Final = 15 * _MINUTE
_SAME: Final = 5 * _MINUTE  # a distance kept: drift, and the way of the messages
_ZONE: Final = 8 * 60 * _MINUTE
_ENOUGH: Final = 3
_SPAN: Final = 10 * _SECOND
_ALONE: Final = 10 * _MINUTE
_PACE: Final = 0.1  # the distance may change by so much of the time that passed …
_JITTER: Final = 5 * _SECOND  # … and by this
_NEVER: Final = -(2**62)
_DOUBT: Final = int(Quality.NO_DEVICE_TIME | Quality.CLOCK_SUSPECT | Quality.BACKLOG)
_KNOWN: Final = """
SELECT device_no, skew_s FROM hub.device_seen WHERE skew_s > %s AND skew_spread_s < %s
"""


@dataclass(slots=True)
class _Late:
    """The late messages of one device, microseconds.

    Attributes:
        since: Receipt of the first of the run at hand.
        least: The least distance in it, receive time minus device time.
        most: The largest.
        count: How many messages it has.
        last: Receipt of the last late message.
        slow: It is its clock.
    """

    since: int
    least: int
    most: int
    count: int = 1
    last: int = _NEVER
    slow: bool = False


class SlowClocks:
    """Finds slow clocks among the rows and events of one source."""

    def __init__(self) -> None:
        self._late: dict[int, _Late] = {}

    def load(self, conn: psycopg.Connection[Any]) -> None:
        """Take over the distances that are known."""
        limits = [_LATE / _SECOND, _MINUTE / _SECOND]
        for device_no, skew_s in conn.execute(_KNOWN, limits).fetchall():
            lag = round(skew_s * _SECOND)
            self._late[device_no] = _Late(_NEVER, lag, lag, slow=True)

    def correct(self, work: Work) -> None:
        """Put rows and events of slow clocks at their receive time, flagged."""
        for rows in work.rows:
            self._correct_rows(rows)
        for place, (message, event) in enumerate(work.events):
            work.events[place] = message, self._correct_event(event)

    def _correct_rows(self, rows: Rows) -> None:
        batch = rows.batch
        lag = batch.rx - rows.device_ts
        told = (batch.quality & _DOUBT) == 0
        late = np.flatnonzero(told & (lag > _LATE))
        if self._late:
            right = np.unique(batch.device_no[told & (lag <= _LATE)]).tolist()
            for number in self._late.keys() & set(right):
                del self._late[number]
        if not len(late):
            return
        _, inverse, count = np.unique(
            batch.device_no[late], return_inverse=True, return_counts=True
        )
        crowd = count[inverse] > 1
        messages, carried = np.unique(rows.message, return_counts=True)
        many = set(messages[carried > 1].tolist())
        for row, crowded in zip(late.tolist(), crowd.tolist(), strict=True):
            if int(rows.message[row]) in many:
                continue  # an array or columns: a backlog, whoever forgot to say so
            at = int(batch.rx[row])
            if not self._is_slow(int(batch.device_no[row]), int(lag[row]), at, alone=not crowded):
                continue
            batch.ts[row] = at
            batch.quality[row] = int(batch.quality[row]) & ~Quality.LATE | Quality.CLOCK_SUSPECT
            extra = json.loads(rows.extra.get(row, b"{}"))
            extra.pop("rx", None)
            extra["t"] = int(rows.device_ts[row]) // 1000
            rows.extra[row] = json.dumps(extra, ensure_ascii=False).encode()

    def _correct_event(self, event: DeviceEvent) -> DeviceEvent:
        lag = event.rx - event.ts
        if event.quality & _DOUBT or lag <= _LATE:
            return event
        if not self._is_slow(event.device_no, lag, event.rx, alone=True):
            return event
        values = {name: value for name, value in event.values.items() if name != "rx"}
        quality = event.quality & ~Quality.LATE | Quality.CLOCK_SUSPECT
        values["t"] = event.ts // 1000
        return replace(event, ts=event.rx, quality=int(quality), values=values)

    def _is_slow(self, device_no: int, lag: int, at: int, *, alone: bool) -> bool:
        """Note a late live message; return whether its device's clock is slow."""
        run = self._late.get(device_no)
        if run is not None and run.slow and abs(lag - run.least) <= _SAME:
            run.least, run.last = lag, at
            return True
        alone &= run is None or at - run.last > _ALONE
        if run is None or run.slow or not self._keeps(run, lag, at):
            run = self._late[device_no] = _Late(at, lag, lag)
        else:
            run.count += 1
            run.least, run.most = min(run.least, lag), max(run.most, lag)
        run.last = at
        steady = run.count >= _ENOUGH and at - run.since >= _SPAN
        run.slow = steady or (alone and abs(lag - _ZONE) <= _MINUTE)
        if run.slow:
            run.least = lag
        return run.slow

    def _keeps(self, run: _Late, lag: int, at: int) -> bool:
        spread = max(run.most, lag) - min(run.least, lag)
        return spread <= min(_SAME, _JITTER + _PACE * (at - run.since))
