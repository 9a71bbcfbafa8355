"""What findings and time make of an alarm, as plain functions: no I/O, no clock, no chance.

:func:`fold` takes what a detector found, :func:`mature` and :func:`settle` what time brings.

Holds, hysteresis and severity steps are judged by the detector, which sees every sample; the delays
here count from the first breaching sample, so the two never add up. Delays are measured in event
time: in how far the device's own clock has come, not ours.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from alerts.alarm import HUB, Ack, Alarm, Condition, Event, ack_due, clear
from alerts.track import Pending, Seen, Step, Track
from core.model import Edge, Severity
from devices.kind import AlarmRule


def fold(
    track: Track, seen: Seen, rule: AlarmRule, now: datetime, *, out_of_service: bool = False
) -> Step:
    """Return what a finding makes of a track.

    Args:
        track: What there is of this rule on this device.
        seen: The finding.
        rule: What it means in this city.
        now: The hub's time.
        out_of_service: The device is under maintenance (停用): all is kept, nothing sounds.
    """
    if seen.edge is Edge.CLEAR:
        return _clear(track, seen, rule)
    alarm = track.alarm
    if alarm is not None and alarm.condition_state is not Condition.CLEARED:
        return _repeat(track, alarm, seen, rule, now)
    if _is_past(seen, rule):
        return _record(track, seen, rule, now)
    if seen.edge is Edge.UPDATE and alarm is not None and alarm.cleared_at is not None:
        # an alarm ended, not the episode: whoever ended it could not hear the sensor. What the hub
        # knew by then is settled; what it hears now begins a new occurrence
        if max(seen.ts, seen.received_at) <= alarm.cleared_at:
            return Step(track)
        seen = replace(seen, first_ts=max(seen.first_ts, min(alarm.cleared_at, seen.ts)))
    pending = _pend(track.pending, seen)
    lasted = (pending.last_ts - pending.first_ts).total_seconds()
    if seen.edge is not Edge.ONCE and lasted < rule.on_delay_s:
        return Step(replace(track, pending=pending))
    return _raise(track, pending, rule, now, out_of_service=out_of_service)


def mature(
    track: Track,
    rule: AlarmRule,
    now: datetime,
    heard: datetime | None,
    *,
    out_of_service: bool = False,
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
        out_of_service: See :func:`fold`.
    """
    pending = track.pending
    if pending is None:
        return Step(track)
    delay = timedelta(seconds=rule.on_delay_s)
    if heard is not None and heard > pending.last_ts and heard - pending.first_ts >= delay:
        return _raise(track, pending, rule, now, out_of_service=out_of_service)
    lateness = timedelta(seconds=rule.allowed_lateness_s)
    silent = heard is None or heard <= pending.last_ts
    if rule.mature_on_silence and silent and now - pending.first_ts >= delay + lateness:
        seen = replace(pending.finding, flags=(*pending.finding.flags, "unconfirmed"))
        unconfirmed = replace(pending, finding=seen)
        return _raise(track, unconfirmed, rule, now, out_of_service=out_of_service)
    return Step(track)


def settle(
    track: Track,
    rule: AlarmRule,
    heard: datetime | None,
    contact: datetime | None,
) -> Step:
    """Return what an open alarm becomes as time passes; that of a silent device stays as it is.

    Args:
        track: What there is.
        rule: The rule of the alarm.
        heard: The newest event time of the device.
        contact: When anything was last heard of it, receive time. The allowance for what comes late
            counts by it, not by our clock: else it would matter how far ingest lags.
    """
    alarm = track.alarm
    if alarm is None:
        return Step(track)
    if alarm.condition_state is Condition.CLEARING and alarm.clearing_at and heard:
        due = alarm.clearing_at + timedelta(seconds=rule.off_delay_s)
        if heard >= due:
            return _over(track, alarm, due, "normal")
    if alarm.condition_state is Condition.ACTIVE and not alarm.sources and contact:
        quiet_s = rule.off_delay_s if rule.quiet_clear_s is None else rule.quiet_clear_s
        due = alarm.last_seen_at + timedelta(seconds=quiet_s)
        if contact - timedelta(seconds=rule.allowed_lateness_s) >= due:
            return _over(track, alarm, due, "quiet")
    return Step(track)


def _is_past(seen: Seen, rule: AlarmRule) -> bool:
    """Whether the breach lies wholly in the past (追溯), measured when the hub took the row."""
    age = (seen.received_at - seen.ts).total_seconds()
    return "retroactive" in seen.flags or age > rule.allowed_lateness_s


def _pend(pending: Pending | None, seen: Seen) -> Pending:
    if pending is None:
        return Pending(
            first_ts=min(seen.first_ts, seen.ts),
            last_ts=seen.ts,
            hits=1,
            peak=seen.value,
            finding=seen,
        )
    values = [value for value in (pending.peak, seen.value) if value is not None]
    return Pending(
        first_ts=min(pending.first_ts, seen.first_ts, seen.ts),
        last_ts=max(pending.last_ts, seen.ts),
        hits=pending.hits + 1,
        peak=max(values, key=abs, default=None),
        finding=seen if seen.ts >= pending.last_ts else pending.finding,
    )


def _raise(
    track: Track, pending: Pending, rule: AlarmRule, now: datetime, *, out_of_service: bool
) -> Step:
    """Let a breach that lasted become an alarm: the old row again, or the next occurrence."""
    seen, last = pending.finding, track.alarm
    if last is not None and _reopens(last, seen, rule):
        return _reopen(last, seen, rule, now)
    severity = max(seen.severity, rule.severity)
    alarm = Alarm(
        occurrence_no=1 if last is None else last.occurrence_no + 1,
        previous_alarm_id=None if last is None else last.alarm_id,
        severity=severity,
        severity_peak=severity,
        confidence=seen.confidence,
        sources=_joined((), seen),
        suppression="out_of_service" if out_of_service else "none",
        latched=rule.latched,
        unconfirmed="unconfirmed" in seen.flags,
        clock_suspect="clock_suspect" in seen.flags,
        started_at=pending.first_ts,
        raised_at=now,
        received_at=seen.received_at,
        last_seen_at=pending.last_ts,
        ack_due_at=ack_due(severity, now),
        value=seen.value,
        threshold=seen.threshold,
        baseline=seen.baseline,
        unit=seen.unit,
        explain_zh=seen.explain_zh,
        explain_en=seen.explain_en,
        notified_at=None if out_of_service else now,
    )
    event = Event("raised", "", Condition.ACTIVE, loud=not out_of_service)
    return Step(Track(None, alarm), (event,))


def _record(track: Track, seen: Seen, rule: AlarmRule, now: datetime) -> Step:
    """Write history: cleared and acknowledged from the start, so that it never sounds nor files."""
    last = track.alarm
    if last is not None and (last.is_open or seen.ts <= last.last_seen_at):
        return Step(track)
    raised = _raise(
        replace(track, alarm=None), _pend(None, seen), rule, now, out_of_service=False
    ).track.alarm
    assert raised is not None  # noqa: S101 - with no occurrence before, one is raised
    alarm = replace(
        raised,
        occurrence_no=1 if last is None else last.occurrence_no + 1,
        previous_alarm_id=None if last is None else last.alarm_id,
        condition_state=Condition.CLEARED,
        sources=(),
        ack_state=Ack.ACKED,
        acked_at=now,
        acked_by=HUB,
        ack_due_at=None,
        latched=False,
        retroactive=True,
        cleared_at=seen.ts,
        clear_reason="retroactive",
        notified_at=None,
    )
    return Step(replace(track, alarm=alarm), (Event("recorded", "", Condition.CLEARED),))


def _reopens(last: Alarm, seen: Seen, rule: AlarmRule) -> bool:
    if last.is_held:
        return True
    if last.ack_state is Ack.ACKED or last.cleared_at is None or last.retroactive:
        return False
    return (seen.ts - last.cleared_at).total_seconds() <= rule.reopen_window_s


def _reopen(last: Alarm, seen: Seen, rule: AlarmRule, now: datetime) -> Step:
    severity = max(seen.severity, rule.severity)
    alarm = replace(
        _noted(last, seen),
        condition_state=Condition.ACTIVE,
        sources=_joined((), seen),
        severity=severity,
        severity_peak=max(severity, last.severity_peak),
        clearing_at=None,
        cleared_at=None,
        clear_reason=None,
        ack_state=Ack.UNACKED,
        acked_at=None,
        acked_by=None,
        ack_due_at=ack_due(severity, now),
        reopen_count=last.reopen_count + 1,
        unconfirmed="unconfirmed" in seen.flags,
        notified_at=now if last.suppression == "none" else None,
    )
    loud = last.suppression == "none"
    event = Event("reopened", Condition.CLEARED, Condition.ACTIVE, loud=loud)
    return Step(Track(None, alarm), (event,))


def _repeat(track: Track, alarm: Alarm, seen: Seen, rule: AlarmRule, now: datetime) -> Step:
    """Take a breach while the alarm stands: no further alarm, no sound unless it grows graver."""
    if _is_past(seen, rule) and seen.ts <= alarm.last_seen_at:
        return Step(track)
    events: list[Event] = []
    severity = max(seen.severity, rule.severity)
    newer = seen.ts >= alarm.last_seen_at
    alarm = _noted(alarm, seen)
    if alarm.condition_state is Condition.CLEARING and newer:
        events.append(Event("resumed", Condition.CLEARING, Condition.ACTIVE))
        alarm = replace(
            alarm,
            condition_state=Condition.ACTIVE,
            clearing_at=None,
            chatter_count=alarm.chatter_count + 1,
        )
    if alarm.condition_state is Condition.ACTIVE:
        alarm = replace(alarm, sources=_joined(alarm.sources, seen))
    if alarm.unconfirmed and newer and "unconfirmed" not in seen.flags:
        events.append(Event("confirmed", Condition.ACTIVE, Condition.ACTIVE))
        alarm = replace(alarm, unconfirmed=False)
    if severity > alarm.severity:
        loud = alarm.suppression == "none"
        events.append(_shift("severity_raised", alarm.severity, severity, loud=loud))
        alarm = replace(
            alarm,
            severity=severity,
            severity_peak=max(severity, alarm.severity_peak),
            ack_state=Ack.UNACKED,
            acked_at=None,
            acked_by=None,
            ack_due_at=ack_due(severity, now),
        )
    elif severity < alarm.severity and newer and _steps_down(seen):
        events.append(_shift("severity_lowered", alarm.severity, severity))
        alarm = replace(alarm, severity=severity)
    return Step(replace(track, alarm=alarm), tuple(events))


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
        alarm, condition_state=Condition.CLEARING, sources=(), clearing_at=seen.ts, value=seen.value
    )
    event = Event("clearing", Condition.ACTIVE, Condition.CLEARING)
    if rule.off_delay_s > 0:
        return Step(replace(track, alarm=alarm), (event,), near_miss=near_miss)
    alarm, cleared = clear(alarm, seen.ts, "normal")
    return Step(replace(track, alarm=alarm), (event, cleared), near_miss=near_miss)


def _noted(alarm: Alarm, seen: Seen) -> Alarm:
    """Return it with what the newest breach says."""
    alarm = replace(alarm, repeat_count=alarm.repeat_count + 1)
    if seen.ts < alarm.last_seen_at:
        return alarm
    return replace(
        alarm,
        last_seen_at=seen.ts,
        received_at=seen.received_at,
        confidence=seen.confidence,
        value=seen.value,
        threshold=seen.threshold,
        baseline=seen.baseline,
        unit=seen.unit,
        explain_zh=seen.explain_zh,
        explain_en=seen.explain_en,
        clock_suspect=alarm.clock_suspect or "clock_suspect" in seen.flags,
    )


def _steps_down(seen: Seen) -> bool:
    """Whether a detector lowers its severity; that it goes on lowers nobody else's."""
    return seen.edge is Edge.UPDATE and "ongoing" not in seen.flags


def _joined(sources: tuple[str, ...], seen: Seen) -> tuple[str, ...]:
    """Return the detectors whose episode goes on; a single event opens none."""
    if seen.edge is Edge.ONCE:
        return sources
    return tuple(sorted({*sources, seen.detector}))


def _shift(action: str, before: Severity, after: Severity, *, loud: bool = False) -> Event:
    return Event(action, before.name.lower(), after.name.lower(), loud=loud)


def _over(track: Track, alarm: Alarm, at: datetime, reason: str) -> Step:
    cleared, event = clear(alarm, at, reason)
    return Step(replace(track, alarm=cleared), (event,))
