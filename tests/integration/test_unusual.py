"""A suspicion ranks and never speaks alone: no alarm, no case, nothing on the feed."""

import pytest

from core.clock import ManualClock
from core.db import Pool
from core.model import Edge, Severity
from devices import KINDS
from devices.unusual import UNUSUAL, Unusual
from tests.desk import NOON, Desk, finding


@pytest.fixture
async def desk(pool: Pool) -> Desk:
    desk = Desk(pool, ManualClock(NOON))
    await desk.settle_city()
    return desk


@pytest.mark.parametrize("edge", [Edge.OPEN, Edge.UPDATE, Edge.CLEAR])
async def test_a_suspicion_is_stored_and_nothing_else_comes_of_it(desk: Desk, edge: Edge) -> None:
    cover = await desk.cover()
    before = await desk.row("SELECT count(*) FROM hub.event_log")
    for kind, severity in (("suspicion", Severity.BLUE), ("candidate", Severity.RED)):
        await desk.find(
            finding(
                cover,
                rule_id=UNUSUAL.rule_id,
                detector="rarity",
                kind=kind,
                edge=edge,
                severity=severity,
            )
        )
    await desk.work()
    assert await desk.row("SELECT count(*) FROM hub.finding WHERE rule_id = 'unusual'") == (2,)
    for table in ("alarm", "alarm_pending", '"case"', "work_order", "outbox", "incident"):
        assert await desk.row(f"SELECT count(*) FROM hub.{table}") == (0,), table
    assert await desk.row("SELECT count(*) FROM hub.event_log") == before


def test_every_kind_that_is_watched_so_has_the_rule_and_it_makes_no_alarms() -> None:
    watched = [
        kind for kind in KINDS.values() if any(isinstance(watch, Unusual) for watch in kind.watches)
    ]
    assert watched
    for kind in watched:
        (rule,) = [rule for rule in kind.rules if rule.rule_id == UNUSUAL.rule_id]
        assert not rule.enabled
        assert not rule.class_code
