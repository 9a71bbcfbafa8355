from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from analytics.stages import build_stages
from analytics.stages.ongoing import FLAG
from core.batch import Finding
from core.model import Quality, Severity, Text
from devices import KINDS
from devices.kind import AlarmRule, DeviceKind, Limit, Metric
from tests.batches import HOUR, SECOND, START, Row, judge, news, told

OPEN, CLEAR, UPDATE = ("high", "open"), ("high", "clear"), ("high", "update")


def kind_with(limit: Limit) -> DeviceKind:
    return DeviceKind(
        name="probe",
        label=Text("探头", "Probe"),
        id_prefix="PR",
        class_code="",
        interval_s=60,
        metrics=(
            Metric("level", "m", Text("水位", "Level"), low=-10, high=100, rest=1),
            Metric("on", "1", Text("开", "On"), low=0, high=1, rest=1, decimals=0),
            Metric("count", "1", Text("计数", "Count"), low=0, high=1e9, rest=1, f8=True),
        ),
        watches=(limit,),
        rules=(AlarmRule("high", Text("过高", "High"), Severity.RED),),
    )


def levels(*values: float | None, step: int = 60 * SECOND, quality: int = 0) -> list[Row]:
    return [
        Row(7, START + n * step, {} if value is None else {"level": value}, quality)
        for n, value in enumerate(values)
    ]


def find(
    limit: Limit, rows: Sequence[Row], own: Mapping[int, Mapping[str, Any]] | None = None
) -> list[Finding]:
    kind = kind_with(limit)
    return judge(build_stages(kind, own or {}), kind, rows)


def test_a_breach_opens_and_a_normal_reading_clears() -> None:
    found = find(Limit("level", "high", red=4), levels(1, 4, 5, 3))
    assert told(found) == [OPEN, CLEAR]
    assert found[0].value == 4
    assert found[0].limit == 4
    assert found[0].unit == "m"
    assert found[0].severity is Severity.RED
    assert found[1].first_ts == found[0].ts


def test_the_sentence_names_value_limit_and_hold_in_both_languages() -> None:
    found = find(Limit("level", "high", red=4, hold=2), levels(4.5, 4.25))
    assert found[0].explain == Text(
        "水位 4.25 m ≥ 4 m，连续 2 次", "Level 4.25 m at or above 4 m in 2 readings"
    )


def test_hold_wants_consecutive_readings_and_dates_back_to_the_first() -> None:
    found = find(Limit("level", "high", red=4, hold=3), levels(5, 5, 1, 5, 5, 5))
    assert told(found) == [OPEN]
    assert found[0].ts == START + 5 * 60 * SECOND
    assert found[0].first_ts == START + 3 * 60 * SECOND


def test_hold_in_seconds_is_event_time() -> None:
    found = find(Limit("level", "high", red=4, hold_s=120), levels(5, 5, 5))
    assert [finding.ts - START for finding in found] == [120 * SECOND]


def test_hold_starts_again_after_a_gap_of_more_than_three_periods() -> None:
    rows = [Row(7, START + at * SECOND, {"level": 5}) for at in (0, 181, 241)]
    found = find(Limit("level", "high", red=4, hold=2), rows)
    assert [finding.ts - START for finding in found] == [241 * SECOND]


def test_a_device_that_reports_rarely_is_still_judged() -> None:
    found = find(Limit("level", "high", red=4, hold=2), levels(5, 5, 5, step=6 * HOUR))
    assert [finding.ts - START for finding in found] == [12 * HOUR]


def test_clearing_wants_the_margin_and_the_hold() -> None:
    limit = Limit("level", "high", red=4, clear_margin=1, clear_hold=2)
    found = find(limit, levels(5, 3.5, 2, 3.5, 2, 2))
    assert [(finding.edge.value, finding.ts - START) for finding in found] == [
        ("open", 0),
        ("clear", 5 * 60 * SECOND),
    ]


def test_severity_steps_up_and_down() -> None:
    limit = Limit("level", "high", yellow=2, red=4)
    found = find(limit, levels(1, 3, 5, 3, 1))
    assert [(finding.edge.value, finding.severity.name) for finding in found] == [
        ("open", "YELLOW"),
        ("update", "RED"),
        ("update", "YELLOW"),
        ("clear", "YELLOW"),
    ]


def test_each_step_has_a_hold_of_its_own() -> None:
    found = find(Limit("level", "high", yellow=2, red=4, hold=2), levels(3, 5, 5))
    assert [finding.severity.name for finding in found] == ["YELLOW", "RED"]


def test_a_limit_below_watches_for_too_little() -> None:
    found = find(Limit("level", "high", red=0.3, below=True), levels(1, 0.3, 0.5))
    assert told(found) == [OPEN, CLEAR]
    assert found[0].value == 0.3  # the stored single precision is shown as it was sent


def test_a_reading_without_the_metric_neither_breaks_a_hold_nor_clears() -> None:
    found = find(Limit("level", "high", red=4, hold=2), levels(5, None, 5, None))
    assert told(found) == [OPEN]


@pytest.mark.parametrize(
    ("limit", "gate"),
    [
        (Limit("level", "high", red=4, when="on"), 0),
        (Limit("level", "high", red=4, unless="on"), 1),
    ],
)
def test_a_shut_gate_judges_nothing(limit: Limit, gate: int) -> None:
    open_rows = [Row(7, START, {"level": 5, "on": gate}), Row(7, START + SECOND, {"level": 5})]
    assert find(limit, open_rows) == []
    rows = [
        Row(7, START, {"level": 5, "on": 1 - gate}),
        Row(7, START + SECOND, {"level": 1, "on": gate}),
    ]
    assert told(find(limit, rows)) == [OPEN]


def test_a_devices_own_limits_replace_the_kinds_as_a_whole() -> None:
    limit, own = Limit("level", "high", yellow=2, red=4), {7: {"level": {"red": 9}}}
    assert find(limit, levels(5), own) == []
    assert [f.severity.name for f in find(limit, levels(9), own)] == ["RED"]


def test_a_limit_per_device_judges_only_devices_with_their_own() -> None:
    limit = Limit("level", "high", per_device=True)
    rows = [Row(7, START, {"level": 5}), Row(8, START, {"level": 5})]
    assert [f.device_no for f in find(limit, rows, {8: {"level": {"orange": 3}}})] == [8]


def test_changed_limits_are_seen_within_a_second() -> None:
    kind = kind_with(Limit("level", "high", red=4))
    own: dict[int, Mapping[str, Any]] = {}
    stages = build_stages(kind, own)
    assert told(judge(stages, kind, levels(5))) == [OPEN]
    own[7] = {"level": {"red": 9}}
    assert told(judge(stages, kind, [Row(7, START + SECOND, {"level": 5})])) == [CLEAR]
    own[7] = {"level": {"red": 3}}
    assert told(judge(stages, kind, [Row(7, START + 2 * SECOND, {"level": 5})])) == [OPEN]
    del own[7]
    assert judge(stages, kind, [Row(7, START + 3 * SECOND, {"level": 5})]) == []


def test_a_metric_watched_both_ways_takes_its_own_limits_by_rule() -> None:
    kind = KINDS["street_lamp"]
    own = {7: {"under_volt": {"blue": 230}}}
    rows = [Row(7, START + n * 60 * SECOND, {"volt": 228}) for n in range(2)]
    assert told(judge(build_stages(kind, own), kind, rows)) == [("under_volt", "open")]


@pytest.mark.parametrize(
    "quality",
    [
        Quality.LATE,
        Quality.BACKLOG,
        Quality.DUPLICATE_TIME,
        Quality.BACKLOG | Quality.CLOCK_SUSPECT,
    ],
)
def test_history_never_sounds(quality: Quality) -> None:
    assert find(Limit("level", "high", red=4), levels(5, quality=int(quality))) == []


def test_a_late_reading_never_sounds() -> None:
    kind = kind_with(Limit("level", "high", red=4))
    rows = [*levels(1, 1), Row(7, START + SECOND, {"level": 5})]
    assert judge(build_stages(kind, {}), kind, rows, cuts=[2]) == []


def test_a_value_outside_its_sensors_range_is_never_judged() -> None:
    found = find(Limit("level", "high", red=4), levels(2000, quality=int(Quality.OUT_OF_RANGE)))
    assert "high" not in {finding.rule_id for finding in found}


def test_a_wrong_clock_hides_no_danger_and_tells_it_once() -> None:
    limit = Limit("level", "high", yellow=2, red=4, hold=2)
    wrong = int(Quality.CLOCK_SUSPECT)
    found = find(limit, levels(3, 5, 5, 5, quality=wrong))
    high = [finding for finding in news(found) if finding.rule_id == "high"]
    assert [(f.edge.value, f.flags, f.severity.name) for f in high] == [
        ("open", ("clock_suspect",), "RED")
    ]


def test_the_first_reading_in_order_ends_what_a_wrong_clock_told() -> None:
    limit = Limit("level", "high", red=4)
    rows = [*levels(5, quality=int(Quality.CLOCK_SUSPECT)), Row(7, START + HOUR, {"level": 1})]
    assert told(f for f in find(limit, rows) if f.rule_id == "high") == [OPEN, CLEAR]


def test_a_counter_is_compared_in_double_precision() -> None:
    found = find(Limit("count", "high", red=123_456_789), [Row(7, START, {"count": 123_456_788})])
    assert found == []


def test_an_episode_that_goes_on_is_told_once_a_minute() -> None:
    found = find(Limit("level", "high", red=4), levels(5, *[6] * 200, 3, step=SECOND))
    assert told(found) == [OPEN, CLEAR]
    again = [finding for finding in found if FLAG in finding.flags]
    assert [(f.edge.value, (f.ts - START) / SECOND) for f in again] == [
        ("update", 60),
        ("update", 120),
        ("update", 180),
    ]
    assert {(f.first_ts, f.value, f.severity) for f in again} == {(START, 6, Severity.RED)}
    assert again[0].explain.en == "Level 6 m at or above 4 m, and goes on"


def test_the_first_breach_after_a_silence_is_told_and_no_calm_reading_is() -> None:
    rows = [(0, 5), (1, 5), (2, 5), (6, 3.9), (7, 5), (12, 5), (13, 5)]
    found = find(
        Limit("level", "high", red=4, clear_margin=1),
        [Row(7, START + at * SECOND, {"level": level}) for at, level in rows],
    )
    assert told(found) == [OPEN]
    assert [(f.ts - START) / SECOND for f in found] == [0, 12]
