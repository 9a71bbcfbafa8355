"""Alarms with one cause are one incident: grouped, quiet below the cause, told when left over."""

from typing import Any

import pytest

from alerts.actions import StaffActions
from core.clock import ManualClock
from core.db import Pool
from core.errors import ConflictError, NotFoundError
from core.model import Edge, Severity
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


async def test_a_cause_takes_over_what_was_raised_before_it_but_not_what_is_red(desk: Desk) -> None:
    gateway = await desk.device("GW-1", "gateway")
    numbers = await covers(desk, 4, gateway="GW-1", interval_s=60)
    await desk.find(*(silent(number) for number in numbers[:3]))
    await desk.find(finding(numbers[3], rule_id="offline", detector="silence"))
    await desk.work()
    assert len({row[0] for row in await members(desk)}) == 4
    desk.clock.advance(5)
    await desk.find(dead(gateway, at=5))
    await desk.work()
    assert await members(desk) == [
        *[(5, "offline", "suppressed")] * 3, (5, "offline", "none"), (5, "gateway_offline", "none"),
    ]  # fmt: skip
    rows = await desk.rows(
        "SELECT state, merged_into, member_count FROM hub.incident ORDER BY incident_id"
    )
    assert rows == [*[("closed", 5, 0)] * 4, ("open", None, 5)]
    assert await desk.row("SELECT count(*) FROM hub.alarm WHERE suppression = 'suppressed' AND"
                          " notified_at IS NOT NULL") == (0,)  # fmt: skip


async def test_what_goes_on_after_its_cause_is_told_as_left_over(desk: Desk) -> None:
    gateway = await desk.device("GW-1", "gateway")
    first, second = await covers(desk, 2, gateway="GW-1", interval_s=60)
    await desk.find(dead(gateway), silent(first), silent(second))
    await desk.work()
    await desk.find(dead(gateway, at=10, edge=Edge.CLEAR), silent(first, 10, edge=Edge.CLEAR))
    desk.clock.advance(400)  # the gateway's off-delay
    await desk.work()
    assert [row[2] for row in await members(desk)] == ["none", "suppressed", "suppressed"]
    desk.clock.advance(121)
    await desk.work()
    left = await desk.rows(
        "SELECT d.device_id, a.suppression, a.notified_at FROM hub.alarm a JOIN hub.device d"
        " USING (device_no) WHERE a.suppression = 'none' AND a.rule_id = 'offline'"
    )
    assert left == [("MH-1", "none", desk.clock.now())]
    told = await desk.rows("SELECT reason, detail ->> 'loud' FROM hub.event_log"
                           " WHERE action = 'unsuppressed'")  # fmt: skip
    assert told == [("left_over", "true")]
    assert await desk.row("SELECT state FROM hub.incident") == ("open",)


async def test_lamps_out_together_speak_for_their_feeder(desk: Desk) -> None:
    feeder = await desk.device("F-1", "feeder")
    await desk.device("F-2", "feeder")
    lamps = []
    for n in range(8):
        where = {"feeder": "F-1" if n < 4 else "F-2", "lon": 111 + n * 0.02, "lat": 37.0}
        lamps.append(await desk.device(f"L-{n}", "street_lamp", **where))
    out = {"rule_id": "lamp_out", "detector": "lamp", "severity": Severity.YELLOW,
           "first_ts": later(-700)}  # fmt: skip
    await desk.find(*(finding(lamp, **out) for lamp in (*lamps[:3], lamps[7])))
    await desk.work()
    desk.clock.advance(1)
    await desk.work()
    assert await members(desk) == [
        *[(5, "lamp_out", "suppressed")] * 3, (4, "lamp_out", "none"),
        (5, "feeder_down", "none"),
    ]  # fmt: skip
    cause = "SELECT cause_node, cause_rule, cause_confidence FROM hub.incident"
    assert ("F-1", "feeder_down", 0.75) in await desk.rows(cause)
    for lamp in (*lamps[:3], lamps[7]):
        await desk.find(finding(lamp, **(out | {"edge": Edge.CLEAR, "ts": later(5)})))
        await desk.hear(lamp, 2_000)
    for _ in range(4):
        desk.clock.advance(1_000)
        await desk.work()
    assert await desk.row("SELECT count(*) FROM hub.alarm WHERE condition_state <> 'cleared'"
                          " AND device_no = %s", [feeder]) == (0,)  # fmt: skip
    assert await desk.row("SELECT count(*) FROM hub.incident WHERE state = 'open'") == (0,)


async def test_near_alarms_of_a_family_are_linked_and_hide_nothing(desk: Desk) -> None:
    level = {"rule_id": "level_ladder", "metric": "level", "severity": Severity.ORANGE}
    for n, metres in enumerate((0, 200, 1_000)):
        place = {"lon": 111.0, "lat": 37.0 + metres / 111_195}
        gauge = await desk.device(f"WG-{n}", "water_gauge", **place)
        await desk.find(finding(gauge, **level))
    await desk.work()
    assert [(row[0], row[2]) for row in await members(desk)] == [
        (1, "none"),
        (1, "none"),
        (2, "none"),
    ]


async def test_water_links_along_the_river_within_hours(desk: Desk) -> None:
    level = {"rule_id": "level_ladder", "metric": "level", "severity": Severity.ORANGE}
    gauges = await covers(desk, 3)
    await desk.run(
        "INSERT INTO hub.topology_edge (child, parent, kind) VALUES ('MH-1', 'MH-0', 'hydrology')"
    )
    await desk.find(finding(gauges[0], **level))
    await desk.work()
    at = later(3_600)
    desk.clock.advance(3_600)
    moments = {"ts": at, "first_ts": at, "received_at": at}
    await desk.find(*(finding(gauge, **(level | moments)) for gauge in gauges[1:]))
    await desk.work()
    assert [row[0] for row in await members(desk)] == [1, 1, 2]


async def test_people_are_told_of_the_group_once_and_again_while_nobody_takes_note(
    desk: Desk,
) -> None:
    gateway = await desk.device("GW-1", "gateway")
    (first,) = await covers(desk, 1, gateway="GW-1")
    await desk.find(silent(first), dead(gateway))
    await desk.work()
    words = "SELECT action FROM hub.event_log WHERE object = 'incident' ORDER BY event_id"
    assert await desk.rows(words) == []
    desk.clock.advance(31)
    await desk.work()
    assert await desk.rows(words) == [("announced",)]
    for _ in range(50):
        desk.clock.advance(300)
        await desk.work()
    assert [row[0] for row in await desk.rows(words)] == ["announced", "reminded"]


async def test_a_flood_is_counted_by_announcements_and_hides_no_red(desk: Desk) -> None:
    numbers = await covers(desk, 16)
    shift = {"rule_id": "cover_shift", "severity": Severity.ORANGE}
    await desk.find(*(finding(number, **shift) for number in numbers[:11]))
    await desk.work()
    for _ in range(2):
        desk.clock.advance(16)
        await desk.work()
    seen = "SELECT action FROM hub.event_log WHERE action LIKE 'flood%%' ORDER BY event_id"
    assert await desk.rows(seen) == [("flood_begun",)]
    at = {"ts": later(40), "first_ts": later(40), "received_at": later(40)}
    await desk.find(*(finding(number, **(shift | at)) for number in numbers[11:15]))
    await desk.find(finding(numbers[15], **at))
    await desk.work()
    desk.clock.advance(20)
    await desk.work()
    told = await desk.rows(
        "SELECT object, action, detail ->> 'severity', detail ->> 'count' FROM hub.event_log"
        " WHERE action LIKE 'announced%%' ORDER BY event_id OFFSET 11"
    )
    assert told == [
        ("incident", "announced", "red", None), ("system", "announced_together", "orange", "4"),
    ]  # fmt: skip
    desk.clock.advance(700)
    await desk.work()
    assert await desk.rows(seen) == [("flood_begun",), ("flood_ended",)]


async def test_a_group_is_acknowledged_as_one_and_the_audit_lists_each(desk: Desk) -> None:
    staff = StaffActions(desk.pool, desk.clock, "webhook")
    gateway = await desk.device("GW-1", "gateway")
    numbers = await covers(desk, 3, gateway="GW-1")
    await desk.find(dead(gateway), *(silent(number) for number in numbers))
    await desk.work()
    await staff.acknowledge(2, actor="li")
    outcome = await staff.acknowledge_incident(1, actor="wang")
    assert await desk.rows("SELECT alarm_id, acked_by FROM hub.alarm ORDER BY 1") == [
        (1, "wang"), (2, "li"), (3, "wang"), (4, "wang"),
    ]  # fmt: skip
    audit = await desk.rows(
        "SELECT object, object_id FROM hub.audit WHERE actor = 'wang' ORDER BY object_id, object"
    )
    assert audit == [("alarm", "1"), ("incident", "1"), ("alarm", "3"), ("alarm", "4")]
    assert outcome.version == (await desk.row("SELECT version FROM hub.incident"))[0]
    with pytest.raises(ConflictError):
        await staff.acknowledge_incident(1, actor="li")
    with pytest.raises(NotFoundError):
        await staff.acknowledge_incident(99, actor="li")


async def test_incidents_are_split_and_merged_by_hand_with_a_reason(desk: Desk) -> None:
    staff = StaffActions(desk.pool, desk.clock, "webhook")
    gateway = await desk.device("GW-1", "gateway")
    first, second = await covers(desk, 2, gateway="GW-1")
    other = await desk.device("GW-2", "gateway")
    await desk.find(dead(gateway), silent(first), silent(second))
    await desk.work()
    await desk.find(dead(other, at=1))
    await desk.work()
    with pytest.raises(ConflictError):
        await staff.split_incident(1, actor="wang", reason=" ", alarms=[2])
    with pytest.raises(ConflictError):
        await staff.split_incident(1, actor="wang", reason="no", alarms=[1, 2, 3])
    await staff.split_incident(1, actor="wang", reason="its own battery", alarms=[2])
    found = [(incident, quiet) for incident, _, quiet in await members(desk)]
    assert found == [(1, "none"), (3, "none"), (1, "suppressed"), (2, "none")]
    await desk.work()
    assert await desk.rows("SELECT member_count FROM hub.incident ORDER BY incident_id") == [
        (2,), (1,), (1,),
    ]  # fmt: skip
    await staff.merge_incidents(1, actor="wang", reason="one lorry", others=[2, 3])
    assert [row[0] for row in await members(desk)] == [1, 1, 1, 1]
    rows = await desk.rows("SELECT state, merged_into FROM hub.incident ORDER BY incident_id")
    assert rows == [("open", None), ("closed", 1), ("closed", 1)]
    said = await desk.rows(
        "SELECT action, reason FROM hub.event_log WHERE object = 'incident'"
        " AND action LIKE '%%by_hand' ORDER BY event_id"
    )
    assert said == [("split_by_hand", "its own battery"), ("merged_by_hand", "one lorry")]


async def test_a_second_red_alarm_of_an_incident_goes_to_the_case_it_has(desk: Desk) -> None:
    await desk.settle_city()
    level = {"rule_id": "level_ladder", "metric": "level", "severity": Severity.RED}
    for n in range(2):
        place = {"lon": 111.0, "lat": 37.0 + n * 0.001, "dept_code": "SZ"}
        await desk.find(finding(await desk.device(f"WG-{n}", "water_gauge", **place), **level))
        await desk.work()
    (first,), (second,) = await desk.rows("SELECT case_no FROM hub.alarm ORDER BY alarm_id")
    assert first is not None
    assert first == second
    assert await desk.row("SELECT count(*) FROM hub.case") == (1,)
    assert "alarm_attached" in await desk.actions_of("case")
    assert await desk.row("SELECT count(*) FROM hub.alarm WHERE suppression <> 'none'") == (0,)
