"""Which rows may change state: fresh ones, in order. The first stage of every kind.

It marks what must not step with quality bits, and every later stage reads them, so the question is
settled once: a row older than the newest one of its device is ``LATE``, a second row of the same
time carries ``DUPLICATE_TIME`` (the first to arrive steps). Inside one batch the order of arrival
does not matter: rows are sorted by device and time first.

It also bounds what one device may cost: of more than twenty rows in a second of its own time, the
rest is ``NOT_EVALUATED``, stored and not stepped. A detector steps the rows of one device one after
the other, so a device that sends 5,000 a second would hold up all others. Which rows are left out
hangs on their times alone, never on how they were cut into batches.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.stages.state import Field, Rows, State, StatefulStage
from core.batch import Batch, Finding
from core.model import Quality

HISTORY: Final = int(
    Quality.LATE | Quality.DUPLICATE_TIME | Quality.BACKLOG | Quality.NOT_EVALUATED
)
"""Rows that are stored and never sound."""
STEPS_A_SECOND: Final = 20
"""So many rows of a device are stepped in a second of event time; no sound sensor sends more."""
_SECOND: Final = 1_000_000
_SMALL: Final = (1 << 16) - 1
_SKIPPED: Final = HISTORY | int(Quality.CLOCK_SUSPECT)


def fresh_rows(batch: Batch) -> Rows:
    """Return the rows that may change state, sorted by device, time and arrival."""
    return _sorted_rows(batch, _SKIPPED)


def live_rows(batch: Batch) -> Rows:
    """Return the fresh rows and those whose device clock is not believed, sorted likewise.

    The latter stand at their receive time. They may sound, and never change what is learnt.
    """
    return _sorted_rows(batch, HISTORY)


def _sorted_rows(batch: Batch, unwanted: int) -> Rows:
    """Return the rows without any of these quality bits, in their order.

    Every stage asks, and neither devices nor times change between them: a batch is sorted once.
    """
    if not batch.order:
        rows = _order(batch.device_no, batch.ts)
        rows.setflags(write=False)
        batch.order.append(rows)
    rows = batch.order[0]
    skipped = (batch.quality & unwanted) != 0
    return rows[~skipped[rows]] if skipped.any() else rows


def _order(device_no: NDArray[np.int32], ts: NDArray[np.int64]) -> Rows:
    """Return the rows sorted by device, time and arrival."""
    if not len(device_no):
        return np.zeros(0, np.intp)
    # Numbers of two bytes are sorted without comparing, and larger ones half by half. Then nearly
    # every device is in the order of time already, and only the others are sorted by it.
    rows = np.argsort(device_no.astype(np.uint16), kind="stable")
    if device_no.max() > _SMALL:
        rows = rows[np.argsort((device_no >> 16).astype(np.uint16)[rows], kind="stable")]
    device_no, ts = device_no[rows], ts[rows]
    back = np.flatnonzero((ts[1:] < ts[:-1]) & (device_no[1:] == device_no[:-1]))
    if len(back):
        which = np.cumsum(starts(device_no)) - 1
        mixed = np.zeros(which[-1] + 1, np.bool_)
        mixed[which[back]] = True
        part = np.flatnonzero(mixed[which])
        rows[part] = rows[part][np.lexsort((ts[part], device_no[part]))]
    return rows


def starts(device_no: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return where a new device begins in a sorted column.

    >>> starts(np.array([4, 4, 7], np.int32)).tolist()
    [True, False, True]
    """
    return np.concatenate(([True], device_no[1:] != device_no[:-1]))[: len(device_no)]


def passes(device_no: NDArray[np.int32]) -> Iterator[Rows]:
    """Yield positions in a sorted column so that no device is twice in one pass.

    The first pass holds each device's first row, the next its second, and so on: an assignment to
    the same place twice would keep only the last.

    >>> [part.tolist() for part in passes(np.array([4, 4, 7], np.int32))]
    [[0, 2], [1]]
    """
    if not len(device_no):
        return
    first = np.flatnonzero(starts(device_no))
    yield first
    lengths = np.diff(first, append=len(device_no))
    for rank in range(1, int(lengths.max())):
        yield first[lengths > rank] + rank


class _OrderState(State):
    last: NDArray[np.int64]
    second: NDArray[np.int64]
    steps: NDArray[np.int64]

    def __init__(self) -> None:
        super().__init__(
            {
                "last": Field(np.int64, fill=np.iinfo(np.int64).min),
                "second": Field(np.int64),
                "steps": Field(np.int64),
            }
        )


class Order(StatefulStage[_OrderState]):
    """Marks late rows and repeated times, as :mod:`analytics.stages.order` says."""

    name = "order"
    version = 2

    def __init__(self) -> None:
        super().__init__(_OrderState())

    def judge(self, batch: Batch) -> Sequence[Finding]:
        """See :meth:`StatefulStage.judge`; finds nothing, sets quality bits."""
        rows = fresh_rows(batch)
        if len(rows):
            self._mark(batch, rows)
        if (batch.quality & int(Quality.CLOCK_SUSPECT)).any():
            rows = live_rows(batch)
        else:
            rows = rows[(batch.quality[rows] & HISTORY) == 0]
        if len(rows):
            self._bound(batch, rows)
        return []

    def _mark(self, batch: Batch, rows: Rows) -> None:
        """Mark late rows and repeated times."""
        device_no, ts = batch.device_no[rows], batch.ts[rows]
        at = self.state.rows(device_no)
        newest = self.state.last[at]
        late, same = ts < newest, ts == newest
        begins = starts(device_no)
        if begins.all():  # as in most small batches
            self.state.last[at] = np.maximum(newest, ts)
        else:
            repeats = ~begins
            repeats[1:] &= ts[1:] == ts[:-1]
            same |= repeats & (ts > newest)
            ends = np.append(begins[1:], True)
            self.state.last[at[ends]] = np.maximum(newest[ends], ts[ends])
        if late.any():
            batch.quality[rows[late]] |= Quality.LATE
        if same.any():
            batch.quality[rows[same]] |= Quality.DUPLICATE_TIME

    def _bound(self, batch: Batch, rows: Rows) -> None:
        """Mark what is too much of one device in one second."""
        state, device_no, second = self.state, batch.device_no[rows], batch.ts[rows] // _SECOND
        begins = starts(device_no)
        if begins.all():
            at = state.rows(device_no)
            before = np.where(state.second[at] == second, state.steps[at], 0)
            many = before >= STEPS_A_SECOND
            if many.any():
                batch.quality[rows[many]] |= Quality.NOT_EVALUATED
            state.second[at], state.steps[at] = second, before + 1
            return
        begins[1:] |= second[1:] != second[:-1]
        first = np.flatnonzero(begins)
        lengths = np.diff(np.append(first, len(rows)))
        device_no, second = device_no[first], second[first]
        at = state.rows(device_no)
        before = np.where(state.second[at] == second, state.steps[at], 0)
        if (before + lengths).max() > STEPS_A_SECOND:
            steps = np.arange(len(rows)) + np.repeat(before - first, lengths)
            batch.quality[rows[steps >= STEPS_A_SECOND]] |= Quality.NOT_EVALUATED
        ends = np.append(device_no[1:] != device_no[:-1], True)
        state.second[at[ends]] = second[ends]
        state.steps[at[ends]] = (before + lengths)[ends]
