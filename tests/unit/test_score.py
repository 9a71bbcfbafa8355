"""The scorer is itself judged: by a perfect hub, a deaf hub, and a hub that always alarms."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.model import Severity
from simulators.scenes import SCENES
from simulators.score import Expectation, Raised, Score, judge
from simulators.score_hub import describe, tabulate
from simulators.truth import TruthFile, read_scenario, read_truth

START = datetime(2026, 5, 4, tzinfo=UTC)
DEVICES = [f"sim-MH-{n:04}" for n in range(50)]
DAYS = 7.0


def truth() -> list[dict[str, Any]]:
    """One cause of each scene, on devices of its own, an hour each."""
    lines = []
    for n, scene in enumerate(SCENES.values()):
        start = START + timedelta(hours=3 * n)
        lines.append(
            {
                "truth_id": f"T{n}",
                "cause": scene.cause,
                "kind": scene.kind,
                "node": f"node-{n}",
                "devices": [f"device-{n}-{m}" for m in range(3)],
                "start": start.isoformat(),
                "end": (start + timedelta(hours=1)).isoformat(),
                "must": [dict(must) for must in scene.must],
                "must_not": [dict(must_not) for must_not in scene.must_not],
            }
        )
    return lines


def scored(alarms: list[Raised], **more: Any) -> Score:
    more = {"devices": len(DEVICES), "days": DAYS, "findings": 100} | more
    return judge(truth(), alarms, **more)


def answer(expected: Expectation, after_s: float = 20.0) -> Raised:
    return Raised(
        device_id=expected.devices[0],
        rule_id=expected.rule_id,
        detector="limits",
        severity=expected.severity or Severity.YELLOW,
        audience="maintenance",
        started_at=expected.start,
        raised_at=expected.start + timedelta(seconds=after_s),
    )


def perfect() -> list[Raised]:
    return [answer(expected) for expected in scored([]).expectations]


def test_a_perfect_hub_has_full_marks() -> None:
    score = scored(perfect(), bounds={"recall": 1, "precision": 1, "false": 0, "delay_worst_s": 30})
    figures = score.figures()
    assert (figures["recall"], figures["precision"]) == (1, 1)
    assert (figures["delay_p50_s"], figures["delay_worst_s"]) == (20, 20)
    assert figures["false_per_100_device_days"] == 0
    assert score.broken() == []
    assert all(row["recall"] == 1 for row in score.groups("cause").values())


def test_a_deaf_hub_has_no_recall_and_no_false_alarm() -> None:
    score = scored([], bounds={"recall": 0.9, "precision": 0.5})
    figures = score.figures()
    assert (figures["recall"], figures["false"]) == (0, 0)
    assert math.isnan(figures["precision"])
    assert len(score.broken()) == 2
    assert {each.failing for each in score.expectations} == {"missed"}


def test_a_hub_that_always_alarms_has_next_to_no_precision() -> None:
    always = [
        Raised(
            device_id=device,
            rule_id=rule,
            detector="limits",
            severity=Severity.RED,
            audience="city",
            started_at=at,
            raised_at=at,
        )
        for hour in range(int(24 * DAYS))
        for at in [START + timedelta(hours=hour)]
        for device in [*DEVICES, *(each.devices[0] for each in scored([]).expectations)]
        for rule in ("cover_open", "offline", "level_ladder")
    ]
    figures = scored(always).figures()
    assert figures["precision"] < 0.01
    assert figures["false_per_100_device_days"] > 1000


def test_one_expectation_takes_one_alarm_and_the_next_is_extra() -> None:
    alarms = perfect()
    twice = replace(alarms[0], raised_at=alarms[0].raised_at + timedelta(minutes=5))
    score = scored([*alarms, twice])
    assert (score.count("hit"), score.count("extra")) == (len(alarms), 1)


def test_what_is_too_weak_or_too_late_is_not_met() -> None:
    line = truth()[0] | {
        "must": [{"rule": "cover_open", "severity": "red", "within_s": 30}],
        "devices": ["device-0-0"],
    }
    [expected] = judge([line], [], devices=1, days=1).expectations
    for alarm, verdict in (
        (answer(expected), ""),
        (answer(expected, 31), "late"),
        (replace(answer(expected), severity=Severity.ORANGE), "weak"),
        (replace(answer(expected), rule_id="cover_shift"), "missed"),
        (replace(answer(expected), started_at=START - timedelta(seconds=61)), "missed"),
        (replace(answer(expected), started_at=START - timedelta(seconds=59)), ""),
    ):
        [judged] = judge(
            [line], [alarm], devices=1, days=1, intervals={"device-0-0": 60}
        ).expectations
        assert judged.failing == verdict


def test_what_a_scene_forbids_is_told_apart_from_what_comes_beside_it() -> None:
    theft = next(line for line in truth() if line["cause"] == "cover_theft")
    silence = Raised(
        device_id=theft["devices"][0],
        rule_id="offline",
        detector="silence",
        severity=Severity.BLUE,
        audience="maintenance",
        started_at=datetime.fromisoformat(theft["start"]) + timedelta(minutes=5),
        raised_at=datetime.fromisoformat(theft["start"]) + timedelta(minutes=9),
    )
    elsewhere = replace(silence, device_id="sim-MH-0001")
    score = scored([silence, replace(silence, audience="city"), elsewhere])
    assert [outcome for _, outcome in score.judged] == ["beside", "forbidden", "false"]


def test_a_bound_with_a_name_that_is_no_figure_is_refused() -> None:
    with pytest.raises(ValueError, match="'recal' is no figure"):
        scored([], bounds={"recal": 1})


def test_table_and_json_tell_the_same(tmp_path: Path) -> None:
    score = scored(perfect()[:-1], bounds={"recall": 1})
    told = json.loads(json.dumps(describe(score)))
    assert told["figures"]["missed"] == 1
    assert told["broken"] == score.broken()
    table = tabulate(score)
    assert "NOT KEPT: recall is" in table
    assert "missed    T" in table
    path = tmp_path / "truth.jsonl"
    file = TruthFile(path)
    file.write({"scenario": "week", "start": START, "expect": {"recall": 0.9}})
    for line in truth():
        file.write(line)
    assert read_scenario(path)["expect"] == {"recall": 0.9}
    assert list(read_truth(path).values()) == truth()
    path.write_text("{}\n")
    with pytest.raises(ValueError, match="line 1"):
        read_truth(path)
