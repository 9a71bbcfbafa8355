"""A week of the city through the whole hub, held against what really happened.

``scripts/test --week`` prints the score: every scene with its delay, false findings a device-day,
and that a restart in the middle changes nothing. The reduced run stands in the normal suite.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from analytics.backtest.history import Span, run_history
from core.model import from_micros
from core.recording import Recording
from devices import KINDS, DeviceKind
from devices.registry import Registry
from simulators.city import City
from simulators.scenes import SCENES
from simulators.score_hub import tabulate
from tests.lockstep import (
    LATENCY_US,
    START,
    alarms_of,
    findings_of,
    rows_of,
    run_in_lockstep,
    settle,
)
from tests.week import (
    HOUR_US,
    SLOPES,
    SLOPES_H,
    Traffic,
    findings_per_device_day,
    judged,
    record_week,
    slopes_of,
    table,
    tidy,
    week_city,
)

AT_ONCE = ("cover_stolen", "river_rising", "feeder_outage")
"""Scenes that detectors find without having learnt."""
STEP_S = 600.0
"""The clock jumps so far: a delay told is so much too long at most."""
SLOPES_STEP_S = 21_600.0


@pytest.fixture(scope="module")
def city() -> City:
    return week_city()


async def take(
    url: str, traffic: Traffic, *, step_s: float, restarts: list[int], slow_roles: bool = True
) -> None:
    """Take a week's traffic through the hub, stopping at each alarm of a device's own."""
    own = [m.at for m in Recording(traffic.path).read() if m.topic.endswith(b"/event")]
    await run_in_lockstep(
        url,
        traffic.path,
        step_s=step_s,
        slow_roles=slow_roles,
        stops=own,
        restarts=restarts,
        hourly=tidy,
    )


@pytest.mark.timeout(600)
async def test_a_few_scenes_are_found_and_a_restart_changes_nothing(
    city: City, tmp_path: Path, database: str, further_database: Callable[[], str]
) -> None:
    traffic = record_week(city, tmp_path, hours=8, scenes=AT_ONCE)
    settle(database, city, tmp_path)
    second = further_database()
    await take(database, traffic, step_s=STEP_S, restarts=[])
    await take(second, traffic, step_s=STEP_S, restarts=[START + 4 * HOUR_US + LATENCY_US])
    score = judged(database, traffic)
    assert score.expectations
    assert [each for each in score.expectations if each.failing] == [], tabulate(score)
    assert score.count("forbidden") == 0, tabulate(score)
    assert rows_of(database) == rows_of(second)
    assert findings_of(database) == findings_of(second)
    assert alarms_of(database) == alarms_of(second)
    for kind in KINDS.values():
        assert opened_in_history(database, kind, hours=8) == opened_in_service(database, kind), kind


def opened_in_history(url: str, kind: DeviceKind, *, hours: float) -> set[tuple[int, str, str]]:
    """Return who opened what when the stored readings are taken once more."""
    start = from_micros(START)
    span = Span(kind, start, start + timedelta(hours=hours))
    registry = Registry()
    with psycopg.connect(url) as conn:
        registry.load(conn)
        [outcome] = run_history(conn, span, registry, [registry.rules])
    return {
        (each.device_no, each.rule_id, each.detector) for each in (*outcome.spells, *outcome.quiet)
    }


def opened_in_service(url: str, kind: DeviceKind) -> set[tuple[int, str, str]]:
    """Return who opened what in the ingest worker."""
    with psycopg.connect(url) as conn:
        return set(
            conn.execute(
                "SELECT device_no, rule_id, detector FROM hub.finding AS f JOIN hub.device AS d"
                " USING (device_no) WHERE d.kind = %s AND edge IN ('open', 'once')"
                " AND detector <> ALL(%s)",
                [kind.name, ["silence", "chatter", "payloads"]],
            )
        )


@pytest.mark.long
@pytest.mark.timeout(2700)
async def test_a_week_with_scenes_and_without(
    city: City,
    tmp_path: Path,
    database: str,
    further_database: Callable[[], str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    hours = 168.0
    settle(database, city, tmp_path)
    restarted, quiet, slow = further_database(), further_database(), further_database()
    traffic = record_week(city, tmp_path, hours=hours, scenes=SCENES.keys() - {*SLOPES})
    still = record_week(city, tmp_path, hours=hours, scenes=())
    (tmp_path / "slopes").mkdir()
    months = record_week(slopes_of(city), tmp_path / "slopes", hours=SLOPES_H, scenes=SLOPES)
    middle = START + 84 * HOUR_US + LATENCY_US
    await asyncio.gather(
        take(database, traffic, step_s=STEP_S, restarts=[]),
        take(restarted, traffic, step_s=STEP_S, restarts=[middle]),
        take(quiet, still, step_s=STEP_S, restarts=[]),
        take(slow, months, step_s=SLOPES_STEP_S, restarts=[], slow_roles=False),
    )
    score, calm = judged(database, traffic), judged(quiet, still)
    slopes = judged(slow, months)
    rate, by = findings_per_device_day(quiet, hours)
    with capsys.disabled():
        print(f"\n\nA week with scenes: {traffic.messages} messages of {score.devices} devices")
        for name, why in traffic.left_out.items():
            print(f"left out: {name}: {why}")
        print(table(score, traffic))
        print(table(slopes, months).partition("\n")[2])
        print(tabulate(score))
        print(f"\nA week without scenes: {still.messages} messages")
        print(f"{rate:.4f} findings a device-day: {by}")
        print(tabulate(calm))
    assert rows_of(database) == rows_of(restarted)
    assert findings_of(database) == findings_of(restarted)
    assert alarms_of(database) == alarms_of(restarted)
    for told in (score, slopes):
        assert [each for each in told.expectations if each.failing] == []
        assert told.count("forbidden") == 0
    assert calm.count("false") <= 0.01 * calm.devices * calm.days
