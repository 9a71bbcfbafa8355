"""What every scene keeps, and what the detectors make of it: a new scene is checked unasked."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from analytics.stages import build_stages
from core.batch import Finding
from core.errors import ConflictError, NotFoundError
from core.model import Edge, Severity, to_micros
from devices import KINDS
from devices.rules import find_rule
from simulators.city import City, build_city
from simulators.scenes import SCENES, Scene
from simulators.stream import Message, Stream, hash_of
from simulators.truth import TruthFile, read_truth
from tests.judging import judge_messages, number_devices

START = to_micros(datetime(2026, 7, 1, 14, tzinfo=UTC))
MINUTE = 60_000_000
PINNED = {  # a changed hash needs a reason in the change that changes it
    "cover_stolen": "c465f7085c16a324eb3f79f51b206b64",
    "lorries": "4adf757681b9ecda5a7de44d9d2ae3e7",
    "feeder_outage": "1bf386478f2db7f98e7a76af1d983b47",
    "river_rising": "4a6ca69558226294f4af3f72ad13274e",
    "gateway_silent": "6651b79aeb3137f3a4c95dd563137345",
    "storm_cascade": "df0a2c5497e54b54eae25f85c7908134",
    "gauge_frozen": "02d094add7298730078268b20a88d221",
    "gauge_unit_slip": "683d6edc1ee8417e554f22bac3d12aa7",
    "gauge_spikes": "6846f58e7ec3cf71afae31ef991e82cc",
    "gauge_drift": "f66c27bfa6383e08a0dbd6b31cfe8471",
}
ALL = pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)


@pytest.fixture(scope="module")
def city() -> City:
    return build_city(7, components=0)


@pytest.fixture(scope="module")
def street(city: City) -> City:
    """A few covers of the city, so that hours of them are soon over."""
    covers = [device for device in city.devices if device.kind == "manhole_cover"]
    return replace(city, devices=covers[:50])


def perform(
    city: City,
    name: str,
    *,
    before_min: int = 70,
    lasts_s: float = 600,
    after_min: int = 5,
    truth: TruthFile | None = None,
    **parameters: float,
) -> tuple[list[Message], list[str]]:
    """Return all messages of the scene's kind, from long before until after it, and its devices."""
    kind = SCENES[name].kind
    devices = [device for device in city.devices if device.kind == kind]
    stream = Stream(devices, seed=7, start=START, truth=truth)
    messages = list(stream.until(START + before_min * MINUTE))
    begin = START + before_min * MINUTE
    performance = stream.begin(name, begin, lasts_s=lasts_s, parameters=parameters)
    messages += stream.until(begin + round(lasts_s * 1e6) + after_min * MINUTE)
    return messages, list(performance.cast.devices)


def find(city: City, name: str, messages: list[Message]) -> tuple[list[Finding], dict[str, int]]:
    kind = KINDS[SCENES[name].kind]
    numbers = number_devices(messages, kind.name)
    limits: Mapping[int, Mapping[str, Any]] = {
        numbers[device.device_id]: device.limits
        for device in city.devices
        if device.device_id in numbers and device.limits
    }
    return judge_messages(build_stages(kind, limits), kind, messages, numbers), numbers


@ALL
def test_a_scene_says_what_must_and_what_must_not_follow(scene: Scene) -> None:
    assert scene.must_not
    assert scene.kind in KINDS
    assert scene.about.zh != scene.about.en
    rules = {each["rule"] for each in (*scene.must, *scene.must_not)}
    kinds = (scene.kind, "gateway", "feeder")
    assert all(any(find_rule(kind, rule) for kind in kinds) for rule in rules)


def test_a_scene_that_says_not_what_must_not_follow_is_refused() -> None:
    with pytest.raises(ValueError, match="must not follow"):
        replace(SCENES["lorries"], must_not=())


@ALL
def test_the_same_scene_gives_the_same_bytes(city: City, scene: Scene) -> None:
    one, _ = perform(city, scene.name, before_min=2, lasts_s=120)
    two, _ = perform(city, scene.name, before_min=2, lasts_s=120)
    assert hash_of(one) == hash_of(two)


@ALL
def test_a_scene_changes_nobody_elses_bytes(city: City, scene: Scene) -> None:
    devices = [device for device in city.devices if device.kind == scene.kind]
    messages, players = perform(city, scene.name, before_min=2, lasts_s=120, after_min=0)
    quiet = Stream(devices, seed=7, start=START).until(START + 4 * MINUTE)

    def others(stream: list[Message]) -> str:
        return hash_of(each for each in stream if each.topic.split("/")[1] not in players)

    assert others(messages) == others(list(quiet))


@ALL
def test_messages_come_in_order_of_time_and_counter(city: City, scene: Scene) -> None:
    messages, _ = perform(city, scene.name, before_min=2, lasts_s=300)
    keys = [(message.at, message.order) for message in messages]
    assert keys == sorted(keys)
    counters: dict[int, int] = {}
    for message in messages:
        seq = json.loads(message.payload)["seq"]
        assert seq == counters.get(message.order, seq - 1) + 1
        counters[message.order] = seq


@ALL
def test_the_truth_is_written_before_and_after(city: City, scene: Scene, tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    _, players = perform(
        city, scene.name, before_min=1, lasts_s=60, after_min=2, truth=TruthFile(path)
    )
    assert len(path.read_text("utf-8").splitlines()) == 2
    (line,) = read_truth(path).values()
    assert line["devices"] == players
    assert line["cause"] == scene.cause
    assert line["must_not"]
    assert line["end"] > line["start"]


@ALL
def test_a_scene_that_is_over_leaves_healthy_devices(city: City, scene: Scene) -> None:
    messages, players = perform(city, scene.name, before_min=1, lasts_s=60, after_min=4)
    last = {message.topic.split("/")[1]: message for message in messages}
    for player in players:
        assert last[player].at > START + 2 * MINUTE
        record = json.loads(last[player].payload)
        assert record.get("tilt", 0) < 5


def test_a_thousand_shocks_of_lorries_raise_nothing(street: City) -> None:
    messages, players = perform(street, "lorries", lasts_s=1200, count=50, shocks=1000)
    findings, _ = find(street, "lorries", messages)
    shaken = [
        record
        for message in messages
        if message.topic.split("/")[1] in players
        and "ax" in (record := json.loads(message.payload))
        and abs(record["ax"]) + abs(record["ay"]) + abs(record["az"] - 1000) > 100
    ]
    assert len(shaken) > 900
    assert [finding.explain.en for finding in findings] == []


def test_lorries_push_with_at_most_half_a_g(city: City) -> None:
    messages, _ = perform(city, "lorries", before_min=1, lasts_s=300, shocks=300)
    for message in messages:
        record = json.loads(message.payload)
        push = (record["ax"] - 12) ** 2 + (record["ay"] + 8) ** 2 + (record["az"] - 1000) ** 2
        assert push**0.5 < 500 + 50  # noise besides


def test_a_stolen_cover_cries_once_and_is_never_heard_again(city: City) -> None:
    messages, (player,) = perform(city, "cover_stolen", before_min=2, lasts_s=600, after_min=0)
    said = [message for message in messages if message.topic.split("/")[1] == player]
    theft = [message for message in said if message.at >= START + 2 * MINUTE]
    assert [message.topic.rpartition("/")[2] for message in theft] == ["telemetry", "event"]
    row = json.loads(theft[0].payload)
    assert row["tilt"] == pytest.approx(63, abs=2)
    norm = (row["ax"] ** 2 + row["ay"] ** 2 + row["az"] ** 2) ** 0.5
    assert norm == pytest.approx(1000, abs=25)
    event = json.loads(theft[1].payload)
    assert (event["e"], event["on"]) == ("cover_open", True)


@pytest.mark.parametrize("before_min", [2, 70], ids=["not learnt", "learnt"])
def test_a_stolen_cover_is_found_open_and_nothing_else(street: City, before_min: int) -> None:
    messages, (player,) = perform(street, "cover_stolen", before_min=before_min, after_min=0)
    findings, numbers = find(street, "cover_stolen", messages)
    assert {finding.rule_id for finding in findings} == {"cover_open"}
    assert {finding.device_no for finding in findings} == {numbers[player]}
    assert max(finding.severity for finding in findings) is Severity.RED


def test_a_cover_laid_back_is_seen_at_rest(street: City) -> None:
    messages, _ = perform(street, "cover_stolen", lasts_s=300, after_min=3)
    findings, _ = find(street, "cover_stolen", messages)
    assert {finding.rule_id for finding in findings} == {"cover_open"}
    assert findings[-1].edge is Edge.CLEAR


def test_a_rising_river_climbs_the_ladder_once(city: City) -> None:
    messages, (player,) = perform(city, "river_rising", lasts_s=1800, after_min=10)
    findings, numbers = find(city, "river_rising", messages)
    assert {finding.rule_id for finding in findings} == {"level_ladder", "rise_rate"}
    ladder = [finding for finding in findings if finding.detector == "limits"]
    assert {finding.device_no for finding in findings} == {numbers[player]}
    assert [finding.edge for finding in ladder].count(Edge.OPEN) == 1
    assert max(finding.severity for finding in ladder) is Severity.RED
    assert ladder[-1].edge is Edge.CLEAR


@pytest.mark.parametrize(
    ("name", "count"), [("feeder_outage", 60), ("gateway_silent", 40)], ids=["feeder", "gateway"]
)
def test_an_outage_silences_all_its_devices_and_no_other(city: City, name: str, count: int) -> None:
    messages, players = perform(city, name, before_min=3, lasts_s=240, after_min=0)
    during = {
        message.topic.split("/")[1] for message in messages if message.at >= START + 3 * MINUTE
    }
    devices = {device.device_id for device in city.devices if device.kind == SCENES[name].kind}
    assert len(players) == count
    assert during == devices - set(players)


@pytest.fixture(scope="module")
def dam(city: City) -> City:
    """Two points of a dam that report every six hours, so that months of them are soon over."""
    points = [device for device in city.devices if device.kind == "displacement_point"]
    return replace(city, devices=[replace(point, interval_s=21_600.0) for point in points[:2]])


def test_a_failing_slope_is_red_two_days_before_it_fails(dam: City) -> None:
    lasts_s = SCENES["slope_failing"].lasts_s
    messages, (player,) = perform(
        dam, "slope_failing", before_min=40 * 1440, lasts_s=lasts_s, after_min=0
    )
    findings, numbers = find(dam, "slope_failing", messages)
    red = [finding for finding in findings if finding.severity is Severity.RED]
    accelerating = [f for f in findings if f.rule_id == "slope_acceleration"]
    (must,) = SCENES["slope_failing"].must
    assert {finding.device_no for finding in accelerating} == {numbers[player]}
    assert [finding.edge for finding in accelerating].count(Edge.OPEN) == 1
    begin = START + 40 * 1440 * MINUTE
    assert begin < min(f.ts for f in red if f in accelerating)
    assert min(f.ts for f in red if f in accelerating) <= begin + must["within_s"] * 1e6


def test_rain_steps_of_a_slope_warn_of_no_failure(dam: City) -> None:
    messages, _ = perform(dam, "slope_rain", before_min=40 * 1440, lasts_s=75 * 86_400, after_min=0)
    findings, _ = find(dam, "slope_rain", messages)
    assert {finding.rule_id for finding in findings} <= {"dam_displacement"}


def test_a_cover_that_settles_is_told_once(street: City) -> None:
    few = replace(street, devices=street.devices[:3])
    messages, (player,) = perform(few, "cover_settling", before_min=120, lasts_s=8 * 3600)
    findings, numbers = find(few, "cover_settling", messages)
    opened = [finding for finding in findings if finding.edge is Edge.OPEN]
    assert [(f.rule_id, f.device_no) for f in opened] == [("cover_settling", numbers[player])]


def test_a_cover_that_rocks_is_told_apart_from_one_that_moves(street: City) -> None:
    few = replace(street, devices=street.devices[:3])
    messages, (player,) = perform(few, "cover_rocking", before_min=70, lasts_s=3600)
    findings, numbers = find(few, "cover_rocking", messages)
    assert {(f.rule_id, f.device_no) for f in findings} == {("cover_rocking", numbers[player])}


def test_unknown_scenes_targets_and_parameters_are_named(city: City) -> None:
    stream = Stream(city.devices, seed=7, start=START)
    with pytest.raises(NotFoundError, match="there is no scene 'earthquake'"):
        stream.begin("earthquake", START)
    with pytest.raises(NotFoundError, match="there is no feeder 'sim-FD-99'"):
        stream.begin("feeder_outage", START, target="sim-FD-99")
    with pytest.raises(NotFoundError, match="no parameter 'depth'"):
        stream.begin("lorries", START, parameters={"depth": 1})


def test_scenes_mix_but_never_twice_at_one_device(city: City) -> None:
    stream = Stream(city.devices, seed=7, start=START)
    stream.begin("cover_stolen", START, target="sim-MH-0001")
    stream.begin("gateway_silent", START, target="sim-GW-01")
    stream.begin("cover_stolen", START, target="sim-MH-0002")
    with pytest.raises(ConflictError, match="already on"):
        stream.begin("cover_stolen", START, target="sim-MH-0001")
    assert len(stream.on) == 3
    assert len(stream.repair("sim-MH-0001", START)) == 2
    assert len(stream.on) == 1


def test_after_a_long_sleep_devices_report_anew_and_catch_up_nothing(city: City) -> None:
    stream = Stream(city.devices, seed=7, start=START)
    stream.begin("lorries", START, lasts_s=600)
    later = START + 60 * MINUTE
    stream.skip_to(later)
    messages = list(stream.until(later + MINUTE))
    assert not stream.on
    assert min(message.at for message in messages) >= later
    assert len(messages) > 3000


@pytest.mark.parametrize("name", PINNED)
def test_the_bytes_of_our_scenes_are_pinned(city: City, name: str) -> None:
    messages, _ = perform(city, name, before_min=2, lasts_s=120, after_min=1)
    assert hash_of(messages) == PINNED[name]
