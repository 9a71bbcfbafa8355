"""The engine, crashed between any two of its writes, loses nothing and says nothing twice."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest

from alerts.actions import StaffActions
from core import failpoint
from core.clock import ManualClock
from core.db import Pool
from core.failpoint import FailpointError
from core.model import Edge, Severity
from tests.desk import NOON, Desk, finding, later

POINTS = (
    "after_cursor", "after_incident", "after_case_row", "after_order", "after_case",
    "after_change", "after_alarm", "after_group", "after_pending", "before_events", "before_commit",
    "after_commit",
)  # fmt: skip
SEEN = {
    "alarm": "alarm_id, device_no, rule_id, condition_state, ack_state, suppression, severity,"
    " flapping, occurrence_no, case_no, incident_id, escalation_level, chatter_count",
    "alarm_pending": "device_no, rule_id, first_ts, hits",
    "incident": "incident_id, state, severity, member_count",
    "case": "case_no, state, severity",
    "work_order": "order_no, state",
    "outbox": "key, message_type",
    "shelf": "device_no, rule_id",
    "maintenance_window": "window_id, state",
    "finding": "device_no, rule_id, edge, ts",
    "cursor": "name",
    "event_log": "object, object_id, action, from_state, to_state, reason",
}
SERIALS = ("hub.alarm", "alarm_id"), ("hub.incident", "incident_id")


async def play(desk: Desk, crash_at: str, patch: pytest.MonkeyPatch) -> dict[str, Sequence[Any]]:
    """Play a short story in which every kind of write happens; crash once a turn at a point."""
    await desk.settle_city()
    staff = StaffActions(desk.pool, desk.clock, "webhook")
    covers = [await desk.cover(f"MH-{n}") for n in range(3)]
    feeder = await desk.device("F-1", "feeder")

    async def work() -> None:
        def fail() -> None:
            raise FailpointError(crash_at)

        if crash_at:
            with patch.context() as context, suppress(FailpointError):
                context.setattr(failpoint, "_points", {f"alerts.{crash_at}": fail})
                await desk.work()
        # numbers given to what was never committed are free again in this story only
        for table, column in SERIALS:
            await desk.run(
                f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'),"
                f" greatest(max({column}), 1), max({column}) IS NOT NULL) FROM {table}"
            )
        await desk.work()

    await desk.find(
        finding(covers[0]),
        finding(covers[1], rule_id="cover_shift", severity=Severity.ORANGE),
        finding(covers[2], rule_id="cover_shift", severity=Severity.ORANGE),
        finding(feeder, rule_id="feeder_down", severity=Severity.ORANGE),
    )
    await work()
    await staff.shelve(2, actor="wang", reason="works", minutes=10)
    await staff.open_window(
        actor="wang", scope="device", targets=["MH-2"], reason="works", ends_at=desk_end(desk, 900)
    )
    await work()
    for n in range(4):  # comes and goes: flapping
        edge = Edge.CLEAR if n % 2 == 0 else Edge.OPEN
        at = later(10 + n)
        await desk.find(finding(covers[0], edge=edge, ts=at, first_ts=at, received_at=at))
    desk.clock.advance(130)  # nobody took note: the ladder
    await work()
    desk.clock.advance(1_000)  # shelf and window end
    await work()
    found = {}
    for table, columns in SEEN.items():
        rows = await desk.rows(f"SELECT {columns} FROM hub.{table} ORDER BY {columns}")
        found[table] = rows
    found["broken"] = await desk.rows("SELECT * FROM hub.broken_link(1::int2)")
    return found


def desk_end(desk: Desk, seconds: float) -> Any:
    return type(NOON).fromtimestamp(desk.clock.now().timestamp() + seconds, NOON.tzinfo)


async def test_a_crash_between_any_write_and_its_next_changes_nothing(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stories = {}
    for point in ("", *POINTS):
        desk = Desk(pool, ManualClock(NOON))
        stories[point] = await play(desk, point, monkeypatch)
        await desk.empty()
    whole = stories[""]
    said = {row[2] for row in whole["event_log"]}
    assert said >= {
        "raised", "clearing", "resumed", "flapping", "escalated", "shelved", "unshelved",
        "out_of_service", "in_service", "window_begun", "window_ended", "filed",
    }  # fmt: skip
    assert whole["broken"] == []
    for point in POINTS:
        for table, rows in whole.items():
            assert stories[point][table] == rows, (point, table)
