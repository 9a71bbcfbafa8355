"""A clock hours behind deafens no device, and what honestly comes late is no clock's fault."""

from collections.abc import Sequence

import pytest

from analytics.stages import build_stages
from core.model import Quality, from_micros
from tests.intake import (
    NOON_MICROS,
    SECOND,
    Message,
    add_devices,
    cover,
    open_pipeline,
    query,
    raw_batch,
    values_of,
)

HOUR = 3600 * SECOND
SUSPECT, LATE = int(Quality.CLOCK_SUSPECT), int(Quality.LATE)


def feed(database: str, said: Sequence[tuple[float, float]], *, tilt: float = 0.5) -> list[int]:
    """Send readings one by one, each received and lagging so many seconds; return the flags."""
    add_devices(database, "MH-1")
    with open_pipeline(database, build_stages=build_stages) as pipeline:
        for n, (at, lag) in enumerate(said):
            rx = NOON_MICROS + round(at * SECOND)
            message = cover("MH-1", n, ts=rx - round(lag * SECOND), tilt=tilt)
            pipeline.take(raw_batch([message], after=n, received_at=rx))
    rows = query(database, "SELECT quality FROM hub.reading_manhole_cover ORDER BY seq")
    return [int(quality) for (quality,) in rows]


@pytest.mark.parametrize("lag", [8 * 3600.0, 8 * 3600 + 20.0])
def test_a_clock_eight_hours_slow_is_known_with_its_first_message(
    database: str, lag: float
) -> None:
    assert feed(database, [(0, lag), (60, lag), (120, lag)], tilt=95) == [SUSPECT] * 3
    assert values_of(database, "ts, extra")[0] == (
        from_micros(NOON_MICROS),
        {"t": NOON_MICROS // 1000 - round(lag * 1000)},
    )
    found = "SELECT rule_id, flags FROM hub.finding WHERE edge = 'open' ORDER BY rule_id"
    rules = dict(query(database, found))
    assert rules["cover_open"] == ["clock_suspect"]
    assert "clock_wrong" in rules


@pytest.mark.parametrize("lag", [1000.0, 3 * 3600.0, 5 * 3600 + 1234.0, 30 * 86_400.0])
def test_a_steady_distance_is_a_slow_clock_after_three_messages(database: str, lag: float) -> None:
    said = [(n * 10.0, lag + n % 2) for n in range(6)]
    assert feed(database, said) == [LATE] * 2 + [SUSPECT] * 4


def test_a_slow_clock_that_was_set_is_believed_again(database: str) -> None:
    eight = 8 * 3600.0
    assert feed(database, [(0, eight), (60, eight), (120, 0.2), (180, 0.2)])[1:] == [SUSPECT, 0, 0]


@pytest.mark.parametrize("step", [2.0, 60.0, 3600.0], ids=lambda step: f"a row each {step:.0f} s")
@pytest.mark.parametrize("pace", [0.01, 1.0], ids=["in a burst", "one a second"])
def test_a_backlog_that_catches_up_is_no_slow_clock(
    database: str, step: float, pace: float
) -> None:
    begun = 9 * 3600.0
    said = [(n * pace, begun + n * pace - n * step) for n in range(60)]
    said = [(at, lag) for at, lag in said if lag >= 0]
    assert SUSPECT not in feed(database, said)


def test_a_backlog_in_one_batch_is_no_slow_clock(database: str) -> None:
    add_devices(database, "MH-1")
    messages: list[Message] = [
        cover("MH-1", n, ts=NOON_MICROS - 8 * HOUR + n * SECOND) for n in range(50)
    ]
    with open_pipeline(database) as pipeline:
        pipeline.take(raw_batch(messages))
    assert set(values_of(database, "quality")) == {(LATE,)}


def test_what_is_marked_as_history_is_left_alone(database: str) -> None:
    add_devices(database, "MH-1")
    topic, payload = cover("MH-1", 1, ts=NOON_MICROS - 8 * HOUR)
    with open_pipeline(database) as pipeline:
        pipeline.take(raw_batch([(topic, payload.replace(b'"seq"', b'"h":true,"seq"'))]))
    assert values_of(database, "quality") == [(LATE | int(Quality.BACKLOG),)]


def test_an_event_of_a_slow_clock_sounds(database: str) -> None:
    add_devices(database, "MH-1")
    event = b'{"t":%d,"seq":1,"e":"cover_open","on":true}' % ((NOON_MICROS - 8 * HOUR) // 1000)
    with open_pipeline(database, build_stages=build_stages) as pipeline:
        pipeline.take(raw_batch([("hub/MH-1/event", event)]))
    assert query(database, "SELECT flags FROM hub.finding WHERE rule_id = 'cover_open'") == [
        (["clock_suspect"],)
    ]


def test_a_worker_that_starts_knows_the_slow_clocks(database: str) -> None:
    lag = 5 * 3600 + 1234.0
    assert feed(database, [(n * 10.0, lag) for n in range(3)])[-1] == SUSPECT
    rx = NOON_MICROS + 60 * SECOND
    message = cover("MH-1", 9, ts=rx - round(lag * SECOND))
    with open_pipeline(database, build_stages=build_stages) as pipeline:
        pipeline.take(raw_batch([message], after=3, received_at=rx))
    assert query(database, "SELECT quality FROM hub.reading_manhole_cover WHERE seq = 9") == [
        (SUSPECT,)
    ]
