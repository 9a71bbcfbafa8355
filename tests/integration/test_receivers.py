"""Receivers as data, from the case to the far side and back again, in virtual time."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from alerts.actions import StaffActions
from alerts.callbacks import CallbackDesk, Receipt
from alerts.connectors import exchange
from alerts.dispatch_role import Ways
from alerts.outbox import DRILL_TENANT
from alerts.receivers import (
    Receiver,
    Secrets,
    add_receiver,
    derive,
    set_disabled,
)
from core.clock import ManualClock
from core.db import Pool, transaction
from core.errors import ConfigError, ConflictError
from core.settings import Dispatch
from simulators import webhook
from simulators.platform import create_platform
from tests.desk import NOON, Desk, finding
from tests.platform import OK, Answer, Received, http, open_platform
from tests.serving import serving
from tests.unit.test_connector_forms import check_cap

SITE_KEY = bytes(range(32))
STATES = "SELECT connector, state, count(*) FROM hub.outbox GROUP BY 1, 2 ORDER BY 1, 2"


@pytest.fixture
async def desk(pool: Pool) -> Desk:
    desk = Desk(pool, ManualClock(NOON), connector=None)
    await desk.settle_city()
    return desk


def secrets(folder: Path) -> Secrets:
    return Secrets(SITE_KEY, folder, "main secret")


async def add(desk: Desk, name: str, kind: str, url: str | None = None, **more: Any) -> None:
    receiver = Receiver(
        name=name, kind=kind, url=url, changed_at=desk.clock.now(), changed_by="wang", **more
    )
    async with transaction(desk.pool) as conn:
        await add_receiver(conn, receiver)


async def order(desk: Desk, device: str = "MH-1") -> str:
    await desk.find(finding(await desk.cover(device)))
    await desk.work()
    (case_no,) = await desk.row("SELECT max(case_no) FROM hub.case")
    return str(case_no)


@asynccontextmanager
async def ways(desk: Desk, folder: Path, *, timeout_s: float = 0.3) -> AsyncIterator[Ways]:
    settings = Dispatch.model_validate({"networks": ["127.0.0.0/8"], "timeout_s": timeout_s})
    opened = Ways(
        desk.pool, settings=settings, secrets=secrets(folder), clock=desk.clock, rng=Random(1)
    )
    await opened.open()
    try:
        yield opened
    finally:
        await opened.close()


async def test_one_case_reaches_every_receiver_in_its_own_form(desk: Desk, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    async with open_platform(lambda _: OK) as platform:
        await add(desk, "district", "exchange", platform.url)
        await add(desk, "warning", "cap", platform.url)
        await add(desk, "duty", "alertmanager", platform.url)
        await add(desk, "folder", "file", str(drop), options={"form": "exchange"})
        await add(desk, "graver", "webhook", platform.url, takes=("cn.cityhub.case.closed",))
        await order(desk)
        async with ways(desk, tmp_path) as out:
            assert await out.step() == 7  # the exchange is told of the steps as well
            assert await out.step() == 0
        kinds = Counter(one.headers["content-type"].partition(";")[0] for one in platform.received)
        assert kinds == {"application/cap+xml": 1, "application/json": 5}
        (warning,) = (one for one in platform.received if "cap" in one.headers["content-type"])
        check_cap(warning.body)
    (path,) = drop.iterdir()
    assert json.loads(path.read_bytes())["单据类型"] == "任务分派单"


async def test_the_exchange_is_told_every_step_by_its_own_form(desk: Desk, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    form = {"form": "exchange"}
    await add(desk, "district", "file", str(drop), takes=exchange.TAKES, options=form)
    await add(desk, "city", "null")
    case_no = await order(desk)
    for seq, action in enumerate(("accept", "feedback"), 1):
        assert (await call(desk, tmp_path, case_no, action, seq)).state == "applied"
    await StaffActions(desk.pool, desk.clock, None).verify(
        case_no, actor="li", passed=False, note="井盖未盖好"
    )
    async with ways(desk, tmp_path) as out:
        while await out.step():
            pass
    forms = [json.loads(path.read_bytes()) for path in sorted(drop.iterdir())]
    assert [each["单据类型"] for each in forms] == [
        "问题登记单", "问题反馈单", "问题立案单", "任务分派单", "任务反馈单", "任务分派单"
    ]  # fmt: skip
    assert forms[4]["处置情况"] == "已更换井盖"


async def test_only_what_is_grave_enough_and_taken_is_told(desk: Desk, tmp_path: Path) -> None:
    await add(desk, "all", "null")
    await add(desk, "later", "null", disabled=True)
    await add(desk, "red", "null", least=4)
    await order(desk)
    rows = await desk.rows("SELECT connector FROM hub.outbox ORDER BY 1")
    assert [name for (name,) in rows] == ["all", "red"]
    async with ways(desk, tmp_path) as out:
        await out.step()
    assert await desk.rows(STATES) == [("all", "delivered", 1), ("red", "delivered", 1)]


async def test_a_drill_ends_at_the_null_connector_and_nothing_leaves(
    desk: Desk, tmp_path: Path
) -> None:
    def answer(_: Received) -> Answer:
        raise AssertionError("something left the hub")

    desk.connector = "webhook"
    await desk.run(f"ALTER TABLE hub.case ALTER COLUMN tenant_id SET DEFAULT {DRILL_TENANT}")
    async with open_platform(answer) as platform:
        await add(desk, "district", "webhook", platform.url)
        await order(desk)
        async with ways(desk, tmp_path) as out:
            await out.step()
    assert await desk.rows(STATES) == [("null", "delivered", 1)]


async def test_a_receiver_is_opened_closed_and_slowed_as_its_row_says(
    desk: Desk, tmp_path: Path
) -> None:
    async with open_platform(lambda _: OK) as platform, ways(desk, tmp_path) as out:
        await add(desk, "slow", "webhook", platform.url, per_minute=2)
        for n in range(5):
            await order(desk, f"MH-{n}")
        assert await out.step() == 2
        desk.clock.advance(30)
        assert await out.step() == 1
        async with transaction(desk.pool) as conn:
            now = desk.clock.now()
            await set_disabled(conn, "slow", disabled=True, actor="wang", now=now)
        desk.clock.advance(60)
        assert await out.step() == 0
        async with transaction(desk.pool) as conn:
            now = desk.clock.now()
            await set_disabled(conn, "slow", disabled=False, actor="wang", now=now)
        assert await out.step() == 2
    acts = await desk.rows("SELECT action FROM hub.audit WHERE object = 'receiver' ORDER BY at")
    assert [act for (act,) in acts] == ["receiver_added", "receiver_disabled", "receiver_enabled"]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"kind": "fax"}, "there is no kind 'fax'"),
        ({"kind": "webhook", "url": "file:///etc/passwd"}, "http:// or https://"),
        ({"kind": "file", "url": "drop"}, "needs a folder"),
        ({"kind": "notify"}, "URLs in a file"),
    ],
)
async def test_a_receiver_that_cannot_be_is_refused(
    desk: Desk, more: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        await add(desk, "odd", **more)


async def test_two_receivers_of_one_name_cannot_be(desk: Desk) -> None:
    await add(desk, "one", "null")
    with pytest.raises(ConflictError, match="already"):
        await add(desk, "one", "null")


async def test_every_order_is_delivered_with_one_effect_through_all_that_goes_wrong(
    desk: Desk, tmp_path: Path
) -> None:
    """500, silence after taking it, 429, garbage, down for an hour: the stand-in has each once."""
    secret = derive(SITE_KEY, "city")
    app = create_platform(secret=secret, journal=tmp_path / "journal", clock=desk.clock)
    stand_in = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://stand-in")
    rng, down_until = Random(5), NOON + timedelta(hours=1, minutes=10)
    taken: list[Received] = []

    def answer(one: Received) -> Answer:
        now = desk.clock.now()
        if NOON + timedelta(minutes=10) <= now < down_until:
            return None
        fault = rng.choice(["500", "429", "garbage", "silence", "fine", "fine"])
        if fault == "500":
            return http("500 Oops")
        if fault == "429":
            return http("429 Slow", Retry_After="30")
        taken.append(one)  # from here on it has it, whatever it says
        if fault == "garbage":
            return b"\x00\x01 what\r\n\r\n"
        return 0.7 if fault == "silence" else OK

    async with open_platform(answer) as platform, ways(desk, tmp_path) as out:
        await add(desk, "city", "webhook", platform.url)
        orders = [await order(desk, f"MH-{n}") for n in range(12)]
        for _ in range(1000):
            await out.step()
            for one in taken:
                response = await stand_in.post("/", content=one.body, headers=one.headers)
                assert response.status_code == 200, response.text
            taken.clear()
            if await desk.rows(STATES) == [("city", "delivered", 24)]:
                break
            desk.clock.advance(60)
            if len(orders) < 24:
                orders.append(await order(desk, f"MH-later-{len(orders)}"))
    summary = (await stand_in.get("/received")).json()
    await stand_in.aclose()
    assert await desk.rows(STATES) == [("city", "delivered", 24)]
    assert desk.clock.now() > down_until
    assert summary["unique"] == 24
    assert summary["rejected"] == 0
    assert summary["duplicates"] > 0  # so there was something to see through
    assert sorted(one["case_no"] for one in summary["orders"]) == sorted(orders)


# --- callbacks ------------------------------------------------------------------------------------


@pytest.fixture
async def case_no(desk: Desk) -> str:
    await add(desk, "city", "null")
    return await order(desk)


async def call(
    desk: Desk, folder: Path, case_no: str, action: str, seq: int, **more: Any
) -> Receipt:
    key = more.pop("key", f"c-{seq}")
    secret = more.pop("secret", derive(SITE_KEY, "city"))
    stamp = more.pop("stamp", int(desk.clock.now().timestamp()))
    name = more.pop("name", "city")
    fields = {
        "case_no": case_no,
        "action": action,
        "seq": seq,
        "note": "已更换井盖",
        "actor": "张三",
    }
    body = more.pop("body", None) or json.dumps(fields | more).encode()
    headers = {
        "webhook-id": key,
        "webhook-timestamp": str(stamp),
        "webhook-signature": webhook.sign(secret, key, stamp, body),
    }
    calls = CallbackDesk(desk.pool, desk.clock, secrets=secrets(folder))
    return await calls.receive(name, headers, body)


async def state_of(desk: Desk, case_no: str) -> str:
    (state,) = await desk.row("SELECT state FROM hub.case WHERE case_no = %s", [case_no])
    return str(state)


async def test_the_platform_accepts_and_reports_done(
    desk: Desk, case_no: str, tmp_path: Path
) -> None:
    assert (await call(desk, tmp_path, case_no, "accept", 1)).state == "applied"
    assert await state_of(desk, case_no) == "in_progress"
    assert (await call(desk, tmp_path, case_no, "feedback", 2)).state == "applied"
    assert await state_of(desk, case_no) == "feedback"
    row = await desk.row("SELECT handler, feedback FROM hub.work_order")
    assert row == ("city/张三", "已更换井盖")


async def test_the_platform_gives_an_order_back(desk: Desk, case_no: str, tmp_path: Path) -> None:
    receipt = await call(desk, tmp_path, case_no, "return", 1, note="不属本部门")
    assert receipt.state == "applied"
    assert await state_of(desk, case_no) == "filed"


async def test_a_callback_that_comes_twice_has_one_effect(
    desk: Desk, case_no: str, tmp_path: Path
) -> None:
    first = await call(desk, tmp_path, case_no, "accept", 1)
    events = await desk.actions_of("case")
    second = await call(desk, tmp_path, case_no, "accept", 1)
    assert (first.duplicate, second.duplicate) == (False, True)
    assert (second.status, second.state) == (200, "applied")
    assert await desk.actions_of("case") == events
    other = await call(desk, tmp_path, case_no, "feedback", 2, key="c-1")
    assert other.status == 422


async def test_what_comes_in_the_wrong_order_waits_and_sorts_itself_out(
    desk: Desk, case_no: str, tmp_path: Path
) -> None:
    early = await call(desk, tmp_path, case_no, "feedback", 2)
    assert (early.status, early.state) == (202, "parked")
    assert early.reason is not None
    assert "已派遣" in early.reason.zh
    assert await state_of(desk, case_no) == "dispatched"
    assert (await call(desk, tmp_path, case_no, "accept", 1)).state == "applied"
    assert await state_of(desk, case_no) == "feedback"
    rows = await desk.rows("SELECT seq, state, reason_en FROM hub.callback ORDER BY seq")
    assert rows == [(1, "applied", None), (2, "applied", None)]


async def test_what_contradicts_is_parked_with_its_reason_and_never_dropped(
    desk: Desk, case_no: str, tmp_path: Path
) -> None:
    await call(desk, tmp_path, case_no, "accept", 3)
    late = await call(desk, tmp_path, case_no, "return", 2)
    assert late.reason is not None
    assert (late.state, late.reason.en) == ("parked", "overtaken by number 3")
    wrong = await call(desk, tmp_path, case_no, "return", 4)
    assert wrong.state == "parked"
    strange = await call(desk, tmp_path, "FY-20261121-999999", "accept", 1, key="x-1")
    assert strange.reason is not None
    assert (strange.state, strange.reason.en) == ("parked", "it was never told of such a case")
    assert await state_of(desk, case_no) == "in_progress"
    rows = await desk.rows("SELECT state, count(*) FROM hub.callback GROUP BY 1 ORDER BY 1")
    assert rows == [("applied", 1), ("parked", 3)]


async def test_a_receiver_cannot_touch_the_case_of_another(
    desk: Desk, case_no: str, tmp_path: Path
) -> None:
    await add(desk, "stranger", "null")
    secret = derive(SITE_KEY, "stranger")
    said = await call(desk, tmp_path, case_no, "accept", 1, name="stranger", secret=secret)
    assert said.state == "parked"
    assert await state_of(desk, case_no) == "dispatched"


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"secret": "guessed"}, id="another secret"),
        pytest.param({"stamp": int(NOON.timestamp()) - 301}, id="an old copy"),
        pytest.param({"name": "nobody"}, id="an unknown receiver"),
        pytest.param({"name": "webhook"}, id="under another's name"),
    ],
)
async def test_who_is_not_the_receiver_is_refused_and_nothing_is_kept(
    desk: Desk, case_no: str, tmp_path: Path, more: dict[str, Any]
) -> None:
    assert (await call(desk, tmp_path, case_no, "accept", 1, **more)).status == 401
    assert await desk.row("SELECT count(*) FROM hub.callback") == (0,)


@pytest.mark.parametrize(
    "body",
    [b"", b"[" * 60_000, b"\xff", b"{}", b'{"seq":0,"case_no":"x","action":"accept"}',
     b'{"seq":1,"case_no":"x","action":"destroy"}',
     b'{"seq":1,"case_no":"\\u0000","action":"accept"}',
     b'{"seq":99999999999999999999,"case_no":"x","action":"accept"}'],
)  # fmt: skip
async def test_what_cannot_be_read_is_refused(
    desk: Desk, case_no: str, tmp_path: Path, body: bytes
) -> None:
    said = await call(desk, tmp_path, case_no, "accept", 1, body=body or b" ")
    assert said.status == 400


async def test_callbacks_come_in_through_the_api_and_staff_see_them(
    desk: Desk, case_no: str, tmp_path: Path, pool: Pool, database: str
) -> None:
    calls = CallbackDesk(pool, desk.clock, secrets=secrets(tmp_path))
    body = json.dumps({"case_no": case_no, "action": "feedback", "seq": 2, "note": "好"}).encode()
    stamp = int(NOON.timestamp())
    headers = {
        "webhook-id": "c-2",
        "webhook-timestamp": str(stamp),
        "webhook-signature": webhook.sign(derive(SITE_KEY, "city"), "c-2", stamp, body),
    }
    async with serving(pool, database, callbacks=calls) as client:
        parked = await client.post("/api/v1/callbacks/city", content=body, headers=headers)
        assert (parked.status_code, parked.json()["state"]) == (202, "parked")
        forged = await client.post("/api/v1/callbacks/city", content=body + b" ", headers=headers)
        assert forged.status_code == 401
        shown = (await client.get("/api/v1/callbacks", params={"state": "parked"})).json()
        assert [each["external_key"] for each in shown["items"]] == ["c-2"]
        (receiver,) = (await client.get("/api/v1/receivers")).json()
    assert (receiver["name"], receiver["waiting"], receiver["dead"]) == ("city", 1, 0)
    assert "secret" not in json.dumps(receiver)


async def test_an_open311_server_is_asked_until_it_has_closed_the_request(
    desk: Desk, tmp_path: Path
) -> None:
    status = {"status": "open", "status_notes": ""}

    def answer(one: Received) -> Answer:
        if one.target.startswith("POST"):
            return http("200 OK", '[{"token": "t/1"}]')
        if "/tokens/t%2F1.json" in one.target:
            return http("200 OK", '[{"service_request_id": 638344, "token": "t/1"}]')
        assert "/requests/638344.json" in one.target
        return http("200 OK", json.dumps([{"service_request_id": 638344, **status}]))

    async with open_platform(answer) as platform, ways(desk, tmp_path) as out:
        await add(desk, "city", "open311", platform.url, secret_ref="none",
                  options={"service_code": "7", "poll_s": 60})  # fmt: skip
        case = await order(desk)
        await out.step()
        assert await desk.row("SELECT external_no FROM hub.case") == ("638344",)
        assert await state_of(desk, case) == "in_progress"
        status |= {"status": "closed", "status_notes": "cover replaced"}
        await out.step()
        assert await state_of(desk, case) == "in_progress"
        desk.clock.advance(60)
        await out.step()
    assert await state_of(desk, case) == "feedback"
    assert await desk.row("SELECT feedback FROM hub.work_order") == ("cover replaced",)
