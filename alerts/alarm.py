"""An alarm (告警) and what people do to it, as plain functions: no I/O, no clock, no chance.

An alarm is one open occurrence of one rule on one device, on four axes: condition, ack,
suppression, latch. What detectors make of it is in :mod:`alerts.fold`, what time makes of it in
:mod:`alerts.passing`, what keeps it quiet in :mod:`alerts.suppression`. Each function returns the
new state and the transition; writing them down is the part of :mod:`alerts.turn`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from core.errors import ConflictError
from core.model import Severity, Text

HUB: Final = "hub"
"""Who acted when nobody did."""

UNDO_S: Final = 5.0
"""For so long an acknowledgement can be taken back."""

ACK_DUE_S: Final = {Severity.RED: 120.0, Severity.ORANGE: 300.0, Severity.YELLOW: 900.0}
"""How soon somebody should acknowledge; ours."""

FLEETING_S: Final = 10.0
"""An alarm over within so long is marked 瞬时; after ISA-18.2 as quoted."""


class Condition(StrEnum):
    """Whether it is still true (条件状态)."""

    ACTIVE = "active"
    CLEARING = "clearing"
    CLEARED = "cleared"


class Ack(StrEnum):
    """Whether somebody has taken note (确认状态)."""

    UNACKED = "unacked"
    ACKED = "acked"


class Suppression(StrEnum):
    """What keeps it from being told of (抑制); it is judged, logged and counted all the while."""

    NONE = "none"
    SHELVED = "shelved"
    SUPPRESSED = "suppressed"
    OUT_OF_SERVICE = "out_of_service"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One occurrence; each attribute is the column of ``hub.alarm`` of the same name."""

    alarm_id: int = 0
    occurrence_no: int = 1
    previous_alarm_id: int | None = None
    rule_version: int = 1
    severity: Severity
    severity_peak: Severity
    next_severity: Severity | None = None
    next_since: datetime | None = None
    confidence: float = 1.0
    condition_state: Condition = Condition.ACTIVE
    sources: tuple[str, ...] = ()
    ack_state: Ack = Ack.UNACKED
    suppression: Suppression = Suppression.NONE
    suppressed_by: str | None = None
    suppress_until: datetime | None = None
    suppress_reason: str | None = None
    suppress_upto: Severity | None = None
    suppress_once: bool = False
    latched: bool = False
    reset_at: datetime | None = None
    reset_by: str | None = None
    flapping: bool = False
    turns: tuple[datetime, ...] = ()
    raises: tuple[datetime, ...] = ()
    fleeting: bool = False
    stale: bool = False
    data_stale: bool = False
    unconfirmed: bool = False
    clock_suspect: bool = False
    retroactive: bool = False
    started_at: datetime
    raised_at: datetime
    received_at: datetime
    last_seen_at: datetime
    clearing_at: datetime | None = None
    cleared_at: datetime | None = None
    clear_reason: str | None = None
    acked_at: datetime | None = None
    acked_by: str | None = None
    ack_due_at: datetime | None = None
    escalation_level: int = 0
    repeat_count: int = 0
    chatter_count: int = 0
    reopen_count: int = 0
    value: float | None = None
    threshold: float | None = None
    baseline: float | None = None
    unit: str = ""
    explain_zh: str
    explain_en: str
    notified_at: datetime | None = None
    incident_id: int | None = None
    case_no: str | None = None
    due_ts: datetime | None = None
    timer_at: datetime | None = None
    version: int = 1

    @property
    def is_open(self) -> bool:
        """Whether it stands in the way of another of the same device and rule."""
        return self.condition_state is not Condition.CLEARED or self.is_held

    @property
    def is_held(self) -> bool:
        """Whether it is latched and nobody has reset it (锁存)."""
        return self.latched and self.reset_at is None

    @property
    def is_told(self) -> bool:
        """Whether its transitions are told to people: nothing keeps it quiet, and it is steady."""
        return self.suppression is Suppression.NONE and not self.flapping

    @property
    def is_final(self) -> bool:
        """Whether nothing can change it any more."""
        return not self.is_open and self.ack_state is Ack.ACKED


@dataclass(frozen=True, slots=True)
class Event:
    """A transition, for the log.

    Attributes:
        action: What happened; :data:`ACTIONS` lists all there are.
        before: The state left, empty where there was none.
        after: The state entered.
        reason: Why, where somebody gave one.
        loud: People are told: it sounds.
        detail: What else the log keeps of it.
    """

    action: str
    before: str
    after: str
    reason: str | None = None
    loud: bool = False
    detail: Mapping[str, Any] = field(default_factory=dict)


ACTIONS: Final = frozenset(
    {
        "raised", "recorded", "reopened", "severity_raised", "severity_lowered", "confirmed",
        "clearing", "resumed", "cleared", "acknowledged", "ack_undone", "reset",
        "shelved", "unshelved", "suppressed", "unsuppressed", "out_of_service", "in_service",
        "flapping", "steady", "stale", "data_stale", "data_fresh", "escalated", "retired",
    }
)  # fmt: skip
"""Every transition of an alarm by its name in the log."""


def acknowledge(alarm: Alarm, actor: str, now: datetime) -> tuple[Alarm, Event]:
    """Take note: ends sound and escalation, but no clock of a case.

    Raises:
        ConflictError: Somebody was first.
    """
    if alarm.ack_state is Ack.ACKED:
        raise ConflictError(
            Text(f"{alarm.acked_by}已确认", f"{alarm.acked_by} has acknowledged it already"),
            by=alarm.acked_by or "",
            at=alarm.acked_at,
        )
    acked = replace(alarm, ack_state=Ack.ACKED, acked_at=now, acked_by=actor, ack_due_at=None)
    return acked, Event("acknowledged", Ack.UNACKED, Ack.ACKED)


def undo_acknowledge(alarm: Alarm, actor: str, now: datetime) -> tuple[Alarm, Event]:
    """Take the own acknowledgement back, within seconds.

    Raises:
        ConflictError: It is over, not acknowledged, by somebody else, or too long ago.
    """
    by, at = alarm.acked_by or "", alarm.acked_at
    if alarm.is_final:
        raise ConflictError(
            Text("告警已结束，不能再改", "the alarm is over and can no longer change")
        )
    if alarm.ack_state is Ack.UNACKED or at is None:
        raise ConflictError(Text("尚未确认", "it is not acknowledged"))
    if by != actor:
        raise ConflictError(Text(f"由{by}确认", f"{by} acknowledged it"), by=by, at=at)
    if (now - at).total_seconds() > UNDO_S:
        text = Text(f"确认已超过{UNDO_S:.0f}秒", f"it was acknowledged over {UNDO_S:.0f} s ago")
        raise ConflictError(text, by=by, at=at)
    return unacknowledged(alarm, now), Event("ack_undone", Ack.ACKED, Ack.UNACKED)


def reset(alarm: Alarm, actor: str, reason: str, now: datetime) -> tuple[Alarm, Event]:
    """Let go of a latched alarm whose condition is over (复位).

    Raises:
        ConflictError: It does not latch, is reset already, is still abnormal, or no reason came.
    """
    if not alarm.latched:
        raise ConflictError(Text("该告警不锁存", "this alarm does not latch"))
    if alarm.reset_at is not None:
        raise ConflictError(
            Text(f"{alarm.reset_by}已复位", f"{alarm.reset_by} has reset it already"),
            by=alarm.reset_by or "",
            at=alarm.reset_at,
        )
    if alarm.condition_state is not Condition.CLEARED:
        raise ConflictError(Text("传感器仍异常, 不能复位", "the sensor is still abnormal"))
    if not reason.strip():
        raise ConflictError(Text("请填写复位原因", "a reset needs a reason"))
    return _let_go(alarm, actor, now), Event("reset", "latched", Condition.CLEARED, reason)


def verify(alarm: Alarm, actor: str, now: datetime, *, trusted: bool) -> tuple[Alarm, list[Event]]:
    """Return the alarm after its case passed verification.

    Args:
        alarm: The alarm.
        actor: Who verified.
        now: The hub's time.
        trusted: The verifier's word ends the condition even where the sensor is silent.
    """
    events = []
    if alarm.condition_state is Condition.CLEARING or (
        trusted and alarm.condition_state is Condition.ACTIVE
    ):
        alarm, event = clear(alarm, now, "verified")
        events.append(event)
    if alarm.condition_state is Condition.CLEARED and alarm.is_held:
        events.append(Event("reset", "latched", Condition.CLEARED, "verified"))
        alarm = _let_go(alarm, actor, now)
    if alarm.ack_state is Ack.UNACKED:
        alarm, event = acknowledge(alarm, actor, now)
        events.append(event)
    return alarm, events


def clear(alarm: Alarm, at: datetime, reason: str) -> tuple[Alarm, Event]:
    """Return it cleared (已恢复); people are told only if they were told of it."""
    cleared = replace(
        alarm,
        condition_state=Condition.CLEARED,
        sources=(),
        clearing_at=None,
        next_severity=None,
        next_since=None,
        flapping=False,
        data_stale=False,
        fleeting=(at - alarm.started_at).total_seconds() < FLEETING_S,
        cleared_at=at,
        clear_reason=reason,
    )
    loud = alarm.notified_at is not None and alarm.is_told
    return cleared, Event("cleared", alarm.condition_state, Condition.CLEARED, reason, loud=loud)


def retire(alarm: Alarm, now: datetime, reason: str) -> tuple[Alarm, list[Event]]:
    """End an alarm whose rule or device is gone, in silence; what is latched is let go.

    Args:
        alarm: An open one.
        now: The hub's time.
        reason: ``rule_retired`` or ``device_retired``.
    """
    before: str = alarm.condition_state
    if alarm.condition_state is not Condition.CLEARED:
        alarm, _ = clear(alarm, now, reason)
    if alarm.is_held:
        alarm = replace(alarm, reset_at=now, reset_by=HUB)
    if alarm.ack_state is Ack.UNACKED:
        alarm, _ = acknowledge(alarm, HUB, now)
    return alarm, [Event("retired", before, Condition.CLEARED, reason)]


def told(alarm: Alarm, now: datetime) -> Alarm:
    """Return it as something new to be acknowledged; people are told unless it is kept quiet."""
    alarm = replace(unacknowledged(alarm, now), escalation_level=0)
    if alarm.is_told:
        return replace(alarm, notified_at=now)
    return replace(alarm, notified_at=None, ack_due_at=None)


def unacknowledged(alarm: Alarm, now: datetime) -> Alarm:
    """Return it waiting for somebody to take note, from now on."""
    due = ack_due(alarm.severity, now)
    return replace(alarm, ack_state=Ack.UNACKED, acked_at=None, acked_by=None, ack_due_at=due)


def ack_due(severity: Severity, now: datetime) -> datetime | None:
    """Return until when somebody should take note; None: no hurry."""
    due_s = ACK_DUE_S.get(severity)
    return None if due_s is None else now + timedelta(seconds=due_s)


def _let_go(alarm: Alarm, actor: str, now: datetime) -> Alarm:
    """Return it reset; whoever resets has also taken note."""
    if alarm.ack_state is Ack.UNACKED:
        alarm, _ = acknowledge(alarm, actor, now)
    return replace(alarm, reset_at=now, reset_by=actor)
