"""Limits with hold, hysteresis and steps: the plainest detector, and the one a city asks for first.

Each step of a limit is a comparator of its own: it switches on when ``hold`` consecutive readings
over at least ``hold_s`` of event time are at or past it, and off after ``clear_hold`` readings
inside it by ``clear_margin``. The gravest step that is on is the episode's severity. A hold starts
again after a gap of more than three periods, the last gap counting as a period, so that a device
that was told to report more rarely is still judged.

Nearly all rows of a city are quiet. They are compared as columns and then left alone; only devices
with a breach or something under way are stepped.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analytics.stages import ongoing
from analytics.stages.columns import Columns
from analytics.stages.comparison import Compared, Comparison
from analytics.stages.explain import duration, quantity, quantity_en
from analytics.stages.ladder import STEPS, Ladder, breaching
from analytics.stages.order import live_rows, passes, starts
from analytics.stages.state import Field, Rows, State, StatefulStage
from core.batch import Batch, Episode, Finding
from core.model import Edge, Severity, Text
from devices.kind import DeviceKind, Limit

_NEVER: Final = np.iinfo(np.int64).min
_GAP_PERIODS: Final = 3
_SECOND: Final = 1_000_000


class _LimitState(State):
    """What is under way; step columns are limit by limit, blue first."""

    run: NDArray[np.int32]
    since: NDArray[np.int64]
    calm: NDArray[np.int32]
    on: NDArray[np.bool_]
    judged: NDArray[np.int64]
    gap: NDArray[np.int64]
    opened: NDArray[np.int64]
    suspect: NDArray[np.bool_]
    busy: NDArray[np.bool_]
    told: NDArray[np.int64]
    heard: NDArray[np.int64]
    pace: NDArray[np.int64]

    def __init__(self, limits: int) -> None:
        steps = (limits * STEPS,)
        super().__init__(
            {
                "run": Field(np.int32, steps),
                "since": Field(np.int64, steps),
                "calm": Field(np.int32, steps),
                "on": Field(np.bool_, steps),
                "judged": Field(np.int64, (limits,), _NEVER),
                "gap": Field(np.int64, (limits,)),
                "opened": Field(np.int64, (limits,)),
                "suspect": Field(np.bool_, (limits,)),
                "busy": Field(np.bool_),
            }
            | ongoing.fields(limits)
        )


class Limits(StatefulStage[_LimitState]):
    """All limits of one kind.

    Args:
        kind: The kind whose watches to judge.
        own: What differs by ``device_no``, live (:mod:`analytics.stages.own`).
    """

    name = "limits"
    version = 2

    def __init__(self, kind: DeviceKind, own: Mapping[int, Mapping[str, Any]]) -> None:
        self._limits = [watch for watch in kind.watches if isinstance(watch, Limit)]
        self._columns = Columns(kind)
        self._ladder = Ladder(kind, own)
        self._comparison = Comparison(self._columns, self._ladder)
        self._period = round(max(kind.interval_s, kind.idle_interval_s or 0) * _SECOND)
        self._limit_of = np.repeat(np.arange(len(self._limits)), STEPS)
        super().__init__(_LimitState(len(self._limits)))

    def judge(self, batch: Batch) -> Sequence[Finding]:
        """See :meth:`StatefulStage.judge`."""
        rows = live_rows(batch)
        if not len(rows):
            return []
        device_no = batch.device_no[rows]
        known = self.state.find(device_no)
        wanted = self._comparison.passed(batch, rows)
        wanted |= (known >= 0) & self.state.busy[known]
        if not wanted.any():
            return []
        begins = starts(device_no)
        each = np.logical_or.reduceat(wanted, np.flatnonzero(begins))
        view = self._comparison.compare(batch, rows[each[np.cumsum(begins) - 1]])
        return [
            finding
            for at in passes(batch.device_no[view.row])
            for finding in self._step(batch, view.take(at))
        ]

    def take_up(self, row: int, episode: Episode) -> None:
        """See :meth:`StatefulStage.take_up`."""
        state = self.state
        for place, limit in enumerate(self._limits):
            if (limit.rule_id, limit.metric) != (episode.rule_id, episode.metric):
                continue
            steps = slice(place * STEPS, (place + 1) * STEPS)
            doubted = episode.is_open and "clock_suspect" in episode.flags
            state.on[row, steps] = state.run[row, steps] = state.calm[row, steps] = 0
            state.suspect[row, place] = doubted
            if episode.is_open:
                step = place * STEPS + int(episode.severity) - 1
                state.on[row, step] = not doubted
                state.since[row, step] = state.opened[row, place] = episode.first_ts
                state.heard[row, place] = state.told[row, place] = episode.ts
        self._forget(np.array([row]))

    def _step(self, batch: Batch, view: Compared) -> list[Finding]:
        """Step one row of each of several devices."""
        state, wide = self.state, self._limit_of
        at = state.rows(batch.device_no[view.row])
        ts = batch.ts[view.row][:, None]
        judged, breach, inside = view.judged.T, view.breach.T, view.inside.T
        before, doubted = self._severities(at), state.suspect[at].copy()

        seen = judged & (state.judged[at] != _NEVER)
        gap = np.where(seen, ts - np.where(seen, state.judged[at], 0), 0)
        stale = (gap > _GAP_PERIODS * np.maximum(self._period, state.gap[at]))[:, wide]
        state.gap[at] = np.where(seen, gap, state.gap[at])
        state.judged[at] = np.where(judged, ts, state.judged[at])

        ended = stale | (judged | view.shut.T)[:, wide] & ~breach
        run = np.where(ended, 0, state.run[at]) + breach
        since = np.where(run == 1, np.where(breach, ts, state.since[at]), state.since[at])
        calming = inside & state.on[at]
        calm = np.where(stale | judged[:, wide] & ~calming, 0, state.calm[at]) + calming
        ladder, line = self._ladder, view.line
        starting = breach & (run >= ladder.hold[line]) & (ts - since >= ladder.hold_us[line])
        state.on[at] = (state.on[at] | starting) & ~(calm >= ladder.clear_hold[line])
        state.run[at], state.since[at], state.calm[at] = run, since, calm

        after = self._severities(at)
        found = self._changes(batch, view, at, before, after)
        found += self._suspects(batch, view, at, after)
        told = (before != after) | (doubted != state.suspect[at])
        found += self._ongoing(batch, view, at, after, told)
        self._forget(at)
        return found

    def _forget(self, at: Rows) -> None:
        """Forget the times of limits with nothing under way, as quiet rows are not stepped."""
        state = self.state
        steps = (state.run[at] > 0) | state.on[at]
        busy = steps.reshape(len(at), -1, STEPS).any(2) | state.suspect[at]
        state.judged[at] = np.where(busy, state.judged[at], _NEVER)
        state.gap[at] = np.where(busy, state.gap[at], 0)
        state.busy[at] = busy.any(1)

    def _severities(self, at: Rows) -> NDArray[np.int64]:
        """Return ``(n, limits)`` the gravest step that is on, 0 for none."""
        on = self.state.on[at].reshape(len(at), -1, STEPS)
        gravest: NDArray[np.int64] = (on * np.arange(1, STEPS + 1)).max(2)
        return gravest

    def _changes(
        self,
        batch: Batch,
        view: Compared,
        at: Rows,
        before: NDArray[np.int64],
        after: NDArray[np.int64],
    ) -> list[Finding]:
        found = []
        for n, place in np.argwhere(before != after):
            was, now = int(before[n, place]), int(after[n, place])
            step = int(place) * STEPS + (now or was) - 1
            if not was:
                self.state.opened[at[n], place] = self.state.since[at[n], step]
                self.state.suspect[at[n], place] = False
            found.append(
                self._finding(
                    batch,
                    view,
                    n,
                    step,
                    edge=Edge.UPDATE if was and now else Edge.OPEN if now else Edge.CLEAR,
                    first_ts=int(self.state.opened[at[n], place]),
                    how=self._changed(
                        *(was, now, at[n], step, int(batch.ts[view.row[n]])),
                        timed=bool(self._ladder.hold_us[view.line[n], step]),
                    ),
                )
            )
        return found

    def _changed(self, was: int, now: int, row: int, step: int, ts: int, *, timed: bool) -> Text:
        """Return the end of the sentence: for how long, or from what to what."""
        if was and now:
            old, new = Severity(was).text, Severity(now).text
            return Text(f"，由{old.zh}变为{new.zh}", f", from {old.en} to {new.en}")
        if not now:
            return Text("，已恢复", ", back to normal")
        run, lasted = int(self.state.run[row, step]), (ts - self.state.since[row, step]) / _SECOND
        if timed:
            zh, en = duration(lasted)
            return Text(f"，已持续 {zh}", f" for {en}")
        return Text(f"，连续 {run} 次", f" in {run} readings") if run > 1 else Text("", "")

    def _suspects(
        self, batch: Batch, view: Compared, at: Rows, after: NDArray[np.int64]
    ) -> list[Finding]:
        """Judge red limits in rows whose clock is not believed, once a device.

        Such a row has no place in time, hence neither hold nor steps; but a wrong clock must not
        hide a danger. The first reading in order that is no breach ends it.
        """
        found = []
        breach = view.breach.T.reshape(len(at), -1, STEPS).any(2)
        over = self.state.suspect[at] & view.judged.T & ~breach & (after == 0)
        fresh = view.alarming.T & ~self.state.suspect[at] & (after == 0)
        for mask, edge in ((over, Edge.CLEAR), (fresh, Edge.OPEN)):
            for n, place in np.argwhere(mask):
                ts = int(batch.ts[view.row[n]])
                opens = edge is Edge.OPEN
                self.state.suspect[at[n], place] = opens
                if opens:
                    self.state.opened[at[n], place] = ts
                how = Text("（设备时钟不可信）", " (its clock is not believed)")
                found.append(
                    self._finding(
                        batch,
                        view,
                        n,
                        int(place) * STEPS + STEPS - 1,
                        edge=edge,
                        first_ts=int(self.state.opened[at[n], place]),
                        how=how if opens else Text("，已恢复", ", back to normal"),
                        flags=("clock_suspect",) if opens else (),
                    )
                )
        return found

    def _ongoing(
        self,
        batch: Batch,
        view: Compared,
        at: Rows,
        after: NDArray[np.int64],
        told: NDArray[np.bool_],
    ) -> list[Finding]:
        """Tell from time to time that an episode goes on."""
        state, doubted = self.state, (after == 0) & self.state.suspect[at]
        step = np.arange(len(self._limits)) * STEPS + np.where(after, after, STEPS) - 1
        breach = np.take_along_axis(view.breach.T, step, 1)
        breach = np.where(doubted, view.alarming.T, breach)
        again = ongoing.tell_again(
            state,
            at,
            batch.ts[view.row],
            on=(after > 0) | doubted,
            breach=breach,
            told=told,
        )
        return [
            self._finding(
                batch,
                view,
                int(n),
                int(step[n, place]),
                edge=Edge.UPDATE,
                first_ts=int(state.opened[at[n], place]),
                how=Text("，仍在持续", ", and goes on"),
                flags=("clock_suspect",) * bool(doubted[n, place]) + (ongoing.FLAG,),
            )
            for n, place in np.argwhere(again)
        ]

    def _finding(
        self,
        batch: Batch,
        view: Compared,
        n: int,
        step: int,
        *,
        edge: Edge,
        first_ts: int,
        how: Text,
        flags: tuple[str, ...] = (),
    ) -> Finding:
        place, severity = divmod(step, STEPS)
        limit, row = self._limits[place], view.row[n]
        metric = self._columns.metric(limit.metric)
        value, threshold = float(view.values[place, n]), float(view.threshold[step, n])
        value = value if metric.f8 else float(str(np.float32(value)))
        past = breaching(np.array([value]), np.array([threshold]), limit)[0]
        side = ("≤" if past else ">") if limit.below else ("≥" if past else "<")
        words = _SIDES_EN[side]
        against = Text(
            f" {side} {quantity(threshold, metric)}{how.zh}",
            f" {words} {quantity_en(threshold, metric)}{how.en}",
        )
        if np.isnan(threshold):  # a rule was changed while it lasted
            against = Text("，限值已取消", ", which has no such limit any more")
        return Finding(
            device_no=int(batch.device_no[row]),
            rule_id=limit.rule_id,
            detector=self.name,
            kind="limit",
            edge=edge,
            ts=int(batch.ts[row]),
            first_ts=first_ts,
            received_at=int(batch.rx[row]),
            severity=Severity(severity + 1),
            explain=Text(
                f"{metric.label.zh} {quantity(value, metric)}{against.zh}",
                f"{metric.label.en} {quantity_en(value, metric)}{against.en}",
            ),
            metric=limit.metric,
            value=value,
            limit=threshold,
            unit=metric.unit,
            quality=int(batch.quality[row]),
            flags=flags,
            detail={
                "feature": "under" if limit.below else "over",
                **self._band(view, n, int(place)),
                "hold": int(self.state.run[self.state.find(batch.device_no[[row]])[0], step]),
                "source": limit.source,
            },
        )

    def _band(self, view: Compared, n: int, place: int) -> dict[str, float]:
        """Return between what a value is normal: the mildest step, and the end of the sensor."""
        limit, steps = self._limits[place], view.threshold[place * STEPS : (place + 1) * STEPS, n]
        metric, known = self._columns.metric(limit.metric), steps[~np.isnan(steps)]
        if not len(known):
            return {"lo": metric.low, "hi": metric.high}
        if limit.below:
            return {"lo": float(known.max()), "hi": metric.high}
        return {"lo": metric.low, "hi": float(known.min())}


_SIDES_EN: Final = {"≥": "at or above", "≤": "at or below", ">": "above", "<": "below"}
