"""What the water does in the simulator, and what the stages of service make of gauges that lie."""

import numpy as np
import pytest

from analytics.stages import build_stages
from core.batch import Finding
from core.model import Severity
from devices import KINDS
from simulators.city import build_city
from simulators.hydrology import waters
from simulators.physics.catchment import Dam, Storm, reservoir, stage
from simulators.stream import Stream
from tests.batches import START, news
from tests.judging import judge_messages, number_devices

KIND = KINDS["water_gauge"]
MINUTE = 60_000_000


def play(
    name: str, *, lasts_s: float, gauges: int = 3
) -> tuple[list[Finding], str, dict[str, int]]:
    """Return what the stages find while a scene plays at a few gauges; they report each 5 min."""
    city = build_city(7, components=0, intervals={"water_gauge": 300.0})
    devices = waters(city.devices).gauges[:gauges]
    stream = Stream(devices, seed=7, start=START)
    begin = START + 300 * MINUTE
    messages = list(stream.until(begin))
    performance = stream.begin(name, begin, lasts_s=lasts_s)
    messages += stream.until(begin + round(lasts_s * 1e6) + 120 * MINUTE)
    numbers = number_devices(messages, KIND.name)
    limits = {numbers[device.device_id]: device.limits for device in devices}
    found = judge_messages(build_stages(KIND, limits), KIND, messages, numbers)
    return news(found), performance.cast.node, numbers


def rules(findings: list[Finding], device_no: int) -> set[str]:
    return {each.rule_id for each in findings if each.device_no == device_no}


def test_a_storm_climbs_the_ladder_at_the_dam_and_runs_down_the_river() -> None:
    findings, node, numbers = play("storm_cascade", lasts_s=28_800)
    ladder = [each for each in findings if each.detector == "limits"]
    dam = [each.severity for each in ladder if each.device_no == numbers[node]]
    assert dam[:3] == [Severity.YELLOW, Severity.ORANGE, Severity.RED]
    assert dam[3:] == [Severity.ORANGE, Severity.YELLOW, Severity.YELLOW]
    rises = {each.device_no: each.ts for each in findings if each.rule_id == "rise_rate"}
    assert set(rises) == set(numbers.values())
    assert {each.rule_id for each in findings} == {"level_ladder", "rise_rate"}


def test_a_frozen_gauge_is_told_within_twelve_rows_while_its_neighbours_rise() -> None:
    findings, node, numbers = play("gauge_frozen", lasts_s=7_200)
    assert rules(findings, numbers[node]) == {"frozen"}
    first = next(each for each in findings if each.rule_id == "frozen")
    assert first.ts - (START + 300 * MINUTE) <= 12 * 5 * MINUTE
    beside = [no for device, no in numbers.items() if device != node]
    assert any("rise_rate" in rules(findings, no) for no in beside)


def test_a_gauge_in_centimetres_is_no_flood() -> None:
    findings, node, numbers = play("gauge_unit_slip", lasts_s=3_600)
    told = [(each.rule_id, each.edge.value) for each in findings]
    assert told == [("payload_invalid", "open"), ("payload_invalid", "clear")]
    assert {each.device_no for each in findings} == {numbers[node]}


def test_spikes_are_kept_as_history_and_raise_nothing() -> None:
    findings, node, numbers = play("gauge_spikes", lasts_s=14_400)
    assert rules(findings, numbers[node]) == {"spike"}
    assert len(findings) == 12


def test_a_drifting_gauge_alone_raises_nothing() -> None:
    findings, *_ = play("gauge_drift", lasts_s=180_000, gauges=1)
    assert {each.rule_id for each in findings} <= {"drift_suspect"}


def test_a_reservoir_keeps_all_water() -> None:
    inflow = np.concatenate([np.full(60, 3.0), np.zeros(3000)])
    out = reservoir(inflow, step=60, k=7200, lag=600)
    assert out.sum() == pytest.approx(inflow.sum(), rel=1e-3)
    assert out.argmax() > inflow.argmax()
    assert out.max() < inflow.max()


def test_a_dam_stores_passes_on_and_never_runs_below_empty() -> None:
    inflow = np.concatenate([np.full(120, 8.0), np.zeros(6000)])
    dam = Dam(area=20_000, crest=1.0, outlet=1.0, spillway=4.0)
    level, out = dam.pass_on(inflow, step=60)
    stored = level[-1] * dam.area
    assert (out.sum() * 60 + stored) == pytest.approx(inflow.sum() * 60, rel=1e-6)
    assert level.max() > dam.crest
    assert (level >= 0).all()


def test_a_storm_rains_most_where_it_passes_and_only_while_it_lasts() -> None:
    storm = Storm(peak=60, radius=1000, lasts=3600, start=(0, 0), speed=(1, 0))
    seconds = np.arange(0.0, 7200, 60)
    assert storm.rain(seconds, 1800, 0).max() > 10 * storm.rain(seconds, 1800, 3000).max()
    assert storm.rain(seconds, 1800, 0)[seconds > 3600].max() == 0


def test_the_river_stands_higher_the_more_it_carries() -> None:
    rise = stage(np.array([0.0, 5.0, 50.0]), base=3.5, depth=1.4)
    assert rise[0] == 0
    assert rise[0] < rise[1] < rise[2]
