"""What devices raise themselves (设备事件): their own alarm bits, taken at their word.

A device that says its cover is open is believed at once. ``on`` opens and ends an episode; a pulse
stands alone, unless another event of the kind ends the same rule (``cover_close``), then it opens.
An opening is repeated whenever the device repeats it: alarms keep one open occurrence anyway, and
an opening swallowed here, since an earlier end got lost, would hide the next theft.

Of a kind that moves the last good position is kept, so that a call for help out of a tunnel says at
once where its sender was last, and how long ago; nobody waits for a fix.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.stages.columns import Columns
from analytics.stages.explain import duration
from analytics.stages.order import HISTORY, fresh_rows, starts
from analytics.stages.state import Field, State, StatefulStage
from core.batch import Batch, DeviceEvent, Finding
from core.model import Edge, Quality, Text
from devices.kind import DeviceKind, Event

_NEVER: Final = np.iinfo(np.int64).min
_NO_PLACE: Final = int(Quality.NO_FIX | Quality.OUT_OF_RANGE)
_PHASES: Final = {True: 0, False: 1, None: 2}


class _EventState(State):
    """Per rule: time of the newest event, which ones came at that time, and a doubtful opening.

    Of kinds that move: last good longitude and latitude, and when that was.
    """

    last: NDArray[np.int64]
    seen: NDArray[np.int64]
    suspect: NDArray[np.bool_]
    opened: NDArray[np.int64]
    place: NDArray[np.float64]
    placed: NDArray[np.int64]

    def __init__(self, rules: int, *, moves: bool) -> None:
        place = {"place": Field(np.float64, (2,)), "placed": Field(np.int64, fill=_NEVER)}
        super().__init__(
            (place if moves else {})
            | {
                "last": Field(np.int64, (rules,), _NEVER),
                "seen": Field(np.int64, (rules,)),
                "suspect": Field(np.bool_, (rules,)),
                "opened": Field(np.int64, (rules,), _NEVER),
            }
        )


class Events(StatefulStage[_EventState]):
    """The device's own events of one kind.

    Args:
        kind: The kind whose events to judge.
    """

    name = "events"
    version = 2

    def __init__(self, kind: DeviceKind) -> None:
        self._moves = kind.moves
        self._columns = Columns(kind)
        told = [event for event in kind.events if event.rule_id or event.clears]
        rules = sorted({_rule(event) for event in told})
        self._events = {event.name: (_place(told, event), event) for event in told}
        self._rules = {rule_id: n for n, rule_id in enumerate(rules)}
        self._ended = {event.clears for event in told if event.clears}
        super().__init__(_EventState(len(rules), moves=kind.moves))

    def judge(self, batch: Batch) -> Sequence[Finding]:
        """See :meth:`StatefulStage.judge`; finds nothing, keeps where movers are."""
        if not self._moves:
            return []
        rows = fresh_rows(batch)
        rows = rows[(batch.quality[rows] & _NO_PLACE) == 0]
        place = np.stack([self._columns.read(batch, name, rows) for name in ("lon", "lat")], 1)
        good = ~np.isnan(place).any(1)
        rows, place = rows[good], place[good]
        if len(rows):
            last = np.append(starts(batch.device_no[rows])[1:], True)
            at = self.state.rows(batch.device_no[rows[last]])
            self.state.place[at], self.state.placed[at] = place[last], batch.ts[rows[last]]
        return []

    def judge_events(self, events: Sequence[DeviceEvent]) -> Sequence[Finding]:
        """See :meth:`StatefulStage.judge_events`."""
        found = (
            self._judge(event)
            for event in sorted(events, key=lambda event: (event.device_no, event.ts))
            if event.name in self._events and not event.quality & HISTORY
        )
        return [finding for finding in found if finding is not None]

    def _judge(self, event: DeviceEvent) -> Finding | None:
        code, known = self._events[event.name]
        rule_id = _rule(known)
        row = int(self.state.rows(np.array([event.device_no], np.int32))[0])
        place = row, self._rules[rule_id]
        edge = self._edge(known, event.on)
        if edge is None:
            return None
        suspect = bool(event.quality & int(Quality.CLOCK_SUSPECT))
        if suspect:
            if edge is Edge.CLEAR or self.state.suspect[place]:
                return None  # outside time nothing is ended, and a danger is told once
            self.state.suspect[place] = True
        elif not self._is_fresh(place, event.ts, 3 * code + _PHASES[event.on]):
            return None
        first_ts = self._first(place, edge, event.ts)
        found = _finding(event, known, rule_id, edge, first_ts, suspect=suspect)
        return self._located(found, row, event.ts) if self._moves else found

    def _located(self, found: Finding, row: int, ts: int) -> Finding:
        """Add where the device was last, and how long ago."""
        placed = int(self.state.placed[row])
        if placed == _NEVER or found.edge is Edge.CLEAR:
            return found
        lon, lat = self.state.place[row].tolist()
        age_s = max((ts - placed) / 1e6, 0.0)
        zh, en = duration(age_s)
        return replace(
            found,
            explain=Text(
                f"{found.explain.zh}；最后有效位置 {lon:.5f}, {lat:.5f}（{zh}前）",
                f"{found.explain.en}; last good position {lon:.5f}, {lat:.5f}, {en} ago",
            ),
            detail={**found.detail, "last_lon": lon, "last_lat": lat, "last_fix_age_s": age_s},
        )

    def _edge(self, known: Event, on: bool | None) -> Edge | None:
        if known.clears:
            return None if on is False else Edge.CLEAR
        if on is False:
            return Edge.CLEAR
        return Edge.OPEN if on or known.rule_id in self._ended else Edge.ONCE

    def _is_fresh(self, place: tuple[int, int], ts: int, code: int) -> bool:
        """Return whether an event is neither older than the newest of its rule nor a repetition."""
        state, bit = self.state, 1 << code
        newer = ts > state.last[place]
        if not newer and (ts < state.last[place] or state.seen[place] & bit):
            return False
        state.seen[place] = bit if newer else state.seen[place] | bit
        state.last[place] = ts
        state.suspect[place] = False
        return True

    def _first(self, place: tuple[int, int], edge: Edge, ts: int) -> int:
        """Return when the episode began, and remember it."""
        opened = int(self.state.opened[place])
        first = ts if opened == _NEVER or edge is Edge.ONCE else opened
        if edge is Edge.OPEN:
            self.state.opened[place] = first
        elif edge is Edge.CLEAR:
            self.state.opened[place] = _NEVER
        return first


def _rule(event: Event) -> str:
    """Return the rule that an event opens or ends."""
    return event.rule_id or event.clears or ""


def _place(told: Sequence[Event], event: Event) -> int:
    """Return an event's place among those of its rule."""
    return [each.name for each in told if _rule(each) == _rule(event)].index(event.name)


def _finding(
    event: DeviceEvent,
    known: Event,
    rule_id: str,
    edge: Edge,
    first_ts: int,
    *,
    suspect: bool,
) -> Finding:
    over = edge is Edge.CLEAR and not known.clears
    doubt = Text("（设备时钟不可信）", " (its clock is not believed)") if suspect else Text("", "")
    return Finding(
        device_no=event.device_no,
        rule_id=rule_id,
        detector=Events.name,
        kind=event.name,
        edge=edge,
        ts=event.ts,
        first_ts=first_ts,
        received_at=event.rx,
        severity=known.severity,
        explain=Text(
            f"设备上报：{known.label.zh}{'已结束' * over}{doubt.zh}",
            f"reported by the device: {known.label.en}{' is over' * over}{doubt.en}",
        ),
        quality=event.quality,
        flags=("clock_suspect",) if suspect else (),
        detail={"feature": "own_report", "event": event.name, **event.values},
    )
