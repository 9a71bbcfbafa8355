from analytics.stages import build_stages
from core.batch import DeviceEvent
from core.model import Quality, Severity
from devices import KINDS
from tests.batches import SECOND, START, judge_events, told

COVER = KINDS["manhole_cover"]


def event(name: str, on: bool | None = None, *, at: int = 0, quality: int = 0) -> DeviceEvent:
    return DeviceEvent(4, name, START + at * SECOND, START + at * SECOND, -1, on, {}, quality)


def edges(*events: DeviceEvent) -> list[tuple[str, str]]:
    """Return what events find that come one by one."""
    stages = build_stages(COVER, {})
    return told(finding for one in events for finding in judge_events(stages, [one]))


def test_an_opened_cover_is_believed_at_once() -> None:
    found = judge_events(build_stages(COVER, {}), [event("cover_open", on=True)])
    assert told(found) == [("cover_open", "open")]
    assert found[0].severity is Severity.RED
    assert found[0].explain.zh == "设备上报：井盖开启"
    assert found[0].detail == {"feature": "own_report", "event": "cover_open"}


def test_a_condition_that_ends_clears() -> None:
    assert edges(event("cover_open", on=True), event("cover_open", on=False, at=1)) == [
        ("cover_open", "open"),
        ("cover_open", "clear"),
    ]


def test_a_closed_cover_clears_what_its_opening_raised() -> None:
    assert edges(event("cover_open"), event("cover_close", at=1)) == [
        ("cover_open", "open"),
        ("cover_open", "clear"),
    ]


def test_a_pulse_that_nothing_ends_stands_alone() -> None:
    assert edges(event("tamper")) == [("tamper", "once")]


def test_an_event_without_a_rule_is_history_only() -> None:
    assert edges(event("impact"), event("power_on"), event("unheard_of")) == []


def test_the_same_event_again_says_nothing() -> None:
    first, closed = event("cover_open"), event("cover_close", at=1)
    assert edges(first, first, closed, first, closed) == [
        ("cover_open", "open"),
        ("cover_open", "clear"),
    ]


def test_a_late_closing_does_not_end_a_newer_opening() -> None:
    assert edges(event("cover_open", at=5), event("cover_close", at=1)) == [("cover_open", "open")]


def test_an_opening_repeated_is_told_again_with_the_time_of_the_first() -> None:
    stages = build_stages(COVER, {})
    found = judge_events(stages, [event("cover_open", at=n) for n in (0, 60)])
    assert told(found) == [("cover_open", "open")] * 2
    assert [finding.first_ts for finding in found] == [START, START]


def test_history_is_not_judged() -> None:
    assert edges(event("cover_open", quality=int(Quality.BACKLOG))) == []
    assert edges(event("cover_open", quality=int(Quality.LATE))) == []


def test_a_wrong_clock_hides_no_opening_and_tells_it_once() -> None:
    wrong = int(Quality.CLOCK_SUSPECT)
    doubtful = [event("cover_open", at=n, quality=wrong) for n in range(3)]
    doubtful.append(event("cover_close", at=9, quality=wrong))
    found = judge_events(build_stages(COVER, {}), doubtful)
    assert [(f.rule_id, f.edge.value, f.flags) for f in found] == [
        ("clock_wrong", "open", ()),
        ("cover_open", "open", ("clock_suspect",)),
    ]
