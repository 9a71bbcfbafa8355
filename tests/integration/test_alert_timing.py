"""What becomes of findings does not depend on how many of them the engine reads at once."""

from collections.abc import Sequence
from typing import Any

import pytest

from core.batch import Finding
from core.clock import ManualClock
from core.db import Pool
from core.model import Edge, from_micros
from tests.desk import NOON, Desk, finding, later

ALARMS = (
    "SELECT rule_id, started_at, cleared_at, condition_state, severity_peak FROM hub.alarm"
    " ORDER BY alarm_id"
)


@pytest.fixture
async def desk(pool: Pool) -> Desk:
    desk = Desk(pool, ManualClock(NOON))
    await desk.settle_city()
    return desk


def told(device: int, rule_id: str, *edges: tuple[float, Edge]) -> list[Finding]:
    """Findings on one device, each received when it was measured."""
    return [
        finding(
            device,
            rule_id=rule_id,
            edge=edge,
            ts=later(seconds),
            first_ts=later(seconds),
            received_at=later(seconds),
        )
        for seconds, edge in edges
    ]


async def alarms_after(
    desk: Desk, device: int, several: Sequence[Finding], *, end_s: float, at_once: bool
) -> Sequence[tuple[Any, ...]]:
    for each in several:
        await desk.find(each)
        if not at_once:
            seconds = (from_micros(each.ts) - NOON).total_seconds()
            await desk.hear(device, seconds)
            desk.clock.advance(seconds - (desk.clock.now() - NOON).total_seconds())
            await desk.work()
    desk.clock.advance(end_s - (desk.clock.now() - NOON).total_seconds())
    await desk.hear(device, end_s)
    await desk.work()
    return await desk.rows(ALARMS)


HISTORIES = {
    "a breach that lasted its delay, then ended": (
        "working_too_fast",
        [(0.0, Edge.OPEN), (90.0, Edge.CLEAR)],
    ),
    "a breach that fell back within its delay": (
        "working_too_fast",
        [(0.0, Edge.OPEN), (59.0, Edge.CLEAR)],
    ),
    "open, put back for good, open again": (
        "cover_open",
        [(0.0, Edge.OPEN), (60.0, Edge.CLEAR), (1500.0, Edge.OPEN), (1600.0, Edge.CLEAR)],
    ),
    "open, put back for a moment, open still": (
        "cover_open",
        [(0.0, Edge.OPEN), (60.0, Edge.CLEAR), (500.0, Edge.OPEN), (560.0, Edge.CLEAR)],
    ),
    "two pulses far apart": ("sos", [(0.0, Edge.ONCE), (40_000.0, Edge.ONCE)]),
    "two pulses close together": ("sos", [(0.0, Edge.ONCE), (1000.0, Edge.ONCE)]),
}
KINDS_OF = {
    "working_too_fast": "sanitation_vehicle",
    "cover_open": "manhole_cover",
    "sos": "sanitation_worker",
}


@pytest.mark.parametrize("history", HISTORIES)
async def test_read_at_once_or_one_by_one_findings_give_the_same_alarms(
    desk: Desk, history: str
) -> None:
    rule_id, edges = HISTORIES[history]
    found = []
    for number, at_once in enumerate((False, True)):
        device = await desk.device(f"D-{number}", KINDS_OF[rule_id])
        several = told(device, rule_id, *edges)
        found.append(await alarms_after(desk, device, several, end_s=80_000, at_once=at_once))
        await desk.run("TRUNCATE hub.alarm, hub.alarm_pending, hub.incident, hub.case CASCADE")
        desk.clock = ManualClock(NOON)
    assert found[0] == found[1]
