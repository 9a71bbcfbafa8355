"""Rain gauges: sums over hours by counter or interval, and when the rain is over."""

from collections.abc import Sequence

from analytics.stages import build_stages
from core.batch import Finding
from core.model import Severity
from devices import KINDS
from tests.batches import SECOND, START, Row, judge, news

KIND = KINDS["rain_gauge"]
PERIOD = 300 * SECOND
RowValues = dict[str, float]


def found(values: Sequence[RowValues], times: Sequence[int] | None = None) -> list[Finding]:
    steps = times or range(len(values))
    rows = [Row(1, START + n * PERIOD, each) for n, each in zip(steps, values, strict=True)]
    return news(
        each for each in judge(build_stages(KIND, {}), KIND, rows) if each.detector == "rain"
    )


def by_interval(*millimetres: float) -> list[RowValues]:
    return [{"rain": each} for each in millimetres]


def by_counter(*millimetres: float, start: float = 812.2) -> list[RowValues]:
    rows, total = [{"rain_tot": start}], start
    for each in millimetres:
        total += each
        rows.append({"rain_tot": total})
    return rows


def told(findings: Sequence[Finding]) -> list[tuple[str, Severity]]:
    return [(each.edge.value, each.severity) for each in findings]


def test_the_ladder_is_climbed_step_by_step_and_ends_after_an_hour_without_rain() -> None:
    rain = by_interval(*[1.0] * 50, *[8.0] * 13, *[0.0] * 13)
    assert told(found(rain)) == [
        ("open", Severity.YELLOW),
        ("update", Severity.ORANGE),
        ("update", Severity.RED),
        ("clear", Severity.RED),
    ]


def test_fifty_millimetres_in_half_a_day_are_blue() -> None:
    rain = by_interval(*[0.4] * 130)
    first, *_ = found(rain)
    assert first.severity is Severity.BLUE
    assert first.explain.zh.startswith("12 小时雨量 50 mm ≥ 50 mm")


def test_the_counter_knows_what_fell_while_reports_were_lost() -> None:
    rows = by_counter(0.0, 0.0, 60.0, 0.2)
    findings = found(rows, [0, 1, 2, 26, 27])
    assert told(findings) == [("open", Severity.ORANGE)]


def test_a_counter_that_begins_again_rains_nothing() -> None:
    rows = [{"rain_tot": 990.0}, {"rain_tot": 990.0}, {"rain_tot": 0.0}, {"rain_tot": 0.2}]
    assert found(rows) == []


def test_a_leap_of_the_counter_that_no_cloud_holds_is_not_believed() -> None:
    rows = [{"rain_tot": 10.0}, {"rain_tot": 5000.0}, {"rain_tot": 5000.2}]
    assert found(rows) == []


def test_rain_of_before_counts_again_once_it_rains_on() -> None:
    rain = by_interval(*[6.0] * 9, *[0.0] * 13, 0.2)
    assert told(found(rain)) == [
        ("open", Severity.ORANGE),
        ("clear", Severity.ORANGE),
        ("open", Severity.ORANGE),
    ]
