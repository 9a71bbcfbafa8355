from analytics.stages import build_stages
from core.model import Quality
from devices import KINDS
from tests.batches import HOUR, START, Row, judge, told

COVER = KINDS["manhole_cover"]
BAD = int(Quality.OUT_OF_RANGE)


def rows(*qualities: int, batt: float = 3.6) -> list[Row]:
    return [
        Row(5, START + n * HOUR, {"batt": batt if quality & BAD else 3.6}, quality)
        for n, quality in enumerate(qualities)
    ]


def test_a_value_out_of_range_is_told_once_an_episode() -> None:
    found = judge(build_stages(COVER, {}), COVER, rows(BAD, BAD, 0, 0, BAD, 0, 0, 0, BAD, batt=9))
    assert told(found) == [
        ("out_of_range", "open"),
        ("out_of_range", "clear"),
        ("out_of_range", "open"),
    ]
    assert found[0].metric == "batt"
    assert found[0].value == 9
    assert found[0].explain.en == "Battery 9 V is beyond its range of 0 V to 5 V"
    assert found[0].explain.zh == "电池电压 9 V 超出量程 0 V 至 5 V"


def test_it_is_told_too_where_the_value_itself_was_left_out() -> None:
    found = judge(build_stages(COVER, {}), COVER, [Row(5, START, {}, BAD)])
    assert found[0].explain.en == "a value beyond the range of its sensor"


def test_a_wrong_clock_is_told_once_and_is_over_when_the_clock_is_right() -> None:
    wrong = int(Quality.CLOCK_SUSPECT)
    found = judge(build_stages(COVER, {}), COVER, rows(wrong, wrong, 0, 0, 0))
    assert told(found) == [("clock_wrong", "open"), ("clock_wrong", "clear")]


def test_a_reported_sensor_fault_is_told() -> None:
    found = judge(build_stages(COVER, {}), COVER, rows(int(Quality.SENSOR_FAULT)))
    assert told(found) == [("sensor_fault", "open")]


def test_history_tells_nothing() -> None:
    late = int(Quality.LATE | Quality.OUT_OF_RANGE)
    assert judge(build_stages(COVER, {}), COVER, rows(late)) == []
