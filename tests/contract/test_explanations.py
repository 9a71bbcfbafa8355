"""Every finding of every kind explains itself: what, against what, by which rule, in whose words.

Issue: value, expected, band, score and threshold, which behaviour changed, samples learnt, rule and
version, one sentence in Chinese and English in people's units.
"""

import math
import re
from collections.abc import Sequence

import numpy as np
import pytest

from analytics.stages import build_stages
from analytics.stages.explain import quantity, quantity_en
from core.batch import DeviceEvent, Finding
from core.model import Edge, Quality
from devices import KINDS
from devices.kind import DeviceKind, Displacement
from devices.rules import find_rule
from tests.batches import SECOND, START, Row, judge, judge_events

EVERY_KIND = pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
OWN = {1: {"level": {"blue": 2.5, "red": 4.0}}}
NOT_FOR_PEOPLE = re.compile(r"\bdeg\b|\bCel\b|[{}\[\]]|\bm3\b|kW\.h|nan|\binf\b|None|  ")
KEYS = {
    "lo", "hi", "z", "feature", "rows", "neighbour_median", "neighbour_count", "temperature",
    "coefficient", "model", "eta_s", "eta_lo_s", "eta_hi_s", "rate",
}  # fmt: skip
"""What stages agreed to call the same thing; a word of one's own may stand beside."""


def found_in(kind: DeviceKind, seed: int) -> list[Finding]:
    """Return what is found in a stretch of rest, trouble of every kind, and rest again."""
    chance = np.random.default_rng(seed)
    watched = {name for watch in kind.watches for name in watch.watched}
    stages = build_stages(kind, OWN)
    rows, bits = [], (0, 0, 0, int(Quality.OUT_OF_RANGE), int(Quality.CLOCK_SUSPECT), 1 << 7)
    for n in range(620):
        troubled = 260 <= n < 320
        values = {
            metric.name: float(
                chance.uniform(metric.low, metric.high)
                if troubled and metric.name in watched and chance.random() < 0.4
                else metric.rest * (n + 1 if metric.grows else 1) + metric.noise * chance.normal()
            )
            for metric in kind.metrics
        }
        quality = int(chance.choice(bits)) if troubled else 0
        if quality == int(Quality.OUT_OF_RANGE):
            values[kind.metrics[0].name] = kind.metrics[0].high * 2 + 1
        if n >= _MOVES and (still := _still(kind)):
            values[still[0]] += 80  # it lies 4.6° aside from now on
        ts = START + round(n * kind.interval_s * SECOND)
        rows.append(Row(int(chance.integers(1, 4)), ts, values, quality, seq=n))
    events = [
        DeviceEvent(
            device_no=7,
            name=event.name,
            ts=START + n * SECOND,
            rx=START + n * SECOND,
            seq=n,
            on=on,
            values={},
        )
        for n, (event, on) in enumerate((e, on) for e in kind.events for on in (True, False, None))
    ]
    return [*judge(stages, kind, rows), *judge_events(stages, events)]


_MOVES = 480


def _still(kind: DeviceKind) -> Sequence[str]:
    """Return the accelerations of what should lie still, empty where nothing is."""
    return next((w.acceleration for w in kind.watches if isinstance(w, Displacement)), ())


@pytest.fixture(scope="module")
def findings() -> dict[str, Sequence[Finding]]:
    return {kind.name: found_in(kind, 5) for kind in KINDS.values()}


@EVERY_KIND
def test_each_finding_says_which_behaviour_changed_and_by_which_rule(
    kind: DeviceKind, findings: dict[str, Sequence[Finding]]
) -> None:
    assert findings[kind.name]
    for finding in findings[kind.name]:
        assert find_rule(kind.name, finding.rule_id) is not None
        assert finding.rule_version >= 1
        assert finding.detector, finding
        assert finding.edge is Edge.CLEAR or finding.detail.get("feature"), finding


@EVERY_KIND
def test_what_was_measured_stands_beside_what_it_was_held_against(
    kind: DeviceKind, findings: dict[str, Sequence[Finding]]
) -> None:
    for finding in findings[kind.name]:
        if not finding.metric or finding.edge is Edge.CLEAR:
            continue
        assert finding.unit, finding
        assert math.isfinite(finding.value), finding
        against = (finding.limit, finding.expected, *map(_number, finding.detail.items()))
        assert any(map(math.isfinite, against)), finding


def _number(item: tuple[str, object]) -> float:
    name, value = item
    band = name in {"lo", "hi"} and isinstance(value, int | float)
    return float(value) if band else math.nan  # type: ignore[arg-type] # it is a number


@EVERY_KIND
def test_a_detector_that_learns_says_from_how_many_rows(
    kind: DeviceKind, findings: dict[str, Sequence[Finding]]
) -> None:
    for finding in findings[kind.name]:
        if math.isfinite(finding.score):
            assert isinstance(finding.detail.get("rows"), int), finding
            assert math.isfinite(finding.limit), finding


@EVERY_KIND
def test_sentences_are_in_both_languages_and_in_people_s_units(
    kind: DeviceKind, findings: dict[str, Sequence[Finding]]
) -> None:
    for finding in findings[kind.name]:
        zh, en = finding.explain.zh, finding.explain.en
        assert re.search(r"[\u4e00-\u9fff]", zh), finding
        assert not re.search(r"[\u4e00-\u9fff]", en), finding
        assert re.search(r"[A-Za-z]{3}", en), finding
        assert not NOT_FOR_PEOPLE.search(zh), zh
        assert not NOT_FOR_PEOPLE.search(en), en


@EVERY_KIND
def test_details_can_be_kept_as_json_and_mean_the_same_everywhere(
    kind: DeviceKind, findings: dict[str, Sequence[Finding]]
) -> None:
    for finding in findings[kind.name]:
        for name, value in finding.detail.items():
            assert isinstance(value, str | int | float | bool | list | dict | None), finding
            if isinstance(value, float):
                assert math.isfinite(value), (name, finding)
            if name in KEYS - {"feature", "model"}:
                assert isinstance(value, int | float), (name, finding)


@EVERY_KIND
def test_every_unit_of_a_kind_has_a_sign_that_people_read(kind: DeviceKind) -> None:
    for metric in kind.metrics:
        for text in (quantity(metric.rest, metric), quantity_en(metric.rest, metric)):
            assert not NOT_FOR_PEOPLE.search(text), text
