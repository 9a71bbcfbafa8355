"""What staff do, through the API: once, by version, and refused with the name of who was first."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest

from alerts.actions import StaffActions
from alerts.engine import step
from api.actions import Actions
from core.clock import ManualClock
from core.db import Pool
from tests.desk import Desk, finding
from tests.serving import NOON, TOKEN, FakeActions, serving

ALL: list[tuple[str, dict[str, Any], str]] = [
    ("/api/v1/alarms/5/acknowledge", {}, "acknowledge"),
    ("/api/v1/alarms/5/undo-acknowledge", {}, "undo_acknowledge"),
    ("/api/v1/alarms/5/reset", {"reason": "现场核实"}, "reset_alarm"),
    ("/api/v1/alarms/5/file", {}, "file"),
    ("/api/v1/alarms/5/shelve", {"reason": "施工", "minutes": 60, "once": True}, "shelve"),
    ("/api/v1/alarms/5/unshelve", {}, "unshelve"),
    ("/api/v1/cases/FY-1/accept", {}, "accept"),
    ("/api/v1/cases/FY-1/check", {"reason": "位置不明"}, "request_check"),
    ("/api/v1/cases/FY-1/confirm", {}, "confirm"),
    ("/api/v1/cases/FY-1/file", {}, "file_case"),
    ("/api/v1/cases/FY-1/reject", {"reason": "非本辖区"}, "reject"),
    ("/api/v1/cases/FY-1/void", {"reason": "误报"}, "void"),
    ("/api/v1/cases/FY-1/merge", {"into": "FY-2"}, "merge"),
    ("/api/v1/cases/FY-1/join", {"incident_id": 3}, "join"),
    ("/api/v1/cases/FY-1/urge", {"reason": "请尽快"}, "urge"),
    ("/api/v1/cases/FY-1/supervise", {"level": 1, "reason": "超期"}, "supervise"),
    ("/api/v1/cases/FY-1/extend", {"hours": 24.0, "reason": "待料"}, "extend"),
    ("/api/v1/cases/FY-1/decide", {"type": "extension", "approved": True}, "decide"),
    ("/api/v1/cases/FY-1/resume", {"reason": "开工"}, "resume"),
    ("/api/v1/cases/FY-1/dispatch", {"dept": "SZ"}, "dispatch"),
    ("/api/v1/cases/FY-1/sign", {}, "sign"),
    ("/api/v1/cases/FY-1/arrive", {}, "arrive"),
    ("/api/v1/cases/FY-1/feedback", {"note": "已修复"}, "feedback"),
    ("/api/v1/cases/FY-1/return", {"reason": "不属本单位"}, "return"),
    ("/api/v1/cases/FY-1/verify", {"passed": True, "note": "合格"}, "verify"),
]


async def test_each_action_reaches_staff_actions_with_actor_and_version(
    pool: Pool, database: str
) -> None:
    actions = FakeActions()
    async with serving(pool, database, actions=actions) as client:
        for number, (path, body, action) in enumerate(ALL, 1):
            answer = await client.post(
                path, json={**body, "actor": "席位1"}, headers={"If-Match": '"3"'}
            )
            assert answer.status_code == 200, answer.text
            assert answer.headers["etag"] == '"7"'
            assert answer.json()["event_id"] == number
            target = 5 if "/alarms/" in path else "FY-1"
            assert actions.calls[-1] == (action, target, {"actor": "席位1", "version": 3, **body})
        filed = await client.post("/api/v1/alarms/5/file")
        resent = await client.post("/api/v1/outbox/3/resend")
    assert filed.json()["case_no"] == "FY-20261121-000001"
    assert resent.json() == {"event_id": len(ALL) + 2}


async def test_an_action_without_a_body_is_done_by_whoever_asks(pool: Pool, database: str) -> None:
    actions = FakeActions()
    async with serving(pool, database, actions=actions) as client:
        await client.post("/api/v1/alarms/5/acknowledge")
    assert actions.calls == [("acknowledge", 5, {"actor": "local", "version": None})]


async def test_a_person_logged_in_cannot_act_under_another_name(pool: Pool, database: str) -> None:
    actions = FakeActions()
    async with serving(pool, database, actions=actions, token=TOKEN) as client:
        await client.get("/lite/login")
        form = {"form": client.cookies["cityhub_form"], "actor": "席位1", "token": TOKEN}
        await client.post("/lite/login", data=form)
        await client.post("/api/v1/alarms/5/acknowledge", json={"actor": "席位2"})
    assert actions.calls[0][2]["actor"] == "席位1"


async def test_a_conflict_says_who_was_first_and_when(pool: Pool, database: str) -> None:
    async with serving(pool, database) as client:
        answer = await client.post("/api/v1/alarms/5/acknowledge", headers={"If-Match": '"1"'})
        lost = await client.post("/api/v1/alarms/404/acknowledge")
    assert answer.status_code == 409
    problem = answer.json()
    assert problem["detail_zh"] == "席位2已先行确认"
    assert problem["detail"] == "seat 2 was first: acknowledged"
    assert (problem["by"], problem["at"]) == ("席位2", "2026-11-21T04:00:00Z")
    assert problem["title"] == "Somebody acted first"
    assert lost.status_code == 404


async def test_the_same_key_acts_once_and_gets_the_same_answer(pool: Pool, database: str) -> None:
    actions = FakeActions()
    async with serving(pool, database, actions=actions) as client:

        async def ask(path: str = "/api/v1/alarms/5/acknowledge", **more: Any) -> httpx.Response:
            return await client.post(path, headers={"Idempotency-Key": "key-00001"}, **more)

        first, second = await ask(), await ask()
        other = await ask("/api/v1/alarms/6/acknowledge")
        changed = await ask(json={"actor": "席位1"})
    assert first.json() == second.json()
    assert (first.headers.get("idempotency-replayed"), second.headers["idempotency-replayed"]) == (
        None,
        "true",
    )
    assert len(actions.calls) == 1
    assert {other.status_code, changed.status_code} == {422}
    assert other.json()["type"] == "urn:cityhub:problem:key_reused"


async def test_a_refusal_is_kept_under_its_key_as_well(pool: Pool, database: str) -> None:
    async with serving(pool, database) as client:
        headers = {"Idempotency-Key": "key-00002", "If-Match": '"1"'}
        first = await client.post("/api/v1/alarms/5/acknowledge", headers=headers)
        second = await client.post("/api/v1/alarms/5/acknowledge", headers=headers)
    assert (first.status_code, second.status_code) == (409, 409)
    assert first.json() == second.json()
    assert second.headers["content-type"] == "application/problem+json"


async def test_a_key_in_use_waits_and_one_left_by_a_crash_is_taken_over(
    pool: Pool, database: str
) -> None:
    actions, clock = FakeActions(wait=asyncio.Event()), ManualClock(NOON)
    async with serving(pool, database, actions=actions, clock=clock) as client:

        async def ask() -> httpx.Response:
            return await client.post(
                "/api/v1/alarms/5/acknowledge", headers={"Idempotency-Key": "key-00003"}
            )

        running = asyncio.create_task(ask())
        await _claimed(database, "key-00003")
        busy = await ask()
        assert actions.wait is not None
        actions.wait.set()
        done = await running
        with psycopg.connect(database) as conn:
            conn.execute("UPDATE hub.idempotency SET status = NULL, answer = NULL")
        still = await ask()
        clock.advance(61)
        taken = await ask()
    assert (busy.status_code, busy.json()["type"]) == (409, "urn:cityhub:problem:in_progress")
    assert (done.status_code, still.status_code, taken.status_code) == (200, 409, 200)


async def _claimed(database: str, key: str) -> None:
    async with asyncio.timeout(5):
        while True:
            with psycopg.connect(database) as conn:
                if conn.execute("SELECT 1 FROM hub.idempotency WHERE key = %s", [key]).fetchone():
                    return
            await asyncio.sleep(0.02)


class Failing(FakeActions):
    """Fails as a program fails, the first time."""

    async def _do(self, action: str, target: int | str, **facts: Any) -> Any:
        if not self.calls:
            self.calls.append((action, target, facts))
            raise ZeroDivisionError
        return await super()._do(action, target, **facts)


async def test_a_failure_of_ours_frees_the_key_for_another_try(
    pool: Pool, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(pool, database, actions=Failing()) as client:
        headers = {"Idempotency-Key": "key-00004"}
        first = await client.post("/api/v1/alarms/5/acknowledge", headers=headers)
        second = await client.post("/api/v1/alarms/5/acknowledge", headers=headers)
    assert (first.status_code, second.status_code) == (500, 200)
    assert "ZeroDivision" not in first.text
    assert first.headers["content-security-policy"]


async def test_what_makes_no_sense_is_refused_before_anything_is_done(
    pool: Pool, database: str
) -> None:
    actions = FakeActions()
    acknowledge, reset = "/api/v1/alarms/5/acknowledge", "/api/v1/alarms/5/reset"
    refused: list[tuple[str, dict[str, Any], dict[str, str], int]] = [
        (reset, {}, {}, 422),
        (reset, {"reason": "  "}, {}, 422),
        (reset, {"reason": "x" * 2001}, {}, 422),
        (reset, {"reason": "x", "more": 1}, {}, 422),
        (reset, {"reason": "a\0b"}, {}, 422),
        ("/api/v1/cases/FY-1/verify", {"passed": "perhaps", "note": "x"}, {}, 422),
        ("/api/v1/cases/FY 1/sign", {}, {}, 422),
        (acknowledge, {}, {"If-Match": "three"}, 400),
        (acknowledge, {}, {"Idempotency-Key": "short"}, 422),
        (acknowledge, {}, {"Origin": "https://evil.example"}, 403),
    ]
    async with serving(pool, database, actions=actions) as client:
        for path, body, headers, status in refused:
            answer = await client.post(path, json=body, headers=headers)
            assert answer.status_code == status, (path, body, answer.text)
    assert actions.calls == []


async def test_a_stolen_cover_goes_all_the_way_to_a_verified_case_through_the_api(
    pool: Pool, database: str
) -> None:
    """The real actions on the real tables; only the finding is put in by hand."""
    desk = Desk(pool, ManualClock(NOON))
    await desk.settle_city()
    await desk.find(finding(await desk.cover()))
    await desk.work()
    real: Actions = StaffActions(pool, desk.clock, desk.connector)
    async with serving(pool, database, actions=real, clock=desk.clock) as client:

        async def act(path: str, **body: Any) -> dict[str, Any]:
            desk.clock.advance(1)
            answer = await client.post(f"/api/v1/{path}", json={"actor": "席位1", **body})
            assert answer.status_code == 200, answer.text
            done: dict[str, Any] = answer.json()
            return done

        (alarm,) = (await client.get("/api/v1/alarms")).json()["items"]
        number, case_no = alarm["alarm_id"], alarm["case_no"]
        acked = await act(f"alarms/{number}/acknowledge")
        again = await client.post(
            f"/api/v1/alarms/{number}/acknowledge",
            json={"actor": "席位2"},
            headers={"If-Match": f'"{alarm["version"]}"'},
        )
        case = (await client.get(f"/api/v1/cases/{case_no}")).json()
        if case["state"] == "filed":
            await act(f"cases/{case_no}/dispatch", dept="SZ")
        await act(f"cases/{case_no}/sign")
        await act(f"cases/{case_no}/feedback", note="井盖已复位")
        early = (await client.get(f"/api/v1/cases/{case_no}")).json()
        last = await act(f"cases/{case_no}/verify", passed=True, note="现场核查合格")
        after = (await client.get(f"/api/v1/cases/{case_no}")).json()
        newest = (await client.get("/api/v1/snapshot")).json()["cursor"]
    assert again.status_code == 409
    assert again.json()["by"] == "席位1"
    assert acked["version"] > alarm["version"]
    assert early["state"] not in {"closed", "evaluated"}
    assert early["closed_at"] is None
    assert after["verify_result"] in {"passed", None}
    assert last["event_id"] <= newest
    with psycopg.connect(database) as conn:
        audited = conn.execute(
            "SELECT action, outcome, count(*) FROM hub.audit GROUP BY action, outcome"
        ).fetchall()
    assert {count for _, _, count in audited} == {1}  # nothing is noted twice
    assert ("acknowledge", "refused", 1) in audited
    assert await step(pool, desk.clock, desk.connector) >= 0
    assert desk.clock.now() - NOON < timedelta(minutes=1)
