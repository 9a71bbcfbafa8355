"""Alarms with one cause are one incident: grouped, quiet below the cause, told when left over."""

from datetime import timedelta
from typing import Any

import pytest

from alerts.actions import StaffActions
from core.clock import ManualClock
from core.db import Pool
from core.model import Audience, Edge, Severity
from tests.desk import NOON, Desk, finding, later


@pytest.fixture
def desk(pool: Pool) -> Desk:
    return Desk(pool, ManualClock(NOON))


def silent(device_no: int, at: float = 0, **changes: Any) -> Any:
    values: dict[str, Any] = {
        "rule_id": "offline", "detector": "silence", "kind": "lost", "metric": "",
        "severity": Severity.BLUE, "ts": later(at), "first_ts": later(at),
        "received_at": later(at),
    }  # fmt: skip
    return finding(device_no, **(values | changes))


def dead(device_no: int, rule: str = "gateway_offline", at: float = 0, **changes: Any) -> Any:
    return silent(device_no, at, rule_id=rule, **({"severity": Severity.YELLOW} | changes))


async def covers(desk: Desk, count: int, **columns: Any) -> list[int]:
    """Covers 2 km from one another."""
    numbers = []
    for n in range(count):
        place = {"lon": 111.0 + n * 0.02, "lat": 37.0} | columns
        numbers.append(await desk.device(f"MH-{n}", **place))
    return numbers


async def members(desk: Desk) -> list[tuple[int, str, str]]:
    """Incident, rule and suppression of each alarm."""
    return [
        tuple(row)
        for row in await desk.rows(
            "SELECT incident_id, rule_id, suppression FROM hub.alarm ORDER BY alarm_id"
        )
    ]


async def test_what_a_dead_gateway_carries_is_one_incident_and_quiet(desk: Desk) -> None:
    gateway = await desk.device("GW-1", "gateway")
    first, second, third = await covers(desk, 3, gateway="GW-1")
    other = await desk.device("MH-X")
    await desk.find(silent(first), dead(gateway), silent(other))  # all in one turn
    await desk.work()
    await desk.find(silent(second, 5))  # after it
    await desk.find(finding(third, ts=later(6), first_ts=later(6)))  # open: a theft, not silence
    await desk.work()
    assert await members(desk) == [
        (1, "offline", "suppressed"), (1, "gateway_offline", "none"), (2, "offline", "none"),
        (1, "offline", "suppressed"), (3, "cover_open", "none"),
    ]  # fmt: skip
    incident = await desk.row(
        "SELECT cause_node, cause_kind, member_count, suppressed_count, title_zh, severity"
        " FROM hub.incident WHERE incident_id = 1"
    )
    assert incident == ("GW-1", "gateway", 3, 2, "GW-1号网关失联", 2)
    loud = await desk.rows(
        "SELECT object_id FROM hub.event_log WHERE object = 'alarm' AND action = 'raised'"
        " AND (detail ->> 'loud')::bool AND detail ->> 'rule_id' = 'offline'"
    )
    assert loud == [("3",)], "only the one that hangs on nothing is told"


async def test_of_causes_above_one_another_the_uppermost_has_it(desk: Desk) -> None:
    network = await desk.device("NET-1", "network")
    gateways = [await desk.device(f"GW-{n}", "gateway", network="NET-1") for n in range(3)]
    await desk.find(*(dead(gateway) for gateway in gateways), dead(network, "network_down"))
    await desk.work()
    assert [row[0] for row in await members(desk)] == [1, 1, 1, 1]
    assert await desk.row("SELECT cause_node, suppressed_count FROM hub.incident") == ("NET-1", 3)
