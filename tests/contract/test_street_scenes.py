"""Streets left out are missed by name, a tunnel accuses nobody, a call for help waits not."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from analytics.coverage import Segment, cover, cut
from analytics.stages import build_stages
from analytics.track import LEAST_SATELLITES, Plane, Track, believable
from core.model import Edge, Severity, to_micros
from devices import KINDS
from simulators.city import City, build_city
from simulators.stream import Message, Stream
from tests.batches import news
from tests.judging import judge_messages, number_devices

DAY = datetime(2026, 6, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def city() -> City:
    return build_city(7, components=0)


def shift_with(city: City, scene: str) -> dict[str, Segment]:
    """Judge the first shift of one vehicle in a scene, by what it sent."""
    device = next(each for each in city.devices if each.kind == "sanitation_vehicle")
    plan = next(each for each in city.plans if each.device_id == device.device_id)
    hour, minute = map(int, plan.begins.split(":"))
    begin = to_micros(DAY + timedelta(hours=hour - 8, minutes=minute))
    end = begin + 4 * 3_600_000_000
    stream = Stream([device], seed=7, start=begin)
    stream.begin(scene, begin)
    paths = {each.segment_code: each.path for each in city.segments}
    plane = Plane(device.lon, device.lat)
    planned = {code: [list(point) for point in paths[code]] for code in plan.segments}
    return cover(
        cut(planned, plane), {"me": track(list(stream.until(end)), plane)}, "me", begin, end
    )


def track(messages: list[Message], plane: Plane) -> Track:
    """What a hub keeps of the positions sent."""
    rows = [
        body
        for body in (json.loads(each.payload) for each in messages)
        if "lon" in body and body["sats"] >= LEAST_SATELLITES
    ]
    x, y = plane.metres(*(np.array([row[name] for row in rows]) for name in ("lon", "lat")))
    return believable(
        Track(
            np.array([row["t"] * 1000 for row in rows]),
            x,
            y,
            np.array([row["brush"] + row["spray"] > 0 for row in rows]),
            np.array([row["acc"] > 0 for row in rows]),
        )
    )


def test_three_streets_are_missed_and_the_dry_one_is_told_apart(city: City) -> None:
    found = shift_with(city, "streets_missed")
    missed = {code: each for code, each in found.items() if each.verdict == "missed"}
    assert len(missed) == 3
    assert sorted(each.dry > 0.5 for each in missed.values()) == [False, False, True]


def test_a_tunnel_and_a_canyon_hide_streets_and_none_is_missed(city: City) -> None:
    verdicts = [each.verdict for each in shift_with(city, "gps_tunnel").values()]
    assert "missed" not in verdicts
    assert 1 <= verdicts.count("unknown") <= 6


def test_a_call_for_help_in_a_tunnel_is_red_at_once_with_the_last_position(city: City) -> None:
    kind = KINDS["sanitation_worker"]
    worker = next(each for each in city.devices if each.kind == kind.name)
    plan = next(each for each in city.plans if each.device_id == worker.device_id)
    hour, minute = map(int, plan.begins.split(":"))
    start = to_micros(DAY + timedelta(hours=hour - 8, minutes=minute))
    stream = Stream([replace(worker, interval_s=30.0)], seed=7, start=start)
    messages = list(stream.until(start + 600_000_000))
    begin = start + 600_000_000
    stream.begin("worker_sos", begin, target=worker.device_id)
    messages += stream.until(begin + 300_000_000)
    numbers = number_devices(messages, kind.name)
    found = news(judge_messages(build_stages(kind, {}), kind, messages, numbers))
    (call,) = [each for each in found if each.rule_id == "sos"]
    assert (call.severity, call.edge) == (Severity.RED, Edge.OPEN)
    assert call.ts - begin == 120_000_000
    positions = [json.loads(each.payload) for each in messages if b'"lon"' in each.payload]
    assert call.detail["last_lon"] == positions[-1]["lon"]
    age_s = call.ts / 1e6 - positions[-1]["t"] / 1e3
    assert call.detail["last_fix_age_s"] == pytest.approx(age_s)
    assert "最后有效位置" in call.explain.zh
