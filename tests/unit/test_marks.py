"""Marks: few, and never too few."""

import numpy as np

from core.batch import Batch
from devices import KINDS
from ingest.marks import touched
from ingest.rows import Rows

KIND = KINDS["manhole_cover"]
MINUTE, HOUR = 60_000_000, 3_600_000_000
NOON = 493_716 * HOUR


def block(ts: list[int], device_no: list[int]) -> Rows:
    n = len(ts)
    batch = Batch(
        kind=KIND.name,
        device_no=np.array(device_no, np.int32),
        ts=np.array(ts, np.int64),
        rx=np.array(ts, np.int64),
        seq=np.arange(n),
        values=np.zeros((len(KIND.reals), n), np.float32),
        exact=np.zeros((0, n)),
        quality=np.zeros(n, np.int16),
        now=0,
    )
    return Rows(KIND, batch, np.arange(n), {}, batch.ts, np.arange(n))


def test_a_live_batch_makes_one_mark() -> None:
    rows = block([NOON + MINUTE + 5, NOON + 7, NOON + MINUTE + 1], [3, 1, 3])
    assert touched([rows]) == [("manhole_cover", NOON, NOON + MINUTE, "{1,3}")]


def test_each_hour_has_a_mark_with_its_own_devices() -> None:
    rows = block([NOON + 5, NOON - 1, NOON + 9, NOON - 500 * HOUR], [1, 2, 3, 2])
    assert touched([rows]) == [
        ("manhole_cover", NOON - 500 * HOUR, NOON - 500 * HOUR, "{2}"),
        ("manhole_cover", NOON - MINUTE, NOON - MINUTE, "{2}"),
        ("manhole_cover", NOON, NOON, "{1,3}"),
    ]


def test_so_many_devices_are_not_named() -> None:
    rows = block([NOON] * 1001, list(range(1001)))
    assert touched([rows]) == [("manhole_cover", NOON, NOON, None)]


def test_a_batch_without_readings_marks_nothing() -> None:
    assert touched([]) == []
    assert touched([block([], [])]) == []
