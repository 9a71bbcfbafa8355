"""Which rows may change state: fresh ones, in order. The first stage of every kind.

It marks what must not step with quality bits, and every later stage reads them, so the question is
settled once: a row older than the newest one of its device is ``LATE``, a second row of the same
time carries ``DUPLICATE_TIME`` (the first to arrive steps). Inside one batch the order of arrival
does not matter: rows are sorted by device and time first.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.stages.state import Field, Rows, State, StatefulStage
from core.batch import Batch, Finding
from core.model import Quality

HISTORY: Final = int(Quality.LATE | Quality.DUPLICATE_TIME | Quality.BACKLOG)
"""Rows that are stored and never sound."""
_SMALL: Final = (1 << 16) - 1
_SKIPPED: Final = HISTORY | int(Quality.CLOCK_SUSPECT)


def fresh_rows(batch: Batch) -> Rows:
    """Return the rows that may change state, sorted by device, time and arrival."""
    return sorted_rows(batch, (batch.quality & _SKIPPED) == 0)


def live_rows(batch: Batch) -> Rows:
    """Return the fresh rows and those whose device clock is not believed, sorted likewise.

    The latter stand at their receive time. They may sound, and never change what is learnt.
    """
    return sorted_rows(batch, (batch.quality & HISTORY) == 0)


def sorted_rows(batch: Batch, wanted: NDArray[np.bool_]) -> Rows:
    """Return the wanted rows, sorted by device, time and arrival."""
    rows = np.flatnonzero(wanted)
    device_no, ts = batch.device_no[rows], batch.ts[rows]
    if len(rows) and device_no.max() <= _SMALL:
        # Numbers of two bytes are sorted without comparing; then each device is nearly always in
        # the order of time already. Half the cost.
        order = np.argsort(device_no.astype(np.uint16), kind="stable")
        later = ts[order]
        same = device_no[order]
        if ((later[1:] >= later[:-1]) | (same[1:] != same[:-1])).all():
            return rows[order]
    return rows[np.lexsort((ts, device_no))]


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
    lengths = np.diff(np.append(first, len(device_no)))
    rank = np.arange(len(device_no)) - np.repeat(first, lengths)
    by_rank = np.argsort(rank, kind="stable")
    cuts = np.searchsorted(rank[by_rank], np.arange(lengths.max()))
    for start, end in zip(cuts, [*cuts[1:], len(by_rank)], strict=True):
        yield by_rank[start:end]


class _OrderState(State):
    last: NDArray[np.int64]

    def __init__(self) -> None:
        super().__init__({"last": Field(np.int64, fill=np.iinfo(np.int64).min)})


class Order(StatefulStage[_OrderState]):
    """Marks late rows and repeated times, as :mod:`analytics.stages.order` says."""

    name = "order"
    version = 1

    def __init__(self) -> None:
        super().__init__(_OrderState())

    def judge(self, batch: Batch) -> Sequence[Finding]:
        """See :meth:`StatefulStage.judge`; finds nothing, sets quality bits."""
        rows = fresh_rows(batch)
        if not len(rows):
            return []
        device_no, ts = batch.device_no[rows], batch.ts[rows]
        at = self.state.rows(device_no)
        newest = self.state.last[at]
        begins = starts(device_no)
        repeats = ~begins
        repeats[1:] &= ts[1:] == ts[:-1]
        batch.quality[rows[ts < newest]] |= Quality.LATE
        batch.quality[rows[(ts == newest) | (repeats & (ts > newest))]] |= Quality.DUPLICATE_TIME
        ends = np.append(begins[1:], True)
        self.state.last[at[ends]] = np.maximum(newest[ends], ts[ends])
        return []
