"""Resting devices: deterministic, within their description, and asleep when they should be."""

import json
from datetime import UTC, datetime
from hashlib import blake2b

import pytest

from core.model import to_micros
from devices import KINDS, DeviceKind
from devices.kind import Metric
from devices.native import encode_record
from simulators.physics.lamp import burnt_hours
from simulators.rest import RestingDevice
from simulators.sun import elevation

START = to_micros(datetime(2026, 7, 1, 4, tzinfo=UTC))
SECOND = 1_000_000
ALL = pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)

PINNED = {  # a changed hash needs a reason in the change that changes it
    "manhole_cover": "e8778a714e1fdcd9",
    "street_lamp": "c38f8a87e013cb96",
    "sanitation_vehicle": "68bf9745fe93a5c4",
    "sanitation_worker": "02684a2e2d3b071b",
    "water_gauge": "09aa1866cfa790cb",
    "video_endpoint": "375f2aad1b2dd9f7",
}


def stream(kind: DeviceKind, device_id: str, seed: int = 7, records: int = 50) -> bytes:
    device = RestingDevice(kind, device_id, seed=seed)
    every = round(kind.interval_s) * SECOND
    return b"\n".join(
        encode_record(kind, device.values(at), ts_micros=at, seq=seq)
        for seq, at in enumerate(range(START, START + records * every, every))
    )


@ALL
def test_the_same_seed_gives_the_same_bytes(kind: DeviceKind) -> None:
    assert stream(kind, "sim-1") == stream(kind, "sim-1")
    assert stream(kind, "sim-1") != stream(kind, "sim-1", seed=8)
    assert stream(kind, "sim-1") != stream(kind, "sim-2")


@pytest.mark.parametrize("name", PINNED)
def test_the_bytes_of_our_kinds_are_pinned(name: str) -> None:
    assert blake2b(stream(KINDS[name], "sim-1"), digest_size=8).hexdigest() == PINNED[name]


@ALL
def test_every_metric_is_there_and_within_its_range(kind: DeviceKind) -> None:
    for line in stream(kind, "sim-1", records=200).splitlines():
        record = json.loads(line)
        for metric in kind.metrics:
            assert metric.low <= record[metric.name] <= metric.high


@ALL
def test_a_resting_device_scatters_around_its_rest(kind: DeviceKind) -> None:
    device = RestingDevice(kind, "sim-1", seed=3)
    rows = [device.values(START + n * SECOND) for n in range(500)]
    for metric in kind.metrics:
        if metric.grows or metric.unit == "Cel":
            continue
        mean = sum(row[metric.name] for row in rows) / len(rows)
        assert abs(mean - metric.rest) <= 4 * metric.noise + 1e-9


def test_a_counter_grows_by_its_rest_in_each_interval() -> None:
    kind = KINDS["street_lamp"]
    device = RestingDevice(kind, "sim-1", seed=7)
    first = device.values(START)["energy"]
    later = device.values(START + 10 * round(kind.interval_s) * SECOND)["energy"]
    assert later - first == pytest.approx(10 * kind.metric("energy").rest)


def test_a_counter_goes_on_after_a_restart() -> None:
    kind = KINDS["street_lamp"]
    before = RestingDevice(kind, "sim-1", seed=7).values(START)["energy"]
    after = RestingDevice(kind, "sim-1", seed=7).values(START + 60 * SECOND)["energy"]
    assert after > before


def test_a_kind_that_nobody_foresaw_rests_too() -> None:
    text = KINDS["water_gauge"].label
    kind = DeviceKind(
        name="waste_bin",
        label=text,
        id_prefix="WB",
        class_code="0305",
        interval_s=60,
        metrics=(Metric("fill", "%", text, low=0, high=100, rest=99, noise=3),),
    )
    values = [RestingDevice(kind, f"sim-{n}", seed=1).values(START)["fill"] for n in range(50)]
    assert max(values) == 100
    assert min(values) > 80


def test_the_sun_is_high_at_noon_in_june_and_low_at_night() -> None:
    noon = to_micros(datetime(2026, 6, 21, 4, 30, tzinfo=UTC))
    midnight = to_micros(datetime(2026, 6, 21, 16, 30, tzinfo=UTC))
    assert elevation(noon, 111.78, 37.26) == pytest.approx(76, abs=1)
    assert elevation(midnight, 111.78, 37.26) == pytest.approx(-29, abs=1)


def test_a_lamp_burns_longer_in_december_than_in_june() -> None:
    def night(month: int) -> float:
        day = to_micros(datetime(2026, month, 20, tzinfo=UTC)) / 86_400e6 + 0.5
        return burnt_hours(day + 1, 37.3) - burnt_hours(day, 37.3)

    assert night(12) - night(6) > 4
