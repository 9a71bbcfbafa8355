"""A storm of alarms becomes few rows, one for each true cause, and hides nothing else."""

import pytest

from cityhub.storm import run_storm
from core.db import Pool
from simulators.scenes.storm import UNRELATED, make_storm


async def test_a_small_storm_becomes_a_row_for_each_cause(pool: Pool) -> None:
    storm = make_storm(abnormal=200, causes=5)
    report = await run_storm(pool, storm)
    assert report.wrong == []
    assert report.rows == len(storm.causes) + UNRELATED
    assert report.lost == 0


async def test_a_gateway_of_two_hundred_covers_that_dies_is_one_incident(pool: Pool) -> None:
    storm = make_storm(abnormal=200, causes=1)
    report = await run_storm(pool, storm)
    assert report.wrong == []
    assert report.rows == 1 + UNRELATED


@pytest.mark.long
async def test_two_thousand_devices_in_ten_minutes_become_twenty_rows(pool: Pool) -> None:
    storm = make_storm()
    assert sum(len(devices) for devices in storm.causes.values()) == 2_000
    report = await run_storm(pool, storm)
    assert report.wrong == []
    assert report.rows == 20
    assert report.lost == 0
