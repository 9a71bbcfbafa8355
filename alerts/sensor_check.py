"""What the sensors of a case say after feedback (传感器核查), as plain functions: no I/O, no clock.

A pass needs readings from after the feedback: one of a device that wakes on what happens, else the
condition normal for a set time. A sensor that cannot be heard says nothing, and one that cannot see
the condition now, such as that of a lamp by day, is waited for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from alerts.alarm import Condition
from alerts.message import Evidence
from devices import KINDS

LEAST_S: Final = 600.0
"""A condition must be normal for so long at least, and so long a sensor is waited for; ours."""
INTERVALS: Final = 3.0
"""And for so many intervals of the device; ours."""


class Word(StrEnum):
    """What a sensor says of the work; the last of several counts most against closing."""

    PASSED = "passed"
    WAITS = "waits"
    UNSEEN = "not_observable"
    MUTE = "offline"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Fresh:
    """Good readings from after the feedback in which the condition could be seen.

    Attributes:
        first: The first, device time; None: there is none yet.
        last: The last.
        any_at: The last reading of all, whether or not the condition could be seen.
    """

    first: datetime | None = None
    last: datetime | None = None
    any_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What one sensor says.

    Attributes:
        word: What.
        at: When it is worth asking again at the latest.
    """

    word: Word
    at: datetime


def needed(evidence: Sequence[Evidence]) -> str:
    """Return what must agree for a case to pass: the strictest its rules ask for.

    >>> needed([])
    'human'
    """
    asked = {item.rule.verify for item in evidence}
    for method in ("sensor_and_human", "human", "sensor", "sensor_or_human"):
        if method in asked:
            both = method == "human" and asked != {"human"}
            return "sensor_and_human" if both else method
    return "human"


def hold_s(item: Evidence) -> float:
    """Return for how long a condition must be normal, in seconds (T_verify)."""
    kind = KINDS.get(item.facts.kind)
    if kind is None or kind.wakes:
        return LEAST_S
    return max(LEAST_S, INTERVALS * (item.facts.interval_s or kind.interval_s))


def patience_s(item: Evidence) -> float:
    """Return for how long a sensor is waited for before it counts as offline, in seconds."""
    kind = KINDS.get(item.facts.kind)
    return max(LEAST_S, INTERVALS * (item.facts.interval_s or (kind.interval_s if kind else 0.0)))


def ask(item: Evidence, fresh: Fresh, since: datetime, now: datetime) -> Told:
    """Return what a sensor says of the work.

    Args:
        item: The alarm, its device, its rule.
        fresh: What was read since.
        since: When the work was reported done, hub clock.
        now: The hub's time.
    """
    active = item.alarm.condition_state is Condition.ACTIVE
    if active and item.alarm.last_seen_at > since:
        return Told(Word.FAILED, now)  # it breached again, or still does
    kind = KINDS.get(item.facts.kind)
    if kind is None:
        return _hold(item, since, now)
    if fresh.first is None or fresh.last is None:
        return _miss(item, fresh, since, now)
    patience = timedelta(seconds=patience_s(item))
    if not kind.wakes and now - fresh.last >= patience:
        return Told(Word.UNSEEN if item.rule.seen_when else Word.MUTE, now + patience)
    if kind.wakes and not active:
        return Told(Word.PASSED, now)
    return _hold(item, max(fresh.first, since), now)


def _miss(item: Evidence, fresh: Fresh, since: datetime, now: datetime) -> Told:
    """Return what to think of a sensor that has shown nothing of the work yet."""
    patience = timedelta(seconds=patience_s(item))
    if item.rule.seen_when and fresh.any_at is not None and now - fresh.any_at < patience:
        return Told(Word.UNSEEN, now + patience)
    if now - since < patience:
        return Told(Word.WAITS, since + patience)
    return Told(Word.MUTE, now + patience)


def _hold(item: Evidence, begun: datetime, now: datetime) -> Told:
    """Return what holds once it has been seen for as long as the rule of time wants."""
    alarm, hold = item.alarm, timedelta(seconds=hold_s(item))
    if alarm.condition_state is Condition.ACTIVE:
        # its detector may want several readings before it calls the condition over
        end = begun + hold
        return Told(Word.FAILED if now >= end else Word.WAITS, max(end, now))
    end = max(begun, _normal_since(item) or begun) + hold
    return Told(Word.PASSED if now >= end else Word.WAITS, max(end, now))


def _normal_since(item: Evidence) -> datetime | None:
    """Return since when the condition is over; it was so for the off-delay before it cleared."""
    alarm = item.alarm
    if alarm.cleared_at is not None and alarm.clear_reason == "normal":
        return alarm.cleared_at - timedelta(seconds=item.rule.off_delay_s)
    return alarm.clearing_at or alarm.cleared_at


def agree(several: Sequence[Told]) -> Word:
    """Return what the sensors of a case say together: one that says no outweighs all others."""
    order = list(Word)
    return max((told.word for told in several), key=order.index, default=Word.MUTE)
