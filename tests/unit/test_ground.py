"""Displacement points: steps and accelerations, in any batches and at any interval."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from analytics.stages import build_stages
from analytics.stages.slope_fit import SLOTS, explain
from core.batch import Finding
from core.model import Edge, Severity
from devices import KINDS
from simulators.physics.ground import accelerate, relax
from tests.batches import HOUR, START, Row, comparable, judge, told

POINT = KINDS["displacement_point"]
DAY = 24 * HOUR
STEP_MM = 25.0
Floats = NDArray[np.float64]


def still(days: float, every_h: float, *, seed: int = 1, noise: float = 1.5) -> list[Row]:
    """Rows of a point at rest."""
    count = round(days * 24 / every_h)
    place = np.random.default_rng(seed).normal(0, noise, (count, 2))
    return [
        Row(1, START + round(n * every_h * HOUR), {"east": place[n, 0], "north": place[n, 1]})
        for n in range(count)
    ]


def moved(rows: Sequence[Row], east: Floats | float) -> list[Row]:
    """The same rows, moved east by some mm."""
    by = np.broadcast_to(np.asarray(east, np.float64), (len(rows),))
    return [
        replace(row, values={**row.values, "east": row.values["east"] + float(mm)})
        for row, mm in zip(rows, by, strict=True)
    ]


def days_of(rows: Sequence[Row]) -> Floats:
    return np.array([(row.ts - START) / DAY for row in rows])


def find(rows: Sequence[Row], rule: str, cuts: Sequence[int] = ()) -> list[Finding]:
    found = judge(build_stages(POINT, {}), POINT, rows, cuts or range(200, len(rows), 200))
    return [finding for finding in found if finding.rule_id == rule]


@pytest.mark.parametrize("every_h", [1.0, 6.0, 24.0])
def test_a_step_is_found_within_two_days_however_often_a_point_reports(every_h: float) -> None:
    rows = still(90, every_h)
    step = np.where(days_of(rows) >= 80, STEP_MM, 0.0)
    (finding,) = find(moved(rows, step), "dam_displacement")
    assert 80 <= (finding.ts - START) / DAY <= 82
    assert finding.value == pytest.approx(STEP_MM, abs=4)
    assert finding.severity is Severity.ORANGE
    assert finding.edge is Edge.ONCE
    assert "step of 2" in finding.explain.en


def test_the_ground_that_creeps_on_after_a_step_is_no_second_one() -> None:
    rows = still(220, 24.0)
    since = np.maximum(days_of(rows) - 80, 0)
    creeps = np.where(since > 0, 80.0, 0.0) + relax(since - 40, 6.0, 1.0)
    assert len(find(moved(rows, creeps), "dam_displacement")) == 1


@pytest.mark.parametrize("rate", [0.5, 1.2])
def test_even_creep_is_no_step_and_no_acceleration(rate: float) -> None:
    rows = moved(still(120, 6.0), rate * days_of(still(120, 6.0)))
    found = judge(build_stages(POINT, {}), POINT, rows, range(200, len(rows), 200))
    assert told(found) == []


def test_a_dam_says_itself_how_grave_a_step_is() -> None:
    rows = still(90, 24.0)
    rows = moved(rows, np.where(days_of(rows) >= 80, STEP_MM, 0.0))
    for limits, severity in (
        ({"yellow": 10.0, "red": 20.0}, Severity.RED),
        ({"yellow": 10.0, "red": 50.0}, Severity.YELLOW),
        ({"red": 50.0}, Severity.BLUE),
    ):
        stages = build_stages(POINT, {1: {"dam_displacement": limits}})
        (finding,) = judge(stages, POINT, rows)
        assert finding.severity is severity


def failing(every_h: float = 6.0, days: float = 90.0) -> list[Row]:
    """A slope that fails at the end of its last day, after sixty days of acceleration."""
    rows = still(days, every_h)
    return moved(rows, accelerate(days_of(rows) - (days - 60), 45.0, 60.0))


@pytest.mark.parametrize("every_h", [1.0, 6.0])
def test_a_failing_slope_turns_red_days_ahead_and_says_how_long_it_may_take(
    every_h: float,
) -> None:
    found = find(failing(every_h), "slope_acceleration")
    red = [finding for finding in found if finding.severity is Severity.RED]
    assert found[0].edge is Edge.OPEN
    assert 30 < (red[0].ts - START) / DAY < 88  # the acceleration begins on day 30
    assert red[0].unit == "mm/d"
    assert red[0].detail["eta_lo_s"] <= red[0].detail["eta_s"] <= red[0].detail["eta_hi_s"]
    assert "to failure if it goes on" in red[0].explain.en
    assert "后失稳" in red[0].explain.zh


def test_the_last_estimate_comes_near_to_what_remains() -> None:
    rows = [row for row in failing() if row.ts < START + 86 * DAY]
    last = find(rows, "slope_acceleration")[-1]
    assert last.detail["eta_s"] / 86_400 == pytest.approx(4, abs=2.5)


def test_a_failure_right_after_rain_is_told_too() -> None:
    rows = failing()
    rows = moved(rows, relax(days_of(rows) - 70, 30.0, 1.0))
    red = [f for f in find(rows, "slope_acceleration") if f.severity is Severity.RED]
    assert red
    assert (red[0].ts - START) / DAY <= 88


def test_steps_after_rain_are_no_failure() -> None:
    rows = still(120, 6.0)
    rain = sum(
        (relax(days_of(rows) - day, size, tau) for day, size, tau in ((40, 20, 2), (70, 30, 1))),
        np.zeros(len(rows)),
    )
    assert find(moved(rows, rain), "slope_acceleration") == []


def test_single_positions_far_off_are_glitches() -> None:
    rows = still(90, 6.0)
    chance = np.random.default_rng(3)
    off = np.where(chance.random(len(rows)) < 1 / 30, 60.0, 0.0)
    found = judge(build_stages(POINT, {}), POINT, moved(rows, off), range(100, len(rows), 100))
    assert told(found) == []


def test_daily_positions_are_too_few_to_tell_rain_from_failure() -> None:
    assert find(failing(24.0, 150.0), "slope_acceleration") == []


def test_a_gap_of_days_is_bridged_and_one_of_weeks_begins_anew() -> None:
    rows = failing(days=100.0)
    day = days_of(rows)
    bridged = [row for row, at in zip(rows, day, strict=True) if not 75 < at < 80]
    lost = [row for row, at in zip(rows, day, strict=True) if not 70 < at < 85]
    red = [f for f in find(bridged, "slope_acceleration") if f.severity is Severity.RED]
    assert red
    assert (red[0].ts - START) / DAY < 98
    after = [f for f in find(lost, "slope_acceleration") if f.ts > START + 85 * DAY]
    assert after == []


def test_neither_cuts_nor_company_change_a_bit() -> None:
    rows = failing()
    others = [
        replace(row, device_no=n, values={**row.values, "east": row.values["east"] * n / 3})
        for n in range(2, 7)
        for row in still(90, 6.0, seed=n)
    ]
    mixed = sorted([*rows, *others], key=lambda row: row.ts)
    alone = find(rows, "slope_acceleration", cuts=range(1, len(rows)))
    among = [f for f in find(mixed, "slope_acceleration") if f.device_no == 1]
    assert comparable(among) == comparable(alone)


def test_a_fit_is_the_same_bit_for_bit_in_any_company() -> None:
    chance = np.random.default_rng(4)
    windows = np.cumsum(chance.normal(0, 1, (2500, SLOTS, 2)), 1).astype(np.float32)
    likely = np.full(2500, 4.0)
    whole = explain(windows, likely)
    for start, end in pairwise([0, 1, 3, 1023, 1500, 2500]):
        part = explain(windows[start:end], likely[start:end])
        for name in ("failure", "one", "two", "after", "velocity"):
            assert (getattr(part, name) == getattr(whole, name)[start:end]).all(), name
