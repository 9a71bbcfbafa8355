from dataclasses import replace
from datetime import UTC, datetime, timedelta

from alerts.clocks import CaseClock, Limit, Name, extend, pause, resume, tick, turn
from alerts.worktime import Calendar

NOON = datetime(2026, 11, 23, 4, tzinfo=UTC)  # a Monday, noon in the city
CALENDAR = Calendar()
LIMITS: dict[Name, Limit] = {
    "accept": Limit(1 / 6, "urgent_hours", "ours"),
    "file": Limit(0.5, "urgent_hours", "ours"),
    "dispatch": Limit(0.25, "urgent_hours", "ours"),
    "sign": Limit(0.5, "urgent_hours", "ours"),
    "on_site": Limit(0.5, "urgent_hours", "ours"),
    "handle": Limit(10, "urgent_hours", "ours"),
    "verify": Limit(2, "urgent_hours", "ours"),
}


def run(*actions: str, every: timedelta = timedelta(minutes=1)) -> list[CaseClock]:
    clocks: list[CaseClock] = []
    for place, action in enumerate(actions):
        at = NOON + place * every
        clocks = turn(clocks, "FY-1", action, now=at, limit_of=LIMITS.get, calendar=CALENDAR)
    return clocks


def running(clocks: list[CaseClock]) -> set[str]:
    return {clock.clock for clock in clocks if clock.runs}


def test_each_move_starts_and_stops_its_clocks() -> None:
    story = ("reported", "accepted", "filed", "dispatched", "signed", "arrived", "feedback_given")
    expected: list[set[str]] = [
        {"accept"},
        {"file"},
        {"dispatch"},
        {"sign", "on_site", "handle"},
        {"on_site", "handle"},
        {"handle"},
        {"verify"},
    ]
    for length in range(1, len(story) + 1):
        assert running(run(*story[:length])) == expected[length - 1]
    assert running(run(*story, "closed")) == set()
    assert running(run(*story, "rework")) == {"handle"}
    assert running(run(*story[:4], "returned")) == {"dispatch"}


def test_a_rework_has_half_the_limit_and_a_clock_of_its_own() -> None:
    clocks = run("dispatched", "signed", "feedback_given", "rework")
    first, second = (clock for clock in clocks if clock.clock == "handle")
    assert (first.round, second.round) == (1, 2)
    assert second.due_at - second.started_at == timedelta(hours=5)
    assert first.due_at == NOON + timedelta(hours=10)


def test_lights_change_at_their_times_and_lateness_is_supervised() -> None:
    (handle,) = (clock for clock in run("dispatched") if clock.clock == "handle")
    seen, levels, urges = [], [], 0
    while handle.timer_at is not None and handle.timer_at < NOON + timedelta(hours=40):
        at = handle.timer_at
        ticked = tick(handle, at, CALENDAR)
        assert ticked.clock.timer_at is None or ticked.clock.timer_at > at
        handle = ticked.clock
        urges += ticked.urges
        if ticked.lit:
            seen.append((handle.light, (at - NOON) / timedelta(hours=1)))
        if ticked.level:
            levels.append((ticked.level, (at - NOON) / timedelta(hours=1)))
    assert seen == [("yellow", 7.0), ("red", 10.0), ("deep_red", 34.0)]
    assert levels == [(1, 20.0), (2, 30.0)]
    # at yellow (19:00), at the deadline (22:00), then after each four working hours: Tuesday noon
    # and evening, Wednesday noon lies beyond
    assert urges == 4


def test_a_pause_is_charged_to_nobody() -> None:
    (verify,) = run("feedback_given")
    still = pause(verify, NOON + timedelta(hours=1))
    assert (still.light, still.timer_at) == ("grey", None)
    on = resume(still, NOON + timedelta(hours=6), CALENDAR)
    assert on.due_at == NOON + timedelta(hours=7)
    assert on.paused_s == 5 * 3600
    assert on.light == "green"


def test_a_pause_of_working_days_keeps_the_working_time_that_was_left() -> None:
    limits: dict[Name, Limit] = {"handle": Limit(2, "working_days", "ours")}
    (handle,) = turn([], "FY-1", "rework", now=NOON, limit_of=limits.get, calendar=CALENDAR)
    assert handle.due_at == NOON + timedelta(days=1)  # a rework has one day
    still = pause(handle, NOON + timedelta(hours=4))  # 16:00; 2 h worked, 6 h are left
    friday = NOON + timedelta(days=4, hours=4)
    monday_noon_and_afternoon = NOON + timedelta(days=7, hours=2)
    assert resume(still, friday, CALENDAR).due_at == monday_noon_and_afternoon + timedelta(hours=-2)


def test_an_extension_moves_the_deadline_and_its_light() -> None:
    (handle,) = (clock for clock in run("dispatched") if clock.clock == "handle")
    late = tick(handle, NOON + timedelta(hours=11), CALENDAR).clock
    assert late.light == "red"
    later = extend(late, NOON + timedelta(hours=40), NOON + timedelta(hours=11))
    assert (later.light, later.timer_at) == ("green", NOON + timedelta(hours=28))
    assert replace(later, light="red").due_at == NOON + timedelta(hours=40)
