from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerts.alarm import (
    HUB,
    Ack,
    Alarm,
    Condition,
    Suppression,
    acknowledge,
    reset,
    undo_acknowledge,
    verify,
)
from alerts.fold import fold
from alerts.passing import mature, settle
from alerts.suppression import Shade
from alerts.track import Seen, Step, Track
from core.errors import ConflictError
from core.model import Edge, Severity, Text
from devices.kind import AlarmRule

NOON = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
RULE = AlarmRule("cover_shift", Text("井盖位移", "Cover shifted"), Severity.ORANGE)
LATCHED = replace(RULE, latched=True)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def seen(edge: Edge, seconds: float = 0, **changes: Any) -> Seen:
    base = Seen(
        edge=edge,
        kind="shift",
        detector="displacement",
        measured=True,
        ts=at(seconds),
        first_ts=at(seconds),
        received_at=at(seconds),
        severity=Severity.ORANGE,
        explain_zh="位移",
        explain_en="shifted",
        value=12.0,
    )
    return replace(base, **changes)


def fold_all(rule: AlarmRule, *findings: Seen, track: Track | None = None) -> Step:
    """Return the last step."""
    step = Step(track or Track())
    for item in findings:
        step = fold(step.track, item, rule, item.received_at)
        if step.track.alarm is not None and step.track.alarm.alarm_id == 0:
            alarm = replace(step.track.alarm, alarm_id=step.track.alarm.occurrence_no)
            step = replace(step, track=replace(step.track, alarm=alarm))
    return step


def alarm_of(step: Step) -> Alarm:
    assert step.track.alarm is not None
    return step.track.alarm


def actions(step: Step) -> list[str]:
    return [event.action for event in step.events]


def cleared(rule: AlarmRule = RULE) -> Track:
    """An alarm raised at 0 s, clearing at 60 s, cleared at 660 s, not acknowledged."""
    step = fold_all(rule, seen(Edge.OPEN), seen(Edge.CLEAR, 60))
    return settle(step.track, rule, at(9999), at(3600), at(3600)).track


def test_a_breach_without_delay_is_an_alarm_at_once() -> None:
    step = fold_all(RULE, seen(Edge.OPEN))
    assert actions(step) == ["raised"]
    assert step.events[0].loud
    assert alarm_of(step).condition_state is Condition.ACTIVE


def test_the_delay_counts_from_the_first_breaching_sample() -> None:
    rule = replace(RULE, on_delay_s=60)
    assert fold_all(rule, seen(Edge.OPEN, 59, first_ts=NOON)).track.alarm is None
    step = fold_all(rule, seen(Edge.OPEN, 10, first_ts=NOON), seen(Edge.UPDATE, 60, first_ts=NOON))
    assert alarm_of(step).started_at == NOON
    assert alarm_of(step).raised_at == at(60)
    assert step.track.pending is None


def test_a_single_event_waits_for_no_delay() -> None:
    assert actions(fold_all(replace(RULE, on_delay_s=60), seen(Edge.ONCE))) == ["raised"]


def test_a_breach_matures_when_the_devices_clock_has_passed_the_delay() -> None:
    rule = replace(RULE, on_delay_s=60)
    track = fold_all(rule, seen(Edge.OPEN)).track
    assert not mature(track, rule, at(9999), at(59)).events
    assert actions(mature(track, rule, at(9999), at(60))) == ["raised"]


def test_a_breach_of_a_silent_device_matures_unconfirmed_where_the_rule_says_so() -> None:
    rule = replace(RULE, on_delay_s=60, allowed_lateness_s=600, mature_on_silence=True)
    track = fold_all(rule, seen(Edge.OPEN)).track
    assert not mature(track, rule, at(659), NOON).events
    step = mature(track, rule, at(660), NOON)
    assert alarm_of(step).unconfirmed
    assert not mature(track, replace(rule, mature_on_silence=False), at(660), NOON).events


def test_a_breach_that_falls_back_in_time_leaves_nothing_but_a_near_miss() -> None:
    step = fold_all(replace(RULE, on_delay_s=60), seen(Edge.OPEN), seen(Edge.CLEAR, 30))
    assert step == Step(Track(), near_miss=True)


def test_an_update_counts_and_stays_silent() -> None:
    step = fold_all(RULE, seen(Edge.OPEN), seen(Edge.UPDATE, 60, value=15.0))
    assert not step.events
    assert (alarm_of(step).repeat_count, alarm_of(step).value) == (1, 15.0)


def test_growing_graver_sounds_again_and_needs_a_new_acknowledgement() -> None:
    track = fold_all(RULE, seen(Edge.OPEN)).track
    assert track.alarm is not None
    acked, _ = acknowledge(track.alarm, "wang", at(5))
    step = fold_all(
        RULE, seen(Edge.UPDATE, 60, severity=Severity.RED), track=replace(track, alarm=acked)
    )
    assert actions(step) == ["severity_raised"]
    assert step.events[0].loud
    assert alarm_of(step).ack_state is Ack.UNACKED
    down = fold_all(RULE, seen(Edge.UPDATE, 120), track=step.track)
    assert not down.events
    down = settle(down.track, RULE, at(720), at(720), at(720))
    assert actions(down) == ["severity_lowered"]
    assert not down.events[0].loud
    assert alarm_of(down).severity_peak is Severity.RED


def test_a_second_detector_neither_raises_twice_nor_lowers() -> None:
    red = seen(Edge.OPEN, severity=Severity.RED)
    step = fold_all(RULE, red, seen(Edge.OPEN, 1, detector="events", measured=False))
    assert not step.events
    assert alarm_of(step).severity is Severity.RED
    assert alarm_of(step).sources == ("displacement", "events")


def test_the_devices_own_all_clear_does_not_outrank_a_measurement() -> None:
    own = {"detector": "events", "measured": False}
    step = fold_all(RULE, seen(Edge.OPEN), seen(Edge.OPEN, 1, **own), seen(Edge.CLEAR, 2, **own))
    assert alarm_of(step).condition_state is Condition.ACTIVE
    step = fold_all(RULE, seen(Edge.OPEN), seen(Edge.OPEN, 1, **own), seen(Edge.CLEAR, 2))
    assert alarm_of(step).condition_state is Condition.CLEARING


def test_normal_must_last_by_the_devices_clock_before_it_clears() -> None:
    step = fold_all(RULE, seen(Edge.OPEN), seen(Edge.CLEAR, 60))
    assert actions(step) == ["clearing"]
    assert not settle(step.track, RULE, at(9999), at(659), at(9999)).events
    assert not settle(step.track, RULE, at(9999), None, None).events
    done = settle(step.track, RULE, at(9999), at(660), at(660))
    assert actions(done) == ["cleared"]
    assert alarm_of(done).cleared_at == at(660)


def test_a_breach_while_clearing_is_chatter_not_a_new_alarm() -> None:
    step = fold_all(RULE, seen(Edge.OPEN), seen(Edge.CLEAR, 60), seen(Edge.OPEN, 120))
    assert actions(step) == ["resumed"]
    assert not step.events[0].loud
    assert (alarm_of(step).chatter_count, alarm_of(step).occurrence_no) == (1, 1)


def test_single_events_clear_after_quiet_while_the_device_is_heard() -> None:
    rule = replace(RULE, quiet_clear_s=900, allowed_lateness_s=120)
    track = fold_all(rule, seen(Edge.ONCE)).track
    assert not settle(track, rule, at(9999), at(1019), at(1019)).events
    assert not settle(track, rule, at(9999), at(10), at(10)).events
    done = settle(track, rule, at(9999), at(950), at(1020))
    assert actions(done) == ["cleared"]
    assert alarm_of(done).cleared_at == at(900)


def test_an_episode_never_clears_by_quiet() -> None:
    rule = replace(RULE, quiet_clear_s=900)
    track = fold_all(rule, seen(Edge.OPEN)).track
    assert not settle(track, rule, at(9999), at(99_999), at(99_999)).events


def test_an_unacknowledged_alarm_reopens_within_the_window() -> None:
    step = fold_all(RULE, seen(Edge.OPEN, 660 + 600), track=cleared())
    assert actions(step) == ["reopened"]
    assert (alarm_of(step).reopen_count, alarm_of(step).occurrence_no) == (1, 1)
    late = fold_all(RULE, seen(Edge.OPEN, 660 + 601), track=cleared())
    assert actions(late) == ["raised"]
    assert (alarm_of(late).occurrence_no, alarm_of(late).previous_alarm_id) == (2, 1)


def test_an_acknowledged_alarm_that_cleared_is_final() -> None:
    track = cleared()
    assert track.alarm is not None
    acked, _ = acknowledge(track.alarm, "wang", at(700))
    assert acked.is_final
    step = fold_all(RULE, seen(Edge.OPEN, 720), track=Track(alarm=acked))
    assert alarm_of(step).occurrence_no == 2


def test_a_latched_alarm_reopens_until_it_is_reset() -> None:
    track = cleared(LATCHED)
    assert track.alarm is not None
    assert track.alarm.is_open
    step = fold_all(LATCHED, seen(Edge.OPEN, 86_400), track=track)
    assert actions(step) == ["reopened"]
    released, event = reset(track.alarm, "wang", "lorry", at(700))
    assert event.action == "reset"
    assert released.is_final
    step = fold_all(LATCHED, seen(Edge.OPEN, 86_400), track=Track(alarm=released))
    assert actions(step) == ["raised"]


def test_a_late_reading_never_sounds() -> None:
    step = fold_all(RULE, seen(Edge.OPEN, received_at=at(901)))
    assert actions(step) == ["recorded"]
    assert not step.events[0].loud
    alarm = alarm_of(step)
    assert alarm.retroactive
    assert alarm.is_final
    assert alarm.acked_by == HUB
    assert alarm.notified_at is None


def test_a_condition_that_still_holds_is_live_and_reaches_back() -> None:
    step = fold_all(RULE, seen(Edge.OPEN, 7200, first_ts=NOON))
    assert alarm_of(step).started_at == NOON
    assert step.events[0].loud


def test_what_a_late_reading_tells_of_an_open_alarm_is_known_already() -> None:
    track = fold_all(RULE, seen(Edge.OPEN, 5000)).track
    step = fold_all(RULE, seen(Edge.OPEN, 100, received_at=at(5001)), track=track)
    assert step == Step(track)


def test_an_all_clear_older_than_the_last_breach_says_nothing() -> None:
    step = fold_all(RULE, seen(Edge.OPEN, 60), seen(Edge.CLEAR, 30))
    assert not step.events
    assert alarm_of(step).condition_state is Condition.ACTIVE


def test_an_unconfirmed_alarm_is_confirmed_by_the_next_breach() -> None:
    step = fold_all(RULE, seen(Edge.OPEN, flags=("unconfirmed",)))
    assert alarm_of(step).unconfirmed
    step = fold_all(RULE, seen(Edge.UPDATE, 60), track=step.track)
    assert actions(step) == ["confirmed"]
    assert not alarm_of(step).unconfirmed


def test_a_suspect_clock_is_marked_and_sounds_all_the_same() -> None:
    step = fold_all(RULE, seen(Edge.ONCE, flags=("clock_suspect",)))
    assert alarm_of(step).clock_suspect
    assert step.events[0].loud


def test_under_maintenance_all_is_kept_and_nothing_sounds() -> None:
    shade = Shade(state=Suppression.OUT_OF_SERVICE, by="window:1")
    step = fold(Track(), seen(Edge.OPEN), RULE, NOON, shade=shade)
    assert not step.events[0].loud
    graver = fold(step.track, seen(Edge.UPDATE, 1, severity=Severity.RED), RULE, at(1))
    assert actions(graver) == ["severity_raised"]
    assert not graver.events[0].loud


def test_only_an_acknowledgement_of_ones_own_is_taken_back_and_soon() -> None:
    alarm = alarm_of(fold_all(RULE, seen(Edge.OPEN)))
    with pytest.raises(ConflictError, match="not acknowledged"):
        undo_acknowledge(alarm, "wang", NOON)
    acked, _ = acknowledge(alarm, "wang", NOON)
    with pytest.raises(ConflictError, match="wang has acknowledged it already"):
        acknowledge(acked, "li", at(1))
    with pytest.raises(ConflictError, match="wang acknowledged it"):
        undo_acknowledge(acked, "li", at(1))
    with pytest.raises(ConflictError, match="over 5 s ago"):
        undo_acknowledge(acked, "wang", at(5.1))
    assert undo_acknowledge(acked, "wang", at(5))[0].ack_state is Ack.UNACKED


def test_only_a_latched_alarm_is_reset() -> None:
    track = cleared()
    assert track.alarm is not None
    with pytest.raises(ConflictError, match="does not latch"):
        reset(track.alarm, "wang", "why not", at(700))


def test_a_pass_ends_what_was_clearing_and_lets_the_latch_go() -> None:
    step = fold_all(LATCHED, seen(Edge.OPEN), seen(Edge.CLEAR, 60))
    alarm, events = verify(alarm_of(step), "insp", at(90), trusted=False)
    assert [event.action for event in events] == ["cleared", "reset"]
    assert alarm.is_final


def test_a_pass_against_the_sensor_leaves_its_alarm_open() -> None:
    alarm = alarm_of(fold_all(LATCHED, seen(Edge.OPEN)))
    left, events = verify(alarm, "insp", at(90), trusted=False)
    assert left.condition_state is Condition.ACTIVE
    assert [event.action for event in events] == ["acknowledged"]
    trusted, _ = verify(alarm, "insp", at(90), trusted=True)
    assert trusted.is_final


def test_an_episode_that_outlives_its_alarm_raises_the_next() -> None:
    ended, _ = verify(alarm_of(fold_all(RULE, seen(Edge.OPEN))), "insp", at(30), trusted=True)
    track = Track(None, ended)
    old = seen(Edge.UPDATE, 20, first_ts=at(0), flags=("ongoing",))
    assert fold(track, old, RULE, at(31)) == Step(track)
    fresh = seen(Edge.UPDATE, 40, first_ts=at(0), flags=("ongoing",))
    step = fold(track, fresh, RULE, at(40))
    assert actions(step) == ["raised"]
    assert (alarm_of(step).occurrence_no, alarm_of(step).previous_alarm_id) == (2, 1)
    assert alarm_of(step).started_at == at(30)


def test_an_episode_that_goes_on_is_noted_and_nobody_is_told() -> None:
    step = fold_all(RULE, seen(Edge.OPEN), seen(Edge.UPDATE, 60, value=13.0, flags=("ongoing",)))
    assert step.events == ()
    alarm = alarm_of(step)
    assert (alarm.last_seen_at, alarm.value, alarm.repeat_count) == (at(60), 13.0, 1)
    assert alarm.version == 1


def test_that_one_detector_goes_on_lowers_nothing_that_another_raised() -> None:
    again = seen(Edge.UPDATE, 60, flags=("ongoing",))
    step = fold_all(RULE, seen(Edge.OPEN), seen(Edge.OPEN, 5, severity=Severity.RED), again)
    assert alarm_of(step).severity is Severity.RED
    assert step.events == ()


def test_what_is_over_for_good_cannot_be_taken_back() -> None:
    acked, _ = acknowledge(alarm_of(fold_all(RULE, seen(Edge.OPEN))), "wang", at(1))
    over, _ = verify(acked, "wang", at(2), trusted=True)
    assert over.is_final
    with pytest.raises(ConflictError, match="is over"):
        undo_acknowledge(over, "wang", at(3))
