"""The same traffic gives the same hub: no clock but the injected one decides anything.

The reduced runs stand in the normal suite; the week and the day at a thousandfold are ``long``.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from simulators.city import City
from tests.lockstep import (
    alarms_of,
    everything_of,
    findings_of,
    record_city,
    rows_of,
    run_in_lockstep,
    run_scaled,
    settle,
    small_city,
)

SCALED_HOURS = float(os.environ.get("CITYHUB_TEST_REPLAY_HOURS", "24"))
"""How much of the week the long run takes at a thousandfold: a day is 86 s, a week ten minutes."""


@pytest.fixture(scope="module")
def city() -> City:
    return small_city()


async def replayed_twice(
    city: City,
    tmp_path: Path,
    first: str,
    make: Callable[[], str],
    *,
    hours: float,
    step_s: float,
) -> None:
    path = tmp_path / "city.rec"
    assert record_city(city, path, hours=hours) > 40 * hours
    settle(first, city, tmp_path)
    second = make()
    await run_in_lockstep(first, path, step_s=step_s)
    await run_in_lockstep(second, path, step_s=step_s)
    rows = rows_of(first)
    assert rows == rows_of(second)
    assert not any(each.startswith("0:") for each in rows.values())
    assert everything_of(first) == everything_of(second)
    assert alarms_of(first)


async def replayed_scaled(
    city: City, tmp_path: Path, first: str, make: Callable[[], str], *, hours: float
) -> None:
    path = tmp_path / "city.rec"
    record_city(city, path, hours=hours)
    settle(first, city, tmp_path)
    second = make()
    await run_in_lockstep(first, path, step_s=300, watch_silence=False)
    await run_scaled(second, path, speed=1000)
    assert rows_of(first) == rows_of(second)
    assert findings_of(first) == findings_of(second)
    assert alarms_of(first) == alarms_of(second)
    assert alarms_of(first)


async def test_six_hours_replayed_twice_leaves_the_same_rows_and_the_same_event_log(
    city: City, tmp_path: Path, database: str, further_database: Callable[[], str]
) -> None:
    await replayed_twice(city, tmp_path, database, further_database, hours=6, step_s=300)


async def test_at_a_thousandfold_the_rows_and_the_alarms_are_the_same(
    city: City, tmp_path: Path, database: str, further_database: Callable[[], str]
) -> None:
    await replayed_scaled(city, tmp_path, database, further_database, hours=3)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_a_week_replayed_twice_leaves_the_same_rows_and_the_same_event_log(
    city: City, tmp_path: Path, database: str, further_database: Callable[[], str]
) -> None:
    await replayed_twice(city, tmp_path, database, further_database, hours=168, step_s=1800)


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_a_day_at_a_thousandfold_gives_the_same_rows_and_alarms(
    city: City, tmp_path: Path, database: str, further_database: Callable[[], str]
) -> None:
    await replayed_scaled(city, tmp_path, database, further_database, hours=SCALED_HOURS)
