import time
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from core.clock import ScaledClock, SystemClock
from core.model import EPOCH, from_micros, to_micros


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)))  # noqa: DTZ001 - made aware below
def test_microseconds_and_times_are_the_same_in_any_zone(at: datetime) -> None:
    aware = at.replace(tzinfo=timezone(timedelta(hours=8)))
    assert from_micros(to_micros(aware)) == aware
    assert from_micros(to_micros(aware)).tzinfo is UTC


def test_the_system_clock_is_aware_and_agrees_with_itself() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert abs(clock.micros() - to_micros(clock.now())) < 1_000_000


def test_a_scaled_clock_runs_as_fast_as_it_is_told() -> None:
    clock = ScaledClock(EPOCH, time.time() - 10, speed=600)
    assert timedelta(seconds=6_000) <= clock.now() - EPOCH < timedelta(seconds=6_600)
