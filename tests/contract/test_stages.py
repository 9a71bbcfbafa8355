"""What every detector of every kind keeps: pure, order-robust, restorable, cheap, calm at rest."""

import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.stages import build_stages
from analytics.stages.state import StatefulStage
from core.batch import Batch, DeviceEvent, Finding, Stage
from core.model import Quality
from devices import KINDS
from devices.kind import DeviceKind
from simulators.rest import RestingDevice
from tests.batches import (
    SECOND,
    START,
    Row,
    comparable,
    in_order,
    judge,
    judge_events,
    make_batch,
    told,
)

EVERY_KIND = pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
OWN = {1: {"level": {"blue": 2.5, "red": 4.0}, "volt": {"red": 9.0}}}
BITS = (0, 0, 0, 0, int(Quality.OUT_OF_RANGE), int(Quality.CLOCK_SUSPECT), int(Quality.BACKLOG))


def troubled(kind: DeviceKind, seed: int, count: int = 60) -> list[Row]:
    """Rows of three devices that breach whatever their kind watches for, now and then."""
    chance = np.random.default_rng(seed)
    watched = {name for watch in kind.watches for name in watch.watched}
    rows = []
    for n in range(count):
        values = {
            metric.name: float(
                chance.uniform(metric.low, metric.high)
                if metric.name in watched and chance.random() < 0.4
                else metric.rest + metric.noise * chance.normal()
            )
            for metric in kind.metrics
            if chance.random() < 0.9
        }
        ts = START + round(n * kind.interval_s * SECOND)
        rows.append(Row(int(chance.integers(1, 4)), ts, values, int(chance.choice(BITS)), seq=n))
    return rows


def restored(kind: DeviceKind, stages: Sequence[Stage]) -> list[Stage]:
    """Return new stages with the state of these."""
    fresh = build_stages(kind, OWN)
    for old, new in zip(stages, fresh, strict=True):
        new.load(old.dump())
    return fresh


@EVERY_KIND
def test_the_stages_of_a_kind_have_names_of_their_own(kind: DeviceKind) -> None:
    names = [stage.name for stage in build_stages(kind, {})]
    assert len(set(names)) == len(names)


@EVERY_KIND
def test_trouble_is_found_and_every_finding_has_a_rule(kind: DeviceKind) -> None:
    found = judge(build_stages(kind, OWN), kind, troubled(kind, 1))
    assert found
    assert {finding.rule_id for finding in found} <= {rule.rule_id for rule in kind.rules}
    assert all(finding.explain.zh and finding.explain.en for finding in found)


@EVERY_KIND
def test_the_same_rows_give_the_same_findings_and_state(kind: DeviceKind) -> None:
    rows = troubled(kind, 2)
    first, second = build_stages(kind, OWN), build_stages(kind, OWN)
    assert comparable(judge(first, kind, rows)) == comparable(judge(second, kind, rows))
    assert [stage.dump() for stage in first] == [stage.dump() for stage in second]


@EVERY_KIND
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    cuts=st.sets(st.integers(1, 59)),
    again=st.lists(st.integers(0, 59), max_size=10),
)
def test_neither_cuts_nor_repetitions_change_what_is_found(
    kind: DeviceKind, seed: int, cuts: set[int], again: list[int]
) -> None:
    rows = troubled(kind, seed)
    whole = judge(build_stages(kind, OWN), kind, rows)
    repeated = sorted((*range(len(rows)), *_once_each(rows, again)))
    found = judge(build_stages(kind, OWN), kind, [rows[n] for n in repeated], sorted(cuts))
    assert comparable(found) == comparable(whole)


def _once_each(rows: Sequence[Row], again: Sequence[int]) -> list[int]:
    """Rows out of time have no identity; only others can be told from their repetition."""
    return [n for n in again if not rows[n].quality & Quality.CLOCK_SUSPECT]


@EVERY_KIND
def test_the_order_of_arrival_inside_a_batch_changes_nothing(kind: DeviceKind) -> None:
    rows = troubled(kind, 3)
    shuffled = [rows[n] for n in np.random.default_rng(3).permutation(len(rows))]
    whole = judge(build_stages(kind, OWN), kind, rows)
    assert comparable(judge(build_stages(kind, OWN), kind, shuffled)) == comparable(whole)


@EVERY_KIND
def test_what_arrives_late_is_marked_and_changes_nothing(kind: DeviceKind) -> None:
    rows = [row for row in troubled(kind, 4) if row.quality == 0]
    stages, rest = build_stages(kind, OWN), build_stages(kind, OWN)
    judge(stages, kind, rows)
    judge(rest, kind, rows)
    batch = make_batch(kind, rows)
    assert [finding for stage in stages for finding in stage.apply(batch)] == []
    newest = {row.device_no: row.ts for row in rows}
    late = [bool(quality & Quality.LATE) for quality in batch.quality.tolist()]
    assert late == [row.ts < newest[row.device_no] for row in rows]
    assert [stage.dump() for stage in stages] == [stage.dump() for stage in rest]


@EVERY_KIND
def test_of_two_rows_of_one_time_only_the_first_to_arrive_steps(kind: DeviceKind) -> None:
    stages = build_stages(kind, OWN)
    batch = make_batch(kind, [Row(1, START, seq=5), Row(1, START, seq=4), Row(2, START)])
    for stage in stages:
        stage.apply(batch)
    assert batch.quality.tolist() == [0, int(Quality.DUPLICATE_TIME), 0]


@EVERY_KIND
@pytest.mark.parametrize("cut", [1, 17, 40])
def test_a_restored_state_goes_on_as_if_nothing_had_been(kind: DeviceKind, cut: int) -> None:
    rows = troubled(kind, 5)
    whole = build_stages(kind, OWN)
    before, after = judge(whole, kind, rows[:cut]), judge(whole, kind, rows[cut:])
    part = build_stages(kind, OWN)
    assert comparable(judge(part, kind, rows[:cut])) == comparable(before)
    fresh = restored(kind, part)
    assert comparable(judge(fresh, kind, rows[cut:])) == comparable(after)
    assert [stage.dump() for stage in fresh] == [stage.dump() for stage in whole]


@EVERY_KIND
def test_the_memory_of_events_is_restored_too(kind: DeviceKind) -> None:
    raised = [
        DeviceEvent(1, event.name, START + n, START + n, n, None, {})
        for n, event in enumerate(kind.events)
    ]
    stages = build_stages(kind, {})
    found = judge_events(stages, raised)
    assert told(found)
    assert judge_events(restored(kind, stages), raised) == []


@EVERY_KIND
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_damaged_state_is_refused(kind: DeviceKind, data: st.DataObject) -> None:
    for stage in build_stages(kind, {}):
        good = stage.dump()
        place = data.draw(st.integers(0, len(good) - 1))
        bad = data.draw(
            st.sampled_from(
                [
                    b"",
                    good[:place],
                    good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :],
                    good + b"\0",
                ]
            )
        )
        with pytest.raises(ValueError, match="state of"):
            stage.load(bad)
        assert stage.dump() == good


def test_the_state_of_another_stage_or_version_is_refused() -> None:
    first, second, *_ = build_stages(KINDS["manhole_cover"], {})
    with pytest.raises(ValueError, match="this is order"):
        second.load(first.dump())
    state = first.dump()
    first.version += 1
    with pytest.raises(ValueError, match="version 3: this is order version 2"):
        first.load(state)


@EVERY_KIND
def test_a_stage_that_raises_has_changed_nothing(
    kind: DeviceKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = troubled(kind, 6)
    for n, stage in enumerate(build_stages(kind, OWN)):
        assert isinstance(stage, StatefulStage)
        judge([stage], kind, rows[:30])
        before, whole = stage.dump(), stage.judge

        def fail(
            batch: Batch, whole: Callable[[Batch], Sequence[Finding]] = whole
        ) -> Sequence[Finding]:
            whole(batch)
            raise ZeroDivisionError

        batch = make_batch(kind, [*rows[30:], Row(99, START)])
        quality = batch.quality.copy()
        monkeypatch.setattr(stage, "judge", fail)
        with pytest.raises(ZeroDivisionError):
            stage.apply(batch)
        assert stage.dump() == before
        assert batch.quality.tolist() == quality.tolist()
        monkeypatch.undo()
        fresh = build_stages(kind, OWN)[n]
        judge([fresh], kind, rows[:30])
        assert comparable(in_order(stage.apply(batch))) == comparable(
            in_order(fresh.apply(make_batch(kind, [*rows[30:], Row(99, START)])))
        )


def quiet_batch(kind: DeviceKind, count: int) -> Batch:
    """One row each of so many resting devices."""
    chance = np.random.default_rng(7)

    def columns(metrics: Sequence[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
        rest = np.array([[metric.rest] for metric in metrics]).reshape(-1, 1)
        noise = np.array([[metric.noise] for metric in metrics]).reshape(-1, 1)
        scatter = np.clip(chance.normal(size=(len(metrics), count)), -3, 3)
        return np.asarray(rest + scatter * noise)

    ts = np.full(count, START, np.int64)
    return Batch(
        kind.name,
        np.arange(1, count + 1, dtype=np.int32),
        ts,
        ts,
        np.full(count, -1, np.int64),
        columns(kind.reals).astype(np.float32),
        columns(kind.exacts),
        np.zeros(count, np.int16),
        START,
    )


@EVERY_KIND
def test_quiet_rows_cost_no_python_of_their_own(kind: DeviceKind) -> None:
    def calls(count: int) -> int:
        stages, batch, called = build_stages(kind, {}), quiet_batch(kind, count), 0

        def count_call(frame: FrameType, event: str, argument: Any) -> None:
            nonlocal called
            del frame, argument
            called += event == "call"

        before = sys.getprofile()
        sys.setprofile(count_call)
        try:
            for stage in stages:
                assert stage.apply(batch) == []
        finally:
            sys.setprofile(before)
        return called

    calls(5)  # what is imported at first use
    assert calls(50_000) <= calls(500) + 2_000 < 4_000  # some steps go by chunks of 8,000


@EVERY_KIND
def test_a_week_of_rest_raises_nothing(kind: DeviceKind) -> None:
    stages = build_stages(kind, {})
    devices = [RestingDevice(kind, f"{kind.id_prefix}-{n}", seed=8) for n in range(3)]
    step = max(kind.interval_s, 900.0)  # a week at 10 s would only be more of the same
    times = range(START, START + 7 * 86_400 * SECOND, round(step * SECOND))
    rows = [Row(n, at, device.values(at)) for at in times for n, device in enumerate(devices, 1)]
    found = judge(stages, kind, rows, range(500, len(rows), 500))
    alarming = [f for f in found if f.kind != "suspicion"]  # which only ranks
    assert told(alarming) == []
