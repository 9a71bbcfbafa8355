"""Rain: sums over hours against the steps of the weather service, by counter or by interval.

What fell since the last row is the growth of the counter. Where the gauge has none, or its counter
began again or leapt by more than any cloud holds, it is what the gauge says of its interval. Sums
are kept in bins of ten minutes; rain that fell over a longer gap is spread evenly over it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analytics.stages import ongoing
from analytics.stages.columns import Columns
from analytics.stages.explain import quantity, quantity_en
from analytics.stages.order import fresh_rows, passes
from analytics.stages.state import Field, Rows, State, StatefulStage
from core.batch import Batch, Episode, Finding
from core.model import Edge, Severity, Text
from devices.kind import DeviceKind
from devices.rainfall import Rainfall

_BIN_US: Final = 600_000_000
_HOUR_BINS: Final = 6
_HOUR_US: Final = _HOUR_BINS * _BIN_US
_MOST_MM_H: Final = 400.0
"""More rain than that falls nowhere (world record of an hour: 401 mm, 1975)."""
_TRACE_MM: Final = 0.05  # under half a tip of the finest bucket
Floats = NDArray[np.float64]


class _RainState(State):
    """What fell, by bins of time, and the open episode.

    Attributes:
        last: Time of the last row, microseconds; 0: none.
        counter: What the counter said then; NaN: nothing.
        bin_t: Number of each bin since 1970. ``bin_mm``: what fell in it.
        wet: When it last rained.
        severity: Step of the open episode, 0: none.
        since: When it opened.
        rows: Rows seen.
        told: See :class:`analytics.stages.ongoing.Told`.
    """

    last: NDArray[np.int64]
    counter: Floats
    bin_t: NDArray[np.int64]
    bin_mm: Floats
    wet: NDArray[np.int64]
    severity: NDArray[np.int64]
    since: NDArray[np.int64]
    rows_seen: NDArray[np.int64]
    told: NDArray[np.int64]
    heard: NDArray[np.int64]
    pace: NDArray[np.int64]

    def __init__(self, bins: int) -> None:
        super().__init__(
            {
                "last": Field(np.int64),
                "counter": Field(np.float64, fill=np.nan),
                "bin_t": Field(np.int64, (bins,)),
                "bin_mm": Field(np.float64, (bins,)),
                "wet": Field(np.int64),
                "severity": Field(np.int64),
                "since": Field(np.int64),
                "rows_seen": Field(np.int64),
            }
            | ongoing.fields(1)
        )


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums of one row of each gauge: by step, the gravest first, and the last hour's."""

    steps: Floats
    hour: Floats


class Rain(StatefulStage[_RainState]):
    """One rainfall watch of one kind.

    Args:
        kind: The kind.
        watch: Its watch.
    """

    name = "rain"
    version = 1

    def __init__(self, kind: DeviceKind, watch: Rainfall) -> None:
        self._watch = watch
        self._columns = Columns(kind)
        self._metric = self._columns.metric(watch.interval)
        self._bins = _HOUR_BINS * max(step.hours for step in watch.steps) + 1
        self._limits = np.array([step.millimetres for step in watch.steps])
        self._ranks = np.array([int(step.severity) for step in watch.steps])
        super().__init__(_RainState(self._bins))

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
        if episode.rule_id != self._watch.rule_id:
            return
        state = self.state
        state.severity[row] = int(episode.severity) if episode.is_open else 0
        state.since[row], state.told[row] = episode.first_ts, episode.ts
        state.heard[row] = episode.ts if episode.is_open else 0
        state.wet[row] = max(int(state.wet[row]), episode.ts)

    def _step(self, batch: Batch, rows: Rows) -> list[Finding]:
        state, ts = self.state, batch.ts[rows]
        at = state.rows(batch.device_no[rows])
        fell, since = self._fell(batch, rows, at, ts)
        self._keep(at, ts, fell, since)
        sums = self._sums(at, ts)
        state.wet[at] = np.where(fell > _TRACE_MM, ts, state.wet[at])
        state.rows_seen[at] += 1
        reached = (sums.steps >= self._limits) * self._ranks
        before, rank = state.severity[at], reached.max(1)
        dry = ts - state.wet[at] >= self._watch.quiet_s * 1e6
        after = np.where(dry, 0, np.maximum(before, rank))
        state.severity[at] = after
        state.since[at] = np.where((before == 0) & (after > 0), ts, state.since[at])
        told = before != after
        again = ongoing.tell_again(
            state,
            at,
            ts,
            on=after[:, None] > 0,
            breach=(fell > _TRACE_MM)[:, None],
            told=told[:, None],
        )[:, 0]
        found = []
        for n in np.flatnonzero(told | again).tolist():
            step = int(np.flatnonzero(self._ranks == (after[n] or before[n]))[0])
            place = {"row": int(rows[n]), "at": int(at[n]), "step": step}
            edge = Edge.CLEAR if not after[n] else Edge.UPDATE if before[n] else Edge.OPEN
            amounts = (float(sums.steps[n, step]), float(sums.hour[n]))
            found.append(self._finding(batch, place, edge, amounts, again=bool(again[n])))
        return found

    def _fell(
        self, batch: Batch, rows: Rows, at: Rows, ts: NDArray[np.int64]
    ) -> tuple[Floats, NDArray[np.int64]]:
        """Return what fell with this row of each gauge, in mm, and since when."""
        state = self.state
        counter = self._columns.read(batch, self._watch.counter, rows).astype(np.float64)
        said = self._columns.read(batch, self._watch.interval, rows).astype(np.float64)
        known = state.last[at] > 0
        hours = np.where(known, (ts - state.last[at]) / _HOUR_US, 0)
        grown = counter - state.counter[at]
        most = _MOST_MM_H * np.maximum(hours, 1 / _HOUR_BINS)
        by_counter = known & (grown >= 0) & (grown <= most)
        by_interval = ~by_counter & (said >= 0) & (said <= most)
        fell = np.where(by_counter, grown, np.where(by_interval, said, 0.0))
        since = np.where(by_counter, state.last[at], ts)
        state.last[at] = ts
        state.counter[at] = np.where(np.isnan(counter), state.counter[at], counter)
        return np.where(fell < _TRACE_MM, 0.0, fell), since

    def _keep(
        self, at: Rows, ts: NDArray[np.int64], fell: Floats, since: NDArray[np.int64]
    ) -> None:
        """Put what fell into its bins; over more than a bin of time it is spread evenly."""
        number, first = ts // _BIN_US, since // _BIN_US + 1
        wide = (fell > 0) & (number - first >= 1)
        for n in np.flatnonzero(wide).tolist():
            bins = np.arange(max(first[n], number[n] - self._bins + 1), number[n] + 1)
            share = float(fell[n]) / float(number[n] - first[n] + 1)
            self._add(np.full(len(bins), at[n]), bins, np.full(len(bins), share))
        plain = ~wide
        self._add(at[plain], number[plain], fell[plain])

    def _add(self, at: Rows, number: NDArray[np.int64], fell: Floats) -> None:
        state, place = self.state, number % self._bins
        there = state.bin_t[at, place] == number
        state.bin_mm[at, place] = np.where(there, state.bin_mm[at, place], 0) + fell
        state.bin_t[at, place] = number

    def _sums(self, at: Rows, ts: NDArray[np.int64]) -> _Sums:
        state, number = self.state, ts // _BIN_US
        age = number[:, None] - state.bin_t[at]
        bins = state.bin_mm[at]

        def within(hours: int) -> Floats:
            wanted = np.where((age >= 0) & (age < hours * _HOUR_BINS), bins, 0.0)
            # one after the other: sums must not hang on the batch
            total: Floats = np.cumsum(wanted, axis=1)[:, -1]
            return total

        steps = [within(step.hours) for step in self._watch.steps]
        return _Sums(np.stack(steps, 1), within(1))

    def _finding(
        self,
        batch: Batch,
        place: dict[str, int],
        edge: Edge,
        amounts: tuple[float, float],
        *,
        again: bool,
    ) -> Finding:
        row, at, step = place["row"], place["at"], self._watch.steps[place["step"]]
        (total, hour), metric = amounts, self._metric
        hours = self._watch.quiet_s / 3600
        if edge is Edge.CLEAR:
            explain = Text(f"已 {hours:g} 小时无雨", f"no rain for {hours:g} h")
        else:
            goes_on = Text("，仍在下", ", and it goes on") if again else Text("", "")
            explain = Text(
                f"{step.hours} 小时雨量 {quantity(total, metric)} ≥ "
                f"{quantity(step.millimetres, metric)}，近 1 小时 {quantity(hour, metric)}"
                f"{goes_on.zh}",
                f"{quantity_en(total, metric)} of rain in {step.hours} h, at or above "
                f"{quantity_en(step.millimetres, metric)}; {quantity_en(hour, metric)} in the "
                f"last hour{goes_on.en}",
            )
        detail: dict[str, Any] = {
            "rows": int(self.state.rows_seen[at]),
            "feature": f"sum_{step.hours}h",
            "rate": round(hour, 2),
            "source": self._watch.source,
        }
        return Finding(
            device_no=int(batch.device_no[row]),
            rule_id=self._watch.rule_id,
            detector=self.name,
            kind="rain",
            edge=edge,
            ts=int(batch.ts[row]),
            first_ts=int(self.state.since[at]),
            received_at=int(batch.rx[row]),
            severity=Severity(int(step.severity)),
            explain=explain,
            metric=metric.name,
            value=round(total, 2),
            limit=step.millimetres,
            unit=metric.unit,
            quality=int(batch.quality[row]),
            rule_version=self.version,
            flags=(ongoing.FLAG,) * again,
            detail=detail,
        )
