"""The clocks of a case (时限) and their lights (时限灯), as plain functions: no I/O, no chance.

Which move starts and stops which clock stands in two tables. When a clock must be looked at next
follows from the clock itself (:func:`timer`), so no timer can be lost.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from alerts.case import REWORK_SHARE
from alerts.worktime import Calendar, Unit

Name = Literal["accept", "file", "dispatch", "sign", "on_site", "handle", "verify", "close"]
Light = Literal["green", "yellow", "red", "deep_red", "grey"]

YELLOW_SHARE: Final = 0.3
"""The light is yellow once so much of the limit is left; ours."""
DEEP: Final = timedelta(hours=24)
"""Deep red so long after the deadline; ours."""
URGE_EVERY_H: Final = 4.0
"""An overdue case is urged by the hub every so many working hours; ours."""
SECOND_LEVEL: Final = 2
"""The hub supervises up to this level: at twice the limit; a leader alone may go further; ours."""

STARTS: Final[Mapping[str, tuple[Name, ...]]] = {
    "reported": ("accept",),
    "accepted": ("file",),
    "filed": ("dispatch",),
    "returned": ("dispatch",),
    "dispatched": ("sign", "on_site", "handle"),
    "feedback_given": ("verify",),
    "rework": ("handle",),
    "recurred": ("handle",),
}
STOPS: Final[Mapping[str, tuple[Name, ...]]] = {
    "accepted": ("accept",),
    "filed": ("file",),
    "dispatched": ("dispatch",),
    "signed": ("sign",),
    "arrived": ("on_site",),
    "returned": ("sign", "on_site", "handle"),
    "feedback_given": ("on_site", "handle"),
    "self_recovered": ("dispatch", "sign", "on_site", "handle"),
    "rework": ("verify",),
}
ENDS: Final = frozenset({"rejected", "voided", "merged", "closed"})
"""These stop all clocks."""
PAUSES: Final[Mapping[str, Name]] = {
    "verify_requested": "file",
    "not_observable": "verify",
    "suspended": "handle",
}
RESUMES: Final[Mapping[str, Name]] = {
    "accepted": "file",
    "confirmed": "accept",
    "sensor_passed": "verify",
    "human_required": "verify",
    "resumed": "handle",
}
AGAIN: Final = frozenset({"rework", "recurred"})
"""What is handled again has a share of the limit."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How long something may take, and who says so.

    Attributes:
        amount: Of its unit.
        unit: Which hours count.
        source: Where it comes from.
    """

    amount: float
    unit: Unit
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseClock:
    """A clock of a case; each attribute is the column of ``hub.case_clock`` of the same name."""

    case_no: str
    clock: Name
    round: int
    started_at: datetime
    amount: float
    unit: Unit
    calendar_version: str = ""
    source: str
    yellow_at: datetime
    due_at: datetime
    stopped_at: datetime | None = None
    paused_at: datetime | None = None
    paused_s: float = 0.0
    light: Light = "green"
    urge_at: datetime | None = None
    level: int = 0
    timer_at: datetime | None = None

    @property
    def runs(self) -> bool:
        """Whether it has not been stopped; a paused one runs on later."""
        return self.stopped_at is None


def begin(
    case_no: str, clock: Name, number: int, limit: Limit, *, now: datetime, calendar: Calendar
) -> CaseClock:
    """Return a clock that starts now."""
    share = limit.amount * (1 - YELLOW_SHARE)
    fresh = CaseClock(
        case_no=case_no,
        clock=clock,
        round=number,
        started_at=now,
        amount=limit.amount,
        unit=limit.unit,
        calendar_version=calendar.version,
        source=limit.source,
        yellow_at=calendar.add(now, share, limit.unit),
        due_at=calendar.add(now, limit.amount, limit.unit),
    )
    return replace(fresh, timer_at=timer(fresh))


def turn(
    clocks: Sequence[CaseClock],
    case_no: str,
    action: str,
    *,
    now: datetime,
    limit_of: Callable[[Name], Limit | None],
    calendar: Calendar,
) -> list[CaseClock]:
    """Return the clocks of a case after a move.

    Args:
        clocks: As they stand, those that stopped included.
        case_no: The case.
        action: The move, by its name in the log.
        now: The hub's time.
        limit_of: The limit of each clock; None: it is not measured.
        calendar: When the city works.
    """
    after = list(clocks)
    for place, clock in enumerate(after):
        if not clock.runs:
            continue
        if clock.clock == RESUMES.get(action) and clock.paused_at is not None:
            clock = resume(clock, now, calendar)  # noqa: PLW2901 - the clock as it now is
        if action in ENDS or clock.clock in STOPS.get(action, ()):
            clock = stop(clock, now)  # noqa: PLW2901
        elif clock.clock == PAUSES.get(action) and clock.paused_at is None:
            clock = pause(clock, now)  # noqa: PLW2901
        after[place] = clock
    for name in STARTS.get(action, ()):
        running = any(clock.runs and clock.clock == name for clock in after)
        limit = limit_of(name)
        if limit is None or running:
            continue
        if name == "handle" and action in AGAIN:
            limit = replace(limit, amount=limit.amount * REWORK_SHARE)
        number = 1 + sum(clock.clock == name for clock in after)
        after.append(begin(case_no, name, number, limit, now=now, calendar=calendar))
    return after


def handling(clocks: Sequence[CaseClock]) -> CaseClock | None:
    """Return the clock of handling that runs or stands still, if any."""
    return next((clock for clock in clocks if clock.clock == "handle" and clock.runs), None)


def stop(clock: CaseClock, now: datetime) -> CaseClock:
    """Return it stopped: its light stays as it was then."""
    lit: Light = light(replace(clock, paused_at=None), clock.paused_at or now)
    paused_s = clock.paused_s
    if clock.paused_at is not None:
        paused_s += (now - clock.paused_at).total_seconds()
    return replace(
        clock,
        stopped_at=now,
        light=lit,
        timer_at=None,
        paused_at=None,
        paused_s=paused_s,
        urge_at=None,
    )


def pause(clock: CaseClock, now: datetime) -> CaseClock:
    """Return it standing still; nobody is charged meanwhile."""
    return replace(clock, paused_at=now, light="grey", timer_at=None)


def resume(clock: CaseClock, now: datetime, calendar: Calendar) -> CaseClock:
    """Return it going on, with as much of its limit left as when it stood still."""
    since = clock.paused_at
    if since is None:
        return clock

    def moved(at: datetime) -> datetime:
        if at <= since:
            return at
        left = calendar.between(since, at, clock.unit)
        return calendar.add(now, left / calendar.seconds(1, clock.unit), clock.unit)

    fresh = replace(
        clock,
        paused_at=None,
        paused_s=clock.paused_s + (now - since).total_seconds(),
        yellow_at=moved(clock.yellow_at),
        due_at=moved(clock.due_at),
    )
    fresh = replace(fresh, light=light(fresh, now))
    return replace(fresh, timer_at=timer(fresh))


def extend(clock: CaseClock, due_at: datetime, now: datetime) -> CaseClock:
    """Return it with a later deadline (延期)."""
    share = (due_at - clock.started_at) * (1 - YELLOW_SHARE)
    fresh = replace(clock, due_at=due_at, yellow_at=clock.started_at + share, urge_at=None)
    if clock.paused_at is not None:
        return fresh
    fresh = replace(fresh, light=light(fresh, now))
    return replace(fresh, timer_at=timer(fresh))


def light(clock: CaseClock, now: datetime) -> Light:
    """Return its light: a share left, not a time of day."""
    if clock.paused_at is not None:
        return "grey"
    if now >= clock.due_at + DEEP:
        return "deep_red"
    if now >= clock.due_at:
        return "red"
    return "yellow" if now >= clock.yellow_at else "green"


def level(clock: CaseClock, now: datetime) -> int:
    """Return the level of supervision (督办) that its lateness asks for."""
    limit = clock.due_at - clock.started_at - timedelta(seconds=clock.paused_s)
    if clock.clock != "handle" or now < clock.due_at + limit:
        return 0
    return SECOND_LEVEL if now >= clock.due_at + 2 * limit else 1


def timer(clock: CaseClock) -> datetime | None:
    """Return when it must be looked at next; None: never."""
    if not clock.runs or clock.paused_at is not None:
        return None
    edges: dict[Light, datetime | None] = {
        "green": clock.yellow_at,
        "yellow": clock.due_at,
        "red": clock.due_at + DEEP,
    }
    nexts = [edges.get(clock.light), clock.urge_at]
    limit = clock.due_at - clock.started_at - timedelta(seconds=clock.paused_s)
    if clock.clock == "handle" and clock.level < SECOND_LEVEL:
        nexts.append(clock.due_at + (clock.level + 1) * limit)
    return min((at for at in nexts if at is not None), default=None)


@dataclass(frozen=True, slots=True)
class Tick:
    """What time made of a clock.

    Attributes:
        clock: As it now is.
        lit: Its light changed.
        urges: The hub urges (催办).
        level: The hub supervises (督办) at this level; 0: not anew.
    """

    clock: CaseClock
    lit: bool
    urges: bool
    level: int


def tick(clock: CaseClock, now: datetime, calendar: Calendar) -> Tick:
    """Return what time made of a running clock.

    Args:
        clock: As it stands.
        now: The hub's time.
        calendar: Urges go by working hours.
    """
    lamp, asked = light(clock, now), level(clock, now)
    lit = lamp != clock.light
    handles = clock.clock == "handle"
    urges = handles and (
        (lit and lamp in {"yellow", "red"}) or (clock.urge_at is not None and now >= clock.urge_at)
    )
    urge_at = clock.urge_at
    if handles and lamp in {"red", "deep_red"} and (urge_at is None or now >= urge_at):
        urge_at = calendar.add(now, URGE_EVERY_H, "working_hours")
    after = replace(clock, light=lamp, urge_at=urge_at, level=max(clock.level, asked))
    after = replace(after, timer_at=timer(after))
    return Tick(after, lit, urges, asked if asked > clock.level else 0)
