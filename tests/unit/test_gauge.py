"""Water gauges: what rises, what only looks like it, and what a sensor does wrong."""

from collections.abc import Sequence

import numpy as np
import pytest

from analytics.backtest.files import Readings
from analytics.backtest.kinds import episodes
from analytics.stages import build_stages
from analytics.stages.arrival import estimate
from core.batch import Finding
from core.model import Quality
from core.verdict import Verdict, verdict_of
from devices import KINDS
from simulators.trials.gauges import Event, Trial, make_quiet, make_trials
from tests.batches import SECOND, START, Row, judge, make_batch, news

KIND = KINDS["water_gauge"]
OWN = {1: {"level": {"yellow": 3.0, "orange": 3.5, "red": 4.2}}}
PERIOD = 300 * SECOND
SETTLED = 200  # rows after which a gauge has learnt its noise


def rows(levels: Sequence[float], *, period: int = PERIOD, start: int = START) -> list[Row]:
    return [Row(1, start + n * period, {"level": x}) for n, x in enumerate(levels)]


def resting(count: int, level: float = 2.0, noise: float = 0.005, seed: int = 1) -> list[float]:
    scatter = np.random.default_rng(seed).normal(0, noise, count)
    return [round(level + x, 3) for x in scatter.tolist()]


def rising(count: int, rate: float, period_s: float = 300) -> list[float]:
    noise = np.random.default_rng(2).normal(0, 0.005, count)
    return [
        round(2 + rate * (n + 1) * period_s / 3600 + x, 3) for n, x in enumerate(noise.tolist())
    ]


def found(levels: Sequence[Row]) -> list[Finding]:
    return [
        each for each in judge(build_stages(KIND, OWN), KIND, levels) if each.detector == "gauge"
    ]


def told(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    return [(each.kind, each.edge.value) for each in news(findings)]


def verdicts(readings: Sequence[Row]) -> list[Verdict]:
    batch = make_batch(KIND, readings)
    for stage in build_stages(KIND, OWN):
        stage.apply(batch)
    return [verdict_of(int(quality)) for quality in batch.quality]


def test_a_rise_is_told_within_a_quarter_of_an_hour_with_the_time_to_the_warning_level() -> None:
    readings = rows(resting(SETTLED) + rising(14, 0.9))
    first, *_ = news(found(readings))
    began = START + SETTLED * PERIOD
    assert (first.kind, first.rule_id, first.edge.value) == ("rise", "rise_rate", "open")
    assert first.ts - began <= 15 * 60 * SECOND
    last = found(readings)[-1]
    left = (3.5 - 2 - 0.9 * 14 / 12) / 0.9 * 3600
    assert last.detail["eta_lo_s"] < last.detail["eta_s"] < last.detail["eta_hi_s"]
    assert last.detail["eta_s"] == pytest.approx(left, rel=0.2)
    assert last.detail["rate"] == pytest.approx(0.9, rel=0.15)
    assert f"约 {last.detail['eta_s'] / 60:.0f} 分钟到警戒水位（" in last.explain.zh


def test_a_rise_is_over_when_the_water_falls() -> None:
    flood = rising(24, 0.9)
    ebb = [flood[-1] - 0.02 * n for n in range(1, 20)]
    assert told(found(rows(resting(SETTLED) + flood + ebb))) == [
        ("rise", "open"),
        ("rise", "clear"),
    ]


def test_a_station_that_reports_each_minute_is_judged_by_time_not_by_rows() -> None:
    slow = rows(resting(SETTLED))
    start = START + SETTLED * PERIOD
    fast = rows(rising(40, 0.6, 60), period=60 * SECOND, start=start)
    readings = found([*slow, *fast])
    assert [each for each in told(readings) if each[0] == "rise"] == [("rise", "open")]
    creeping = rows(rising(60, 0.02, 60), period=60 * SECOND, start=start)
    assert "rise" not in {kind for kind, _ in told(found([*slow, *creeping]))}


def test_a_spike_is_judged_one_row_late_and_is_no_rise() -> None:
    levels = [*resting(SETTLED), 4.1, *resting(10, seed=3)]
    assert told(found(rows(levels))) == [("spike", "once")]
    (spike,) = found(rows(levels))
    assert spike.ts == START + (SETTLED + 1) * PERIOD
    assert spike.first_ts == START + SETTLED * PERIOD
    marks = verdicts(rows(levels))
    assert marks[SETTLED] is Verdict.SUSPECT
    assert set(marks[:SETTLED] + marks[SETTLED + 1 :]) == {Verdict.PASS}


def test_twelve_equal_rows_are_a_frozen_gauge_and_the_next_other_row_ends_it() -> None:
    levels = resting(SETTLED) + [2.013] * 12 + resting(5, seed=4)
    findings = news(found(rows(levels)))
    assert told(findings) == [("stuck", "open"), ("stuck", "clear")]
    assert findings[0].ts == START + (SETTLED + 11) * PERIOD
    assert findings[0].rule_id == "frozen"
    assert verdicts(rows(levels))[SETTLED + 11] is Verdict.FAIL


def test_a_gauge_that_reads_centimetres_is_not_called_frozen_for_repeating_itself() -> None:
    coarse = [round(level, 2) for level in resting(1500, noise=0.002)]
    assert told(found(rows(coarse))) == []


def test_a_frozen_gauge_that_also_drifts_is_known_by_its_noise() -> None:
    frozen = [2.0 + 0.0011 * n for n in range(60)]
    assert ("stuck", "open") in told(found(rows(resting(SETTLED) + frozen)))


def test_a_row_without_a_level_is_missing_and_one_out_of_range_has_failed() -> None:
    readings = rows(resting(20))
    readings[7] = Row(1, readings[7].ts, {"volt": 12.0})
    readings[9] = Row(1, readings[9].ts, {"level": 9999.0}, int(Quality.OUT_OF_RANGE))
    marks = verdicts(readings)
    assert (marks[7], marks[9]) == (Verdict.MISSING, Verdict.FAIL)
    assert set(marks[:7]) == {Verdict.PASS}


def test_a_ramp_over_two_days_is_only_suspected_of_drift() -> None:
    ramp = [level + 0.25 * n / 600 for n, level in enumerate(resting(600, noise=0.004, seed=5))]
    first, *_ = news(found(rows(resting(600, noise=0.004) + ramp)))
    assert (first.kind, first.rule_id, first.flags) == ("drift", "drift_suspect", ("suspect",))


def test_after_a_gap_windows_begin_again() -> None:
    before = rows(resting(SETTLED))
    after = rows(resting(30, level=2.6, seed=6), start=START + (SETTLED + 50) * PERIOD)
    assert told(found([*before, *after])) == []


def test_an_accelerating_flood_arrives_sooner_than_a_line_says() -> None:
    t = np.arange(-3600.0, 1, 300)
    level = 2 + 0.4 * ((t + 3600) / 3600) ** 2
    arrival = estimate(t, level, 3.0, 0.003)
    assert arrival is not None
    truth = 3600 * (np.sqrt(1 / 0.4) - 1)
    assert arrival.seconds == pytest.approx(truth, rel=0.1)
    assert arrival.low < arrival.seconds


def _readings(trials: Sequence[Trial]) -> Readings:
    ts = np.concatenate([trial.ts for trial in trials])
    order = np.argsort(ts, kind="stable")
    sizes = [len(trial.ts) for trial in trials]
    device_no = np.repeat(np.arange(1, len(trials) + 1, dtype=np.int32), sizes)
    level = np.concatenate([trial.level for trial in trials])
    names = [f"{place}-{trial.gauge}" for place, trial in enumerate(trials)]
    return Readings(names, device_no[order], ts[order] * SECOND, {"level": level[order]})


def hits(trials: Sequence[Trial]) -> tuple[dict[str, tuple[int, int]], int, float]:
    """Return found and all decidable events by kind, false episodes, and gauge-days."""
    readings = _readings(trials)
    lines = list(episodes(KIND, readings))
    count: dict[str, tuple[int, int]] = {}
    wrong = 0
    for name, trial in zip(readings.names, trials, strict=True):
        own = [line for line in lines if line["device"] == name]
        for event in trial.events:
            if event.decidable and event.kind != "drift":
                good, total = count.get(event.kind, (0, 0))
                hit = any(_matches(event, line) for line in own)
                count[event.kind] = (good + hit, total + 1)
        wrong += sum(not any(_near(event, line["ts"]) for event in trial.events) for line in own)
    return count, wrong, sum(trial.days for trial in trials)


def _matches(event: Event, line: dict[str, object]) -> bool:
    return line["kind"] == event.kind and event.start <= float(str(line["ts"])) <= event.end + 1800


def _near(event: Event, ts: float) -> bool:
    return event.start - 600 <= ts <= event.end + 7200


def test_made_gauges_are_seen_through_and_quiet_ones_left_alone() -> None:
    count, wrong, _ = hits([*make_trials(9001, 10), *make_quiet(9001, 10)])
    assert all(good == total for good, total in count.values()), count
    assert set(count) == {"rise", "stuck", "lost", "spike"}
    assert wrong == 0


@pytest.mark.long
def test_over_many_seeds_nearly_all_is_found_and_hardly_anything_is_false() -> None:
    good = total = wrong = 0
    days = 0.0
    for seed in range(9100, 9130):
        count, false, lasted = hits([*make_trials(seed), *make_quiet(seed)])
        good += sum(each for each, _ in count.values())
        total += sum(each for _, each in count.values())
        wrong, days = wrong + false, days + lasted
    assert good >= 0.995 * total, (good, total)
    assert wrong <= days / 1000, (wrong, days)
