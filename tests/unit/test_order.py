"""The first stage bounds what one device may cost, however its rows were cut into batches."""

import time

import numpy as np
import pytest

from analytics.stages import build_stages
from analytics.stages.order import STEPS_A_SECOND, Order
from core.batch import Batch
from core.model import Quality
from devices import KINDS
from tests.batches import START

COVER = KINDS["manhole_cover"]
SECOND = 1_000_000


def batch(ts: list[int], device_no: list[int] | None = None, quality: int = 0) -> Batch:
    number = len(ts)
    return Batch(
        kind=COVER.name,
        device_no=np.array(device_no or [1] * number, np.int32),
        ts=np.array(ts, np.int64),
        rx=np.array(ts, np.int64),
        seq=np.arange(number),
        values=np.array([[metric.rest] * number for metric in COVER.reals], np.float32),
        exact=np.array([[m.rest] * number for m in COVER.exacts]).reshape(-1, number),
        quality=np.full(number, quality, np.int16),
        now=max(ts),
    )


def left_out(parts: list[list[int]], quality: int = 0) -> list[bool]:
    stage, found = Order(), []
    for ts in parts:
        one = batch(ts, quality=quality)
        stage.apply(one)
        found += (one.quality & int(Quality.NOT_EVALUATED) != 0).tolist()
    return found


FLOOD = [START + i * 10_000 for i in range(250)]  # a hundred a second


@pytest.mark.parametrize("size", [1, 7, 30, 250])
@pytest.mark.parametrize("quality", [0, int(Quality.CLOCK_SUSPECT)])
def test_twenty_rows_of_each_second_are_stepped_however_they_were_cut(
    size: int, quality: int
) -> None:
    parts = [FLOOD[start : start + size] for start in range(0, 250, size)]
    assert left_out(parts, quality) == [i % 100 >= STEPS_A_SECOND for i in range(250)]


def test_a_burst_of_a_shaken_cover_is_stepped_row_by_row() -> None:
    assert not any(left_out([[START + i * 100_000 for i in range(100)]]))


def test_one_device_s_flood_leaves_the_others_alone() -> None:
    stage = Order()
    both = batch([at for at in FLOOD for _ in (1, 2)], [1, 2] * 250)
    both.ts[1::2] = START + np.arange(250) * SECOND
    stage.apply(both)
    marked = both.quality & int(Quality.NOT_EVALUATED) != 0
    assert marked[0::2].sum() == 250 - 3 * STEPS_A_SECOND
    assert not marked[1::2].any()


def test_16_a_second_of_5000_rows_of_one_device_takes_the_detectors_less_than_a_second() -> None:
    flood = batch([START + i * 200 for i in range(5_000)])
    stages = build_stages(COVER, {})
    start = time.perf_counter()
    for stage in stages:
        stage.apply(flood)
    assert time.perf_counter() - start < 1.0
