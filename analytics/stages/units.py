"""A unit that slipped (单位错误): after an update a gauge tells centimetres where metres belong.

A value about 100 or 1,000 times what the device usually measures, or that part of it, and far from
it besides, is no measurement. Such a row has failed before any limit sees it: no flood is raised,
nothing is learnt. The stage runs right after the order, since all others heed the verdict.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.stages import ongoing
from analytics.stages.columns import Columns
from analytics.stages.explain import quantity, quantity_en
from analytics.stages.order import fresh_rows, passes
from analytics.stages.state import Field, Rows, State, StatefulStage
from core.batch import Batch, Episode, Finding
from core.model import Edge, Severity, Text
from core.verdict import Verdict, worsen
from devices.kind import DeviceKind
from devices.unit_slip import UnitSlip

_FACTORS: Final = np.array([100.0, 1000.0, 0.01, 0.001])
_NEAR: Final = 1.5
"""The level itself moves: so many times more or less than the factor is still that factor."""
_FAR: Final = 1.0
"""In the metric's unit: what moved by less needs no unit to explain it."""
_LEAST: Final = 0.2
"""In the metric's unit: a creek of less may really stand a hundred times as high."""
_LEARNT: Final = 12  # rows before it is judged
_RATE: Final = 0.05


class _UnitState(State):
    """What a device usually measures.

    Attributes:
        usual: Its usual value. ``rows``: learnt from so many.
        open: The unit has slipped. ``since``: when.
        told: See :class:`analytics.stages.ongoing.Told`.
    """

    usual: NDArray[np.float64]
    learnt: NDArray[np.int64]
    open: NDArray[np.bool_]
    since: NDArray[np.int64]
    told: NDArray[np.int64]
    heard: NDArray[np.int64]
    pace: NDArray[np.int64]

    def __init__(self) -> None:
        super().__init__(
            {
                "usual": Field(np.float64),
                "learnt": Field(np.int64),
                "open": Field(np.bool_),
                "since": Field(np.int64),
            }
            | ongoing.fields(1)
        )


class Units(StatefulStage[_UnitState]):
    """One unit watch of one kind.

    Args:
        kind: The kind.
        watch: Its watch.
    """

    name = "units"
    version = 1

    def __init__(self, kind: DeviceKind, watch: UnitSlip) -> None:
        self._watch = watch
        self._columns = Columns(kind)
        self._metric = self._columns.metric(watch.metric)
        self._severity = {rule.rule_id: rule.severity for rule in kind.rules}
        super().__init__(_UnitState())

    def judge(self, batch: Batch) -> Sequence[Finding]:
        """See :meth:`StatefulStage.judge`."""
        rows = fresh_rows(batch)
        return [
            finding
            for at in passes(batch.device_no[rows])
            for finding in self._step(batch, rows[at])
        ]

    def take_up(self, row: int, episode: Episode) -> None:
        """See :meth:`StatefulStage.take_up`."""
        if (episode.rule_id, episode.metric) == (self._watch.rule_id, self._watch.metric):
            state = self.state
            state.open[row], state.since[row] = episode.is_open, episode.first_ts
            state.told[row] = episode.ts
            state.heard[row] = episode.ts if episode.is_open else 0

    def _step(self, batch: Batch, rows: Rows) -> list[Finding]:
        x = self._columns.read(batch, self._watch.metric, rows).astype(np.float64)
        there = ~np.isnan(x)
        rows, x = rows[there], x[there]
        if not len(rows):
            return []
        state, ts = self.state, batch.ts[rows]
        at = state.rows(batch.device_no[rows])
        usual, learnt, before = state.usual[at], state.learnt[at], state.open[at].copy()
        times = x / np.where(usual == 0, np.nan, usual)
        close = np.abs(np.log(np.maximum(times, 1e-12)[:, None] / _FACTORS)) < np.log(_NEAR)
        able = (learnt >= _LEARNT) & (np.abs(usual) >= _LEAST)
        slipped = able & close.any(1) & (np.abs(x - usual) > _FAR)
        worsen(batch.quality, rows[slipped], Verdict.FAIL)
        rate = np.maximum(_RATE, 1 / (learnt + 1))
        state.usual[at] = np.where(slipped, usual, usual + rate * (x - usual))
        state.learnt[at] = learnt + ~slipped
        state.open[at] = slipped
        state.since[at] = np.where(slipped & ~before, ts, state.since[at])
        told = slipped != before
        again = ongoing.tell_again(
            state, at, ts, on=slipped[:, None], breach=slipped[:, None], told=told[:, None]
        )[:, 0]
        found = []
        for n in np.flatnonzero(told | again).tolist():
            edge = Edge.UPDATE if again[n] else Edge.OPEN if slipped[n] else Edge.CLEAR
            found.append(
                self._finding(batch, int(rows[n]), int(at[n]), edge, usual=float(usual[n]))
            )
        return found

    def _finding(self, batch: Batch, row: int, at: int, edge: Edge, *, usual: float) -> Finding:
        metric = self._metric
        value = float(str(np.float32(self._columns.read(batch, metric.name, np.array([row]))[0])))
        times = f"{value / usual:.3g}"
        if edge is Edge.CLEAR:
            explain = Text("数值恢复正常量级", "its values are of the usual size again")
        else:
            explain = Text(
                f"{metric.label.zh} {quantity(value, metric)} 约为平常 "
                f"{quantity(usual, metric)} 的 {times} 倍，疑似单位错误，不参与判断",
                f"{metric.label.en} {quantity_en(value, metric)} is {times} times its usual "
                f"{quantity_en(usual, metric)}: the unit has slipped; it is not judged",
            )
        return Finding(
            device_no=int(batch.device_no[row]),
            rule_id=self._watch.rule_id,
            detector=self.name,
            kind="unit",
            edge=edge,
            ts=int(batch.ts[row]),
            first_ts=int(self.state.since[at]),
            received_at=int(batch.rx[row]),
            severity=self._severity.get(self._watch.rule_id, Severity.BLUE),
            explain=explain,
            metric=metric.name,
            value=value,
            expected=round(usual, 4),
            unit=metric.unit,
            quality=int(batch.quality[row]),
            rule_version=self.version,
            flags=(ongoing.FLAG,) * (edge is Edge.UPDATE),
            detail={
                "rows": int(self.state.learnt[at]),
                "feature": "unit_slip",
                "source": self._watch.source,
            },
        )
