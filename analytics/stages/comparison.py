"""Readings of a batch compared with every step of their kind's limits, all at once.

Most rows end at :meth:`Comparison.passed`: only those of devices with a breach, or with something
under way, are compared in full and stepped.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.stages.columns import Columns
from analytics.stages.ladder import STEPS, Ladder, breaching
from analytics.stages.state import Rows
from core.batch import Batch
from core.model import Quality
from devices.kind import Limit

_TRUE = 0.5  # a state is 0 or 1


@dataclass(frozen=True, slots=True)
class Compared:
    """Rows as the limits see them, ``(limits, n)``; steps are ``(limits * 4, n)``, blue first.

    Attributes:
        row: ``(n,)`` where each row is in the batch.
        values: What was measured, NaN if nothing.
        judged: There is a value, the gate is open and the clock is believed.
        shut: The gate is known to be shut.
        threshold: The steps, NaN where there is none.
        breach: At or past the step.
        inside: Inside the step by the margin that clears.
        alarming: Past the red step in a row whose clock is not believed.
        line: ``(n,)`` the line of each row's device in the ladder.
    """

    row: Rows
    values: NDArray[np.float64]
    judged: NDArray[np.bool_]
    shut: NDArray[np.bool_]
    threshold: NDArray[np.float64]
    breach: NDArray[np.bool_]
    inside: NDArray[np.bool_]
    alarming: NDArray[np.bool_]
    line: NDArray[np.int32]

    def take(self, at: Rows) -> "Compared":
        """Return some of the rows."""
        return Compared(
            self.row[at],
            self.values[:, at],
            self.judged[:, at],
            self.shut[:, at],
            self.threshold[:, at],
            self.breach[:, at],
            self.inside[:, at],
            self.alarming[:, at],
            self.line[at],
        )


class Comparison:
    """Compares the batches of one kind.

    Args:
        columns: Its metrics.
        ladder: Its limits, for each device.
    """

    def __init__(self, columns: Columns, ladder: Ladder) -> None:
        self._columns = columns
        self._ladder = ladder
        self._limits = ladder.limits

    def passed(self, batch: Batch, rows: Rows) -> NDArray[np.bool_]:
        """Return which rows pass a step; those whose clock is not believed: a red one."""
        ladder, found = self._ladder, np.zeros(len(rows), np.bool_)
        line = ladder.lines(batch.device_no[rows], batch.now)
        doubted = (batch.quality[rows] & int(Quality.CLOCK_SUSPECT)) != 0
        doubtful = bool(doubted.any())
        for n, limit in enumerate(self._limits):
            measured = self._columns.read(batch, limit.metric, rows)
            past = breaching(measured, ladder.first[line, n], limit)
            if doubtful:
                red = ladder.threshold[line, (n + 1) * STEPS - 1]
                past = np.where(doubted, breaching(measured, red, limit), past)
            if limit.when or limit.unless:
                past &= self._gate(batch, limit, rows)[0]
            found |= past
        return found

    def compare(self, batch: Batch, rows: Rows) -> Compared:
        """Compare all rows with all steps."""
        shape = (len(self._limits), len(rows))
        values = np.empty(shape)
        judged, shut = np.empty(shape, np.bool_), np.empty(shape, np.bool_)
        line = self._ladder.lines(batch.device_no[rows], batch.now)
        threshold = self._ladder.spread(self._ladder.threshold, line)
        margin = self._ladder.spread(self._ladder.margin, line)
        breach, inside = np.empty(threshold.shape, np.bool_), np.empty(threshold.shape, np.bool_)
        for n, limit in enumerate(self._limits):
            measured = self._columns.read(batch, limit.metric, rows)
            steps = slice(n * STEPS, (n + 1) * STEPS)
            values[n] = measured
            gate, shut[n] = self._gate(batch, limit, rows)
            judged[n] = ~np.isnan(measured) & gate
            breach[steps] = breaching(measured, threshold[steps], limit) & judged[n]
            near = breaching(measured, threshold[steps], limit, margin[n])
            inside[steps] = ~near & judged[n]
        believed = (batch.quality[rows] & int(Quality.CLOCK_SUSPECT)) == 0
        alarming = breach[STEPS - 1 :: STEPS] & ~believed
        return Compared(
            rows,
            values,
            judged & believed,
            shut & believed,
            threshold,
            breach & believed,
            inside & believed,
            alarming,
            line,
        )

    def _gate(
        self, batch: Batch, limit: Limit, rows: Rows
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return in which rows the limit holds, and in which it is known not to."""
        gate = np.ones(len(rows), np.bool_)
        shut = np.zeros(len(rows), np.bool_)
        for name, wanted in ((limit.when, True), (limit.unless, False)):
            if name:
                state = self._columns.read(batch, name, rows)
                gate &= state >= _TRUE if wanted else state < _TRUE
                shut |= state < _TRUE if wanted else state >= _TRUE
        return gate, shut
