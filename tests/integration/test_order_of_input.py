"""The same input, repeated, shuffled and cut anywhere, makes the same rows, findings and alarms.

What may happen on the way and changes nothing: every message up to three times, messages of
different devices in any order among one another, and batches of any size. Then rows, quality bits,
findings and alarms are equal, all of them.

Within one device the detectors step the newest reading only, so an older one that comes after it
is history: the rows are equal still (key and values), only the bits that say so differ.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Any, Final

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.engine import step
from analytics.stages import build_stages
from core.clock import ManualClock
from core.db import open_pool
from core.model import Quality
from devices.native import encode_event
from tests.intake import NOON, NOON_MICROS, SECOND, Message, add_devices, cover, open_pipeline
from tests.intake import raw_batch as raw

DEVICES: Final = ("MH-1", "MH-2", "MH-3")
_EMPTY: Final = (
    "TRUNCATE hub.reading_manhole_cover, hub.device_event, hub.finding, hub.alarm, hub.cursor,"
    " hub.alarm_pending, hub.ledger, hub.source_offset, hub.detector_state, hub.device_seen,"
    " hub.event_head, hub.incident, hub.outbox, hub.work_order, hub.case, hub.quarantine"
    " RESTART IDENTITY CASCADE"
)
_ROWS: Final = (
    "SELECT device_no, ts, seq, tilt, batt, quality & %s, extra FROM hub.reading_manhole_cover"
    " ORDER BY 1, 2, 3"
)
_FINDINGS: Final = (
    "SELECT device_no, rule_id, detector, kind, metric, edge, ts, first_ts, received_at, severity,"
    " value, threshold, quality, flags, explain_zh, detail FROM hub.finding ORDER BY 1, 2, 7, 6, 4"
)
_ALARMS: Final = (
    "SELECT device_no, rule_id, severity, severity_peak, condition_state, started_at, received_at,"
    " last_seen_at, cleared_at, value, explain_zh, case_no IS NULL FROM hub.alarm ORDER BY 1, 2, 6"
)
_EVENTS: Final = "SELECT device_no, name, active, ts, seq FROM hub.device_event ORDER BY 1, 2, 3, 4"

_ALL_BITS: Final = -1
_ORDER_BITS: Final = ~int(Quality.LATE | Quality.DUPLICATE_TIME)

Reading = tuple[int, float, bool]
"""Seconds since the last one, tilt, and whether the device tells that it is opened, or closed."""

reading = st.tuples(
    st.integers(0, 40),
    st.sampled_from([0.5, 0.5, 2.0, 15.0, 80.0, 130.0]),
    st.booleans(),
)
stream = st.lists(reading, min_size=1, max_size=14)


def messages_of(device: str, readings: Sequence[Reading]) -> list[Message]:
    """Return what a device sends, in its order; two in one second have one time."""
    ts, sent, opened = NOON_MICROS - 600 * SECOND, [], False
    for seq, (after, tilt, tells) in enumerate(readings):
        ts += after * SECOND
        sent.append(cover(device, seq, ts=ts, tilt=tilt))
        if tells:
            opened = not opened
            name = "cover_open" if opened else "cover_close"
            payload = encode_event(name, ts_micros=ts, seq=1000 + seq, on=opened or None)
            sent.append((f"hub/{device}/event", payload))
    return sent


def mixed(streams: Sequence[Sequence[Message]], rng: random.Random, copies: int) -> list[Message]:
    """Return streams put into one by chance, each in its order, each message up to so often.

    A repetition comes at once or later, as devices resend what they believe lost, never earlier.
    """
    left = [list(stream) for stream in streams]
    out: list[Message] = []
    sent: list[Message] = []
    while any(left):
        if sent and rng.random() < (copies - 1) / copies / 2:
            out.append(rng.choice(sent))
            continue
        message = rng.choice([one for one in left if one]).pop(0)
        sent.append(message)
        out += [message] * rng.randint(1, copies)
    return out


def cuts(messages: Sequence[Message], rng: random.Random) -> list[Sequence[Message]]:
    """Return messages in batches of any size."""
    parts, start = [], 0
    while start < len(messages):
        size = rng.choice([1, 2, 3, 10, 100])
        parts.append(messages[start : start + size])
        start += size
    return parts


def outcome(
    database: str, batches: Sequence[Sequence[Message]], bits: int = _ALL_BITS
) -> dict[str, Any]:
    """Take batches into an empty hub with all detectors; return what came of them."""
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(_EMPTY)
        after = 0
        with open_pipeline(database, build_stages=build_stages) as pipeline:
            for batch in batches:
                pipeline.take(raw(batch, after=after))
                after += len(batch)
        asyncio.run(_raise_alarms(database))
        return {
            "rows": conn.execute(_ROWS, [bits]).fetchall(),
            "events": conn.execute(_EVENTS).fetchall(),
            "findings": conn.execute(_FINDINGS).fetchall(),
            "alarms": conn.execute(_ALARMS).fetchall(),
        }


async def _raise_alarms(database: str) -> None:
    async with open_pool(database, 2, name="test") as pool:
        while await step(pool, ManualClock(NOON), None):
            pass


_options = settings(
    max_examples=12,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_13_repeated_shuffled_across_devices_and_cut_anywhere_nothing_differs(
    database: str,
) -> None:
    add_devices(database, *DEVICES)
    alarms = 0

    @_options
    @given(st.tuples(stream, stream, stream), st.integers(0, 2**32))
    def compare(readings: tuple[list[Reading], ...], seed: int) -> None:
        nonlocal alarms
        rng = random.Random(seed)
        streams = [messages_of(d, r) for d, r in zip(DEVICES, readings, strict=True)]
        plain = outcome(database, [[message] for stream in streams for message in stream])
        other = outcome(database, cuts(mixed(streams, rng, 3), rng))
        for what, expected in plain.items():
            assert other[what] == expected, what
        alarms += len(plain["alarms"])

    compare()
    assert alarms > 5, "nothing was found: the comparison proves nothing"


def test_13_shuffled_within_a_device_the_rows_are_the_same(database: str) -> None:
    add_devices(database, *DEVICES)

    @_options
    @given(st.tuples(stream, stream, stream), st.integers(0, 2**32))
    def compare(readings: tuple[list[Reading], ...], seed: int) -> None:
        rng = random.Random(seed)
        streams = [messages_of(d, r) for d, r in zip(DEVICES, readings, strict=True)]
        plain = outcome(database, [[m] for stream in streams for m in stream], _ORDER_BITS)
        messages = [message for stream in streams for message in stream * 2]
        rng.shuffle(messages)
        other = outcome(database, cuts(messages, rng), _ORDER_BITS)
        assert other["rows"] == plain["rows"]
        assert other["events"] == plain["events"]

    compare()
