"""``cityhub bench analytics``: what the detector of unusual behaviour costs, on one core.

Random readings among many series, which is the worst case for the caches, through the stage of
service, full and lite; a plain Python loop of NAB's windowed Gaussian in the same run, so that the
ratio means something on any machine; and how long the state of all series takes to be copied,
written and read. Times are CPU seconds of one thread: a shared machine lends its core to others.
"""

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from math import erfc, sqrt
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analytics.stages.rarity import FULL, LITE, Form, Pace, Rarity
from cityhub.bench.goals import judge
from core.batch import Batch
from core.model import Text
from devices.kind import DeviceKind, Metric
from ingest.state_files import open_state, write_state

_KIND: Final = DeviceKind(
    name="bench",
    label=Text("测试", "Bench"),
    id_prefix="BE",
    class_code="",
    interval_s=300,
    metrics=(Metric("value", "1", Text("值", "Value"), low=-1e9, high=1e9, rest=0, noise=1),),
)
_PACE: Final = Pace(period_s=300, mute_s=259_200, zone="Asia/Shanghai")
_START: Final = 1_780_000_000_000_000
_PERIOD: Final = 300_000_000
_GAUSSIAN_ROWS: Final = 4_032  # two weeks at five minutes, the length of many a NAB file
_GAUSSIAN_WINDOW: Final = 6_400
_TOUCHED: Final = 2
_PART: Final = 8 << 20
"""Bytes that are copied behind a batch, as ingest does."""


def run(*, series: int, batch: int, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the bench; return the report.

    Args:
        series: How many series there are.
        batch: How many readings a batch has, each of any series.
        rounds: How many batches are timed, for each form.
        say: Takes a word on what is going on.
    """
    report: dict[str, Any] = {
        "series": series,
        "batch": batch,
        "rounds": rounds,
        "clock": "CPU seconds of one thread",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version(), "numpy": version("numpy")},
    }
    gaussian = _gaussian()
    report["gaussian_us_per_point"] = gaussian * 1e6
    for form, name in ((LITE, "fast"), (FULL, "full")):
        say(f"{name}: {series:,} series learn")
        stage = Rarity(_KIND, ["value"], form, _PACE)
        times = _time(stage, series, batch, rounds)
        median = statistics.median(times)
        report |= {
            f"{name}_points_per_s": batch / median,
            f"{name}_points_per_s_best": batch / min(times),
            f"{name}_state_bytes": _bytes_of(form),
            f"{name}_over_gaussian": gaussian * batch / median,
        }
        say(f"{name}: {batch / median:,.0f} points/s")
        if form is FULL:
            report |= _keep(stage, say)
    report["goals"] = judge(report, bench="analytics")
    return report


def _time(stage: Rarity, series: int, batch: int, rounds: int) -> list[float]:
    """Return the seconds of each batch, after every series had some rows."""
    chance = np.random.default_rng(0)
    every = np.arange(series, dtype=np.int32)
    for n in range(_TOUCHED):
        for part in np.array_split(every, max(series // batch, 1)):
            stage.apply(_batch(chance, part, n))
    times = []
    for n in range(rounds):
        made = _batch(chance, chance.integers(0, series, batch).astype(np.int32), _TOUCHED + n)
        begun = time.thread_time()
        stage.apply(made)
        times.append(time.thread_time() - begun)
    return times


def _batch(chance: np.random.Generator, device_no: NDArray[np.int32], n: int) -> Batch:
    size = len(device_no)
    ts = _START + n * _PERIOD + chance.integers(0, _PERIOD, size)
    return Batch(
        kind=_KIND.name,
        device_no=device_no,
        ts=ts,
        rx=ts,
        seq=np.full(size, -1, np.int64),
        values=chance.standard_normal((1, size)).astype(np.float32),
        exact=np.empty((0, size)),
        quality=np.zeros(size, np.int16),
        now=int(ts.max()),
    )


def _bytes_of(form: Form) -> int:
    """Return what one series takes in memory."""
    stage = Rarity(_KIND, ["value"], form, _PACE)
    sizes = []
    for devices in (1, 2):
        stage.state.rows(np.arange(devices, dtype=np.int32))
        sizes.append(stage.freeze().size)
    return sizes[1] - sizes[0]


def _keep(stage: Rarity, say: Callable[[str], None]) -> dict[str, float]:
    """Return how long the state takes to be copied, written and read."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="cityhub-bench-") as folder:
        begun, computed = time.perf_counter(), time.thread_time()
        freezing = stage.freeze()
        pauses, complete = [], False
        while not complete:
            paused = time.perf_counter()
            complete = freezing.advance(_PART)
            pauses.append(time.perf_counter() - paused)
        frozen = freezing.frozen()
        figures["snapshot_pause_s"] = max(pauses)
        figures["snapshot_pause_median_s"] = statistics.median(pauses)
        figures["snapshot_copy_cpu_s"] = time.thread_time() - computed
        file = write_state(Path(folder), "bench.series.rarity.0", frozen)
        figures["snapshot_s"] = time.perf_counter() - begun
        figures["snapshot_bytes"] = float(frozen.size)
        del frozen, freezing
        fresh = Rarity(_KIND, ["value"], FULL, _PACE)
        begun, computed = time.perf_counter(), time.thread_time()
        fresh.load(open_state(Path(folder), file, frozen=True))
        figures["restore_s"] = time.perf_counter() - begun
        figures["restore_cpu_s"] = time.thread_time() - computed
    say(f"restored in {figures['restore_s']:.2f} s")
    return figures


def _gaussian() -> float:
    """Return the seconds a point of NAB's windowed Gaussian, the usual plain Python detector.

    Mean and deviation of the last rows are taken anew with each row until the window is full, as
    the published detector does it; a score is the tail of the normal distribution.
    """
    values = np.random.default_rng(1).standard_normal(_GAUSSIAN_ROWS).tolist()
    window: list[float] = []
    mean, deviation, total = 0.0, 1.0, 0.0
    begun = time.thread_time()
    for value in values:
        total += 1 - 0.5 * erfc(abs(value - mean) / (deviation * sqrt(2)))
        if len(window) < _GAUSSIAN_WINDOW:
            window.append(value)
            mean = float(np.mean(window))
            deviation = float(np.std(window)) or 1e-6
    spent = time.thread_time() - begun
    assert total > 0  # noqa: S101 - the loop is not optimised away
    return spent / len(values)
