import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from analytics.stages import build_stages
from analytics.stages.ongoing import FLAG
from core.batch import Finding
from core.model import Edge, Quality, Severity
from devices import KINDS
from tests.batches import HOUR, SECOND, START, Row, judge, news, told

COVER = KINDS["manhole_cover"]
STREAMS = Path(__file__).parents[2].parent / "shared" / "streams" / "synthetic"
MINUTE = 60 * 1_000_000


def lying(
    count: int, *, seed: int = 1, turned: float = 0.0, at: int = START, tilt: float | None = None
) -> list[Row]:
    """Rows of a cover that lies still, turned about its x axis by some degrees."""
    noise = np.random.default_rng(seed).normal(0, 5, (count, 3))
    angle = math.radians(turned)
    gravity = np.array([12.0, 1000 * math.sin(angle), 1000 * math.cos(angle)])
    own = turned + 0.5 if tilt is None else tilt
    return [
        Row(
            3,
            at + n * MINUTE,
            {
                "ax": gravity[0] + noise[n, 0],
                "ay": gravity[1] + noise[n, 1],
                "az": gravity[2] + noise[n, 2],
                "tilt": own,
                "temp": 15.0,
            },
        )
        for n in range(count)
    ]


def find(*parts: list[Row]) -> list[Finding]:
    """Judge parts one after the other in time."""
    rows: list[Row] = []
    for part in parts:
        shift = rows[-1].ts + MINUTE - part[0].ts if rows else 0
        rows += [Row(r.device_no, r.ts + shift, r.values, r.quality) for r in part]
    return judge(build_stages(COVER, {}), COVER, rows)


def test_the_devices_own_tilt_opens_at_once_and_needs_no_reference() -> None:
    found = find([Row(3, START, {"tilt": 95})])
    assert told(found) == [("cover_open", "open")]
    assert found[0].severity is Severity.RED
    assert found[0].value == 95
    assert found[0].limit == 90
    assert found[0].flags == ()
    assert found[0].explain.zh == "倾角 95° ≥ 90°"
    assert found[0].explain.en == "Tilt 95° at or above 90°"


def test_it_clears_when_the_cover_is_back_at_rest() -> None:
    found = find([Row(3, START, {"tilt": 95})], lying(3))
    assert told(found) == [("cover_open", "open"), ("cover_open", "clear")]
    assert found[1].first_ts == START


def test_one_quiet_row_of_a_device_that_wakes_opens_unconfirmed() -> None:
    found = find(lying(20), lying(1, turned=45))
    assert told(found) == [("cover_open", "open")]
    assert found[0].flags == ("unconfirmed",)
    assert found[0].confidence < 1


def test_a_second_agreeing_row_confirms() -> None:
    found = find(lying(20), lying(2, turned=45))
    assert told(found) == [("cover_open", "open"), ("cover_open", "update")]
    assert found[1].flags == ()
    assert found[1].first_ts == found[0].ts
    assert found[1].value == pytest.approx(45, abs=1)


def test_a_row_back_at_rest_takes_it_back() -> None:
    found = find(lying(20), lying(1, turned=45), lying(1))
    assert told(found) == [("cover_open", "open"), ("cover_open", "clear")]


def test_without_a_reference_the_devices_own_tilt_is_asked() -> None:
    found = find(lying(2, turned=45))
    assert [(f.edge.value, f.flags) for f in found] == [("open", ("unconfirmed",)), ("update", ())]


def test_gravity_alone_needs_two_agreeing_rows() -> None:
    still = lying(20, tilt=float("nan"))
    assert find(still, lying(1, turned=45, tilt=float("nan"))) == []
    found = find(still, lying(2, turned=45, tilt=float("nan")))
    assert told(found) == [("cover_open", "open")]


def test_a_shift_is_found_and_clears_when_put_right() -> None:
    found = find(lying(100), lying(30, turned=4, seed=2), lying(40, seed=3))
    assert told(found) == [("cover_shift", "open"), ("cover_shift", "clear")]
    assert found[0].value == pytest.approx(4, abs=0.5)
    assert found[0].severity is Severity.ORANGE


def test_slow_settling_is_told_from_a_shift() -> None:
    slope = [lying(1, seed=n, turned=n / 60) for n in range(400)]
    found = find(lying(100), *slope)
    assert told(found) == [("cover_settling", "open")]


def test_a_change_of_temperature_raises_nothing() -> None:
    rows = lying(2000)
    for n, row in enumerate(rows):
        warm = 10 * math.sin(n / 200)
        row.values.update({"temp": 15 + warm, "ay": row.values["ay"] + 17.5 * 0.05 * warm})
    assert find(rows) == []


def test_lorries_never_alarm() -> None:
    chance = np.random.default_rng(11)
    rows = lying(3000)
    for row in rows[100:]:
        if chance.random() < 0.3:
            push = chance.normal(0, 1, 3) * (0.5, 0.5, 1) * chance.uniform(50, 500)
            for name, more in zip(("ax", "ay", "az"), push, strict=True):
                row.values.update({name: row.values[name] + more})
    assert find(rows) == []


@pytest.mark.parametrize("learnt", [0, 1, 30])
def test_a_burst_of_shaken_rows_is_one_movement_and_raises_nothing(learnt: int) -> None:
    chance = np.random.default_rng(12)
    rows = lying(learnt)
    at = START + HOUR
    for burst in range(60):
        shaken = lying(9, seed=burst, at=at)
        for n, row in enumerate(shaken[:-1]):  # the last one lies at rest again
            push = chance.normal(0, 1, 3) * (0.5, 0.5, 1)
            push *= chance.uniform(50, 500) / np.linalg.norm(push)
            for name, more in zip(("ax", "ay", "az"), push, strict=True):
                row.values.update({name: row.values[name] + more})
            rows.append(Row(row.device_no, at + n * MINUTE // 600, row.values))
        rows.append(Row(3, at + 8 * MINUTE // 600, shaken[-1].values))
        at += MINUTE
    assert judge(build_stages(COVER, {}), COVER, rows) == []


def test_a_cover_that_begins_its_life_under_traffic_waits_for_calm() -> None:
    chance = np.random.default_rng(13)
    rows = lying(40)
    for row in rows[:20]:
        for name in ("ax", "ay"):
            row.values.update({name: row.values[name] + chance.choice((-1, 1)) * 150})
    assert find(rows) == []
    assert told(find(rows, lying(2, turned=30)))[0] == ("cover_open", "open")


def test_nothing_is_learnt_inside_an_episode() -> None:
    found = find(lying(100), lying(500, turned=30, seed=2), lying(2, seed=3), lying(2, turned=30))
    assert told(found) == [
        ("cover_open", "open"),
        ("cover_open", "update"),
        ("cover_open", "clear"),
        ("cover_open", "open"),
        ("cover_open", "update"),
    ]


def test_a_wrong_clock_hides_no_open_cover_and_tells_it_once() -> None:
    wrong = int(Quality.CLOCK_SUSPECT)
    found = find([Row(3, START + n * HOUR, {"tilt": 95}, wrong) for n in range(3)])
    opened = [finding for finding in news(found) if finding.rule_id == "cover_open"]
    assert [(f.edge, f.flags) for f in opened] == [(Edge.OPEN, ("clock_suspect",))]


def test_the_labelled_covers_are_found_and_no_quiet_one_is() -> None:
    if not STREAMS.is_dir():
        pytest.skip(f"the labelled streams are not at {STREAMS}")
    with (STREAMS / "covers.csv").open() as lines:
        table = list(csv.DictReader(lines))
    labels = json.loads((STREAMS / "labels.json").read_text())["covers.csv"]
    names = sorted(labels)
    rows = [
        Row(
            names.index(line["cover"]),
            int(line["ts"]) * 1_000_000,
            {name: 1000 * float(line[name]) for name in ("ax", "ay", "az")}
            | {"temp": float(line["temp"])},
        )
        for line in sorted(table, key=lambda line: int(line["ts"]))
    ]
    found = judge(build_stages(COVER, {}), COVER, rows, cuts=range(5000, len(rows), 5000))
    opened = {
        name: [f for f in found if f.edge is Edge.OPEN and names[f.device_no] == name]
        for name in names
    }
    events = {
        name: spans[0] for name, spans in labels.items() if spans and spans[0]["kind"] != "rock"
    }
    hits = [
        name
        for name, event in events.items()
        if any(f.kind == event["kind"] and f.ts >= event["start"] * 1e6 for f in opened[name])
    ]
    early = [
        name
        for name, event in events.items()
        if any(f.ts < event["start"] * 1e6 for f in opened[name])
    ]
    false = [name for name in names if name not in events and opened[name]]
    assert (len(hits), early, false) == (len(events), [], [])
    assert len(events) == 15


def test_an_open_cover_that_speaks_again_is_told_again() -> None:
    found = find([Row(3, START + at * SECOND, {"tilt": 95}) for at in (0, 1, 2, 10, 11)])
    assert [(f.edge.value, (f.ts - START) // SECOND) for f in found] == [
        ("open", 0),
        ("update", 10),
    ]
    assert found[1].flags == (FLAG,)
    assert found[1].explain.en == "Tilt 95° at or above 90°, and goes on"


def test_a_cover_laid_back_in_silence_is_not_told_again() -> None:
    rows = [Row(3, START, {"tilt": 95}), *lying(3, at=START + HOUR)]
    assert [finding.edge.value for finding in find(rows)] == ["open", "clear"]


def test_a_cover_that_stays_shifted_is_told_again() -> None:
    found = find(lying(80), lying(60, turned=5.0))
    assert told(found) == [("cover_shift", "open")]
    assert len(found) > 50
    assert {finding.flags for finding in found[1:]} == {(FLAG,)}
