"""Water gauges: how fast the water rises and when it arrives, and what their sensors do wrong.

The tests follow QARTOD; each row's worst verdict goes into its quality bits, and what holds over
rows becomes an episode: a rise, a frozen sensor. A spike, and a slow drift that nothing proves, are
told once. Rows that are held back, frozen or out of range teach nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from analytics.stages import flatline, ongoing, surge, wander
from analytics.stages.columns import Columns, out_of_range, outside
from analytics.stages.gauge_state import DRIFT, EPISODES, RISE, STUCK, WEAK, Bools, GaugeState, Ints
from analytics.stages.gauge_words import GaugeWords
from analytics.stages.order import fresh_rows, passes
from analytics.stages.state import Rows, StatefulStage
from core.batch import Batch, Episode, Finding
from core.model import Edge
from core.verdict import Verdict, worsen
from devices.kind import DeviceKind
from devices.water_level import WaterLevel

_GAP_PERIODS: Final = 3
_USUAL_RATE: Final = 0.1
_USUAL_MOST: Final = 3.0
_SECOND: Final = 1_000_000
_OVER_RATIO: Final = 0.4  # a rise is over under so much of its threshold
_OVER_SHARE: Final = 0.5  # … or when the water fell by so much of the least rise
_OVER_NOISES: Final = 3.0
_STILL_RISES: Final = (
    0.1  # of the threshold in half an hour: else it is over, though two hours show
)
_YOUNG_US: Final = 50 * surge.MINUTE
_FASTER: Final = 1.8
_LEVEL: Final = 0.15
_CLIMBING: Final = 0.6
_LULL_US: Final = 10 * surge.MINUTE
_IDLE_US: Final = 25 * surge.MINUTE


@dataclass(frozen=True, slots=True)
class Step:
    """One row of each of several gauges: where it is, and what it says.

    Attributes:
        batch: The batch.
        rows: ``(n,)`` where each row is in it.
        at: ``(n,)`` rows of the state.
        flat: See the class; likewise those that follow.
        held: As there.
        climb: As there.
        slow: As there.
    """

    batch: Batch
    rows: Rows
    at: Rows
    flat: flatline.Flat
    held: surge.Held
    climb: surge.Climb
    slow: wander.Wander


class Gauge(StatefulStage[GaugeState]):
    """One water-level watch of one kind.

    Args:
        kind: The kind.
        watch: Its watch.
        own: The devices' own limits by ``device_no``, live: where the water is going.
    """

    name = "gauge"
    version = 1

    def __init__(
        self, kind: DeviceKind, watch: WaterLevel, own: Mapping[int, Mapping[str, Any]]
    ) -> None:
        self._watch = watch
        self._columns = Columns(kind)
        self._metric = self._columns.metric(watch.metric)
        self._place = [metric.name for metric in kind.reals].index(watch.metric)
        self._period = round(kind.interval_s * _SECOND)
        super().__init__(GaugeState(float(self._period)))
        self._words = GaugeWords(kind, watch, own, self.name, self.version)

    def judge(self, batch: Batch) -> Sequence[Finding]:
        """See :meth:`StatefulStage.judge`."""
        rows = fresh_rows(batch)
        return [
            finding
            for at in passes(batch.device_no[rows])
            for finding in self._pass(batch, rows[at])
        ]

    def take_up(self, row: int, episode: Episode) -> None:
        """See :meth:`StatefulStage.take_up`."""
        places = {self._watch.rise_rule: RISE, self._watch.stuck_rule: STUCK}
        place = places.get(episode.rule_id)
        if place is None or episode.metric != self._watch.metric:
            return
        state = self.state
        state.open[row, place] = episode.is_open
        state.since[row, place] = episode.first_ts
        state.told[row, place] = episode.ts
        state.heard[row, place] = episode.ts if episode.is_open else 0

    def _pass(self, batch: Batch, rows: Rows) -> list[Finding]:
        """Step one row of each of several gauges, those that measured a level."""
        level = self._columns.read(batch, self._watch.metric, rows).astype(np.float64)
        absent = np.isnan(level)
        if absent.any():
            self._mark_absent(batch, rows[absent])
            rows, level = rows[~absent], level[~absent]
        return self._step(batch, rows, level) if len(rows) else []

    def _mark_absent(self, batch: Batch, rows: Rows) -> None:
        """Say of rows without a believable level whether it is missing or wrong."""
        wrong = outside(batch.values[self._place, rows], self._metric) & out_of_range(batch, rows)
        known = self.state.find(batch.device_no[rows]) >= 0
        worsen(batch.quality, rows[wrong], Verdict.FAIL)
        worsen(batch.quality, rows[known & ~wrong], Verdict.MISSING)

    def _step(self, batch: Batch, rows: Rows, level: Any) -> list[Finding]:
        state = self.state
        ts, at = batch.ts[rows], state.rows(batch.device_no[rows])
        before = state.open[at].copy()
        new, gap = self._time(at, ts)
        flat = flatline.step(state, at, ts, level, stuck=before[:, STUCK] & ~gap, fresh=new | gap)
        begins_again = new | gap | flat.ends
        surge.restart(state, at[begins_again])
        state.lull[at] |= begins_again & before[:, RISE]
        held = surge.take(state, at, ts, level, stuck=flat.stuck, period=self._period)
        learns = held.taken & ~flat.stuck & ~before[:, RISE]
        climb = surge.climb(state, at, ts, period=self._period, learns=learns)
        counts = held.taken & ~flat.stuck
        state.fell[at] = np.where(held.fall, ts, state.fell[at])
        rises, rise_ends, again = self._rises(at, ts, climb, counts, before[:, RISE])
        slow = wander.step(state, at, ts, level, counts=counts, ramping=before[:, DRIFT])
        weak = wander.fade(state, at, ts, flat.change, share=flat.share, faded=before[:, WEAK])
        state.value[at], state.last[at] = level, ts
        state.rows_seen[at] += 1
        stuck_ends = flat.ends | gap & before[:, STUCK] & ~flat.stuck
        opens = np.stack([rises, flat.begins, slow.begins, weak], 1)
        ends = np.stack([rise_ends, stuck_ends, slow.ends, ~weak], 1)
        state.open[at] = (before | opens) & ~ends
        first = np.where(opens & ~before, ts[:, None], state.since[at])
        state.since[at] = first
        self._mark(batch, rows, at, flat, held)
        step = Step(batch, rows, at, flat, held, climb, slow)
        return self._tell(step, before, again)

    def _time(self, at: Rows, ts: Any) -> tuple[Bools, Bools]:
        """Return which rows are a gauge's first, and which come after a gap."""
        state = self.state
        new = state.rows_seen[at] == 0
        passed = np.where(new, 0, ts - state.last[at]).astype(np.float64)
        usual = state.usual[at]
        gap = passed > _GAP_PERIODS * np.maximum(self._period, usual)
        moved = usual + _USUAL_RATE * (np.minimum(passed, _USUAL_MOST * usual) - usual)
        state.usual[at] = np.where(new, usual, moved)
        return new, gap

    def _rises(
        self, at: Rows, ts: Any, climb: surge.Climb, counts: Bools, rising: Bools
    ) -> tuple[Bools, Bools, Bools]:
        """Return where a rise begins, ends, and gathers way or comes again."""
        state, half = self.state, np.where(counts, np.nan_to_num(climb.half_hour), 0.0)
        least = np.maximum(surge.LEAST_RISE_M * _OVER_SHARE, _OVER_NOISES * state.noise[at])
        now = np.isnan(climb.half_hour) | (climb.half_hour > _STILL_RISES)
        now &= (climb.level > state.top[at] + least) | (state.rose[at] == 0)
        begins = (climb.ratio > 1) & now & counts & ~rising
        on = rising | begins
        top = np.where(rising, np.maximum(state.top[at], climb.level), climb.level)
        top = np.where(on | (state.rose[at] == 0), top, np.minimum(state.top[at], climb.level))
        state.top[at] = np.where(counts, top, state.top[at])
        state.began[at] = np.where(begins, ts, state.began[at])
        young = ts - state.began[at] <= _YOUNG_US
        fastest = np.where(begins, half, np.maximum(state.fastest[at], half))
        state.fastest[at] = np.where(young & on, fastest, state.fastest[at])
        level = rising & (climb.quarter < _LEVEL)
        lull = state.lull[at] | _lasts(
            state.level_since, at, ts, level, counts=counts, least=_LULL_US
        )
        faster = ~young & (half > _FASTER * state.fastest[at] + 1)
        gathers = (half > 1) & (climb.quarter > _CLIMBING)
        again = rising & counts & (faster | lull & gathers)
        state.lull[at] = lull & rising & ~again
        state.began[at] = np.where(again, ts, state.began[at])
        state.fastest[at] = np.where(again, half, state.fastest[at])
        idle = rising & (climb.half_hour < _STILL_RISES)
        idle = _lasts(state.idle_since, at, ts, idle, counts=counts, least=_IDLE_US)
        fallen = climb.level < state.top[at] - least
        spent = (climb.ratio < _OVER_RATIO) | idle
        ends = rising & counts & climb.judged & (fallen | spent)
        state.top[at] = np.where(ends, climb.level, state.top[at])
        state.rose[at] = np.where(on & ~ends, ts, state.rose[at])
        return begins, ends, again & ~ends

    def _mark(
        self,
        batch: Batch,
        rows: Rows,
        at: Rows,
        flat: flatline.Flat,
        held: surge.Held,
    ) -> None:
        """Put each row's worst verdict into its quality bits."""
        doubtful = held.aside | self.state.open[at][:, [DRIFT, WEAK]].any(1)
        worsen(batch.quality, rows[doubtful], Verdict.SUSPECT)
        worsen(batch.quality, rows[flat.stuck], Verdict.FAIL)

    def _tell(self, step: Step, before: Bools, again: Bools) -> list[Finding]:
        """Return what is to be told of a step."""
        state, batch = self.state, step.batch
        after = state.open[step.at]
        told = before != after
        told[:, RISE] |= again
        speaks = np.zeros((len(step.at), EPISODES), np.bool_)
        speaks[:, RISE] = step.held.taken & (step.climb.ratio > _OVER_RATIO)
        speaks[:, STUCK] = step.flat.stuck
        on = after & np.array([True, True, False, False])
        goes_on = ongoing.tell_again(
            state, step.at, batch.ts[step.rows], on=on, breach=speaks, told=told
        )
        something = told[:, :DRIFT].any(1) | step.held.spike | step.held.fall
        something |= step.slow.begins | goes_on.any(1)
        found: list[Finding] = []
        for n in np.flatnonzero(something).tolist():
            case = self._words.case(state, step, n)
            if step.held.spike[n]:
                found.append(self._words.spike(case))
            if step.held.fall[n]:
                found.append(self._words.fall(case))
            if told[n, STUCK] or goes_on[n, STUCK]:
                edge = _edge(before[n, STUCK], after[n, STUCK])
                found.append(self._words.stuck(case, edge, ongoing=bool(goes_on[n, STUCK])))
            if told[n, RISE] or goes_on[n, RISE]:
                edge = _edge(before[n, RISE], after[n, RISE])
                flags = ("again",) * bool(again[n]) + (ongoing.FLAG,) * bool(goes_on[n, RISE])
                found.append(self._words.rise(case, edge, flags))
            if step.slow.begins[n]:
                found.append(self._words.drift(case))
        return found


def _lasts(since: Ints, at: Rows, ts: Ints, holds: Bools, *, counts: Bools, least: int) -> Bools:
    """Return where something has held for so long, and remember since when; rows may not count."""
    begun = np.where(holds & (since[at] == 0), ts, since[at])
    since[at] = np.where(counts, np.where(holds, begun, 0), since[at])
    lasts: Bools = holds & counts & (ts - begun >= least)
    return lasts


def _edge(before: bool, after: bool) -> Edge:
    if before and after:
        return Edge.UPDATE
    return Edge.OPEN if after else Edge.CLEAR
