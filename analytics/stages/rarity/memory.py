"""What a series is remembered by: a packed row of figures, and counts of what it did.

A series is one metric of one device. The figures of a series lie side by side, so that a batch
costs one gather and one scatter; in a step they are columns. What a step overwrites is set aside
first, chunk by chunk: copying whole rows of 2 kB before each batch would cost more than the step.
"""

from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analytics.stages.rarity.copying import Copying, Overwritten, flat
from analytics.stages.rarity.form import BINS, HOURS, SEASON_BINS, Form
from analytics.stages.state import Field, Rows, State

F4 = NDArray[np.float32]


class Column(IntEnum):
    """Where each figure of a series lies in its row; the last is the first of several."""

    ROWS = 0
    HIGH = 1
    LOW = 2
    PREVIOUS = 3
    BASE = 4
    """The first value; all others are kept less this, as single precision asks."""
    WARM = 5
    """Rows since the first, or since a long gap."""
    OPEN = 6
    """0 nothing, 1 suspicion, 2 alarm candidate."""
    GROWN = 7
    """The weight of one more count, growing instead of all counts shrinking; a memory each."""
    HOUR = 9
    PEAK = 10
    """The largest score within this hour."""
    SERIES = 11
    """Levels, mean absolute steps, and the scale of each feature."""


class Alerts(IntEnum):
    """Where the figures lie that only a series near an alert needs."""

    PAST = 0
    """Past alerts as they stood at the last one, forgotten since; suspicions and candidates."""
    AT = 2
    """The row of that alert, of each."""
    CALM = 4
    """Rows in a row that were calm within an open episode."""


NEVER: Final = np.float32(-1e9)


class RarityState(State):
    """The memory of one form over the metrics that are watched by it.

    Args:
        form: The form.
        metrics: How many metrics of a device are watched.
    """

    figures: F4
    alerts: F4
    counts: NDArray[Any]
    last: NDArray[np.int64]
    born: NDArray[np.int64]
    opened: NDArray[np.int64]
    engaged: NDArray[np.int64]
    season: F4
    hours: F4

    def __init__(self, form: Form, metrics: int) -> None:
        self.metrics = metrics
        self.width = Column.SERIES + len(form.levels) + len(form.steps) + form.features
        both = len(form.memories) > 1  # a pair of counts in one number, so that one gather does
        super().__init__(
            {
                "figures": Field(np.float32, (metrics, self.width)),
                "alerts": Field(np.float32, (metrics, len(Alerts) + 2)),
                "last": Field(np.int64, (metrics,)),
                "born": Field(np.int64, (metrics,)),
                "opened": Field(np.int64, (metrics,)),
                "engaged": Field(np.int64, (metrics,)),
                "counts": Field(
                    np.complex64 if both else np.float32, (metrics, form.features * BINS)
                ),
            }
            | (
                {
                    "season": Field(np.float32, (metrics, SEASON_BINS), np.nan),
                    "hours": Field(np.float32, (metrics, HOURS), np.nan),
                }
                if form.season
                else {}
            )
        )
        self._undo: list[Overwritten] = []
        self._begun = 0
        self._copying: Copying | None = None

    def begin(self) -> None:
        """Begin a batch that :meth:`roll_back` may undo."""
        self._undo.clear()
        self._begun = self.size

    def roll_back(self) -> None:
        """Undo all since :meth:`begin`."""
        for name, at, old in reversed(self._undo):
            self.flat(name)[at] = old
        self.shrink(self._begun)
        self._undo.clear()

    def end(self) -> None:
        """Keep what the batch did."""
        if self._copying is not None:
            self._copying.keep(self._undo)
        self._undo.clear()

    def begin_copy(self, stage: str, version: int) -> Copying:
        """Begin a copy of the state as it is now; :meth:`go_on_copying` after each batch."""
        self._copying = Copying(stage, version, self.arrays(), self._ids[: self.size])
        return self._copying

    def go_on_copying(self, most: int) -> None:
        """Copy about so many bytes more, between two batches."""
        if self._copying is not None:
            self._copying.copy(self.arrays(), most)
            if self._copying.is_complete:
                self._copying = None

    def read(self, series: Rows) -> NDArray[Any]:
        """Return the figures of some series, ``(n, width)``; :meth:`write` takes them back."""
        return self._lines().take(series, mode="clip").view(np.float32).reshape(-1, self.width)

    def write(self, series: Rows, old: F4, new: F4) -> None:
        """Replace the figures of some series, none twice.

        Args:
            series: Which.
            old: What :meth:`read` gave.
            new: ``(n, width)``, contiguous.
        """
        self._undo.append(("figures", series, flat("figures", old)))
        self._lines()[series] = flat("figures", new)

    def put(self, name: str, at: NDArray[Any], old: NDArray[Any], new: NDArray[Any]) -> None:
        """Replace elements of an array, flat as :meth:`flat` gives it; none twice."""
        self._undo.append((name, at, old))
        self.flat(name)[at] = new

    def engage(self, row: int, metric: int, rules: int) -> None:
        """Note which rules of other detectors are open on a metric, as bits."""
        at = np.array([row * self.metrics + metric])
        self.put("engaged", at, self.flat("engaged")[at], np.array([rules]))

    def flat(self, name: str) -> NDArray[Any]:
        """Return an array to read from: in one dimension, or of the alerts a line a series."""
        return flat(name, getattr(self, name))

    def _lines(self) -> NDArray[Any]:
        return flat("figures", self.figures)
