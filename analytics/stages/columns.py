"""A kind's metrics as columns of a batch, with what the sensor cannot measure left out.

Ingest marks a row that holds a value outside its metric's range with a quality bit and stores it
all the same; here such a value is NaN, so that no detector ever sees it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.batch import Batch
from core.model import Quality
from devices.kind import DeviceKind, Metric


class Columns:
    """Looks the metrics of one kind up in its batches."""

    def __init__(self, kind: DeviceKind) -> None:
        self._place = {
            metric.name: (metric, place)
            for part in (kind.reals, kind.exacts)
            for place, metric in enumerate(part)
        }

    def metric(self, name: str) -> Metric:
        """Return a metric of the kind."""
        return self._place[name][0]

    def read(self, batch: Batch, name: str, rows: NDArray[np.intp]) -> NDArray[Any]:
        """Return ``(len(rows),)`` values, float32 or float64 as stored, NaN = not measured."""
        metric, place = self._place[name]
        column = (batch.exact if metric.f8 else batch.values)[place]
        values: NDArray[Any] = column[rows]
        marked = out_of_range(batch, rows)
        if marked.any():
            values[marked & outside(values, metric)] = np.nan
        return values


def out_of_range(batch: Batch, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which rows hold something that their sensor cannot measure."""
    marked: NDArray[np.bool_] = (batch.quality[rows] & int(Quality.OUT_OF_RANGE)) != 0
    return marked


def outside(values: NDArray[Any], metric: Metric) -> NDArray[np.bool_]:
    """Return which values the sensor cannot have measured."""
    wrong: NDArray[np.bool_] = (values < metric.low) | (values > metric.high)
    return wrong
