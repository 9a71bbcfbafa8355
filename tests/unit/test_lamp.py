"""Lamp faults: each kind told from the others, none by a lamp that only does its duty."""

import itertools
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
import pytest

from analytics.stages import FENYANG, build_stages
from core.batch import Episode, Finding, Stage
from core.model import Edge, Severity, to_micros
from devices import KINDS
from simulators.physics.lamp import Lamp
from simulators.rest import RestingDevice
from tests.batches import SECOND, Row, judge, make_batch, news, told

KIND = KINDS["street_lamp"]
LON, LAT = FENYANG.lon, FENYANG.lat
DUSK = to_micros(datetime(2026, 3, 10, 4, tzinfo=UTC))  # noon of a day in spring, in Fenyang
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
Values = dict[str, float]
Change = Callable[[Values], None]


@lru_cache(maxsize=8)
def _healthy(count: float, step_min: int, seed: int) -> list[tuple[int, Values]]:
    rest = RestingDevice(KIND, "sim-SL-1", seed=seed, lon=LON, lat=LAT)
    physics = Lamp(KIND, "sim-SL-1", seed=seed, lon=LON, lat=LAT, limits={})
    rows = []
    for ts in range(DUSK, DUSK + round(count * DAY), step_min * MINUTE):
        values = rest.values(ts)
        physics.apply(ts, values)
        rows.append((ts, values))
    return rows


def nights(
    count: float,
    change: Change = lambda values: None,
    *,
    since: float = 0.0,
    until: float = 1e9,
    step_min: int = 10,
    seed: int = 7,
    device_no: int = 1,
) -> list[Row]:
    """Rows of one healthy lamp over some days, changed between two times in days."""
    rows = []
    for ts, healthy in _healthy(count, step_min, seed):
        values = dict(healthy)
        if since <= (ts - DUSK) / DAY < until:
            change(values)
        rows.append(Row(device_no, ts, values))
    return rows


def find(rows: Iterable[Row], stages: list[Stage] | None = None) -> list[Finding]:
    rows = list(rows)
    return judge(stages or build_stages(KIND, {}), KIND, rows, range(97, len(rows), 97))


def lamp(found: Iterable[Finding]) -> list[Finding]:
    return [finding for finding in news(found) if finding.detector == "lamp"]


def dark(values: Values, amp: float = 0.0, power: float = 0.5, volt: float = 228.0) -> None:
    if values["on"]:
        values["power"], values["amp"], values["volt"] = power, amp, volt


def test_a_week_of_a_healthy_street_raises_nothing() -> None:
    street = [nights(7, seed=seed, step_min=15, device_no=seed) for seed in range(1, 13)]
    rows = sorted(itertools.chain(*street), key=lambda row: row.ts)
    assert told(judge(build_stages(KIND, {}), KIND, rows, range(12, len(rows), 12))) == []


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (dark, "open_circuit"),
        (lambda values: dark(values, amp=0.2, power=6.0), "dead"),
        (lambda values: dark(values, volt=3.0), "no_supply"),
    ],
)
def test_a_dark_lamp_says_why_it_is_dark(change: Change, kind: str) -> None:
    found = lamp(find(nights(4, change, since=3.3)))
    assert [(f.rule_id, f.kind, f.edge) for f in found] == [("lamp_out", kind, Edge.OPEN)]
    (finding,) = found
    assert finding.expected == pytest.approx(120, rel=0.1)
    assert finding.detail["rows"] > 60
    assert finding.value < finding.limit


def test_a_dead_lamp_is_told_while_it_is_dimmed_too() -> None:
    def dead_when_dimmed(values: Values) -> None:
        if values["level"] < 50:
            dark(values, amp=0.05, power=6.0)

    (finding,) = lamp(find(nights(4, dead_when_dimmed, since=3.3, until=3.6)))[:1]
    assert (finding.rule_id, finding.kind) == ("lamp_out", "dead")
    assert finding.expected == pytest.approx(48, rel=0.1)
    assert finding.limit == pytest.approx(12, rel=0.1)


def test_a_lamp_never_seen_lit_is_still_called_out() -> None:
    found = lamp(find(nights(1, dark)))
    assert {(f.rule_id, f.kind) for f in found} == {("lamp_out", "open_circuit")}


def test_a_repaired_lamp_clears() -> None:
    found = lamp(find(nights(4, dark, since=3.3, until=3.4)))
    assert told(found) == [("lamp_out", "open"), ("lamp_out", "clear")]


def test_a_short_circuit_is_told_by_its_current() -> None:
    def short(values: Values) -> None:
        if values["on"]:
            values["amp"], values["volt"], values["pf"] = 4.2, 196.0, 0.2

    found = lamp(find(nights(4, short, since=3.3)))
    assert ("lamp_short", "short_circuit") in {(f.rule_id, f.kind) for f in found}
    first = found[0]
    assert first.severity is Severity.ORANGE
    assert first.metric == "amp"
    assert first.value > 2 * first.expected


def burning(values: Values) -> None:
    values["on"], values["level"] = 1.0, 100.0
    values["power"] = max(values["power"], 118.0)
    values["amp"] = values["power"] / values["volt"] / values["pf"]


def test_a_lamp_that_burns_by_day_is_told_once_and_not_by_night() -> None:
    found = lamp(find(nights(3.2, burning, since=0.9)))
    assert told(found) == [("lamp_day_on", "open")]
    rise, _ = FENYANG.times(found[0].ts)
    assert found[0].ts > rise + 30 * MINUTE
    assert found[0].detail["sunrise"]
    assert "after sunrise" in found[0].explain.en


def test_it_clears_with_the_first_dark_day_row() -> None:
    found = lamp(find(nights(3.2, burning, since=0.9, until=1.05)))
    assert told(found) == [("lamp_day_on", "open"), ("lamp_day_on", "clear")]


def test_a_lamp_lit_in_a_black_thunderstorm_is_no_fault() -> None:
    def storm(values: Values) -> None:
        burning(values)
        values["lux"] = 120.0

    assert lamp(find(nights(2.5, storm, since=2.0, until=2.1))) == []


def test_a_welded_relay_is_seen_by_its_power_whatever_the_switch_says() -> None:
    def welded(values: Values) -> None:
        burning(values)
        values["on"] = 0.0

    assert told(lamp(find(nights(3, welded, since=2)))) == [("lamp_day_on", "open")]


def test_a_decaying_power_factor_is_told_long_before_it_is_low() -> None:
    rows = nights(40, step_min=30)
    for row in rows:
        row.values["pf"] -= 0.15 * max(0.0, (row.ts - DUSK) / DAY - 10) / 30
        row.values["amp"] = row.values["power"] / row.values["volt"] / row.values["pf"]
    found = lamp(find(rows))
    assert told(found) == [("lamp_pf_low", "open")]
    days = (found[0].ts - DUSK) / DAY
    assert 15 < days < 30
    assert found[0].expected == pytest.approx(0.95, abs=0.03)
    assert found[0].detail["lo"] < found[0].expected < found[0].detail["hi"]


def test_a_weak_lamp_is_told_by_its_own_power() -> None:
    def weak(values: Values) -> None:
        values["power"] *= 0.75
        values["amp"] *= 0.75

    found = lamp(find(nights(6, weak, since=4)))
    assert told(found) == [("lamp_weak", "open")]
    assert found[0].detail["feature"] == "power"


def test_growing_leakage_is_told_before_the_limit_that_kills() -> None:
    def leaking(values: Values) -> None:
        values["leak"] += 9.0

    found = news(find(nights(6, leaking, since=4)))
    assert told(found) == [("leakage_rising", "open")]
    assert found[0].severity is Severity.YELLOW
    assert found[0].detail["z"] > 4


def test_a_leakage_that_kills_is_red_at_once() -> None:
    def leaking(values: Values) -> None:
        values["leak"] = 60.0

    found = news(find(nights(3, leaking, since=2.5)))
    assert found[0].rule_id == "leakage"
    assert found[0].severity is Severity.RED


def test_a_flickering_lamp_is_one_finding_and_never_out() -> None:
    rows = nights(3.4)
    start = rows[-1].ts + MINUTE
    flickers = []
    for n in range(200):
        values = dict(rows[-1].values)
        if n % 2:
            dark(values)
        flickers.append(Row(1, start + n * 5 * SECOND, values))
    calm = [Row(1, flickers[-1].ts + n * 5 * MINUTE, dict(rows[-1].values)) for n in range(1, 60)]
    assert rows[-1].values["on"] == 1
    found = lamp(find([*rows, *flickers, *calm]))
    assert told(found) == [("lamp_flicker", "open"), ("lamp_flicker", "clear")]


def test_a_lamp_that_is_switched_by_commands_does_not_flicker() -> None:
    rows = nights(3.4)
    start = rows[-1].ts + MINUTE
    off = dict(rows[-1].values) | {"on": 0.0, "level": 0.0, "power": 0.8, "amp": 0.004}
    switched = [
        Row(1, start + n * 30 * SECOND, off if n % 2 else dict(rows[-1].values)) for n in range(40)
    ]
    assert lamp(find([*rows, *switched])) == []


def test_dimming_is_no_fault() -> None:
    def dimmed(values: Values) -> None:
        if values["on"]:
            values["level"] = 30.0
            values["power"], values["amp"] = 36.0, 36.0 / values["volt"] / values["pf"]

    assert lamp(find(nights(5, dimmed, since=3))) == []


def test_a_lost_state_takes_up_the_episode_and_clears_it() -> None:
    stages = build_stages(KIND, {})
    rows = nights(0.5)
    for stage in stages:
        if stage.name == "lamp":
            stage.resume(  # type: ignore[attr-defined]  # it resumes, see core.batch.Resumes
                [
                    Episode(
                        device_no=1,
                        rule_id="lamp_out",
                        metric="power",
                        is_open=True,
                        ts=DUSK - HOUR,
                        first_ts=DUSK - 2 * HOUR,
                        severity=Severity.YELLOW,
                    )
                ]
            )
    found = lamp(find(rows, stages))
    assert told(found) == [("lamp_out", "clear")]
    assert found[0].first_ts == DUSK - 2 * HOUR


def test_sun_times_agree_with_the_simulators_own_sun() -> None:
    from simulators.sun import elevation

    heights = [
        elevation(at, LON, LAT)
        for day in range(20_500, 21_300, 9)
        for at in FENYANG.times(day * DAY + 4 * HOUR)
    ]
    assert np.abs(np.array(heights) + 0.833).max() < 1.2


def test_what_a_lamp_does_not_measure_is_not_judged() -> None:
    bare = [Row(1, row.ts, {"on": row.values["on"], "volt": 229.0}) for row in nights(3)]
    assert lamp(find(bare)) == []
    assert make_batch(KIND, bare[:2]).values.shape[0] == len(KIND.reals)
