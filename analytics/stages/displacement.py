"""Covers that are open, gone, shifted or settling: episodes on top of :mod:`.attitude`.

Evidence for an opening, the strongest first:

- the device's own tilt is beyond ``open_deg``: open at once, it needs no learnt reference;
- two agreeing quiet rows of gravity far from rest, or three alike: open;
- one quiet row between 10° and ``open_deg`` of a device that wakes when it is moved: open at once,
  marked ``unconfirmed``. The device's own tilt must agree with gravity in that row, for a shaken
  row may by chance have the norm of a quiet one; a reference that is not yet learnt is replaced by
  the device's own tilt. The next quiet row confirms it or takes it back.

It clears when the thing is back at rest, for two rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analytics.stages import attitude, ongoing, rocking
from analytics.stages.attitude import Verdict
from analytics.stages.columns import Columns
from analytics.stages.explain import quantity, quantity_en
from analytics.stages.order import live_rows, passes
from analytics.stages.own import OwnNumbers
from analytics.stages.rest import CALIBRATION_ROWS, Bools, Floats, RestState, coefficient
from analytics.stages.state import Field, Rows, StatefulStage
from core.batch import Batch, Episode, Finding
from core.model import Edge, Quality, Severity, Text
from devices.kind import DeviceKind
from devices.kind import Displacement as Watch
from devices.rule_fields import watch_key

_TILT, _GRAVITY, _UNCONFIRMED, _SUSPECT = 1, 2, 4, 8  # what an opening rests on
_SURE: Final = _TILT | _GRAVITY
_AGREE_DEG: Final = 5.0  # ours: device's tilt and gravity tell the same angle within this …
_AGREE_SHARE: Final = 0.25  # … or this share of it
_G: Final = 1e-3  # m[g] to g
_DOUBTFUL: Final = 0.6  # confidence of one row
_GOES_ON: Final = Text("，仍在持续", ", and goes on")
_BACK: Final = Text("已回到静置姿态", "back in its rest position")


class _CoverState(RestState):
    """Attitude, and which rules are open.

    Attributes:
        by: What evidence the opening rests on, bits; 0: none is open.
        since: Time of the first row of the evidence at hand, or of the open episode.
        displaced: When the open shift or settling began.
        settling: It is a settling.
        upright: Consecutive rows in which the device's own tilt is near 0.
        turned: Consecutive quiet rows in which only the device's own tilt tells an angle.
        tilted: The last of those angles.
        told: See :class:`analytics.stages.ongoing.Told`: of the opening, and of the shift or
            settling; ``heard`` and ``pace`` likewise.
        shocks: See :class:`analytics.stages.rocking.Rocked`, and the four below.
    """

    by: NDArray[np.int8]
    since: NDArray[np.int64]
    displaced: NDArray[np.int64]
    settling: Bools
    upright: NDArray[np.int64]
    turned: NDArray[np.int64]
    tilted: Floats
    told: NDArray[np.int64]
    heard: NDArray[np.int64]
    pace: NDArray[np.int64]
    shocks: NDArray[np.int64]
    shock: Floats
    usual_shock: Floats
    shock_scatter: Floats
    rocked: NDArray[np.int64]

    def __init__(self) -> None:
        super().__init__(
            {
                "by": Field(np.int8),
                "since": Field(np.int64),
                "displaced": Field(np.int64),
                "settling": Field(np.bool_),
                "upright": Field(np.int64),
                "turned": Field(np.int64),
                "tilted": Field(np.float64),
            }
            | ongoing.fields(2)
            | rocking.fields()
        )


class Displacement(StatefulStage[_CoverState]):
    """One displacement watch of one kind.

    Args:
        kind: The kind.
        watch: Its watch.
        own: What differs by ``device_no``, live (:mod:`analytics.stages.own`).
    """

    name = "displacement"
    version = 3

    def __init__(
        self,
        kind: DeviceKind,
        watch: Watch,
        own: Mapping[int, Mapping[str, Any]] = MappingProxyType({}),
    ) -> None:
        self._watch = watch
        self._own = OwnNumbers(watch, watch_key(watch), own)
        self._columns = Columns(kind)
        self._tilt = self._columns.metric(watch.tilt)
        self._severity = {rule.rule_id: rule.severity for rule in kind.rules}
        super().__init__(_CoverState())

    def judge(self, batch: Batch) -> Sequence[Finding]:
        """See :meth:`StatefulStage.judge`."""
        rows = live_rows(batch)
        return [
            finding
            for at in passes(batch.device_no[rows])
            for finding in self._step(batch, rows[at])
        ]

    def take_up(self, row: int, episode: Episode) -> None:
        """See :meth:`StatefulStage.take_up`."""
        state, watch = self.state, self._watch
        opening = episode.rule_id == watch.open_rule
        if not opening and episode.rule_id not in {watch.shift_rule, watch.settle_rule}:
            return
        episode_no = 0 if opening else 1
        state.told[row, episode_no] = episode.ts
        state.heard[row, episode_no] = episode.ts if episode.is_open else 0
        if not opening:
            state.moved[row] = episode.is_open
            state.settling[row] = episode.rule_id == watch.settle_rule
            state.displaced[row] = episode.first_ts
            return
        # without a reference no gravity ever says that it is over: the device's own tilt must
        known = int(state.learnt[row]) >= CALIBRATION_ROWS
        by = int(episode.detail.get("by", _TILT)) if known else _TILT
        state.by[row] = by if episode.is_open else 0
        state.gone[row] = episode.is_open and bool(by & _GRAVITY)
        state.since[row] = episode.first_ts

    def _step(self, batch: Batch, rows: Rows) -> list[Finding]:
        """Step one row of each of several devices."""
        state = self.state
        tilt = self._read(batch, self._watch.tilt, rows)
        wide = self._own.of("open_deg", batch.device_no[rows], batch.now)
        believed = (batch.quality[rows] & int(Quality.CLOCK_SUSPECT)) == 0
        found = self._suspects(batch, rows[~believed], tilt[~believed], wide[~believed])
        rows, tilt, wide = rows[believed], tilt[believed], wide[believed]
        at = state.rows(batch.device_no[rows])
        axes = [self._read(batch, name, rows) * _G for name in self._watch.acceleration]
        acceleration = np.stack(axes, 1)
        before = state.by[at].copy()
        nothing = (before == 0) & (state.far[at] + state.loose[at] + state.turned[at] == 0)
        state.since[at] = np.where(nothing, batch.ts[rows], state.since[at])
        push = acceleration - state.norm[at][:, None] * state.rest[at]
        verdict = attitude.step(
            state,
            at,
            ts=batch.ts[rows],
            acceleration=acceleration,
            heat=self._read(batch, self._watch.temperature, rows),
            frozen=(before != 0) | (tilt > attitude.FAR_DEG),
        )
        after = self._weigh(at, tilt, wide, verdict, before)
        moves = verdict.shifts | verdict.settles | verdict.ended
        openings = tilt >= wide
        again = self._goes_on(
            batch.ts[rows], at, tilt, verdict, (before != after, moves), openings=openings
        )
        free = (after == 0) & ~state.moved[at] & (state.loose[at] == 0)
        shaken = verdict.known & ~verdict.quiet & free & bool(self._watch.rock_rule)
        rocks = rocking.step(state, at, batch.ts[rows], push, shaken)
        changed = (before != after) | moves | again.any(1) | rocks
        for n in np.flatnonzero(changed):
            angles = float(tilt[n]), float(verdict.angle[n]), float(wide[n])
            case = _Case(batch, int(rows[n]), int(at[n]), *angles)
            found += self._opening(case, int(before[n]))
            begins = bool(verdict.shifts[n] or verdict.settles[n])
            if begins:
                state.displaced[case.at] = batch.ts[case.row]
                state.settling[case.at] = verdict.settles[n]
                how_far, score = float(verdict.level[n]), float(verdict.score[n])
                found.append(self._displaced(case, how_far, score))
            elif verdict.ended[n]:
                found.append(self._restored(case))
            if again[n, 0]:
                found.append(self._still_open(case))
            if again[n, 1]:
                found.append(self._still_moved(case))
            if rocks[n]:
                found.append(self._rocks(case))
        return found

    def _goes_on(
        self,
        ts: NDArray[np.int64],
        at: Rows,
        tilt: Floats,
        verdict: Verdict,
        told: tuple[Bools, Bools],
        *,
        openings: Bools,
    ) -> Bools:
        """Return ``(n, 2)`` where an opening, or a shift or settling, is told again."""
        state = self.state
        turned = np.where(verdict.known, verdict.angle, tilt) > attitude.FAR_DEG
        wide = openings | verdict.quiet & turned
        aside = verdict.quiet & verdict.known & (state.back[at] == 0)
        on = np.stack([state.by[at] != 0, state.moved[at]], 1)
        breach = np.stack([wide, aside], 1)
        return ongoing.tell_again(state, at, ts, on=on, breach=breach, told=np.stack(told, 1))

    def _read(self, batch: Batch, name: str, rows: Rows) -> Floats:
        return self._columns.read(batch, name, rows).astype(np.float64)

    def _weigh(
        self, at: Rows, tilt: Floats, wide: Floats, verdict: Verdict, before: NDArray[np.int8]
    ) -> NDArray[np.int8]:
        """Weigh what a row of each device says of an opening; store and return the bits."""
        state = self.state
        near = tilt < attitude.RIGHTED_DEG
        upright = np.where(np.isnan(tilt), state.upright[at], (state.upright[at] + 1) * near)
        state.upright[at] = upright

        between = verdict.quiet & (tilt > attitude.FAR_DEG) & (tilt < wide)
        alone = between & ~verdict.known
        alike = np.abs(tilt - state.tilted[at]) <= _AGREE_DEG
        again = alone & (state.turned[at] > 0) & alike
        state.turned[at] = np.where(again, state.turned[at] + 1, alone)
        state.tilted[at] = tilt
        agree = np.abs(tilt - verdict.angle) <= np.maximum(_AGREE_DEG, _AGREE_SHARE * tilt)
        once = alone | between & agree & (state.far[at] == 1) & ~state.moved[at]

        by = before.astype(np.int64)
        by |= np.where((tilt >= wide) | again, _TILT, 0) | np.where(verdict.opens, _GRAVITY, 0)
        by |= np.where(once & (by == 0), _UNCONFIRMED, 0) if self._watch.wakes else 0
        stands = upright >= attitude.RIGHTED_ROWS
        back = verdict.quiet & np.where(verdict.known, verdict.angle <= attitude.FAR_DEG, near)
        doubt_ends = stands | back | verdict.shifts | ((by & _SURE) != 0)
        by &= ~np.where(doubt_ends, _UNCONFIRMED, 0)
        by &= ~np.where(stands, _TILT | _SUSPECT, 0)
        by &= ~np.where(verdict.righted, _GRAVITY, 0)
        state.by[at] = by
        return state.by[at]

    def _suspects(self, batch: Batch, rows: Rows, tilt: Floats, wide: Floats) -> list[Finding]:
        """Take a device's own tilt at its word although its clock is wrong; once a device."""
        state, found = self.state, []
        for n in np.flatnonzero(tilt >= wide):
            row = int(rows[n])
            at = int(state.rows(batch.device_no[[row]])[0])
            opens = not state.by[at]
            if opens:
                state.by[at], state.since[at] = _SUSPECT, batch.ts[row]
            one = np.array([[True, False]])
            again = ongoing.tell_again(
                state, np.array([at]), batch.ts[[row]], on=one, breach=one, told=one & opens
            )
            if not opens and not again[0, 0]:
                continue
            case = _Case(batch, row, at, float(tilt[n]), np.nan, float(wide[n]))
            edge = Edge.OPEN if opens else Edge.UPDATE
            finding = self._own_tilt(case, edge, case.wide)
            doubt = Text("（设备时钟不可信）", " (its clock is not believed)")
            finding = _marked(finding, "clock_suspect", doubt)
            found.append(finding if opens else _marked(finding, ongoing.FLAG, _GOES_ON))
        return found

    def _opening(self, case: "_Case", before: int) -> list[Finding]:
        """Tell how the opening changed, if it did."""
        after = int(self.state.by[case.at])
        if before and not after:
            value = case.tilt if np.isnan(case.angle) else case.angle
            return [self._open(case, Edge.CLEAR, _BACK, value, attitude.RIGHTED_DEG)]
        if after == before or before & _SURE or not after:
            return []
        edge = Edge.UPDATE if before else Edge.OPEN
        if after & _GRAVITY:
            explain = Text(
                f"偏离静置姿态 {case.angle:.1f}°（连续静止读数一致）",
                f"turned {case.angle:.1f}° from rest in agreeing quiet readings",
            )
            return [self._open(case, edge, explain, case.angle, attitude.FAR_DEG)]
        if after & _TILT:
            limit = case.wide if case.tilt >= case.wide else attitude.FAR_DEG
            return [self._own_tilt(case, edge, limit)]
        finding = self._own_tilt(case, edge, attitude.FAR_DEG)
        doubt = Text("，仅一次静止读数，待证实", " in one quiet reading, not yet confirmed")
        return [replace(_marked(finding, "unconfirmed", doubt), confidence=_DOUBTFUL)]

    def _still_open(self, case: "_Case") -> Finding:
        """Tell of an opening that goes on."""
        if case.tilt >= case.wide or np.isnan(case.angle):
            limit = case.wide if case.tilt >= case.wide else attitude.FAR_DEG
            finding = self._own_tilt(case, Edge.UPDATE, limit)
        else:
            explain = _turned(case.angle)
            finding = self._open(case, Edge.UPDATE, explain, case.angle, attitude.FAR_DEG)
        finding = _marked(finding, ongoing.FLAG, _GOES_ON)
        if int(self.state.by[case.at]) == _UNCONFIRMED:
            finding = replace(finding, flags=("unconfirmed", *finding.flags), confidence=_DOUBTFUL)
        return finding

    def _still_moved(self, case: "_Case") -> Finding:
        """Tell of a shift or settling that goes on."""
        finding = self._moved(case, Edge.UPDATE, _turned(case.angle))
        return _marked(replace(finding, value=case.angle), ongoing.FLAG, _GOES_ON)

    def _own_tilt(self, case: "_Case", edge: Edge, limit: float) -> Finding:
        """Return a finding that rests on the tilt which the device computed itself."""
        metric = self._tilt
        explain = Text(
            f"{metric.label.zh} {quantity(case.tilt, metric)} ≥ {quantity(limit, metric)}",
            f"{metric.label.en} {quantity_en(case.tilt, metric)} at or above "
            f"{quantity_en(limit, metric)}",
        )
        return self._open(case, edge, explain, case.tilt, limit)

    def _open(
        self, case: "_Case", edge: Edge, explain: Text, value: float, limit: float
    ) -> Finding:
        finding = self._finding(case, self._watch.open_rule, edge, explain)
        first_ts = int(self.state.since[case.at])
        detail = finding.detail | {"lo": 0.0, "hi": limit, "feature": "open"}
        return replace(
            finding, kind="open", first_ts=first_ts, value=value, limit=limit, detail=detail
        )

    def _displaced(self, case: "_Case", how_far: float, score: float) -> Finding:
        settling = bool(self.state.settling[case.at])
        zh, en = ("缓慢沉降", "settled") if settling else ("发生位移", "shifted")
        explain = Text(
            f"{zh}：偏离静置姿态 {how_far:.1f}°（已扣除温度影响）",
            f"{en}: {how_far:.1f}° from rest after temperature compensation",
        )
        finding = self._moved(case, Edge.OPEN, explain)
        return replace(
            finding,
            value=how_far,
            limit=attitude.SIZE_DEG,
            score=score,
            detail=finding.detail | {"z": round(score, 2)},
        )

    def _restored(self, case: "_Case") -> Finding:
        return replace(self._moved(case, Edge.CLEAR, _BACK), value=case.angle)

    def _moved(self, case: "_Case", edge: Edge, explain: Text) -> Finding:
        settling = bool(self.state.settling[case.at])
        rule_id = self._watch.settle_rule if settling else self._watch.shift_rule
        finding = self._finding(case, rule_id, edge, explain)
        first_ts = int(self.state.displaced[case.at])
        what = "settle" if settling else "shift"
        detail = finding.detail | {"lo": 0.0, "hi": attitude.SIZE_DEG, "feature": what}
        return replace(finding, kind=what, first_ts=first_ts, detail=detail)

    def _rocks(self, case: "_Case") -> Finding:
        state, at = self.state, case.at
        now, usual = (float(np.exp(log[at])) for log in (state.shock, state.usual_shock))
        explain = Text(
            f"井盖松动：车辆经过时的震动增至 {now:.2f} g（平时 {usual:.2f} g），姿态未变",
            f"rocking: shocks under traffic have grown to {now:.2f} g (usually {usual:.2f} g) while"
            " it lies where it lay",
        )
        finding = self._finding(case, self._watch.rock_rule, Edge.ONCE, explain)
        return replace(finding, kind="rock", metric="", unit="g", value=now, expected=usual)

    def _detail(self, at: int) -> dict[str, Any]:
        """Return what is known of the device, beside the finding itself."""
        state = self.state
        detail: dict[str, Any] = {
            "rows": int(state.learnt[at]),
            "model": "gravity against rest, freed of temperature",
            "noise_deg": round(float(state.noise[at]), 3),
            "source": self._watch.source,
            "by": int(state.by[at]),
        }
        if not np.isnan(state.heat[at]):
            detail["temperature"] = round(float(state.heat[at]), 1)
            detail["coefficient"] = round(coefficient(state, at), 4)
        return detail

    def _finding(self, case: "_Case", rule_id: str, edge: Edge, explain: Text) -> Finding:
        """Return what findings of all three rules have in common."""
        batch, row = case.batch, case.row
        return Finding(
            device_no=int(batch.device_no[row]),
            rule_id=rule_id,
            detector=self.name,
            kind="",
            edge=edge,
            ts=int(batch.ts[row]),
            first_ts=int(batch.ts[row]),
            received_at=int(batch.rx[row]),
            severity=self._severity.get(rule_id, Severity.ORANGE),
            explain=explain,
            metric=self._watch.tilt,
            expected=0.0,
            unit=self._tilt.unit,
            quality=int(batch.quality[row]),
            detail=self._detail(case.at),
        )


@dataclass(frozen=True, slots=True)
class _Case:
    """One row of one device: where it is, its two angles, and from which one it is open."""

    batch: Batch
    row: int
    at: int
    tilt: float
    angle: float
    wide: float


def _marked(finding: Finding, flag: str, doubt: Text) -> Finding:
    """Return a finding with a flag, and the doubt behind it at the end of its sentence."""
    explain = Text(finding.explain.zh + doubt.zh, finding.explain.en + doubt.en)
    return replace(finding, flags=(*finding.flags, flag), explain=explain)


def _turned(angle: float) -> Text:
    return Text(f"偏离静置姿态 {angle:.1f}°", f"turned {angle:.1f}° from rest")
