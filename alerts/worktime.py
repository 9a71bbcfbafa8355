"""Working time (工作时限): what a limit in working hours or days means on a real calendar.

Three units: 紧急工作时 counts every hour, 工作时 the hours of working days, 工作日 whole working
days, each as long as its hours. Off-hours are left out by the calendar, never by a pause.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Literal, get_args
from zoneinfo import ZoneInfo

Unit = Literal["urgent_hours", "working_hours", "working_days"]
UNITS: Final[tuple[Unit, ...]] = get_args(Unit)
_HOUR_S: Final = 3600.0
_SATURDAY: Final = 5
_LONGEST_DAYS: Final = 4000


@dataclass(frozen=True, slots=True)
class Calendar:
    """When a city works.

    Attributes:
        version: Of which years it is, such as ``2026.1``; days of other years go by their weekday.
        days: Days that are not what their weekday says: holidays, and make-up days (调休).
        hours: The hours of a working day by the city's clock, in order.
        zone: The city's.
    """

    version: str = ""
    days: Mapping[date, bool] = field(default_factory=dict)
    hours: Sequence[tuple[time, time]] = ((time(8), time(12)), (time(14), time(18)))
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("Asia/Shanghai"))

    def works(self, day: date) -> bool:
        """Return whether a day is a working day.

        >>> Calendar().works(date(2026, 11, 22)), Calendar().works(date(2026, 11, 23))
        (False, True)
        """
        return self.days.get(day, day.weekday() < _SATURDAY)

    @property
    def day_s(self) -> float:
        """How long a working day is, in seconds."""
        today = date(2026, 1, 5)
        return sum(
            (datetime.combine(today, end) - datetime.combine(today, begin)).total_seconds()
            for begin, end in self.hours
        )

    def seconds(self, amount: float, unit: Unit) -> float:
        """Return how many seconds of its own kind of time a limit is."""
        return amount * (self.day_s if unit == "working_days" else _HOUR_S)

    def add(self, start: datetime, amount: float, unit: Unit) -> datetime:
        """Return when a limit is over.

        Args:
            start: From when it runs. Aware.
            amount: Of its unit.
            unit: Which hours count.

        >>> friday = datetime(2026, 11, 20, 9, tzinfo=UTC)  # 17:00 in the city
        >>> Calendar().add(friday, 2, "working_hours").isoformat()
        '2026-11-23T01:00:00+00:00'
        >>> Calendar().add(friday, 2, "urgent_hours").isoformat()
        '2026-11-20T11:00:00+00:00'
        """
        left = timedelta(seconds=self.seconds(amount, unit))
        if unit == "urgent_hours":
            return start + left
        for begin, end in self._spans(start):
            if end - begin >= left:
                return begin + left
            left -= end - begin
        raise ValueError(f"the calendar has no {amount} {unit} after {start}")

    def between(self, start: datetime, end: datetime, unit: Unit) -> float:
        """Return how many seconds of a unit's kind of time lie between two moments; not below 0."""
        if end <= start:
            return 0.0
        if unit == "urgent_hours":
            return (end - start).total_seconds()
        total = 0.0
        for begin, stop in self._spans(start):
            if begin >= end:
                break
            total += (min(stop, end) - begin).total_seconds()
        return total

    def _spans(self, start: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Yield the working time from a moment on."""
        first = start.astimezone(self.zone).date()
        for offset in range(_LONGEST_DAYS):
            day = first + timedelta(days=offset)
            if not self.works(day):
                continue
            for begins, ends in self.hours:
                begin = datetime.combine(day, begins, self.zone).astimezone(UTC)
                end = datetime.combine(day, ends, self.zone).astimezone(UTC)
                if end > start:
                    yield max(begin, start.astimezone(UTC)), end
