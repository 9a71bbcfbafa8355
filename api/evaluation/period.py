"""Periods of evaluation: whole days and months of the city, as half-open spans of UTC."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from core.errors import ConfigError

LONGEST: Final = timedelta(days=367)
"""Longer questions are refused: a year of cases is read at once."""


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of time.

    Attributes:
        start: The first instant. Aware, UTC.
        end: The first instant after it. Aware, UTC.
    """

    start: datetime
    end: datetime

    def __contains__(self, at: datetime | None) -> bool:
        """Tell whether a time lies in it; None, what has not happened, does not."""
        return at is not None and self.start <= at < self.end

    def upto(self, now: datetime) -> "Period":
        """Return what of it has passed: nothing falls due in the future."""
        return Period(self.start, max(self.start, min(self.end, now)))


def days(first: date, last: date, zone: ZoneInfo) -> Period:
    """Return the days from the first to the last, both included, by the city's clock.

    Raises:
        ConfigError: They are in the wrong order, or more than a year.
    """
    if last < first:
        raise ConfigError(f"the period ends on {last}, before it begins on {first}")
    if last - first >= LONGEST:
        raise ConfigError(f"the period has {(last - first).days + 1} days; at most {LONGEST.days}")
    return Period(_midnight(first, zone), _midnight(last + timedelta(days=1), zone))


def month(first: date, zone: ZoneInfo) -> Period:
    """Return the month of a day, by the city's clock.

    >>> month(date(2026, 11, 9), ZoneInfo("Asia/Shanghai")).start.isoformat()
    '2026-10-31T16:00:00+00:00'
    """
    first = first.replace(day=1)
    following = (first + timedelta(days=31)).replace(day=1)
    return Period(_midnight(first, zone), _midnight(following, zone))


def read_month(text: str) -> date:
    """Return the first day of a month written ``2026-11``.

    Raises:
        ConfigError: It is not a month.
    """
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError:
        raise ConfigError(f"{text!r} is no month; write it like 2026-11") from None


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)
