"""How unusual a combination of metrics is for its device: Mahalanobis distance, learnt in service.

Each device learns mean and covariance of its vector, every rate ``max(1/2000, 1/(n+1))``. A row is
whitened by the Cholesky factor of what was learnt before it; its distance is the length of the
white vector over the square root of its dimension, about 1 at rest. Rows far out are learnt with a
weight that keeps them from moving the model by more than a row at the edge would.

A finding opens after five rows beyond six and ends after twenty within three. It ranks, and the
forest of :mod:`analytics.opinion` gives a second opinion; no operator sees it alone. Everything is
written out element by element in a fixed order, so that no cut of batches changes a bit.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.stages.columns import Columns
from analytics.stages.order import fresh_rows, passes
from analytics.stages.state import Field, Rows, State, StatefulStage
from core.batch import Batch, Episode, Finding
from core.model import Edge, Text
from devices.class_model import UNLIKE_CLASS, ClassModel
from devices.kind import DeviceKind

Floats = NDArray[np.float32]

_F = np.float32
_RATE: Final = _F(1 / 2000)
_SURE_ROWS: Final = 300
_FAR: Final = _F(6.0)
_NEAR: Final = _F(3.0)
_HOLD: Final = 5
_CLEAR_HOLD: Final = 20
_FLOOR: Final = _F(1e-3)  # of a metric's range: a sensor's own resolution
_TRUE: Final = 0.5  # a state is 0 or 1


class _WhiteState(State):
    """Packed: mean, then the lower triangle of the covariance row by row, then the rows learnt."""

    memory: Floats
    run: NDArray[np.int32]
    on: NDArray[np.bool_]
    opened: NDArray[np.int64]

    def __init__(self, size: int) -> None:
        packed = size + size * (size + 1) // 2 + 1
        super().__init__(
            {
                "memory": Field(np.float32, (packed,)),
                "run": Field(np.int32),
                "on": Field(np.bool_),
                "opened": Field(np.int64),
            }
        )


class Whitening(StatefulStage[_WhiteState]):
    """The vectors of one kind.

    Args:
        kind: The kind.
        watch: Its watch.
    """

    name = "whitening"
    version = 1

    def __init__(self, kind: DeviceKind, watch: ClassModel) -> None:
        self._watch = watch
        self._columns = Columns(kind)
        self._size = len(watch.features)
        metrics = [kind.metric(name) for name in watch.features]
        scale = [
            max(metric.noise, float(_FLOOR) * (metric.high - metric.low)) for metric in metrics
        ]
        self._scale = np.array(scale, np.float32)[:, None]
        super().__init__(_WhiteState(self._size))

    def judge(self, batch: Batch) -> Sequence[Finding]:
        """See :meth:`StatefulStage.judge`."""
        rows = fresh_rows(batch)
        if not len(rows):
            return []
        x = np.stack([self._columns.read(batch, name, rows) for name in self._watch.features])
        whole = ~np.isnan(x).any(axis=0)
        if self._watch.when:
            whole &= self._columns.read(batch, self._watch.when, rows) >= _TRUE
        rows, x = rows[whole], (x[:, whole] / self._scale).astype(np.float32)
        found: list[Finding] = []
        for at in passes(batch.device_no[rows]):
            found += self._step(batch, rows[at], x[:, at])
        return found

    def take_up(self, row: int, episode: Episode) -> None:
        """See :meth:`StatefulStage.take_up`."""
        if episode.rule_id == UNLIKE_CLASS.rule_id:
            self.state.on[row] = episode.is_open
            self.state.opened[row] = episode.first_ts
            self.state.run[row] = 0

    def _step(self, batch: Batch, rows: Rows, x: Floats) -> list[Finding]:
        """Step one row of each of several devices."""
        state, size = self.state, self._size
        at = state.rows(batch.device_no[rows])
        memory = np.ascontiguousarray(state.memory[at].T)
        mean, covariance, count = memory[:size], memory[size:-1], memory[-1]
        off = x - mean
        distance, white = _distance(off, covariance)
        sure = count >= _SURE_ROWS
        far = sure & (distance > _FAR)
        near = distance < _NEAR
        share = _NEAR / np.maximum(distance, _NEAR)
        weight = np.where(sure, share * share, _F(1))
        rate = np.maximum(_RATE, 1 / (count + 1)) * weight
        first = count == 0
        mean += np.where(first, 1, rate) * off
        place = 0
        for i in range(size):
            for j in range(i + 1):
                product = np.where(first, 0, off[i] * off[j])
                covariance[place] += rate * (product - covariance[place])
                place += 1
        count += 1
        state.memory[at] = memory.T
        if not (far.any() or state.on[at].any() or state.run[at].any()):
            return []
        return self._episodes(batch, rows, at, np.stack([far, near]), np.vstack([distance, white]))

    def _episodes(
        self, batch: Batch, rows: Rows, at: Rows, side: NDArray[np.bool_], white: Floats
    ) -> list[Finding]:
        """Open what stays far out, clear what stays near; ``side`` is far and near."""
        state, before = self.state, self.state.on[at]
        leads = np.where(before, side[1], side[0])
        run = np.where(leads, state.run[at] + 1, 0)
        state.opened[at] = np.where(~before & (run == 1), batch.ts[rows], state.opened[at])
        turns = run >= np.where(before, _CLEAR_HOLD, _HOLD)
        state.on[at] = before ^ turns
        state.run[at] = np.where(turns, 0, run)
        return [
            self._finding(batch, int(rows[n]), int(at[n]), white[:, n], opens=not before[n])
            for n in np.flatnonzero(turns)
        ]

    def _finding(self, batch: Batch, row: int, at: int, white: Floats, *, opens: bool) -> Finding:
        distance = float(white[0])
        name = self._watch.features[int(np.abs(white[1:]).argmax())]
        metric = self._columns.metric(name)
        return Finding(
            device_no=int(batch.device_no[row]),
            rule_id=UNLIKE_CLASS.rule_id,
            detector=self.name,
            kind="vector",
            edge=Edge.OPEN if opens else Edge.CLEAR,
            ts=int(batch.ts[row]),
            first_ts=int(self.state.opened[at]),
            received_at=int(batch.rx[row]),
            severity=UNLIKE_CLASS.severity,
            explain=Text(
                f"指标组合偏离自身常态 {distance:.1f} 倍，{metric.label.zh}最突出",
                f"this combination is {distance:.1f} times as far from its own as usual, most of"
                f" all in {metric.label.en}",
            )
            if opens
            else Text("指标组合已恢复常态", "the combination is as usual again"),
            metric=name,
            score=distance,
            limit=float(_FAR),
            quality=int(batch.quality[row]),
            detail={"feature": name, "rows": int(self.state.memory[at, -1])},
        )


def _distance(off: Floats, covariance: Floats) -> tuple[Floats, Floats]:
    """Return the distance and the white vectors, ``(n,)`` and ``(size, n)``.

    A Cholesky factor of each device's covariance, with the square of a sensor's own noise on the
    diagonal, and forward substitution, element by element.
    """
    size, n = off.shape
    factor = np.empty((size, size, n), np.float32)
    white = np.empty((size, n), np.float32)
    place = 0
    total = np.zeros(n, np.float32)
    for i in range(size):
        for j in range(i + 1):
            rest = covariance[place] + (_F(0.25) if i == j else _F(0))
            place += 1
            for k in range(j):
                rest = rest - factor[i, k] * factor[j, k]
            factor[i, j] = np.sqrt(np.maximum(rest, _F(1e-6))) if i == j else rest / factor[j, j]
        left = off[i]
        for k in range(i):
            left = left - factor[i, k] * white[k]
        white[i] = left / factor[i, i]
        total = total + white[i] * white[i]
    distance: Floats = np.sqrt(total / _F(size))
    return distance, white
