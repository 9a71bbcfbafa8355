"""Multi-scale rarity as a stage: what it finds, what it never learns, and that no cut matters."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.stages.order import Order
from analytics.stages.rarity import FULL, LITE, Form, Pace, Rarity
from analytics.stages.rarity.memory import Column
from core.batch import Batch, Episode, Finding, Stage
from core.model import Edge, Quality, Severity, Text
from devices.kind import DeviceKind, Limit, Metric
from devices.unusual import UNUSUAL, Unusual
from tests.batches import SECOND, START, Row, comparable, in_order, make_batch

PERIOD = 300 * SECOND
DAY = 86_400 * SECOND
KIND = DeviceKind(
    name="pump",
    label=Text("水泵", "Pump"),
    id_prefix="PU",
    class_code="",
    interval_s=300,
    metrics=(
        Metric("amp", "A", Text("电流", "Current"), low=-500, high=500, rest=10, noise=0.5),
        Metric("head", "m", Text("扬程", "Head"), low=-500, high=500, rest=30, noise=0.0),
    ),
    watches=(
        Limit("amp", "overload", red=400),
        Unusual(full=("amp", "head")),
    ),
    rules=(UNUSUAL,),
)
BOTH = pytest.mark.parametrize("form", [FULL, LITE], ids=lambda form: form.name)
EVERY_PACE = pytest.mark.parametrize("period_s", [300.0, None], ids=["elapsed", "row"])


def make_stages(
    form: Form = FULL, period_s: float | None = 300.0, mute_s: float = 0
) -> list[Stage]:
    pace = Pace(period_s=period_s, mute_s=mute_s, zone="Asia/Shanghai")
    return [Order(), Rarity(KIND, ["amp", "head"], form, pace)]


def stream(seed: int, rows: int = 200, devices: int = 3) -> list[Row]:
    """Rows of several devices with jumps, gaps, missing values and doubtful clocks, in order."""
    chance = np.random.default_rng(seed)
    found, at = [], np.full(devices + 1, START)
    for n in range(rows * devices):
        device = 1 + n % devices
        at[device] += PERIOD * (40 if chance.random() < 0.01 else 1)
        jump = 80.0 if chance.random() < 0.02 and n > 110 * devices else 0.0
        values = {"amp": 10 + chance.normal() + jump}
        if chance.random() < 0.8:
            values["head"] = 30 + chance.normal() * (9 if n > 180 * devices else 1)
        quality = int(Quality.CLOCK_SUSPECT) if chance.random() < 0.02 else 0
        found.append(Row(device, int(at[device]), values, quality, seq=n))
    return found


def run(stages: Sequence[Stage], rows: Sequence[Row], cuts: Sequence[int] = ()) -> list[Finding]:
    found: list[Finding] = []
    for start, end in pairwise([0, *sorted(cuts), len(rows)]):
        if start < end:
            batch = make_batch(KIND, rows[start:end])
            for stage in stages:
                found += stage.apply(batch)
    return in_order(found)


def steady(count: int, device: int = 1, *, start: int = START, **more: float) -> list[Row]:
    """Rows of a daily wave with a little noise."""
    chance = np.random.default_rng(count)
    rows = []
    for n in range(count):
        ts = start + n * PERIOD
        wave = 10 * np.sin(2 * np.pi * (ts % DAY) / DAY)
        rows.append(Row(device, ts, {"amp": 20 + wave + 0.2 * chance.normal(), **more}))
    return rows


@BOTH
@EVERY_PACE
def test_something_is_found_in_a_troubled_stream(form: Form, period_s: float | None) -> None:
    found = run(make_stages(form, period_s), stream(1))
    assert {Edge.OPEN} <= {finding.edge for finding in found}
    assert {finding.metric for finding in found} == {"amp", "head"}


@BOTH
@EVERY_PACE
@settings(max_examples=5, deadline=None)
@given(
    seed=st.integers(0, 99),
    cuts=st.sets(st.integers(1, 589), max_size=40),
    again=st.lists(st.integers(0, 589), max_size=20),
)
def test_neither_cuts_nor_repetitions_change_a_finding_or_a_bit_of_the_state(
    form: Form, period_s: float | None, seed: int, cuts: set[int], again: list[int]
) -> None:
    rows = stream(seed)
    whole, parts = make_stages(form, period_s), make_stages(form, period_s)
    repeated = sorted((*range(len(rows)), *(n for n in again if n < len(rows))))
    found = run(parts, [rows[n] for n in repeated], sorted(cuts))
    assert comparable(found) == comparable(run(whole, rows))
    assert [stage.dump() for stage in parts] == [stage.dump() for stage in whole]


@BOTH
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 99), size=st.integers(2, 400))
def test_the_order_of_arrival_inside_a_batch_changes_nothing_at_all(
    form: Form, seed: int, size: int
) -> None:
    rows = stream(seed)
    cuts = list(range(size, len(rows), size))
    shuffled: list[Row] = []
    for start, end in pairwise([0, *cuts, len(rows)]):
        order = np.random.default_rng(seed).permutation(end - start)
        shuffled += [rows[start + n] for n in order]
    one, other = make_stages(form), make_stages(form)
    assert comparable(run(other, shuffled, cuts)) == comparable(run(one, rows, cuts))
    # devices get their rows in the state in the order of their numbers in both
    assert [stage.dump() for stage in other] == [stage.dump() for stage in one]


@BOTH
@pytest.mark.parametrize("cut", [1, 150, 450])
def test_scores_after_a_restart_are_equal_bit_for_bit(form: Form, cut: int) -> None:
    rows = stream(7)
    whole, part = make_stages(form), make_stages(form)
    run(whole, rows[:cut])
    run(part, rows[:cut])
    fresh = make_stages(form)
    for old, new in zip(part, fresh, strict=True):
        new.load(old.dump())
    assert comparable(run(fresh, rows[cut:])) == comparable(run(whole, rows[cut:]))
    assert [stage.dump() for stage in fresh] == [stage.dump() for stage in whole]


def test_a_batch_that_fails_midway_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    order, rarity = make_stages()
    rows = stream(3)
    run([order, rarity], rows[:400])
    before = rarity.dump()
    batch = make_batch(KIND, [*rows[400:], *steady(3, device=77)])
    order.apply(batch)
    monkeypatch.setattr(Rarity, "_finding", None)
    with pytest.raises(TypeError):
        rarity.apply(batch)
    assert rarity.dump() == before


def test_a_new_series_is_mute_for_three_days() -> None:
    rows = steady(3 * 288 + 60)
    rows[400] = replace(rows[400], values={"amp": 400.0})
    rows[3 * 288 + 40] = replace(rows[3 * 288 + 40], values={"amp": 300.0})
    early = run(make_stages(mute_s=0), rows)
    assert min(f.ts for f in early if f.edge is Edge.OPEN) < rows[401].ts
    found = run(make_stages(mute_s=259_200), rows)
    assert [f.ts for f in found] == [rows[3 * 288 + 40].ts, *(f.ts for f in found[1:])]


def test_the_first_hundred_rows_and_those_after_a_long_gap_raise_nothing() -> None:
    rows = steady(1_000)
    for n in (50, 900):
        rows[n] = replace(rows[n], values={"amp": 300.0})
    later = START + 2_000 * PERIOD
    again = [replace(row, ts=later + n * PERIOD) for n, row in enumerate(steady(300)[:99])]
    again[60] = replace(again[60], values={"amp": 480.0})
    opened = [f.ts for f in run(make_stages(), [*rows, *again]) if f.edge is Edge.OPEN]
    assert START + 50 * PERIOD not in opened
    assert START + 900 * PERIOD in opened
    assert max(opened) < later


def test_an_open_limit_is_neither_learnt_nor_judged() -> None:
    rows = steady(800)
    usual = make_stages()
    run(usual, rows[:600])
    before = usual[1].dump()
    batch = make_batch(KIND, rows[600:700])
    batch.found.append(
        Finding(
            device_no=1,
            rule_id="overload",
            detector="limits",
            kind="limit",
            edge=Edge.OPEN,
            ts=rows[600].ts,
            first_ts=rows[600].ts,
            received_at=rows[600].ts,
            severity=Severity.RED,
            explain=Text("过载", "overload"),
            metric="amp",
        )
    )
    for stage in usual:
        stage.apply(batch)
    rarity = usual[1]
    assert isinstance(rarity, Rarity)
    assert rarity.state.engaged[0].tolist() == [1, 0]
    rarity.state.engaged[0] = 0
    assert rarity.dump() == before


def test_learning_goes_on_with_the_row_that_ends_the_limit_wherever_the_batch_is_cut() -> None:
    rows = steady(500)
    opened, closed = rows[300].ts, rows[420].ts

    def judge(cuts: Sequence[int]) -> tuple[list[Finding], bytes]:
        stages, found = make_stages(), []
        for start, end in pairwise([0, *cuts, len(rows)]):
            batch = make_batch(KIND, rows[start:end])
            for edge, ts in ((Edge.OPEN, opened), (Edge.CLEAR, closed)):
                if rows[start].ts <= ts <= rows[end - 1].ts:
                    batch.found.append(_limit(edge, ts))
            found += [finding for stage in stages for finding in stage.apply(batch)]
        return found, stages[1].dump()

    whole = judge([])
    for cuts in ([300], [301], [350, 420], [421], list(range(7, 500, 7))):
        found, state = judge(cuts)
        assert comparable(found) == comparable(whole[0])
        assert state == whole[1]


def _limit(edge: Edge, ts: int) -> Finding:
    return Finding(
        device_no=1,
        rule_id="overload",
        detector="limits",
        kind="limit",
        edge=edge,
        ts=ts,
        first_ts=ts,
        received_at=ts,
        severity=Severity.RED,
        explain=Text("过载", "overload"),
        metric="amp",
    )


def test_a_jump_is_explained_by_value_expectation_band_and_feature() -> None:
    rows = steady(1_200)
    rows[1_160] = replace(rows[1_160], values={"amp": 120.0})
    stages = make_stages(mute_s=259_200)
    (found,) = [f for f in run(stages, rows) if f.ts == rows[1_160].ts]
    assert (found.rule_id, found.detector, found.edge) == ("unusual", "rarity", Edge.OPEN)
    assert (found.value, found.unit, found.limit) == (120.0, "A", FULL.candidate)
    assert found.score > FULL.candidate
    assert {"lo", "hi", "z", "feature", "rows"} <= found.detail.keys()
    assert found.detail["rows"] == 1_160
    assert found.detail["z"] > 5
    assert found.explain.zh.startswith("电流突然升高至 120 A")
    assert found.explain.en.startswith("Current jumped up to 120 A")


def test_an_episode_is_taken_up_from_what_was_found() -> None:
    rows = steady(700)
    stages = make_stages()
    run(stages, rows[:600])
    episode = Episode(
        device_no=1,
        rule_id="unusual",
        metric="amp",
        is_open=True,
        ts=rows[599].ts,
        first_ts=rows[599].ts,
        severity=Severity.BLUE,
        detail={"rank": 2},
    )
    rarity = stages[1]
    assert isinstance(rarity, Rarity)
    rarity.resume([episode])
    (ended,) = [f for f in run(stages, rows[600:]) if f.edge is Edge.CLEAR][:1]
    assert ended.first_ts == rows[599].ts
    assert ended.kind == "candidate"


def test_the_scale_of_the_class_serves_until_the_series_knows_its_own() -> None:
    stages = make_stages()
    run(stages, [Row(1, START, {"amp": 10.0, "head": 30.0})])
    rarity = stages[1]
    assert isinstance(rarity, Rarity)
    width = FULL.features
    known, unknown = rarity.state.figures[0, 0, -width:], rarity.state.figures[0, 1, -width:]
    prior = 0.5 * FULL.noise_scales()
    np.testing.assert_allclose(known, prior * 20 / 21, rtol=1e-5)  # one row of no change since
    assert not unknown.any()


def test_the_scale_of_white_noise_is_what_the_form_says() -> None:
    stages = make_stages(period_s=None)
    chance = np.random.default_rng(5)
    rows = [Row(1, START + n * PERIOD, {"head": float(chance.normal())}) for n in range(2_000)]
    run(stages, rows)
    rarity = stages[1]
    assert isinstance(rarity, Rarity)
    learnt = rarity.state.figures[0, 1, -FULL.features :]
    expected = FULL.noise_scales()
    known = expected > 0
    known[-1] = False  # the season's bins saw a few visits only
    np.testing.assert_allclose(learnt[known], expected[known], rtol=0.15)


def test_counts_are_lightened_before_their_weight_overflows() -> None:
    stages = make_stages(LITE, period_s=None)
    rarity = stages[1]
    assert isinstance(rarity, Rarity)
    run(stages, steady(300, head=1.0))
    lighter = make_stages(LITE, period_s=None)
    for old, new in zip(stages, lighter, strict=True):
        new.load(old.dump())
    heavy = lighter[1]
    assert isinstance(heavy, Rarity)
    weight = np.float32(1e18)
    heavy.state.figures[0, :, Column.GROWN] *= weight
    heavy.state.counts[0] *= weight
    shown: list[list[float]] = [[], []]
    for several, scores in zip((stages, lighter), shown, strict=True):
        stage = several[1]
        assert isinstance(stage, Rarity)
        stage._watcher = lambda _batch, _rows, scored, scores=scores: scores.extend(
            scored.score.tolist()
        )
        run(several, steady(200, start=START + 300 * PERIOD, head=1.0))
    assert heavy.state.figures[0, 0, Column.GROWN] < 1e6
    np.testing.assert_allclose(shown[0], shown[1], rtol=1e-5)


def test_days_are_those_of_the_city_when_its_clock_moves() -> None:
    from analytics.stages.rarity.local_time import LocalTime

    local = LocalTime("Europe/Berlin")
    # 2026-03-29 01:00 UTC: two o'clock becomes three
    before, after = 1_774_745_999_000_000, 1_774_746_000_000_000
    assert local.seconds(np.array([before, after])).tolist() == [7_199.0, 10_800.0]
    assert LocalTime("Asia/Shanghai").seconds(np.array([0])).tolist() == [28_800.0]


def test_a_counter_is_refused() -> None:
    kind = replace(
        KIND,
        metrics=(Metric("n", "1", Text("计", "Count"), low=0, high=9, rest=0, f8=True),),
        watches=(),
    )
    with pytest.raises(ValueError, match="counters"):
        Rarity(kind, ["n"], FULL, Pace(period_s=1, mute_s=0, zone="UTC"))


def test_a_metric_is_watched_in_one_form() -> None:
    with pytest.raises(ValueError, match="not both"):
        Unusual(full=("amp",), lite=("amp",))


def test_a_batch_of_nothing_to_judge_is_quiet() -> None:
    (_, rarity) = make_stages()
    batch = make_batch(KIND, [Row(1, START, quality=int(Quality.LATE)), Row(2, START)])
    assert isinstance(batch, Batch)
    assert rarity.apply(batch) == []
