"""Episodes of lamp faults (路灯电气故障) on top of :mod:`.lamp_circuit`.

A fault opens after a few faulty rows and clears after a few sound ones; rows that do not tell of it
(a burning day is not judged by night) change nothing. While a lamp flickers it is not called out.
Nearly all rows are sound and end as columns; only lamps with something under way are stepped.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from analytics.stages import lamp_circuit as circuit
from analytics.stages import ongoing
from analytics.stages.columns import Columns, out_of_range
from analytics.stages.lamp_circuit import Bools, CaseState, Floats, LampState, Supply, View
from analytics.stages.lamp_words import LampWords
from analytics.stages.order import fresh_rows, passes
from analytics.stages.state import Rows, StatefulStage
from analytics.stages.sun import Daylight
from core.batch import Batch, Episode, Finding
from core.model import Edge, Text
from devices.kind import DeviceKind
from devices.lamp_circuit import LampCircuit

_MARGIN_US: Final = 1_800_000_000
_TRUE: Final = np.float32(0.5)  # a state is 0 or 1
_FULL: Final = np.float32(1)
_PERCENT: Final = np.float32(0.01)


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
        self.cases = CaseState()
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

    def apply(self, batch: Batch) -> Sequence[Finding]:
        """See :meth:`core.batch.Stage.apply`; a defect that raises leaves no trace."""
        saved = self.cases.save(batch.device_no)
        try:
            return super().apply(batch)
        except BaseException:
            self.cases.restore(saved)
            raise

    def take_up(self, row: int, episode: Episode) -> None:
        """See :meth:`StatefulStage.take_up`."""
        del row
        if episode.rule_id not in self._rules:
            return
        fault = self._rules.index(episode.rule_id)
        cases = self.cases
        at = cases.rows(np.array([episode.device_no], np.int32))[0]
        cases.on[at, fault] = episode.is_open
        cases.run[at, fault] = cases.calm[at, fault] = 0
        cases.opened[at, fault] = cases.since[at, fault] = episode.first_ts
        cases.told[at, fault] = episode.ts
        cases.heard[at, fault] = episode.ts if episode.is_open else 0

    def dump(self) -> bytes:
        """See :meth:`core.batch.Stage.dump`."""
        learnt = super().dump()
        return len(learnt).to_bytes(8, "big") + learnt + self.cases.dump(self.name, self.version)

    def load(self, state: bytes | memoryview) -> None:
        """See :meth:`core.batch.Stage.load`."""
        end = 8 + int.from_bytes(state[:8], "big")
        cases = CaseState()
        cases.load(state[end:], self.name, self.version)
        self.state.load(state[8:end], self.name, self.version)
        self.cases = cases

    def _read(self, batch: Batch, rows: Rows) -> Floats:
        """Return the metrics of :attr:`LampCircuit.watched`, ``(metrics, n)``."""
        if out_of_range(batch, rows).any():
            names = self._watch.watched
            return np.array([self._columns.read(batch, name, rows) for name in names], np.float32)
        columns: Floats = batch.values[self._places[:, None], rows]
        return columns

    def _step(self, batch: Batch, rows: Rows, columns: Floats) -> list[Finding]:
        """Step one row of each of several lamps."""
        device_no, ts = batch.device_no[rows], batch.ts[rows]
        on, level, volt, amp, power, pf, leak, lux = columns
        share = np.where(np.isnan(level), _FULL, level * _PERCENT)
        day = self._daylight.is_day(ts, _MARGIN_US) & ~(lux < circuit.DARK_LX)
        row = Supply(on >= _TRUE, share, volt, amp, power, pf, leak, day)
        known = self.cases.find(device_no)
        had = known >= 0
        open_: Bools = np.bitwise_or.reduce(self.cases.on, axis=1)
        busy: Bools = np.bitwise_or.reduce(self.cases.run > 0, axis=1) | open_
        faulty = had & open_[known]
        view = circuit.step(self.state, self.state.rows(device_no), ts, row, faulty)
        active = np.flatnonzero(view.breach.any(0) | had & busy[known])
        if not len(active):
            return []
        return self._episodes(_Active(batch, rows, columns, view, active))

    def _episodes(self, active: "_Active") -> list[Finding]:
        """Open and clear what is due."""
        cases, ts = self.cases, active.ts[:, None]
        at = cases.rows(active.device_no)
        judged, breach, inside = active.judged, active.breach, active.inside
        before = cases.on[at]
        run = np.where(judged, np.where(breach, cases.run[at] + 1, 0), cases.run[at])
        since = np.where(breach & (run == 1), ts, cases.since[at])
        calm = np.where(judged, np.where(inside & before, cases.calm[at] + 1, 0), cases.calm[at])
        starts = breach & (run >= circuit.HOLD) & ~before
        starts[:, circuit.OUT] &= ~(before | starts)[:, circuit.FLICKER]
        ends = before & (calm >= circuit.CLEAR_HOLD)
        after = (before | starts) & ~ends
        cases.run[at], cases.since[at], cases.on[at] = run, since, after
        cases.calm[at] = np.where(after, calm, 0)
        cases.opened[at] = np.where(starts, since, cases.opened[at])
        again = ongoing.tell_again(
            cases, at, active.ts, on=after, breach=breach, told=starts | ends
        )
        opened = cases.opened[at]
        return [
            self._finding(active, int(n), int(fault), edge, int(opened[n, fault]))
            for mask, edge in ((ends, Edge.CLEAR), (starts, Edge.OPEN), (again, Edge.UPDATE))
            for n, fault in np.argwhere(mask)
        ]

    def _finding(self, active: "_Active", n: int, fault: int, edge: Edge, first_ts: int) -> Finding:
        batch, row = active.batch, int(active.rows[n])
        seen = self._words.describe(
            fault,
            columns=active.columns[:, n],
            expected_w=float(active.power[n]),
            expected_a=float(active.amp[n]),
            state=self.state,
            device_no=int(active.device_no[n]),
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
            first_ts=first_ts,
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
    """The rows of lamps with something under way; faults are ``(n, faults)``."""

    def __init__(self, batch: Batch, rows: Rows, columns: Floats, view: View, which: Rows) -> None:
        self.batch = batch
        self.rows = rows[which]
        self.device_no, self.ts = batch.device_no[self.rows], batch.ts[self.rows]
        self.columns = columns[:, which]
        self.judged, self.breach = view.judged[:, which].T, view.breach[:, which].T
        self.inside = view.inside[:, which].T
        self.power, self.amp = view.power[which], view.amp[which]
