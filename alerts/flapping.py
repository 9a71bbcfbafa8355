"""Alarms that come and go (抖动), as plain functions: said once, then quiet until they hold still.

Counted in event time. A flapping alarm stays one alarm: it does not clear before it has been quiet,
so it neither multiplies nor repeats itself.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from alerts.alarm import Alarm, Event

MOST_TURNS: Final = 3
"""So many changes between active and clearing within :data:`TURNS_S` are flapping; after ISA-18.2
as quoted."""
TURNS_S: Final = 60.0
MOST_RAISES: Final = 5
"""So many raises within :data:`RAISES_S` are flapping; ours."""
RAISES_S: Final = 3_600.0
QUIET_S: Final = 600.0
"""After so long without a change it is steady again; ours."""


def turned(alarm: Alarm, ts: datetime) -> tuple[Alarm, list[Event]]:
    """Return it after a change between active and clearing."""
    return _judged(replace(alarm, turns=(*alarm.turns, ts)[-MOST_TURNS:]))


def raised(alarm: Alarm, ts: datetime) -> tuple[Alarm, list[Event]]:
    """Return it after it was raised, anew or again."""
    return _judged(replace(alarm, raises=(*alarm.raises, ts)[-MOST_RAISES:]))


def steady_from(alarm: Alarm) -> datetime | None:
    """Return from when on a flapping alarm counts as steady, event time; None: it does not flap."""
    if not alarm.flapping:
        return None
    return max(*alarm.turns, *alarm.raises, alarm.started_at) + timedelta(seconds=QUIET_S)


def steadied(alarm: Alarm) -> tuple[Alarm, Event]:
    """Return it steady again."""
    return replace(alarm, flapping=False), Event("steady", "flapping", "")


def _judged(alarm: Alarm) -> tuple[Alarm, list[Event]]:
    many = _within(alarm.turns, MOST_TURNS, TURNS_S) or _within(alarm.raises, MOST_RAISES, RAISES_S)
    if not many or alarm.flapping:
        return alarm, []
    return replace(alarm, flapping=True), [Event("flapping", "", "flapping")]


def _within(times: tuple[datetime, ...], count: int, seconds: float) -> bool:
    return len(times) == count and (max(times) - min(times)).total_seconds() <= seconds
