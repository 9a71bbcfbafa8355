"""Gauges of a reach against each other: drifts that a neighbour proves, floods that it does not."""

import numpy as np
import pytest

from analytics.reach import Judged, blame, new_pairs, step
from simulators.trials.gauges import Reach, make_reach


def first_named(reaches: list[Reach]) -> dict[str, int]:
    """Return the hour at which each gauge is first called drifting; ``3b`` is the lower of 3."""
    pairs = [pair for n in range(len(reaches)) for pair in ((f"{n}b", f"{n}a"), (f"{n}a", f"{n}b"))]
    state = new_pairs(len(pairs))
    found: dict[str, int] = {}
    for hour in range(len(reaches[0].above)):
        level = np.array([x for each in reaches for x in (each.below[hour], each.above[hour])])
        other = np.array([x for each in reaches for x in (each.above[hour], each.below[hour])])
        for gauge in blame(pairs, step(state, level, other)):
            found.setdefault(gauge, hour)
    return found


def delays(reaches: list[Reach]) -> list[int]:
    named = first_named(reaches)
    return [named[f"{n}b"] - reach.drifts_at for n, reach in enumerate(reaches) if f"{n}b" in named]


def judged(drifts: list[bool], median: list[float]) -> Judged:
    size = len(drifts)
    return Judged(np.array(drifts), np.array(median), *(np.full(size, 0.1) for _ in range(3)))


def test_a_third_gauge_decides_which_of_two_drifts() -> None:
    pairs = [("a", "b"), ("b", "a"), ("b", "c"), ("c", "b")]
    found = blame(pairs, judged([True, True, True, True], [-0.2, 0.2, 0.3, -0.3]))
    assert {gauge: each.certain for gauge, each in found.items()} == {"b": True}
    assert found["b"].place == 2


def test_without_a_third_gauge_both_are_named_and_nothing_is_certain() -> None:
    found = blame([("a", "b"), ("b", "a")], judged([True, True], [-0.2, 0.2]))
    assert {gauge: each.certain for gauge, each in found.items()} == {"a": False, "b": False}


def test_one_accusation_that_is_not_returned_proves_nothing() -> None:
    assert blame([("a", "b"), ("b", "a")], judged([True, False], [-0.2, 0.0])) == {}


def test_made_reaches_drift_or_do_not() -> None:
    drifting = [make_reach(seed, drifts=True) for seed in range(9001, 9013)]
    assert len(delays(drifting)) == len(drifting)
    assert min(delays(drifting)) > 0
    assert first_named([make_reach(seed, drifts=False) for seed in range(9001, 9013)]) == {}


@pytest.mark.long
def test_over_many_reaches_drifts_are_proven_and_floods_are_not_called_drifts() -> None:
    drifting = [make_reach(seed, drifts=True) for seed in range(9201, 9301)]
    late = sum(delay > 120 for delay in delays(drifting))  # a flood hides a drift for days
    assert len(delays(drifting)) >= 98
    assert late <= 10
    assert first_named([make_reach(seed, drifts=False) for seed in range(9201, 9301)]) == {}
