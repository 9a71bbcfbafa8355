import pytest

from devices.kind import Limit
from devices.limits import doubt_limits


@pytest.mark.parametrize(
    "limits",
    [
        [],
        "high",
        {"level": 3},
        {"level": {}},
        {"level": {"purple": 3}},
        {"level": {"red": "3"}},
        {"level": {"red": True}},
        {"level": {"red": 10**400}},
        {"level": {"red": float("nan")}},
        {"level": {"orange": 4, "red": 3}},
        {"wtemp": {"red": 30}},
        {3: {"red": 30}},
    ],
)
def test_limits_that_no_detector_could_use_are_refused(limits: object) -> None:
    assert doubt_limits("water_gauge", limits) is not None


@pytest.mark.parametrize(
    ("kind", "limits"),
    [
        ("water_gauge", {}),
        ("water_gauge", {"level": {"blue": 2, "yellow": 3, "orange": 3, "red": 4.5}}),
        ("water_gauge", {"volt": {"blue": 12, "red": 11}}),
        ("street_lamp", {"under_volt": {"blue": 200, "red": 190}}),
    ],
)
def test_good_limits_are_taken(kind: str, limits: object) -> None:
    assert doubt_limits(kind, limits) is None


def test_a_metric_watched_both_ways_is_named_by_its_rule() -> None:
    assert doubt_limits("street_lamp", {"volt": {"red": 200}}) is not None


def test_a_limit_has_steps_or_is_per_device_but_not_both() -> None:
    with pytest.raises(ValueError, match="not both"):
        Limit("level", "level_ladder")
    with pytest.raises(ValueError, match="not both"):
        Limit("level", "level_ladder", red=3, per_device=True)
