"""The stand-in platform believes only what is signed, and gives one id one effect."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from alerts.connectors.webhook import sign as hub_signs
from core.clock import ManualClock
from simulators.crew import Crew
from simulators.platform import create_platform
from simulators.webhook import TOLERANCE_S, sign

SECRET = "a-secret-of-both-sides"
NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
STAMP = int(NOW.timestamp())


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def order(key: str = "FY-1-1", **data: Any) -> bytes:
    event = {
        "specversion": "1.0",
        "id": key,
        "source": "cityhub/fenyang",
        "type": "cn.cityhub.work_order.issued",
        "data": {
            "case_no": key.rpartition("-")[0],
            "severity": "red",
            "alarm": {"device_id": "sim-MH-0001"},
            "department": {"code": "drainage", "name": {"zh": "排水管理所", "en": "Drainage"}},
            **data,
        },
    }
    return json.dumps(event).encode()


async def post(
    journal: Path,
    body: bytes,
    *,
    key: str = "FY-1-1",
    secret: str = SECRET,
    stamp: int = STAMP,
    drop: str = "",
    times: int = 1,
) -> httpx.Response:
    headers = {
        "webhook-id": key,
        "webhook-timestamp": str(stamp),
        "webhook-signature": sign(secret, key, stamp, body),
    }
    headers.pop(drop, None)
    app = create_platform(secret=SECRET, journal=journal, clock=ManualClock(NOW))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://p") as client:
        for _ in range(times):
            response = await client.post("/events", content=body, headers=headers)
    return response


async def look(journal: Path) -> dict[str, Any]:
    app = create_platform(secret=SECRET, journal=journal, clock=ManualClock(NOW))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://p") as client:
        found: dict[str, Any] = (await client.get("/received")).json()
        page = await client.get("/")
        assert page.headers["content-type"].startswith("text/html")
        assert all(each["case_no"] in page.text for each in found["orders"])
        return found


async def test_a_signed_order_is_taken_and_shown(journal: Path) -> None:
    response = await post(journal, order())
    assert response.status_code == 200
    assert response.json() == {"external_id": "CG-000001", "duplicate": False}
    found = await look(journal)
    assert found["unique"] == 1
    assert found["orders"][0]["device_id"] == "sim-MH-0001"
    assert found["orders"][0]["department"] == "排水管理所"


async def test_both_sides_sign_alike() -> None:
    assert hub_signs(SECRET, "FY-1-1", STAMP, b"{}") == sign(SECRET, "FY-1-1", STAMP, b"{}")


async def test_an_order_that_comes_three_times_has_one_effect(journal: Path) -> None:
    response = await post(journal, order(), times=3)
    assert response.json() == {"external_id": "CG-000001", "duplicate": True}
    found = await look(journal)
    assert (found["unique"], found["duplicates"]) == (1, 2)
    assert found["orders"][0]["times"] == 3


async def test_a_duplicate_is_known_after_a_restart(journal: Path) -> None:
    await post(journal, order())
    assert (await post(journal, order())).json()["duplicate"] is True


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": "another"},
        {"stamp": STAMP - TOLERANCE_S - 1},
        {"stamp": STAMP + TOLERANCE_S + 1},
        {"drop": "webhook-signature"},
        {"drop": "webhook-id"},
        {"drop": "webhook-timestamp"},
    ],
    ids=str,
)
async def test_what_is_not_signed_here_and_now_is_refused(
    journal: Path, wrong: dict[str, Any]
) -> None:
    response = await post(journal, order(), **wrong)
    assert response.status_code == 401
    found = await look(journal)
    assert (found["unique"], found["rejected"]) == (0, 1)


@pytest.mark.parametrize("body", [b"hello", b"[]", b"{}", order("FY-2-1")], ids=range(4))
async def test_what_is_no_event_of_this_id_is_refused(journal: Path, body: bytes) -> None:
    assert (await post(journal, body)).status_code == 400
    assert (await look(journal))["unique"] == 0


async def test_a_body_that_is_too_large_is_refused(journal: Path) -> None:
    assert (await post(journal, b"x" * 2_000_000)).status_code == 413


async def test_a_torn_line_of_the_journal_loses_only_itself(journal: Path) -> None:
    await post(journal, order())
    with journal.open("a", encoding="utf-8") as out:
        out.write('{"id": "FY-')
    await post(journal, order("FY-2-1"), key="FY-2-1")
    assert [each["id"] for each in (await look(journal))["orders"]] == ["FY-1-1", "FY-2-1"]


async def test_what_the_city_writes_is_shown_as_text(journal: Path) -> None:
    await post(journal, order(alarm={"device_id": "<script>"}))
    app = create_platform(secret=SECRET, journal=journal, clock=ManualClock(NOW))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://p") as client:
        assert "<script>" not in (await client.get("/")).text


class Desk:
    """A hub's API that notes what it is asked to do."""

    def __init__(self, *statuses: int) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.url = ""
        self._statuses = list(statuses)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            int(line.split(":")[1])
            for line in head.splitlines()
            if line.lower().startswith("content-length")
        )
        body = json.loads(await reader.readexactly(length))
        self.requests.append((head.split(" ")[1], body))
        status = self._statuses.pop(0) if self._statuses else 200
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        await writer.drain()
        writer.close()


async def carry_out(journal: Path, desk: Desk, **crew: Any) -> None:
    """Give one order to a platform with a crew, and wait until it is done."""
    server = await asyncio.start_server(desk.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    app = create_platform(
        secret=SECRET,
        journal=journal,
        clock=ManualClock(NOW),
        crew=Crew(hub_url=url, sign_s=0, work_s=0, **crew),
    )
    headers = {
        "webhook-id": "FY-1-1",
        "webhook-timestamp": str(STAMP),
        "webhook-signature": sign(SECRET, "FY-1-1", STAMP, order()),
    }
    async with (
        server,
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://p") as client,
        asyncio.timeout(20),
    ):
        await client.post("/events", content=order(), headers=headers)
        while '"done"' not in journal.read_text("utf-8"):
            await asyncio.sleep(0.02)


async def test_a_crew_signs_reports_and_an_inspector_passes_it(journal: Path) -> None:
    desk = Desk()
    await carry_out(journal, desk, inspect_s=0)
    assert [path for path, _ in desk.requests] == [
        f"/api/v1/cases/FY-1/{action}" for action in ("sign", "feedback", "verify")
    ]
    assert desk.requests[0][1] == {"actor": "排水管理所"}
    assert desk.requests[2][1]["passed"] is True


async def test_a_crew_that_is_not_needed_goes_home(journal: Path) -> None:
    desk = Desk(409)
    await carry_out(journal, desk)
    assert [path for path, _ in desk.requests] == ["/api/v1/cases/FY-1/sign"]


async def test_a_crew_tries_again_while_the_hub_is_away(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulators.crew._PAUSE_S", 0.01)
    desk = Desk(503, 503)
    await carry_out(journal, desk)
    assert [path.rpartition("/")[2] for path, _ in desk.requests] == [
        "sign",
        "sign",
        "sign",
        "feedback",
    ]
