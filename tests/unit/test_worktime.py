from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.calendar_rows import announced_days
from alerts.worktime import UNITS, Calendar, Unit

CITY = ZoneInfo("Asia/Shanghai")
DAYS = {day: works for days in announced_days().values() for day, (works, _) in days.items()}
REAL = Calendar("2026.1", DAYS)


def city(*when: int) -> datetime:
    return datetime(*when, tzinfo=CITY)  # type: ignore[misc,arg-type]  # year, month, day at least


def test_the_days_of_2026_are_those_the_state_council_announced() -> None:
    made_up = {(1, 4), (2, 14), (2, 28), (5, 9), (9, 20), (10, 10)}
    of_year = {day: works for day, works in DAYS.items() if day.year == 2026}
    assert {(day.month, day.day) for day, works in of_year.items() if works} == made_up
    assert not any(REAL.works(date(2026, 2, day)) for day in range(15, 24))  # 春节
    assert not any(REAL.works(date(2026, 10, day)) for day in range(1, 8))  # 国庆
    assert REAL.works(date(2026, 2, 24))
    assert not REAL.works(date(2026, 9, 25))  # 中秋


@pytest.mark.parametrize(
    ("start", "amount", "unit", "end"),
    [
        # the holiday of October, then a make-up Saturday that counts
        (city(2026, 9, 30, 16), 1, "working_days", city(2026, 10, 8, 16)),
        (city(2026, 10, 9, 16), 1, "working_days", city(2026, 10, 10, 16)),
        (city(2026, 10, 10, 16), 1, "working_days", city(2026, 10, 12, 16)),
        # lunch is left out, and so is the night
        (city(2026, 11, 23, 11), 2, "working_hours", city(2026, 11, 23, 15)),
        (city(2026, 11, 23, 17), 4, "working_hours", city(2026, 11, 24, 11)),
        # off-hours start with the next working hour
        (city(2026, 11, 21, 12), 1, "working_hours", city(2026, 11, 23, 9)),
        # by night and on holidays alike
        (city(2026, 10, 1, 2), 6, "urgent_hours", city(2026, 10, 1, 8)),
    ],
)
def test_a_limit_ends_when_staff_would_say(
    start: datetime, amount: float, unit: Unit, end: datetime
) -> None:
    assert REAL.add(start, amount, unit) == end


@given(st.floats(0, 340), st.floats(0.1, 12), st.sampled_from(UNITS))
def test_between_undoes_add(day: float, amount: float, unit: Unit) -> None:
    start = city(2026, 1, 1) + timedelta(days=day)
    end = REAL.add(start, amount, unit)
    assert REAL.between(start, end, unit) == pytest.approx(REAL.seconds(amount, unit), abs=1e-3)
    assert REAL.between(end, start, unit) == 0
