"""Who is let in: host names, origins, bodies, tokens, sessions."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest
from fastapi import Request
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from api.auth import LEAST_TOKEN, MOST_FAILURES, SESSION_COOKIE, Gate, check_binding
from api.guard import BODY_LIMIT, Guard
from api.problems import Problem, answer_problem, as_problem
from core.clock import ManualClock
from core.errors import ConfigError, ConflictError
from core.model import Text
from tests.serving import TOKEN, api_settings

NOON = datetime(2026, 11, 21, 4, tzinfo=UTC)


async def _echo(request: Request) -> JSONResponse:
    return JSONResponse({"length": len(await request.body())})


def client(*hosts: str) -> httpx.AsyncClient:
    from starlette.exceptions import HTTPException

    app = Starlette(
        routes=[Route("/", _echo, methods=["GET", "POST"])],
        exception_handlers={HTTPException: answer_problem},
    )
    transport = httpx.ASGITransport(Guard(app, hosts))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost:8080")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8080", 200),
        ("127.0.0.1:9", 200),
        ("[::1]:8080", 200),
        ("hub.city.example", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("evil.example@localhost", 421),
        ("localhost, evil.example", 421),
        ("10.0.0.9", 421),
        ("", 421),
    ],
)
async def test_only_our_own_host_names_are_answered(host: str, status: int) -> None:
    async with client("hub.city.example") as asking:
        answer = await asking.get("/", headers={"Host": host})
    assert answer.status_code == status
    if status != 200:
        assert "api.public_hosts" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # curl and other programs
        ({"Origin": "http://localhost:8080"}, 200),
        ({"Origin": "http://localhost:3000"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:8080"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:8080"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
async def test_a_change_asked_for_by_another_site_is_refused(
    headers: dict[str, str], status: int
) -> None:
    async with client() as asking:
        assert (await asking.post("/", headers=headers)).status_code == status
        assert (await asking.get("/", headers=headers)).status_code == 200


async def test_a_body_over_the_limit_is_refused_announced_or_not() -> None:
    async def drip() -> AsyncIterator[bytes]:
        for _ in range(BODY_LIMIT // 65_536 + 1):
            yield b"x" * 65_536

    async with client() as asking:
        whole = await asking.post("/", content=b"x" * BODY_LIMIT)
        announced = await asking.post("/", content=b"x" * (BODY_LIMIT + 1))
        chunked = await asking.post("/", content=drip())
    assert whole.json() == {"length": BODY_LIMIT}
    assert (announced.status_code, chunked.status_code) == (413, 413)
    assert announced.json()["detail_zh"] == "请求内容超过 1 MiB。"


async def test_every_answer_forbids_scripts_and_frames() -> None:
    async with client() as asking:
        for answer in (await asking.get("/"), await asking.get("/", headers={"Host": "evil"})):
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_needs_no_token(host: str) -> None:
    check_binding(api_settings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "hub.city.example", "127.evil"])
def test_an_address_others_can_reach_needs_a_token(host: str) -> None:
    with pytest.raises(ConfigError, match=r"needs a login: set api\.token"):
        check_binding(api_settings(host=host))
    with pytest.raises(ConfigError, match="too short"):
        check_binding(api_settings(host=host, token="x" * (LEAST_TOKEN - 1)))
    check_binding(api_settings(host=host, token=TOKEN))


def request(
    *, bearer: str | None = None, cookie: str | None = None, at: str = "10.0.0.7"
) -> Request:
    headers = []
    if bearer is not None:
        headers.append((b"authorization", f"Bearer {bearer}".encode()))
    if cookie is not None:
        headers.append((b"cookie", f"{SESSION_COOKIE}={cookie}".encode()))
    return Request({"type": "http", "headers": headers, "client": (at, 1), "method": "GET"})


def gate(token: str | None = TOKEN) -> tuple[Gate, ManualClock]:
    clock = ManualClock(NOON)
    return Gate(api_settings(token=token).api, clock), clock


def test_without_a_token_setting_everybody_on_this_machine_is_local() -> None:
    who = gate(None)[0].identify(request())
    assert who is not None
    assert (who.name, who.via) == ("local", "loopback")


def test_the_token_and_only_the_token_lets_a_program_in() -> None:
    door = gate()[0]
    who = door.identify(request(bearer=TOKEN))
    assert who is not None
    assert who.via == "token"
    for wrong in ("", "x", TOKEN + "x", TOKEN[:-1]):
        assert gate()[0].identify(request(bearer=wrong)) is None
    assert door.identify(request()) is None


def test_five_wrong_tokens_stop_the_guessing_and_keep_nobody_else_out() -> None:
    door, clock = gate()
    for _ in range(MOST_FAILURES):
        assert door.identify(request(bearer="wrong")) is None
    with pytest.raises(Problem) as locked:
        door.identify(request(bearer="wrong again"))
    assert locked.value.status == 429
    assert locked.value.headers["Retry-After"] == "901"
    assert door.identify(request(bearer=TOKEN)) is not None  # behind the same proxy
    with pytest.raises(Problem):
        door.identify(request(bearer="and again"))
    clock.advance(901)
    assert door.identify(request(bearer="wrong")) is None


def test_a_session_lasts_a_shift_and_dies_with_the_token() -> None:
    door, clock = gate()
    cookie = door.open_session("席位1")
    who = door.identify(request(cookie=cookie))
    assert who is not None
    assert (who.name, who.via) == ("席位1", "session")
    assert gate("another-token-altogether")[0].identify(request(cookie=cookie)) is None
    clock.advance(12 * 3600 + 1)
    assert door.identify(request(cookie=cookie)) is None


def test_a_tampered_session_is_nobody() -> None:
    door = gate()[0]
    body, _, signature = door.open_session("a").partition(".")
    for forged in (
        f"{body}x.{signature}",
        f"{body}.{signature[:-1]}",
        f"{body}.",
        body,
        "",
        ".",
        json.dumps({"name": "root"}),
        "é.é",
    ):
        assert door.identify(request(cookie=forged)) is None


def test_a_refusal_by_the_state_of_things_blames_nobody() -> None:
    forbidden = as_problem(ConflictError(Text("传感器仍异常", "the sensor is still abnormal")))
    assert forbidden.document()["title"] == "Not possible as things stand"
