"""Episodes of lamp faults (路灯电气故障) on top of :mod:`.lamp_circuit`.

A fault opens after a few faulty rows and clears after a few sound ones; rows that do not tell of it
(a burning day is not judged by night) change nothing. While a lamp flickers it is not called out.
Nearly all rows are sound and end as columns; only lamps with something under way are stepped.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.stages import lamp_circuit as circuit
from analytics.stages import ongoing
from analytics.stages.columns import Columns, out_of_range
from analytics.stages.lamp_circuit import LampState, Supply, View
from analytics.stages.lamp_words import LampWords
from analytics.stages.order import fresh_rows, passes
from analytics.stages.state import Rows, StatefulStage
from analytics.stages.sun import Daylight
from core.batch import Batch, Episode, Finding
from core.model import Edge, Text
from devices.kind import DeviceKind, LampCircuit

_MARGIN_US: Final = 1_800_000_000


class Lamp(StatefulStage[LampState]):
    """The circuit of lamps of one kind.

    Args:
        kind: The kind.
        watch: Its watch.
        daylight: The sun over the city.
    """

    name = "lamp"
    version = 1

    def __init__(self, kind: DeviceKind, watch: LampCircuit, daylight: Daylight) -> None:
        self._watch = watch
        self._daylight = daylight
        self._columns = Columns(kind)
        self._words = LampWords(self._columns, daylight)
        self._rules = watch.rule_ids
        reals = [metric.name for metric in kind.reals]
        self._places = np.array([reals.index(name) for name in watch.watched])
        severity = {rule.rule_id: rule.severity for rule in kind.rules}
        self._severity = [severity[rule_id] for rule_id in self._rules]
        super().__init__(LampState())

    def judge(self, batch: Batch) -> Sequence[Finding]:
        """See :meth:`StatefulStage.judge`."""
        rows = fresh_rows(batch)
        if not len(rows):
            return []
        columns = self._read(batch, rows)
        found: list[Finding] = []
        for at in passes(batch.device_no[rows]):
            whole = len(at) == len(rows)
            found += self._step(batch, rows[at], columns if whole else columns[:, at])
        return found

    def take_up(self, row: int, episode: Episode) -> None:
        """See :meth:`StatefulStage.take_up`."""
        if episode.rule_id not in self._rules:
            return
        state, fault = self.state, self._rules.index(episode.rule_id)
        state.on[row, fault] = episode.is_open
        state.run[row, fault] = state.calm[row, fault] = 0
        state.opened[row, fault] = state.since[row, fault] = episode.first_ts
        state.told[row, fault] = episode.ts
        state.heard[row, fault] = episode.ts if episode.is_open else 0
        state.busy[row] = bool(state.on[row].any() or state.run[row].any())

    def _read(self, batch: Batch, rows: Rows) -> NDArray[np.float64]:
        """Return the metrics of :attr:`LampCircuit.watched`, ``(metrics, n)``."""
        if out_of_range(batch, rows).any():
            names = self._watch.watched
            return np.array([self._columns.read(batch, name, rows) for name in names], np.float64)
        columns: NDArray[np.float64] = batch.values[self._places[:, None], rows].astype(np.float64)
        return columns

    def _step(self, batch: Batch, rows: Rows, columns: NDArray[np.float64]) -> list[Finding]:
        """Step one row of each of several lamps."""
        state = self.state
        ts = batch.ts[rows]
        at = state.rows(batch.device_no[rows])
        on, level, volt, amp, power, pf, leak, lux = columns
        share = np.where(np.isnan(level), 1.0, level / 100)
        day = self._daylight.is_day(ts, _MARGIN_US) & ~(lux < circuit.DARK_LX)
        row = Supply(on >= 0.5, share, volt, amp, power, pf, leak, day)  # noqa: PLR2004 - a state is 0 or 1
        view = circuit.step(state, at, ts, row)
        active = np.flatnonzero(view.breach.any(1) | state.busy[at])
        if not len(active):
            return []
        return self._episodes(
            _Active(
                batch,
                rows=rows[active],
                at=at[active],
                columns=columns[:, active],
                view=view.take(active),
            )
        )

    def _episodes(self, active: "_Active") -> list[Finding]:
        """Open and clear what is due."""
        state, at, ts = self.state, active.at, active.ts[:, None]
        judged, breach, inside = active.judged, active.breach, active.inside
        before = state.on[at]
        run = np.where(judged, np.where(breach, state.run[at] + 1, 0), state.run[at])
        since = np.where(breach & (run == 1), ts, state.since[at])
        calm = np.where(judged, np.where(inside & before, state.calm[at] + 1, 0), state.calm[at])
        starts = breach & (run >= circuit.HOLD) & ~before
        starts[:, circuit.OUT] &= ~(before | starts)[:, circuit.FLICKER]
        ends = before & (calm >= circuit.CLEAR_HOLD)
        after = (before | starts) & ~ends
        state.run[at], state.since[at], state.on[at] = run, since, after
        state.calm[at] = np.where(after, calm, 0)
        state.opened[at] = np.where(starts, since, state.opened[at])
        again = ongoing.tell_again(
            state, at, active.ts, on=after, breach=breach, told=starts | ends
        )
        state.busy[at] = after.any(1) | (run > 0).any(1) | (state.flips[at] > 0)
        return [
            self._finding(active, int(n), int(fault), edge, state.opened[at[n], fault])
            for mask, edge in ((ends, Edge.CLEAR), (starts, Edge.OPEN), (again, Edge.UPDATE))
            for n, fault in np.argwhere(mask)
        ]

    def _finding(
        self, active: "_Active", n: int, fault: int, edge: Edge, first_ts: np.int64
    ) -> Finding:
        batch, row = active.batch, int(active.rows[n])
        seen = self._words.describe(
            fault,
            columns=active.columns[:, n],
            expected_w=float(active.power[n]),
            expected_a=float(active.amp[n]),
            state=self.state,
            at=int(active.at[n]),
            ts=int(batch.ts[row]),
        )
        words = {
            Edge.CLEAR: Text(f"已恢复：{seen.now.zh}", f"over: {seen.now.en}"),
            Edge.UPDATE: Text(f"{seen.words.zh}，仍在持续", f"{seen.words.en}, and goes on"),
        }
        return Finding(
            device_no=int(batch.device_no[row]),
            rule_id=self._rules[fault],
            detector=self.name,
            kind=seen.kind,
            edge=edge,
            ts=int(batch.ts[row]),
            first_ts=int(first_ts),
            received_at=int(batch.rx[row]),
            severity=self._severity[fault],
            explain=words.get(edge, seen.words),
            metric=seen.metric.name,
            value=seen.value,
            expected=seen.expected,
            limit=seen.limit,
            unit=seen.metric.unit,
            score=seen.score,
            quality=int(batch.quality[row]),
            flags=(ongoing.FLAG,) if edge is Edge.UPDATE else (),
            detail={"feature": seen.feature, "source": self._watch.source, **seen.detail},
        )


class _Active:
    """The rows of lamps with something under way."""

    def __init__(
        self, batch: Batch, *, rows: Rows, at: Rows, columns: NDArray[np.float64], view: View
    ) -> None:
        self.batch = batch
        self.rows = rows
        self.at = at
        self.ts = batch.ts[self.rows]
        self.columns = columns
        self.judged, self.breach, self.inside = view.judged, view.breach, view.inside
        self.power, self.amp = view.power, view.amp
