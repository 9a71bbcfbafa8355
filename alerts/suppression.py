"""What keeps an alarm quiet (抑制), as plain functions: shelves, windows, the cause tree.

A suppressed alarm is judged, logged and counted like any other; only nobody is told. A
:class:`Shade` is what stands over a rule on a device, whether an alarm is open or not;
:func:`cover` brings an alarm in line with it, so it does not matter how the shade came or went.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from alerts.alarm import Alarm, Condition, Event, Suppression, told
from core.errors import ConflictError, ForbiddenError
from core.model import Severity, Text


class Role(StrEnum):
    """What a member of staff may decide (岗位); who is not named is an operator."""

    OPERATOR = "operator"
    SHIFT_LEADER = "shift_leader"
    DUTY_DIRECTOR = "duty_director"


SHELF_S: Final = {Role.OPERATOR: 7_200.0, Role.SHIFT_LEADER: 28_800.0, Role.DUTY_DIRECTOR: 28_800.0}
"""The longest shelf by role, in seconds; ours. What lasts longer is a maintenance window."""
RED_SHELF_S: Final = 1_800.0
"""The longest shelf of a red alarm, and never by an operator; ours."""
WINDOW_S: Final = 30 * 86_400.0
"""The longest maintenance window; ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shade:
    """What stands over a rule on a device.

    Attributes:
        state: What an alarm under it is.
        by: Who or what: ``shelf``, ``window:7``, ``device``, ``incident:12``.
        until: When it ends by the hub's clock; None: not by the clock.
        reason: Why.
        upto: What grows graver than this is told of all the same.
        once: It ends with the condition.
    """

    state: Suppression
    by: str
    until: datetime | None = None
    reason: str = ""
    upto: Severity = Severity.RED
    once: bool = False


_ENTERED: Final = {
    Suppression.SHELVED: "shelved",
    Suppression.SUPPRESSED: "suppressed",
    Suppression.OUT_OF_SERVICE: "out_of_service",
}
_LEFT: Final = {
    Suppression.SHELVED: "unshelved",
    Suppression.SUPPRESSED: "unsuppressed",
    Suppression.OUT_OF_SERVICE: "in_service",
}


def cover(
    alarm: Alarm, shade: Shade | None, now: datetime, reason: str = ""
) -> tuple[Alarm, list[Event]]:
    """Return the alarm in line with what stands over it.

    What the cause tree suppresses stays so until it says otherwise, or until something stronger
    stands over the alarm.

    Args:
        alarm: The alarm; one that is over keeps its marks.
        shade: What stands now; None: nothing.
        now: The hub's time.
        reason: Why it ended, for the log, where it did.
    """
    if not alarm.is_open:
        return alarm, []
    if shade is not None and alarm.severity > shade.upto:
        shade = None
    if shade is None:
        if alarm.suppression in {Suppression.NONE, Suppression.SUPPRESSED}:
            return alarm, []
        return release(alarm, now, reason)
    covered = under(alarm, shade)
    if covered.suppression is alarm.suppression:
        return covered, []
    return covered, [_entered(alarm, shade)]


def under(alarm: Alarm, shade: Shade | None) -> Alarm:
    """Return it with the marks of what stands over it."""
    if shade is None or alarm.severity > shade.upto:
        return alarm
    return replace(
        alarm,
        suppression=shade.state,
        suppressed_by=shade.by,
        suppress_until=shade.until,
        suppress_reason=shade.reason,
        suppress_upto=shade.upto,
        suppress_once=shade.once,
        ack_due_at=None,
    )


def afresh(alarm: Alarm, shade: Shade | None) -> Alarm:
    """Return one that opens again under what stands over it now."""
    if alarm.suppression is not Suppression.SUPPRESSED or alarm.severity is Severity.RED:
        alarm = _freed(alarm)
    return under(alarm, shade)


def release(alarm: Alarm, now: datetime, reason: str = "") -> tuple[Alarm, list[Event]]:
    """Return it with nothing over it; what still goes on is told of as new."""
    before = alarm.suppression
    alarm = _freed(alarm)
    going_on = alarm.condition_state is not Condition.CLEARED
    if going_on:
        alarm = told(alarm, now)
    loud = going_on and alarm.is_told
    return alarm, [Event(_LEFT[before], before, Suppression.NONE, reason or None, loud=loud)]


def unshelve(alarm: Alarm, now: datetime) -> tuple[Alarm, list[Event]]:
    """Return it off the shelf, by somebody's hand.

    Raises:
        ConflictError: It is not shelved, or over: the shelf then waits for the next occurrence.
    """
    if alarm.is_final:
        raise ConflictError(
            Text("告警已结束，不能再改", "the alarm is over and can no longer change")
        )
    if alarm.suppression is not Suppression.SHELVED:
        raise ConflictError(Text("该告警未搁置", "this alarm is not shelved"))
    return release(alarm, now)


def inhibit(alarm: Alarm, by: str, reason: str) -> tuple[Alarm, list[Event]]:
    """Return it suppressed by its cause (设计抑制). Red never is, nor what is quiet already.

    Args:
        alarm: An open alarm.
        by: The cause, such as ``incident:12``.
        reason: In words.
    """
    if alarm.severity is Severity.RED or alarm.suppression is not Suppression.NONE:
        return alarm, []
    shade = Shade(state=Suppression.SUPPRESSED, by=by, reason=reason, upto=Severity.ORANGE)
    return under(alarm, shade), [_entered(alarm, shade)]


def outgrow(alarm: Alarm) -> tuple[Alarm, list[Event]]:
    """Return it without what it has grown too grave for; the rise itself tells people."""
    before = alarm.suppression
    if alarm.suppress_upto is None or alarm.severity <= alarm.suppress_upto:
        return alarm, []
    return _freed(alarm), [Event(_LEFT[before], before, Suppression.NONE, "severity_raised")]


def end_once(alarm: Alarm) -> tuple[Alarm, list[Event]]:
    """Return it without a shelf that was to end with the condition."""
    if not alarm.suppress_once:
        return alarm, []
    before = alarm.suppression
    return _freed(alarm), [Event(_LEFT[before], before, Suppression.NONE, "once")]


def check_shelf(
    alarm: Alarm, role: Role, until: datetime, now: datetime, *, reason: str, once: bool
) -> None:
    """Refuse a shelf that this role may not put the alarm on.

    Raises:
        ForbiddenError: Too long for this role, or red.
        ConflictError: It is over, quiet already, or no reason or end was given.
    """
    if not reason.strip():
        raise ConflictError(Text("请填写搁置原因", "a shelf needs a reason"))
    if not alarm.is_open:
        raise ConflictError(Text("告警已结束", "the alarm is over"))
    if alarm.suppression in {Suppression.SHELVED, Suppression.OUT_OF_SERVICE}:
        words = {
            Suppression.SHELVED: Text("已搁置", "it is shelved already"),
            Suppression.OUT_OF_SERVICE: Text("设备检修停用中", "it is out of service already"),
        }
        raise ConflictError(words[alarm.suppression])
    if until <= now:
        raise ConflictError(Text("搁置截止须晚于当前时间", "a shelf must end in the future"))
    longest = SHELF_S[role]
    if alarm.severity is Severity.RED:
        longest = RED_SHELF_S
        if role is Role.OPERATOR:
            text = "红色告警仅值班长可搁置", "only the shift leader shelves a red alarm"
            raise ForbiddenError(Text(*text))
        if once:
            raise ForbiddenError(
                Text("红色告警不能搁置至恢复", "a red alarm is never shelved until it is over")
            )
    if until - now > timedelta(seconds=longest):
        minutes = longest / 60
        raise ForbiddenError(
            Text(f"最长可搁置{minutes:.0f}分钟", f"at most {minutes:.0f} minutes may be shelved")
        )


def _entered(alarm: Alarm, shade: Shade) -> Event:
    detail = {"by": shade.by, "until": shade.until, "once": shade.once}
    return Event(
        _ENTERED[shade.state], alarm.suppression, shade.state, shade.reason or None, detail=detail
    )


def _freed(alarm: Alarm) -> Alarm:
    return replace(
        alarm,
        suppression=Suppression.NONE,
        suppressed_by=None,
        suppress_until=None,
        suppress_reason=None,
        suppress_upto=None,
        suppress_once=False,
    )
