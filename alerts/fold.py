"""What findings make of an alarm, as plain functions: no I/O, no clock, no chance.

Holds, hysteresis and severity steps are judged by the detector, which sees every sample; the delays
here count from the first breaching sample, so the two never add up. Delays are measured in event
time: in how far the device's own clock has come, not ours. What time alone brings is in
:mod:`alerts.passing`.
"""

from dataclasses import replace
from datetime import datetime

from alerts.alarm import Alarm, Condition, Event, clear, told
from alerts.flapping import turned
from alerts.raising import is_past, joined, noted, pend, raise_, record
from alerts.suppression import Shade, end_once, outgrow
from alerts.track import Seen, Step, Track
from core.model import Edge, Severity
from devices.kind import AlarmRule


def fold(
    track: Track, seen: Seen, rule: AlarmRule, now: datetime, *, shade: Shade | None = None
) -> Step:
    """Return what a finding makes of a track.

    Args:
        track: What there is of this rule on this device.
        seen: The finding.
        rule: What it means in this city.
        now: The hub's time.
        shade: What keeps this rule on this device quiet; all is kept, nothing sounds.
    """
    if seen.edge is Edge.CLEAR:
        return _clear(track, seen, rule)
    alarm = track.alarm
    if alarm is not None and alarm.condition_state is not Condition.CLEARED:
        return _repeat(track, alarm, seen, rule, now)
    if is_past(seen, rule):
        return record(track, seen, rule, now)
    if seen.edge is Edge.UPDATE and alarm is not None and alarm.cleared_at is not None:
        # an alarm ended, not the episode: whoever ended it could not hear the sensor. What the hub
        # knew by then is settled; what it hears now begins a new occurrence
        if max(seen.ts, seen.received_at) <= alarm.cleared_at:
            return Step(track)
        if not alarm.retroactive:  # else it goes on, and reaches back to where it began
            seen = replace(seen, first_ts=max(seen.first_ts, min(alarm.cleared_at, seen.ts)))
    pending = pend(track.pending, seen)
    lasted = (pending.last_ts - pending.first_ts).total_seconds()
    if seen.edge is not Edge.ONCE and lasted < rule.on_delay_s:
        return Step(replace(track, pending=pending))
    return raise_(track, pending, rule, now, shade)


def step_to(alarm: Alarm, severity: Severity, now: datetime) -> tuple[Alarm, tuple[Event, ...]]:
    """Return it on another step of the ladder: up is told and to be acknowledged, down is not."""
    before = alarm.severity
    alarm = replace(
        alarm,
        severity=severity,
        severity_peak=max(severity, alarm.severity_peak),
        next_severity=None,
        next_since=None,
    )
    names = before.name.lower(), severity.name.lower()
    if severity < before:
        return alarm, (Event("severity_lowered", *names),)
    alarm, freed = outgrow(alarm)
    # a graver danger is told of even while it flaps
    quiet = alarm.flapping
    alarm = replace(told(replace(alarm, flapping=False), now), flapping=quiet)
    loud = alarm.notified_at is not None
    return alarm, (*freed, Event("severity_raised", *names, loud=loud))


def _repeat(track: Track, alarm: Alarm, seen: Seen, rule: AlarmRule, now: datetime) -> Step:
    """Take a breach while the alarm stands: no further alarm, no sound unless it grows graver."""
    if is_past(seen, rule) and seen.ts <= alarm.last_seen_at:
        return Step(track)
    events: list[Event] = []
    newer = seen.ts >= alarm.last_seen_at
    alarm = noted(alarm, seen)
    if alarm.condition_state is Condition.CLEARING and newer:
        events.append(Event("resumed", Condition.CLEARING, Condition.ACTIVE))
        alarm = replace(
            alarm,
            condition_state=Condition.ACTIVE,
            clearing_at=None,
            chatter_count=alarm.chatter_count + 1,
        )
        alarm, flapping = turned(alarm, seen.ts)
        events += flapping
    if alarm.condition_state is Condition.ACTIVE:
        alarm = replace(alarm, sources=joined(alarm.sources, seen))
    if alarm.unconfirmed and newer and "unconfirmed" not in seen.flags:
        events.append(Event("confirmed", Condition.ACTIVE, Condition.ACTIVE))
        alarm = replace(alarm, unconfirmed=False)
    if alarm.condition_state is Condition.ACTIVE:
        alarm, steps = _climb(alarm, seen, rule, now, newer=newer)
        events += steps
    return Step(replace(track, alarm=alarm), tuple(events))


def _climb(
    alarm: Alarm, seen: Seen, rule: AlarmRule, now: datetime, *, newer: bool
) -> tuple[Alarm, tuple[Event, ...]]:
    """Return it after a finding's severity: on another step at once, or on the way to one.

    A step up must hold for the delay of raising, a step down for that of clearing.
    """
    severity = max(seen.severity, rule.severity)
    if severity > alarm.severity:
        if seen.edge is Edge.ONCE or rule.on_delay_s <= 0:
            return step_to(alarm, severity, now)
        return _towards(alarm, severity, seen.ts), ()
    anew = _says_anew(seen)
    if severity < alarm.severity and newer and anew:
        if rule.off_delay_s <= 0:
            return step_to(alarm, severity, now)
        return _towards(alarm, severity, seen.ts), ()
    stays = severity == alarm.severity and newer
    if stays and (anew or (alarm.next_severity or severity) < severity):
        return replace(alarm, next_severity=None, next_since=None), ()
    return alarm, ()


def _towards(alarm: Alarm, severity: Severity, ts: datetime) -> Alarm:
    """Return it on the way to a step; of several on the way the one that held all the while."""
    before = alarm.next_severity
    if before is None or (before > alarm.severity) is not (severity > alarm.severity):
        return replace(alarm, next_severity=severity, next_since=ts)
    held = min(before, severity) if severity > alarm.severity else max(before, severity)
    return replace(alarm, next_severity=held)


def _clear(track: Track, seen: Seen, rule: AlarmRule) -> Step:
    near_miss = track.pending is not None and seen.ts >= track.pending.last_ts
    if near_miss:
        track = replace(track, pending=None)
    alarm = track.alarm
    if (
        alarm is None
        or alarm.condition_state is not Condition.ACTIVE
        or seen.ts < alarm.last_seen_at
    ):
        return Step(track, near_miss=near_miss)
    # a measured return to normal outranks what the device's own alarm bit last said; the end of
    # that bit alone does not outrank a measurement that still breaches
    left = () if seen.measured else tuple(s for s in alarm.sources if s != seen.detector)
    if left:
        return Step(replace(track, alarm=replace(alarm, sources=left)), near_miss=near_miss)
    alarm = replace(
        alarm,
        condition_state=Condition.CLEARING,
        sources=(),
        clearing_at=seen.ts,
        value=seen.value,
        next_severity=None,
        next_since=None,
    )
    alarm, flapping = turned(alarm, seen.ts)
    events = [Event("clearing", Condition.ACTIVE, Condition.CLEARING), *flapping]
    if rule.off_delay_s <= 0 and not alarm.flapping:
        alarm, ended = finish(alarm, seen.ts, "normal")
        events += ended
    return Step(replace(track, alarm=alarm), tuple(events), near_miss=near_miss)


def finish(alarm: Alarm, at: datetime, reason: str) -> tuple[Alarm, list[Event]]:
    """Return it cleared, with what was to last until then ended."""
    alarm, cleared = clear(alarm, at, reason)
    alarm, freed = end_once(alarm)
    return alarm, [cleared, *freed]


def _says_anew(seen: Seen) -> bool:
    """Whether a detector says its severity anew; that it goes on lowers nobody else's."""
    return seen.edge is Edge.UPDATE and "ongoing" not in seen.flags
