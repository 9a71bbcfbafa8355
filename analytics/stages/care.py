"""What a row's quality bits say of the device itself: its clock, its sensors, their range.

Such faults concern maintainers, never a city crew, and each is told once an episode: it opens with
the first row that carries the bit and ends after three rows that do not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analytics.stages.columns import Columns, outside
from analytics.stages.explain import duration, quantity, quantity_en
from analytics.stages.order import HISTORY, live_rows, passes, starts
from analytics.stages.state import Field, Rows, State, StatefulStage
from core.batch import Batch, DeviceEvent, Episode, Finding
from core.model import Edge, Quality, Severity, Text
from devices.kind import DeviceKind

_CLEAN_ROWS: Final = 3  # ours
_SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class _Fault:
    bit: Quality
    rule_id: str
    feature: str
    explain: Text


_FAULTS: Final = (
    _Fault(
        Quality.OUT_OF_RANGE,
        "out_of_range",
        "range",
        Text("数值超出传感器量程", "a value beyond the range of its sensor"),
    ),
    _Fault(
        Quality.SENSOR_FAULT,
        "sensor_fault",
        "own_report",
        Text("设备报告传感器故障", "the device reports a fault of its sensor"),
    ),
    _Fault(
        Quality.CLOCK_SUSPECT,
        "clock_wrong",
        "clock",
        Text("设备时钟不可信，数据按接收时间入库", "its clock is wrong; stored at receive time"),
    ),
)
_CLOCK: Final = 2


class _CareState(State):
    on: NDArray[np.bool_]
    calm: NDArray[np.int32]
    opened: NDArray[np.int64]

    def __init__(self) -> None:
        shape = (len(_FAULTS),)
        super().__init__(
            {
                "on": Field(np.bool_, shape),
                "calm": Field(np.int32, shape),
                "opened": Field(np.int64, shape),
            }
        )


class Care(StatefulStage[_CareState]):
    """Episodes of quality bits.

    Args:
        kind: The kind; only faults it has an alarm rule for are told.
    """

    name = "care"
    version = 2

    def __init__(self, kind: DeviceKind) -> None:
        self._kind = kind
        self._columns = Columns(kind)
        severity = {rule.rule_id: rule.severity for rule in kind.rules}
        self._severity = [severity.get(fault.rule_id, Severity.BLUE) for fault in _FAULTS]
        self._told = np.array([fault.rule_id in severity for fault in _FAULTS])
        super().__init__(_CareState())

    def judge(self, batch: Batch) -> Sequence[Finding]:
        """See :meth:`StatefulStage.judge`."""
        rows = live_rows(batch)
        if not len(rows):
            return []
        device_no = batch.device_no[rows]
        bits = [int(fault.bit) for fault in _FAULTS]
        marked = (batch.quality[rows][:, None] & np.array(bits)) != 0
        marked &= self._told
        begins = starts(device_no)
        known = self.state.find(device_no)
        wanted = marked.any(1) | (known >= 0) & self.state.on[known].any(1)
        each = np.logical_or.reduceat(wanted, np.flatnonzero(begins))
        active = np.flatnonzero(each[np.cumsum(begins) - 1])
        rows, marked = rows[active], marked[active]
        return [
            finding
            for at in passes(device_no[active])
            for finding in self._step(batch, rows[at], marked[at])
        ]

    def judge_events(self, events: Sequence[DeviceEvent]) -> Sequence[Finding]:
        """See :meth:`StatefulStage.judge_events`; an event tells of its clock as well."""
        state, found = self.state, list[Finding]()
        for event in sorted(events, key=lambda event: (event.device_no, event.ts)):
            doubtful = event.quality & int(Quality.CLOCK_SUSPECT)
            if not doubtful or event.quality & HISTORY or not self._told[_CLOCK]:
                continue
            at = int(state.rows(np.array([event.device_no], np.int32))[0])
            state.calm[at, _CLOCK] = 0
            if not state.on[at, _CLOCK]:
                state.on[at, _CLOCK], state.opened[at, _CLOCK] = True, event.ts
                off = (event.values.get("t", float("nan")) * 1000 - event.rx) / _SECOND
                found.append(
                    Finding(
                        device_no=event.device_no,
                        rule_id=_FAULTS[_CLOCK].rule_id,
                        detector=self.name,
                        kind=_FAULTS[_CLOCK].rule_id,
                        edge=Edge.OPEN,
                        ts=event.ts,
                        first_ts=event.ts,
                        received_at=event.rx,
                        severity=self._severity[_CLOCK],
                        explain=_off(off),
                        value=off,
                        expected=0.0,
                        unit="s",
                        quality=event.quality,
                        detail={"feature": _FAULTS[_CLOCK].feature},
                    )
                )
        return found

    def take_up(self, row: int, episode: Episode) -> None:
        """See :meth:`StatefulStage.take_up`."""
        state = self.state
        for which, fault in enumerate(_FAULTS):
            if fault.rule_id == episode.rule_id:
                state.on[row, which] = episode.is_open
                state.calm[row, which] = 0
                state.opened[row, which] = episode.first_ts

    def _step(self, batch: Batch, rows: Rows, marked: NDArray[np.bool_]) -> list[Finding]:
        state = self.state
        at = state.rows(batch.device_no[rows])
        judged = np.ones_like(marked)
        judged[:, :_CLOCK] = ~marked[:, [_CLOCK]]  # a row outside time says only that
        opens = marked & judged & ~state.on[at]
        calm = np.where(marked, 0, state.calm[at] + (judged & state.on[at]))
        clears = state.on[at] & (calm >= _CLEAN_ROWS)
        state.on[at] = (state.on[at] | opens) & ~clears
        state.calm[at] = np.where(state.on[at], calm, 0)
        state.opened[at] = np.where(opens, batch.ts[rows][:, None], state.opened[at])
        return [
            self._finding(batch, int(rows[n]), int(which), int(state.opened[at[n], which]), edge)
            for mask, edge in ((opens, Edge.OPEN), (clears, Edge.CLEAR))
            for n, which in np.argwhere(mask)
        ]

    def _finding(self, batch: Batch, row: int, which: int, first_ts: int, edge: Edge) -> Finding:
        fault = _FAULTS[which]
        value, unit, metric = float("nan"), "", ""
        expected, limit = float("nan"), float("nan")
        explain, detail = fault.explain, dict[str, Any](feature=fault.feature)
        if edge is Edge.CLEAR:
            explain = Text(f"已恢复：{explain.zh}", f"over: {explain.en}")
        elif fault.bit is Quality.CLOCK_SUSPECT and batch.device_ts is not None:
            value, unit = float(batch.device_ts[row] - batch.rx[row]) / _SECOND, "s"
            explain, expected = _off(value), 0.0
        elif fault.bit is Quality.OUT_OF_RANGE and (wrong := self._outside(batch, row)):
            metric, value = wrong
            known = self._columns.metric(metric)
            unit = known.unit
            limit = known.high if value > known.high else known.low
            detail |= {"lo": known.low, "hi": known.high}
            explain = Text(
                f"{known.label.zh} {quantity(value, known)} 超出量程 "
                f"{quantity(known.low, known)} 至 {quantity(known.high, known)}",
                f"{known.label.en} {quantity_en(value, known)} is beyond its range of "
                f"{quantity_en(known.low, known)} to {quantity_en(known.high, known)}",
            )
        return Finding(
            device_no=int(batch.device_no[row]),
            rule_id=fault.rule_id,
            detector=self.name,
            kind=fault.rule_id,
            edge=edge,
            ts=int(batch.ts[row]),
            first_ts=first_ts,
            received_at=int(batch.rx[row]),
            severity=self._severity[which],
            explain=explain,
            metric=metric,
            value=value,
            expected=expected,
            limit=limit,
            unit=unit,
            quality=int(batch.quality[row]),
            detail=detail,
        )

    def _outside(self, batch: Batch, row: int) -> tuple[str, float] | None:
        """Return the first metric of a row that lies beyond its range, and its value."""
        for part, columns in ((self._kind.reals, batch.values), (self._kind.exacts, batch.exact)):
            for place, metric in enumerate(part):
                value = columns[place, [row]]
                if outside(value, metric)[0]:
                    return metric.name, float(str(value[0]))
        return None


def _off(seconds: float) -> Text:
    """Return how far a clock is off, in words.

    >>> _off(-28_800.0).en
    "the device's clock is 8 h behind; its readings stand under the time of receipt"
    """
    if np.isnan(seconds):
        return _FAULTS[_CLOCK].explain
    zh, en = ("快", "ahead") if seconds > 0 else ("慢", "behind")
    far_zh, far_en = duration(abs(seconds))
    return Text(
        f"设备时钟{zh}了 {far_zh}，数据按接收时间入库",
        f"the device's clock is {far_en} {en}; its readings stand under the time of receipt",
    )
