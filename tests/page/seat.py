"""What a person at a seat does and sees, and what must never happen on the page."""

import asyncio
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import psycopg
from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, Request, expect

from devices.secret import device_secret, load_site_key
from tests.e2e.hub import Up
from tests.publisher import Message, publish


class Seat:
    """A tab with the page, its complaints and the hosts it asked.

    Args:
        context: The browser.
        up: The hub.
    """

    def __init__(self, context: BrowserContext, up: Up) -> None:
        self.up = up
        self.context = context
        self.complaints: list[str] = []
        self.expected: set[str] = set()
        self.page = self.tab()

    def tab(self) -> Page:
        """Open a further tab."""
        page = self.context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", self._watch)
        return page

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not any(
            word in message.text for word in self.expected
        ):
            self.complaints.append(f"{message.type}: {message.text}")

    def _watch(self, request: Request) -> None:
        ours = urlsplit(str(self.up.facts["api_url"])).netloc
        asked = urlsplit(request.url)
        if asked.scheme not in {"blob", "data"} and asked.netloc != ours:
            self.complaints.append(f"foreign host: {request.url}")

    def must_be_clean(self) -> None:
        """Fail if the page wrote an error, broke its policy, or asked another host."""
        assert self.complaints == []

    def open(self, path: str = "/", **query: str) -> Page:
        """Open a page and wait until it is live."""
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        self.page.goto(f"{path}?{asked}")
        expect(self.page.locator(".link.live")).to_be_visible()
        return self.page

    def open_view(self, address: str, **query: str) -> Page:
        """Open an address with its query, some of it changed."""
        path, _, rest = address.partition("?")
        return self.open(path, **{**dict(parse_qsl(rest)), **query})

    @property
    def rows(self) -> Locator:
        """The rows of the feed."""
        return self.page.locator("section .row")

    def row(self, device_id: str) -> Locator:
        """The row of a device's incident, by the name of the device."""
        return self.rows.filter(has_text=name_of(self.up, device_id))


def name_of(up: Up, device_id: str) -> str:
    """Return what a device is called."""
    return str(up.get(f"/api/v1/devices/{device_id}")["name"])


def covers(up: Up, count: int) -> list[str]:
    """Return covers on which nothing is open, the quiet ones of the simulated city."""
    with psycopg.connect(up.database_url) as conn:
        rows = conn.execute(
            "SELECT device_id FROM hub.device d WHERE kind = 'manhole_cover' AND NOT EXISTS"
            " (SELECT FROM hub.alarm a WHERE a.device_no = d.device_no)"
            " ORDER BY device_id DESC LIMIT %s",
            [count],
        ).fetchall()
    return [row[0] for row in rows]


def speak(up: Up, device_id: str, values: Mapping[str, Any]) -> None:
    """Publish as a device, with its own login."""
    with psycopg.connect(up.database_url) as conn:
        row = conn.execute(
            "SELECT secret_no FROM hub.device WHERE device_id = %s", [device_id]
        ).fetchone()
    assert row is not None
    secret = device_secret(load_site_key(up.folder, make=False), device_id, row[0])
    port = int(up.facts["mqtt_port"])
    message = Message(f"hub/{device_id}/telemetry", json.dumps(dict(values)).encode())
    with ThreadPoolExecutor(1) as thread:  # the browser's driver has a loop in this one
        said = publish(port, device_id, secret, message, client_id=device_id)
        thread.submit(asyncio.run, said).result()


def tilt(up: Up, device_id: str, degrees: float = 95) -> None:
    """Have a cover say that it lies on its side."""
    speak(up, device_id, {"tilt": degrees})
