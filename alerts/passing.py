"""What time makes of an alarm, as plain functions: no I/O, no clock, no chance.

By the device's clock a breach matures (:func:`mature`), a normal state or quiet lasts long enough,
a step of the ladder holds (:func:`settle`). By the hub's clock people are told again, and an alarm
grows stale (:func:`tick`). When to look is derived from the alarm itself (:func:`due`), so no timer
can be lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from alerts.alarm import Ack, Alarm, Condition, Event
from alerts.flapping import steadied, steady_from
from alerts.fold import finish, step_to
from alerts.raising import raise_
from alerts.suppression import Shade
from alerts.track import Pending, Step, Track
from core.model import Severity
from devices.kind import AlarmRule

STALE_S: Final = 86_400.0
"""An alarm active for so long is marked 滞留; after ISA-18.2 as quoted."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of the escalation ladder (升级).

    Attributes:
        level: Its number, from 1.
        after_s: Seconds after people were told and nobody took note.
        role: Who is told next.
    """

    level: int
    after_s: float
    role: str


Ladder = Mapping[Severity, Sequence[Rung]]
"""The steps by severity, in the order of their levels."""


def mature(
    track: Track,
    rule: AlarmRule,
    now: datetime,
    heard: datetime | None,
    *,
    shade: Shade | None = None,
) -> Step:
    """Return what a pending breach becomes without a further finding.

    It lasted long enough if the device's clock has passed the delay and nothing cleared it. If the
    device fell silent instead, and the rule wants it, the breach counts after the delay and the
    allowed lateness by the hub's clock, marked ``unconfirmed``.

    Args:
        track: What there is; without a pending breach nothing happens.
        rule: What the breach means.
        now: The hub's time.
        heard: The newest event time of the device; None: it was never heard.
        shade: See :func:`alerts.fold.fold`.
    """
    pending = track.pending
    if pending is None:
        return Step(track)
    if heard is not None and heard > pending.last_ts and heard >= pending_due(pending, rule):
        return raise_(track, pending, rule, now, shade)
    silent = heard is None or heard <= pending.last_ts
    at = pending_silent(pending, rule)
    if at is not None and silent and now >= at:
        seen = replace(pending.finding, flags=(*pending.finding.flags, "unconfirmed"))
        return raise_(track, replace(pending, finding=seen), rule, now, shade)
    return Step(track)


def settle(
    track: Track,
    rule: AlarmRule,
    now: datetime,
    heard: datetime | None,
    contact: datetime | None,
) -> Step:
    """Return what an open alarm becomes as its device goes on; that of a silent one stays as it is.

    Args:
        track: What there is.
        rule: The rule of the alarm.
        now: The hub's time.
        heard: The newest event time of the device.
        contact: When anything was last heard of it, receive time. The allowance for what comes late
            counts by it, not by our clock: else it would matter how far ingest lags.
    """
    alarm = track.alarm
    if alarm is None or alarm.condition_state is Condition.CLEARED:
        return Step(track)
    if alarm.clock_suspect:
        heard = contact  # the device's own clock is not believed
    events: list[Event] = []
    steady, normal, quiet = (
        steady_from(alarm), _normal_until(alarm, rule), _quiet_until(alarm, rule)
    )  # fmt: skip
    if steady is not None and heard and heard >= steady:
        alarm, event = steadied(alarm)
        events.append(event)
    if alarm.condition_state is Condition.CLEARING:
        end = normal
        if end is not None and heard and heard >= end:
            alarm, ended = finish(alarm, end, "normal")
            events += ended
    else:
        hold = _step_until(alarm, rule)
        if hold is not None and heard and heard >= hold and alarm.next_severity is not None:
            alarm, steps = step_to(alarm, alarm.next_severity, now)
            events += steps
        end = quiet
        late = timedelta(seconds=rule.allowed_lateness_s)
        if end is not None and contact and contact - late >= end:
            alarm, ended = finish(alarm, end, "quiet")
            events += ended
    return Step(replace(track, alarm=alarm), tuple(events)) if events else Step(track)


def tick(alarm: Alarm, ladder: Ladder, now: datetime) -> tuple[Alarm, list[Event]]:
    """Return what an alarm becomes by the hub's clock: escalated (升级), or stale (滞留)."""
    events: list[Event] = []
    while (rung := _next_rung(alarm, ladder)) is not None and now >= _rung_at(alarm, rung):
        before = str(alarm.escalation_level)
        alarm = replace(alarm, escalation_level=rung.level)
        detail = {"level": rung.level, "role": rung.role}
        events.append(Event("escalated", before, str(rung.level), loud=True, detail=detail))
    if _may_grow_stale(alarm) and now >= _stale_at(alarm):
        alarm = replace(alarm, stale=True)
        events.append(Event("stale", "", "stale"))
    return alarm, events


def postpone(alarm: Alarm, now: datetime) -> Alarm:
    """Return it as if people were told now, since a summary has just named it."""
    if alarm.ack_state is Ack.ACKED or alarm.notified_at is None:
        return alarm
    return replace(alarm, notified_at=now)


def mark_data(alarm: Alarm, *, silent: bool) -> tuple[Alarm, list[Event]]:
    """Return an open alarm with whether its device still says anything."""
    if alarm.data_stale is silent:
        return alarm, []
    action = "data_stale" if silent else "data_fresh"
    return replace(alarm, data_stale=silent), [Event(action, "", action)]


def scheduled(track: Track, rule: AlarmRule, ladder: Ladder) -> Track:
    """Return a track with when to look at its alarm again."""
    alarm = track.alarm
    if alarm is None:
        return track
    due_ts, timer_at = due(alarm, rule), timer(alarm, ladder)
    if (due_ts, timer_at) == (alarm.due_ts, alarm.timer_at):
        return track
    return replace(track, alarm=replace(alarm, due_ts=due_ts, timer_at=timer_at))


def due(alarm: Alarm, rule: AlarmRule) -> datetime | None:
    """Return how far the device's clock must come for something to happen; None: nothing will."""
    if alarm.condition_state is Condition.CLEARED:
        return None
    ends = (
        steady_from(alarm),
        _normal_until(alarm, rule),
        _step_until(alarm, rule),
        _quiet_until(alarm, rule),
    )
    return min((end for end in ends if end is not None), default=None)


def timer(alarm: Alarm, ladder: Ladder) -> datetime | None:
    """Return when by the hub's clock something happens; None: nothing will."""
    rung = _next_rung(alarm, ladder)
    ends = []
    if rung is not None:
        ends.append(_rung_at(alarm, rung))
    if _may_grow_stale(alarm):
        ends.append(_stale_at(alarm))
    return min(ends, default=None)


def pending_due(pending: Pending, rule: AlarmRule) -> datetime:
    """Return how far the device's clock must come for a breach to have lasted."""
    return pending.first_ts + timedelta(seconds=rule.on_delay_s)


def pending_silent(pending: Pending, rule: AlarmRule) -> datetime | None:
    """Return when a breach of a silent device counts by the hub's clock; None: never."""
    if not rule.mature_on_silence:
        return None
    return pending_due(pending, rule) + timedelta(seconds=rule.allowed_lateness_s)


def _normal_until(alarm: Alarm, rule: AlarmRule) -> datetime | None:
    """Return until when a clearing alarm must stay normal; a flapping one at least until steady."""
    if alarm.clearing_at is None:
        return None
    end = alarm.clearing_at + timedelta(seconds=rule.off_delay_s)
    return max(end, steady_from(alarm) or end)


def _step_until(alarm: Alarm, rule: AlarmRule) -> datetime | None:
    """Return until when the next step of the ladder must hold."""
    if alarm.next_severity is None or alarm.next_since is None:
        return None
    rises = alarm.next_severity > alarm.severity
    return alarm.next_since + timedelta(seconds=rule.on_delay_s if rises else rule.off_delay_s)


def _quiet_until(alarm: Alarm, rule: AlarmRule) -> datetime | None:
    """Return until when no further single event may come; None: an episode goes on."""
    if alarm.condition_state is not Condition.ACTIVE or alarm.sources:
        return None
    quiet_s = rule.off_delay_s if rule.quiet_clear_s is None else rule.quiet_clear_s
    end = alarm.last_seen_at + timedelta(seconds=quiet_s)
    return max(end, steady_from(alarm) or end)


def _next_rung(alarm: Alarm, ladder: Ladder) -> Rung | None:
    """Return who is told next; nobody once somebody took note, or where nothing is left to do."""
    waits = alarm.ack_state is Ack.UNACKED and alarm.is_open and alarm.is_told
    if not waits or alarm.notified_at is None:
        return None
    rungs = ladder.get(alarm.severity, ())
    return next((rung for rung in rungs if rung.level > alarm.escalation_level), None)


def _rung_at(alarm: Alarm, rung: Rung) -> datetime:
    assert alarm.notified_at is not None  # noqa: S101 - who climbs was told of
    return alarm.notified_at + timedelta(seconds=rung.after_s)


def _may_grow_stale(alarm: Alarm) -> bool:
    return alarm.condition_state is Condition.ACTIVE and not alarm.stale


def _stale_at(alarm: Alarm) -> datetime:
    return alarm.raised_at + timedelta(seconds=STALE_S)
