"""How a breach becomes an alarm: pending, raised, reopened, or written down as history."""

from dataclasses import replace
from datetime import datetime

from alerts.alarm import HUB, Ack, Alarm, Condition, Event, told
from alerts.flapping import raised
from alerts.suppression import Shade, afresh, under
from alerts.track import Pending, Seen, Step, Track
from core.model import Edge
from devices.kind import AlarmRule


def is_past(seen: Seen, rule: AlarmRule) -> bool:
    """Return whether the breach lies wholly in the past (追溯), measured when the hub took the row.

    What the hub itself was away is not the device's lateness.
    """
    age_s = (seen.received_at - seen.ts).total_seconds() - seen.held_s
    return "retroactive" in seen.flags or age_s > rule.allowed_lateness_s


def pend(pending: Pending | None, seen: Seen) -> Pending:
    """Return a pending breach with a further row of it."""
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


def raise_(
    track: Track, pending: Pending, rule: AlarmRule, now: datetime, shade: Shade | None
) -> Step:
    """Let a breach that lasted become an alarm: the old row again, or the next occurrence."""
    seen, last = pending.finding, track.alarm
    if last is not None and _reopens(last, seen, rule):
        return _reopen(last, seen, rule, now, shade)
    alarm = under(_begun(last, pending, rule, now), shade)
    alarm, flapping = raised(alarm, pending.last_ts)
    alarm = told(alarm, now)
    event = Event("raised", "", Condition.ACTIVE, loud=alarm.is_told)
    return Step(Track(None, alarm), (event, *flapping))


def record(track: Track, seen: Seen, rule: AlarmRule, now: datetime) -> Step:
    """Write history: cleared and acknowledged from the start, so that it never sounds nor files."""
    last = track.alarm
    if last is not None and (last.is_open or seen.ts <= last.last_seen_at):
        return Step(track)
    alarm = replace(
        _begun(last, pend(None, seen), rule, now),
        condition_state=Condition.CLEARED,
        sources=(),
        ack_state=Ack.ACKED,
        acked_at=now,
        acked_by=HUB,
        latched=False,
        retroactive=True,
        cleared_at=seen.ts,
        clear_reason="retroactive",
    )
    return Step(replace(track, alarm=alarm), (Event("recorded", "", Condition.CLEARED),))


def noted(alarm: Alarm, seen: Seen) -> Alarm:
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


def joined(sources: tuple[str, ...], seen: Seen) -> tuple[str, ...]:
    """Return the detectors whose episode goes on; a single event opens none."""
    if seen.edge is Edge.ONCE:
        return sources
    return tuple(sorted({*sources, seen.detector}))


def _begun(last: Alarm | None, pending: Pending, rule: AlarmRule, now: datetime) -> Alarm:
    seen = pending.finding
    severity = max(seen.severity, rule.severity)
    return Alarm(
        occurrence_no=1 if last is None else last.occurrence_no + 1,
        previous_alarm_id=None if last is None else last.alarm_id,
        severity=severity,
        severity_peak=severity,
        confidence=seen.confidence,
        sources=joined((), seen),
        raises=() if last is None else last.raises,
        latched=rule.latched,
        unconfirmed="unconfirmed" in seen.flags,
        clock_suspect="clock_suspect" in seen.flags,
        started_at=pending.first_ts,
        raised_at=now,
        received_at=seen.received_at,
        last_seen_at=pending.last_ts,
        value=seen.value,
        threshold=seen.threshold,
        baseline=seen.baseline,
        unit=seen.unit,
        explain_zh=seen.explain_zh,
        explain_en=seen.explain_en,
    )


def _reopens(last: Alarm, seen: Seen, rule: AlarmRule) -> bool:
    if last.is_held:
        return True
    if last.ack_state is Ack.ACKED or last.cleared_at is None or last.retroactive:
        return False
    return (seen.ts - last.cleared_at).total_seconds() <= rule.reopen_window_s


def _reopen(last: Alarm, seen: Seen, rule: AlarmRule, now: datetime, shade: Shade | None) -> Step:
    severity = max(seen.severity, rule.severity)
    alarm = replace(
        noted(last, seen),
        condition_state=Condition.ACTIVE,
        sources=joined((), seen),
        severity=severity,
        severity_peak=max(severity, last.severity_peak),
        clearing_at=None,
        cleared_at=None,
        clear_reason=None,
        fleeting=False,
        reopen_count=last.reopen_count + 1,
        unconfirmed="unconfirmed" in seen.flags,
    )
    alarm = afresh(alarm, shade)
    alarm, flapping = raised(alarm, seen.ts)
    alarm = told(alarm, now)
    event = Event("reopened", Condition.CLEARED, Condition.ACTIVE, loud=alarm.is_told)
    return Step(Track(None, alarm), (event, *flapping))
