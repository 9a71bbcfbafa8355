"""What a vehicle does within its shift: told when it lasts, never through a hole."""

from collections.abc import Sequence

from analytics.patrol import Driver, Fix, step

NOW = 1_780_000_000_000_000
MINUTE = 60_000_000


def drive(
    minutes: Sequence[float],
    *,
    away: float = 5,
    speed: float = 7,
    working: bool = False,
    awake: bool = True,
    driver: Driver | None = None,
) -> list[tuple[str, bool, float]]:
    driver = driver or Driver("sanitation_vehicle")
    return [
        (turn.habit, turn.opens, (turn.ts - NOW) / MINUTE)
        for at in minutes
        for turn in step(driver, Fix(NOW + round(at * MINUTE), away, speed, working, awake))
    ]


def every(start: float, end: float) -> list[float]:
    return [start + n / 6 for n in range(round((end - start) * 6) + 1)]


def test_a_dry_run_is_told_after_five_minutes_and_once() -> None:
    assert drive(every(0, 20)) == [("dry", True, 5)]


def test_it_is_over_when_the_brush_goes_down() -> None:
    driver = Driver("sanitation_vehicle")
    drive(every(0, 6), driver=driver)
    assert drive([6.5], working=True, driver=driver) == [("dry", False, 6.5)]


def test_driving_for_water_is_no_dry_run() -> None:
    assert drive(every(0, 9), speed=30) == []


def test_a_working_vehicle_is_left_alone() -> None:
    assert drive(every(0, 60), working=True) == []


def test_a_vehicle_far_off_is_told_after_ten_minutes() -> None:
    assert drive(every(0, 15), away=1500, working=True) == [("off", True, 10)]


def test_a_long_stop_is_told_after_half_an_hour_with_the_ignition_on() -> None:
    assert drive(every(0, 40), speed=0, working=True) == [("stop", True, 30)]
    assert drive(every(0, 40), speed=0, working=True, awake=False) == []


def test_a_hole_ends_every_count_and_nothing_that_was_told() -> None:
    driver = Driver("sanitation_vehicle")
    assert drive([*every(0, 4), *every(6, 10)], driver=driver) == []
    assert drive(every(10, 12), driver=driver) == [("dry", True, 11)]
    assert drive([30], driver=driver) == []
    assert drive([31], working=True, driver=driver) == [("dry", False, 31)]
