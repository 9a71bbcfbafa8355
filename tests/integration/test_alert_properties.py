"""Random histories on a real database, cut into random batches, with crashes in between."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.actions import StaffActions
from alerts.case import MOVES, CaseState
from alerts.engine import step
from core import failpoint
from core.clock import ManualClock
from core.db import Pool
from core.errors import ConflictError, NotFoundError
from core.failpoint import FailpointError
from core.model import Edge, Severity
from tests.desk import NOON, Desk, finding, later

DEVICES = 2
CHAIN = """
SELECT count(*) FROM (
    SELECT prev_hash, hash, lag(hash, 1, '\\x'::bytea) OVER (ORDER BY event_id) AS before,
           hub.event_hash(prev_hash, event_id, log, tenant_id, at, actor, object, object_id, action,
                          from_state, to_state, reason, detail) AS again
      FROM hub.event_log) AS e WHERE prev_hash <> before OR hash <> again
"""
OPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("find"),
            st.integers(0, DEVICES - 1),
            st.sampled_from(["cover_open", "cover_shift"]),
            st.sampled_from(Edge),
            st.sampled_from([Severity.ORANGE, Severity.RED]),
        ),
        st.tuples(st.just("hear"), st.integers(0, DEVICES - 1)),
        st.tuples(st.just("wait"), st.sampled_from([3, 700, 20_000])),
        st.tuples(st.just("work")),
        st.tuples(
            st.just("crash"),
            st.sampled_from(["after_incident", "after_case", "after_alarm", "before_commit"]),
        ),
        st.tuples(
            st.just("act"),
            st.sampled_from(
                ["acknowledge", "undo_acknowledge", "reset_alarm", "file", "shelve", "unshelve"]
            ),
            st.integers(1, 3),
        ),
        st.tuples(
            st.just("case"),
            st.sampled_from(
                ["dispatch", "sign", "feedback", "return_", "verify_pass", "verify_fail", "arrive"]
            ),
        ),
    ),
    min_size=4,
    max_size=40,
)


class World:
    def __init__(self, desk: Desk, patch: pytest.MonkeyPatch) -> None:
        self.desk = desk
        self.patch = patch
        self.staff = StaffActions(desk.pool, desk.clock, "webhook")
        self.devices: list[int] = []

    async def begin(self) -> None:
        await self.desk.empty()
        await self.desk.settle_city()
        self.devices = [await self.desk.cover(f"MH-{n}") for n in range(DEVICES)]

    @property
    def seconds(self) -> float:
        return (self.desk.clock.now() - NOON).total_seconds()

    async def do(self, verb: str, *arguments: Any) -> None:
        with suppress(ConflictError, NotFoundError):
            await getattr(self, verb)(*arguments)

    async def find(self, device: int, rule_id: str, edge: Edge, severity: Severity) -> None:
        at = later(self.seconds)
        await self.desk.find(
            finding(
                self.devices[device],
                rule_id=rule_id,
                edge=edge,
                severity=severity,
                ts=at,
                first_ts=at,
                received_at=at,
            )
        )

    async def hear(self, device: int) -> None:
        await self.desk.hear(self.devices[device], self.seconds)

    async def wait(self, seconds: float) -> None:
        self.desk.clock.advance(seconds)

    async def work(self) -> None:
        await step(self.desk.pool, self.desk.clock, "webhook")

    async def crash(self, point: str) -> None:
        def fail() -> None:
            raise FailpointError(point)

        points: Mapping[str, Any] = {f"alerts.{point}": fail}
        with self.patch.context() as patch, suppress(FailpointError):
            patch.setattr(failpoint, "_points", points)
            await self.work()

    async def act(self, verb: str, alarm_id: int) -> None:
        extra: dict[str, Any] = {"reason": "why"} if verb in {"reset_alarm", "shelve"} else {}
        extra |= {"minutes": 30} if verb == "shelve" else {}
        await getattr(self.staff, verb)(alarm_id, actor="wang", **extra)

    async def case(self, verb: str) -> None:
        rows = await self.desk.rows("SELECT case_no FROM hub.case ORDER BY case_no DESC LIMIT 1")
        for (case_no,) in rows:
            match verb:
                case "dispatch":
                    await self.staff.dispatch(case_no, actor="wang", dept="LD")
                case "feedback":
                    await self.staff.feedback(case_no, actor="crew", note="done")
                case "return_":
                    await self.staff.return_(case_no, actor="crew", reason="not ours")
                case "verify_pass" | "verify_fail":
                    await self.staff.verify(
                        case_no, actor="insp", passed=verb == "verify_pass", note="seen"
                    )
                case _:
                    await getattr(self.staff, verb)(case_no, actor="crew")

    async def judge(self) -> None:
        rows = self.desk.rows
        assert not await rows(
            "SELECT 1 FROM hub.alarm WHERE condition_state <> 'cleared'"
            " OR (latched AND reset_at IS NULL) GROUP BY device_no, rule_id HAVING count(*) > 1"
        )
        assert not await rows(
            "SELECT 1 FROM hub.alarm a LEFT JOIN hub.event_log e ON e.object = 'alarm'"
            " AND e.object_id = a.alarm_id::text AND e.action IN ('raised', 'recorded')"
            " GROUP BY a.alarm_id HAVING count(e.event_id) <> 1"
        )
        assert not await rows("SELECT incident_id FROM hub.alarm GROUP BY 1 HAVING count(*) <> 1")
        assert not await rows(
            "SELECT 1 FROM hub.alarm WHERE severity_peak = 4 AND audience = 'city'"
            " AND case_no IS NULL AND NOT retroactive AND rule_id = 'cover_open'"
        )
        assert not await rows(
            "SELECT 1 FROM hub.case WHERE owner_dept IS NULL OR handle_due_at IS NULL"
        )
        assert await rows(CHAIN) == [(0,)]
        assert not await rows(
            "SELECT 1 FROM hub.cursor"
            " WHERE position <> (SELECT coalesce(max(finding_id), 0) FROM hub.finding)"
        )
        for case_no, state in await rows("SELECT case_no, state FROM hub.case"):
            await self._judge_path(case_no, state)

    async def _judge_path(self, case_no: str, state: str) -> None:
        path = await self.desk.rows(
            "SELECT action, from_state, to_state FROM hub.event_log WHERE object = 'case'"
            " AND object_id = %s AND action <> 'severity_raised' ORDER BY event_id",
            [case_no],
        )
        assert path[0] == ("reported", None, "reported")
        here = "reported"
        for action, before, after in path[1:]:
            sources, target = MOVES[action]
            assert before == here
            assert CaseState(before) in sources
            assert after == target
            here = after
        assert here == state


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(ops=OPS)
async def test_no_history_reaches_a_forbidden_state_or_says_anything_twice(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, ops: list[tuple[Any, ...]]
) -> None:
    world = World(Desk(pool, ManualClock(NOON)), monkeypatch)
    await world.begin()
    for op in ops:
        await world.do(*op)
    await world.desk.work()
    await world.judge()
    told = await world.desk.row("SELECT count(*) FROM hub.event_log")
    await world.desk.work()
    assert await world.desk.row("SELECT count(*) FROM hub.event_log") == told
