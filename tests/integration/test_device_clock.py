"""What the hub learns of a device's clock and of its manners."""

from datetime import timedelta

import pytest

from core.clock import ManualClock
from tests.intake import (
    NOON,
    NOON_MICROS,
    SECOND,
    Message,
    add_devices,
    count,
    cover,
    open_pipeline,
    query,
    raw_batch,
)

_SKEW = "SELECT skew_s FROM hub.device_seen WHERE device_no = 1"


def feed(database: str, lags: list[float], *, history: bool = False) -> list[float]:
    """Send a reading each five seconds, each so late; return the skew after each."""
    add_devices(database, "MH-1")
    learnt = []
    with open_pipeline(database) as pipeline:
        for i, lag in enumerate(lags):
            rx = NOON_MICROS + i * 5 * SECOND
            topic, payload = cover("MH-1", i, ts=rx - round(lag * SECOND))
            if history:
                payload = payload.replace(b'"seq"', b'"h":true,"seq"')
            pipeline.take(raw_batch([(topic, payload)], after=i, received_at=rx))
            ((skew,),) = query(database, _SKEW)
            learnt.append(skew)
    return learnt


def test_a_clock_that_is_right_shows_the_way_of_its_messages(database: str) -> None:
    assert feed(database, [0.2, 0.3, 0.2, 0.25] * 3)[-1] == pytest.approx(0.24, abs=0.05)


@pytest.mark.parametrize("off", [-28_800.0, 28_800.0, 90.0])
def test_a_clock_that_is_off_is_known_with_its_first_message(database: str, off: float) -> None:
    assert feed(database, [off])[-1] == pytest.approx(off)


def test_one_late_message_moves_it_by_a_breath(database: str) -> None:
    learnt = feed(database, [0.2] * 10 + [3600.0] + [0.2] * 5)
    assert max(learnt) < 0.4
    assert learnt[-1] == pytest.approx(0.2, abs=0.1)


def test_a_clock_that_is_set_anew_is_known_after_two_dozen(database: str) -> None:
    learnt = feed(database, [0.2] * 5 + [-28_800.0] * 24)
    assert learnt[4] == pytest.approx(0.2)
    assert learnt[-1] == pytest.approx(-28_800, rel=0.05)


def test_history_and_messages_without_a_time_say_nothing_of_the_clock(database: str) -> None:
    assert feed(database, [7200.0] * 3, history=True) == [None, None, None]
    with open_pipeline(database, source="other") as pipeline:
        pipeline.take(raw_batch([("hub/MH-1/telemetry", b'{"tilt":1}')]))
    assert query(database, _SKEW) == [(None,)]


def test_the_freshest_reading_of_a_batch_counts(database: str) -> None:
    add_devices(database, "MH-1")
    waited = [cover("MH-1", i, ts=NOON_MICROS - (30 - i) * SECOND) for i in range(30)]
    with open_pipeline(database) as pipeline:
        pipeline.take(raw_batch(waited))
    assert query(database, _SKEW) == [(1.0,)]


def flood(device: str, number: int, *, history: bool = False) -> list[Message]:
    messages = [cover(device, i, ts=NOON_MICROS - i * 1000) for i in range(number)]
    if history:
        messages = [(t, p.replace(b'"seq"', b'"h":true,"seq"')) for t, p in messages]
    return messages


def test_16_a_device_gone_mad_is_told_to_maintainers_once_and_stored(database: str) -> None:
    add_devices(database, "MH-1", "MH-2", "MH-3")
    clock, after = ManualClock(NOON), 0
    with open_pipeline(database, clock=clock, chatty_per_minute=100) as pipeline:
        for batch in (
            flood("MH-1", 60) + flood("MH-2", 60),
            flood("MH-1", 300)[60:],
            flood("MH-3", 300, history=True),
        ):
            pipeline.take(raw_batch(batch, after=after))
            after += len(batch)
        clock.advance(61)
        later = clock.micros()
        pipeline.take(raw_batch(flood("MH-2", 160)[60:], after=after, received_at=later))
        pipeline.take(raw_batch(flood("MH-1", 500)[300:], after=after + 100, received_at=later))
    found = "SELECT device_no, edge, severity, value FROM hub.finding WHERE rule_id = 'chatty'"
    assert query(database, found) == [(1, "once", 1, 300.0)]
    assert count(database, "reading_manhole_cover") == 500 + 160 + 300


def test_16_a_log_read_at_once_after_an_outage_makes_nobody_chatty(database: str) -> None:
    add_devices(database, "MH-1")
    waited = flood("MH-1", 300)
    times = [NOON_MICROS + i * SECOND for i in range(300)]  # a reading a second, for five minutes
    clock = ManualClock(NOON + timedelta(hours=1))
    with open_pipeline(database, clock=clock, chatty_per_minute=100) as pipeline:
        pipeline.take(raw_batch(waited, received_at=times))
    assert query(database, "SELECT 1 FROM hub.finding WHERE rule_id = 'chatty'") == []
