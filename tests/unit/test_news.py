"""What ``cityhub up`` prints of the event log."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from cityhub.news import line_of

CITY = ZoneInfo("Asia/Shanghai")


def _event(**changes: Any) -> dict[str, Any]:
    return {
        "at": datetime(2026, 5, 1, 8, 0, 7, tzinfo=UTC),
        "actor": "hub",
        "object": "alarm",
        "object_id": "12",
        "action": "raised",
        "to_state": "active",
        "severity": 4,
        "device_id": "MH-0001",
        "zh": "井盖开启",
        "en": "cover opened",
        **changes,
    }


def test_a_story_opens_with_its_sentence_in_both_languages_and_city_time() -> None:
    assert line_of(_event(), CITY) == (
        "16:00:07  告警 alarm 12  raised → active  红 red  MH-0001  井盖开启 / cover opened"
    )


def test_later_lines_say_who_did_what_and_do_not_repeat_it() -> None:
    event = _event(object="case", object_id="FY-1", action="signed", to_state="in_progress")
    assert line_of({**event, "actor": "gas"}, CITY) == (
        "16:00:07  案件 case FY-1  signed → in_progress  by gas"
    )


def test_a_state_named_like_its_action_stands_once() -> None:
    event = _event(object="case", object_id="FY-1", action="dispatched", to_state="dispatched")
    assert line_of(event, CITY) == "16:00:07  案件 case FY-1  dispatched  by hub"


def test_steps_nobody_waits_for_are_left_out() -> None:
    assert line_of(_event(object="case", action="accepted", to_state="accepted"), CITY) is None
