"""Combinations of metrics: what goes together may move, what does not is told once."""

import numpy as np
import pytest

from analytics.stages.whitening import Whitening
from core.batch import Finding
from devices import KINDS
from devices.class_model import ClassModel
from tests.batches import SECOND, START, Row, judge, told

KIND = KINDS["street_lamp"]
WATCH = ClassModel(features=("power", "pf", "temp"), when="on")
MINUTE = 60 * SECOND


def rows(count: int, *, start: int = 0, seed: int = 7, off: float = 0.0) -> list[Row]:
    """Power and temperature go together; ``off`` parts them by so many degrees."""
    chance = np.random.default_rng(seed)
    found = []
    for n in range(count):
        power = 120 + 10 * float(chance.normal())
        values = {"on": 1.0, "power": power, "pf": 0.95 + 0.01 * float(chance.normal())}
        values["temp"] = 0.35 * power + 0.3 * float(chance.normal()) + off
        found.append(Row(1, START + (start + n) * MINUTE, values))
    return found


def find(*parts: list[Row]) -> list[Finding]:
    whole = [row for part in parts for row in part]
    return judge([Whitening(KIND, WATCH)], KIND, whole, range(50, len(whole), 50))


@pytest.mark.parametrize("seed", range(3))
def test_noise_that_goes_together_raises_nothing(seed: int) -> None:
    assert find(rows(1500, seed=seed)) == []


def test_a_combination_never_seen_is_told_though_each_value_is_usual() -> None:
    found = find(rows(600), rows(12, start=600, off=6.0))
    assert told(found) == [("unlike_class", "open")]
    assert found[0].score > 6
    assert found[0].metric == "temp"
    assert found[0].detail["rows"] > 600


def test_it_ends_when_all_is_as_usual() -> None:
    found = find(rows(600), rows(12, start=600, off=6.0), rows(60, start=612))
    assert told(found) == [("unlike_class", "open"), ("unlike_class", "clear")]


def test_a_short_excursion_is_not_told() -> None:
    assert find(rows(600), rows(4, start=600, off=6.0), rows(60, start=604)) == []


def test_nothing_is_judged_with_the_switch_off() -> None:
    dark = [Row(1, row.ts, row.values | {"on": 0.0, "power": 0.8}) for row in rows(50, start=600)]
    assert find(rows(600), dark) == []
