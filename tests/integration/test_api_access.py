"""Every route, as every role: nobody but staff gets in, and no route is left out."""

from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from api.app import ROUTERS, create_app
from api.policy import Policy, policy_of
from core.clock import ManualClock
from core.db import Pool
from core.errors import ConfigError
from tests.serving import NOON, TOKEN, FakeActions, api_settings, serving, settle

STREAMS = ("/api/v1/stream", "/api/v1/feed")


def routes() -> list[APIRoute]:
    found = [route for router in ROUTERS for route in router.routes]
    assert all(isinstance(route, APIRoute) for route in found)
    return [route for route in found if isinstance(route, APIRoute)]


def addresses() -> Iterator[tuple[str, str, Policy]]:
    values = {
        "device_id": "MH-0001",
        "name": "manhole_cover",
        "alarm_id": "1",
        "case_no": "FY-1",
        "incident_id": "1",
        "quarantine_id": "1",
        "outbox_id": "1",
        "window_id": "1",
        "code": "1411820102000001",
        "action": "sign",
        "kind": "manhole_cover",
        "rule_id": "cover_open",
        "scope": "kind",
        "receiver": "webhook",
        "month": "2026-11",
    }
    for route in routes():
        policy = policy_of(route.endpoint)
        assert policy is not None, route.path
        if route.path == "/assets/{name}":
            values = {**values, "name": "index.js"}
        path = route.path.format(**values)
        if path.startswith("/lite/alarms/1/"):
            path = "/lite/alarms/1/acknowledge"
        for method in route.methods or ():
            yield method, path, policy


def test_every_route_of_the_application_says_who_may_call_it() -> None:
    assert len(routes()) > 40
    assert [route.path for route in routes() if policy_of(route.endpoint) is None] == []


def test_only_these_are_open_to_anybody() -> None:
    public = {(method, path) for method, path, policy in addresses() if policy is Policy.PUBLIC}
    assert public == {
        *(("GET", path) for path in ("/", "/cases", "/devices", "/handover", "/reports", "/wall")),
        ("GET", "/assets/index.js"),
        ("GET", "/manifest.webmanifest"),
        ("GET", "/healthz"),
        ("GET", "/lite/icon.svg"),
        ("GET", "/lite/login"),
        ("GET", "/lite/style.css"),
        ("POST", "/api/v1/callbacks/webhook"),
        ("POST", "/lite/login"),
        ("POST", "/lite/logout"),
    }


async def test_the_application_has_no_route_beside_its_routers(pool: Pool, database: str) -> None:
    app = create_app(
        pool=pool,
        url=database,
        settings=api_settings(),
        clock=ManualClock(NOON),
        actions=FakeActions(),
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://localhost"
    ) as client:
        for path in ("/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect", "/api", "/x"):
            assert (await client.get(path)).status_code == 404, path


async def test_a_route_that_says_nothing_is_closed(pool: Pool, database: str) -> None:
    app = create_app(
        pool=pool,
        url=database,
        settings=api_settings(),
        clock=ManualClock(NOON),
        actions=FakeActions(),
    )
    forgotten = APIRouter()

    @forgotten.get("/forgotten")
    async def forgotten_route() -> dict[str, str]:
        return {"secret": "told"}

    app.include_router(forgotten)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://localhost"
    ) as client:
        answer = await client.get("/forgotten")
    assert answer.status_code == 403


@pytest.mark.parametrize("role", ["nobody", "wrong token", "forged session"])
async def test_who_is_not_staff_gets_nowhere(pool: Pool, database: str, role: str) -> None:
    headers = {
        "nobody": {},
        "wrong token": {"Authorization": "Bearer wrong"},
        "forged session": {"Cookie": "cityhub_session=e30.0000"},
    }[role]
    async with serving(pool, database, token=TOKEN) as client:
        for method, path, policy in addresses():
            if policy is Policy.PUBLIC:
                continue
            answer = await client.request(method, path, headers=headers, json={})
            if path.startswith("/lite"):
                assert answer.status_code in {303, 429}, path
                if answer.status_code == 303:
                    assert answer.headers["location"].startswith("/lite/login"), path
            else:
                assert answer.status_code in {401, 429}, path
                assert answer.headers["content-type"] == "application/problem+json"
            assert "东大街" not in answer.text


async def test_staff_with_the_token_get_everywhere(pool: Pool, database: str) -> None:
    settle(database)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with serving(pool, database, token=TOKEN, headers=headers) as client:
        for method, path, _ in addresses():
            if path in STREAMS:
                async with client.stream(method, path) as streaming:
                    assert streaming.status_code == 200
                continue
            answer = await client.request(method, path, json={})
            assert answer.status_code not in {401, 429}, path
            assert answer.status_code < 500, (path, answer.text)


async def test_an_address_others_can_reach_is_refused_at_the_start(
    pool: Pool, database: str
) -> None:
    with pytest.raises(ConfigError, match=r"api\.token"):
        create_app(
            pool=pool,
            url=database,
            settings=api_settings(host="0.0.0.0"),
            clock=ManualClock(NOON),
            actions=FakeActions(),
        )


async def test_a_person_logs_in_by_name_and_out_again(pool: Pool, database: str) -> None:
    async with serving(pool, database, token=TOKEN) as client:
        asked = await client.get("/lite/cases")
        assert asked.headers["location"] == "/lite/login?to=/lite/cases"
        await client.get("/lite/login")
        token = client.cookies["cityhub_form"]
        form: dict[str, Any] = {"form": token, "actor": "席位1", "to": "/lite/cases"}
        wrong = await client.post("/lite/login", data={**form, "token": "wrong"})
        assert (wrong.status_code, "令牌不正确" in wrong.text) == (401, True)
        right = await client.post("/lite/login", data={**form, "token": TOKEN})
        assert (right.status_code, right.headers["location"]) == (303, "/lite/cases")
        cookie = right.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert TOKEN not in cookie
        assert (await client.get("/lite/cases")).status_code == 200
        assert (await client.get("/api/v1/alarms")).status_code == 200
        await client.post("/lite/logout", data={"form": token})
        assert (await client.get("/lite/cases")).status_code == 303
    with psycopg.connect(database) as conn:
        rows = conn.execute("SELECT actor, action, outcome, address FROM hub.audit").fetchall()
    assert rows == [
        ("席位1", "login", "refused", "127.0.0.1"),
        ("席位1", "login", "done", "127.0.0.1"),
    ]


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example/lite", "/api/v1/alarms"])
async def test_a_login_never_leads_to_another_site(pool: Pool, database: str, to: str) -> None:
    async with serving(pool, database, token=TOKEN) as client:
        await client.get("/lite/login")
        form = {"form": client.cookies["cityhub_form"], "actor": "a", "token": TOKEN, "to": to}
        answer = await client.post("/lite/login", data=form)
    assert answer.headers["location"] == "/lite"
