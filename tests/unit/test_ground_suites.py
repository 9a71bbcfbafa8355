"""Suites of covers, stations and slopes: scoring by hand, fresh sets pooled, the given streams."""

from pathlib import Path

import numpy as np
import pytest

from analytics.backtest.ground import score_covers, score_slopes, score_stations
from cityhub.commands.backtest import SUITES
from cityhub.ground_suites import run_covers, run_gnss, run_slopes
from simulators.trials import covers, slopes

STREAMS = Path(__file__).parents[2].parent / "shared" / "streams"
DAY = 86_400
given = pytest.mark.skipif(
    not STREAMS.is_dir(), reason=f"the labelled streams are not at {STREAMS}"
)


def cover(device: str, ts: int, kind: str = "open") -> dict[str, object]:
    return {"device": device, "kind": kind, "ts": ts, "severity": "red"}


def test_covers_are_scored_as_the_streams_say() -> None:
    times = {name: np.arange(0, 1000, 60) for name in "ABCDE"}
    labels = {
        "A": [{"kind": "open", "start": 300}],
        "B": [{"kind": "settle", "start": 300}],
        "C": [{"kind": "rock", "start": 300}],
        "D": [],
        "E": [],
    }
    lines = [cover("A", 360), cover("B", 240, "shift"), cover("C", 360), cover("D", 1)]
    score = score_covers(lines, labels, times)
    assert (score.events, score.found, score.early) == (2, 1, 1)
    assert (score.quiet, score.false) == (2, 1)
    assert score.openings == (2,)


def test_slopes_are_scored_as_the_streams_say() -> None:
    labels = {
        "A": [{"kind": "failure", "failure": 10 * DAY}],
        "B": [{"kind": "failure", "failure": 10 * DAY}],
        "C": [],
    }

    def line(device: str, day: float, severity: str) -> dict[str, object]:
        kind = "acceleration"
        return {"device": device, "kind": kind, "ts": day * DAY, "severity": severity}

    lines = [line("A", 7, "red"), line("B", 7, "orange"), line("B", 9, "red"), line("C", 1, "red")]
    score = score_slopes(lines, labels)
    assert (score.failures, score.red, score.warned) == (2, 1, 2)
    assert (score.others, score.false, score.leads) == (1, 1, (3.0,))


def test_stations_are_scored_as_the_streams_say() -> None:
    label = {
        "labels": [{"date": "1970-04-11"}],
        "unexplained_steps_ignored": [{"date": "1970-12-01"}],
    }
    lines = [{"device": "S", "ts": day * DAY} for day in (10, 101, 140, 200, 330)]
    score = score_stations(lines, {"S": label}, {"S": 2.0})
    assert (score.steps, score.found, score.delays) == (1, 1, (1.0,))
    assert (score.false, score.years) == (2, 2.0)


def test_the_same_seed_draws_the_same_sets() -> None:
    first, second = (list(covers.make_trials(5, 3)) for _ in range(2))
    assert all((a.gravity == b.gravity).all() for a, b in zip(first, second, strict=True))
    one, two = (list(slopes.make_trials(5, 3)) for _ in range(2))
    assert all((a.position == b.position).all() for a, b in zip(one, two, strict=True))


def test_the_command_offers_the_suites() -> None:
    assert {"covers", "gnss", "slopes"} <= set(SUITES)


@given
@pytest.mark.long
def test_the_given_stations_meet_the_aim() -> None:
    report = run_gnss(print, streams=STREAMS)
    assert (report["found"], report["steps"]) == (11, 11)
    assert report["aim"], report


@given
@pytest.mark.long
def test_every_given_slope_that_fails_is_red_two_days_ahead() -> None:
    report = run_slopes(print, streams=STREAMS, seeds=0)
    assert (report["failures"], report["red_2_days_ahead"]) == (6, 1.0)


@pytest.mark.long
def test_pooled_fresh_covers_hold_the_bars() -> None:
    report = run_covers(print, streams=None, seeds=10)
    assert report["events"] > 100
    assert report["least"], report


@pytest.mark.long
def test_pooled_fresh_slopes_hold_the_bars() -> None:
    report = run_slopes(print, streams=None, seeds=20)
    assert report["failures"] > 100
    assert report["least"], report
