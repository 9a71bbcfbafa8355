"""The server's own bounds: who sends or reads too slowly is cut, and a taken port is said."""

import asyncio

import pytest

from api import guard
from api.serve import BoundedProtocol, open_socket, page_url
from core.db import Pool
from core.errors import StartError
from tests.serving import FakeActions, api_settings, serving


class Impatient(BoundedProtocol):
    head_s = 0.3


async def talk(host: str, port: int, *parts: bytes, pause: float = 0.1) -> bytes:
    """Send the parts with pauses, then read all that comes until the end."""
    reader, writer = await asyncio.open_connection(host, port)
    heard = b""
    try:
        async with asyncio.timeout(10):
            for part in parts:
                writer.write(part)
                await asyncio.sleep(pause)
            heard = await reader.read()
    except ConnectionResetError:
        pass
    finally:
        writer.close()
    return heard


async def test_a_head_that_does_not_end_is_cut_also_on_a_used_connection(
    pool: Pool, database: str
) -> None:
    async with serving(pool, database, protocol=Impatient) as client:
        host, port = client.base_url.host, client.base_url.port or 0
        assert await talk(host, port) == b""
        assert await talk(host, port, b"GET /lite/icon.svg HTTP/1.1\r\n", b"Host: ") == b""
        whole = b"GET /lite/icon.svg HTTP/1.1\r\nHost: localhost\r\n\r\n"
        heard = await talk(host, port, whole, b"GET /")
        assert heard.count(b"HTTP/1.1 200") == 1
        assert (await client.get("/lite/icon.svg")).status_code == 200


async def test_a_body_that_does_not_end_is_answered_408(
    pool: Pool, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "BODY_S", 0.3)
    actions = FakeActions()
    async with serving(pool, database, actions=actions) as client:
        host, port = client.base_url.host, client.base_url.port or 0
        head = (
            b"POST /api/v1/alarms/5/acknowledge HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        heard = await talk(host, port, head)
    assert heard.startswith(b"HTTP/1.1 408")
    assert b"urn:cityhub:problem:slow_body" in heard
    assert actions.calls == []


async def test_what_is_no_http_is_refused_and_harms_nobody(pool: Pool, database: str) -> None:
    async with serving(pool, database) as client:
        host, port = client.base_url.host, client.base_url.port or 0
        for rubbish in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"\0" * 100):
            await talk(host, port, rubbish + b"\r\n\r\n", pause=0.05)
        huge = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000
        assert (await talk(host, port, huge)).split(b"\r\n")[0] in {
            b"",
            b"HTTP/1.1 400 Bad Request",
        }
        assert (await client.get("/lite/icon.svg")).status_code == 200


async def test_a_lone_surrogate_is_refused(pool: Pool, database: str) -> None:
    async with serving(pool, database) as client:
        answer = await client.post(
            "/api/v1/alarms/5/reset",
            content=b'{"reason":"\\ud800"}',
            headers={"Content-Type": "application/json"},
        )
    assert answer.status_code in {400, 422}


def test_a_port_in_use_gets_a_sentence_that_says_what_to_do() -> None:
    with open_socket(api_settings().api) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=rf"127\.0\.0\.1 port {port} .*set\s+api\.host"):
            open_socket(api_settings(port=port).api)
        assert page_url(taken) == f"http://127.0.0.1:{port}/"
    with pytest.raises(StartError, match="cannot listen on no-such-host"):
        open_socket(api_settings(host="no-such-host.invalid").api)
