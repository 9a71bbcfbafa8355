"""A stand-in for the city-management platform (智慧城管平台): it takes work orders, and shows them.

It checks what a careful receiver checks: the signature over id, time and body, and that one id has
one effect however often it comes. Every delivery is a line of its journal before it is answered,
so a restart knows what was there. A crew may carry the orders out.
"""

import asyncio
import html
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from core.clock import Clock, SystemClock
from simulators import webhook
from simulators.crew import Crew, Order

log = logging.getLogger(__name__)

_LIMIT: Final = 1 << 20
_TO_BE_DONE: Final = frozenset({"cn.cityhub.work_order.issued", "cn.cityhub.work_order.rework"})
_SHOWN: Final = 200


class Journal:
    """What was received, in a file of JSON lines and in memory.

    Args:
        path: The file; made if missing.
    """

    def __init__(self, path: Path) -> None:
        self.orders: dict[str, dict[str, Any]] = {}
        self.done: set[str] = set()
        self.duplicates = 0
        self.rejected = 0
        self._path = path
        text = path.read_text("utf-8") if path.exists() else ""
        for line in text.splitlines():
            try:
                self._take(json.loads(line))
            except ValueError:  # torn by a crash: it was never answered
                log.warning("a line of the journal is torn", extra={"journal": str(path)})
        if text and not text.endswith("\n"):
            with path.open("a", encoding="utf-8") as out:
                out.write("\n")  # or the next entry would be torn with it

    def add(self, entry: dict[str, Any]) -> None:
        """Write an entry down, then count it."""
        with self._path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(entry, ensure_ascii=False) + "\n")
        self._take(entry)

    def _take(self, entry: dict[str, Any]) -> None:
        if "done" in entry:
            self.done.add(entry["done"])
        elif not entry["valid"]:
            self.rejected += 1
        elif entry["duplicate"]:
            self.duplicates += 1
            self.orders[entry["id"]]["times"] += 1
        else:
            self.orders[entry["id"]] = {**entry, "times": 1}

    def summary(self) -> dict[str, Any]:
        """Return the counts and the orders, oldest first."""
        return {
            "unique": len(self.orders),
            "duplicates": self.duplicates,
            "rejected": self.rejected,
            "orders": list(self.orders.values()),
        }


class Platform:
    """The stand-in, apart from HTTP.

    Args:
        secret: What the hub signs with.
        journal: Where deliveries are written down.
        clock: What time it is.
        crew: Who carries orders out; None: nobody.
    """

    def __init__(
        self, secret: str, journal: Journal, *, clock: Clock, crew: Crew | None = None
    ) -> None:
        self.journal = journal
        self._secret = secret
        self._clock = clock
        self._crew = crew
        self._orders: asyncio.Queue[Order] = asyncio.Queue()
        if crew is not None:
            for entry in journal.orders.values():
                if entry["id"] not in journal.done:
                    self._call_crew(entry)

    def receive(self, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        """Take one delivery; return status and answer."""
        now = self._clock.now()
        entry: dict[str, Any] = {
            "id": headers.get(webhook.ID, ""),
            "received_at": now.isoformat(),
            "valid": True,
            "duplicate": False,
        }
        try:
            webhook_id = webhook.check(self._secret, headers, body, now.timestamp())
            event = _read(body, webhook_id)
        except webhook.SignatureError as error:
            self.journal.add({**entry, "valid": False, "problem": str(error)})
            return 401, {"error": str(error)}
        except ValueError as error:
            self.journal.add({**entry, "valid": False, "problem": str(error)})
            return 400, {"error": str(error)}
        known = self.journal.orders.get(webhook_id)
        if known is not None:
            self.journal.add({**entry, "duplicate": True})
            return 200, {"external_id": known["external_id"], "duplicate": True}
        entry |= event | {"external_id": f"CG-{len(self.journal.orders) + 1:06}"}
        self.journal.add(entry)
        log.info("work order received", extra={"id": webhook_id, "type": entry["type"]})
        self._call_crew(entry)
        return 200, {"external_id": entry["external_id"], "duplicate": False}

    def _call_crew(self, entry: Mapping[str, Any]) -> None:
        if self._crew is not None and entry["type"] in _TO_BE_DONE:
            self._orders.put_nowait(
                Order(entry["id"], entry["case_no"], entry["device_id"], entry["department"])
            )

    async def carry_out(self) -> None:
        """Let the crew work on orders as they come, each on its own, until cancelled."""
        if self._crew is None:
            return
        async with asyncio.TaskGroup() as works:
            while True:
                works.create_task(self._carry_out(self._crew, await self._orders.get()))

    async def _carry_out(self, crew: Crew, order: Order) -> None:
        await crew.work(order)
        self.journal.add({"done": order.webhook_id})


def _read(body: bytes, webhook_id: str) -> dict[str, Any]:
    """Return what the journal keeps of a CloudEvent.

    Raises:
        ValueError: It is no CloudEvent of ours.
    """
    event = json.loads(body)
    if not isinstance(event, dict) or event.get("specversion") != "1.0":
        raise ValueError("the body is no CloudEvent 1.0")
    if event.get("id") != webhook_id:
        raise ValueError("the event's id is not the webhook-id")
    data = event.get("data")
    data = data if isinstance(data, dict) else {}
    alarm, department = data.get("alarm") or {}, data.get("department") or {}
    name = department.get("name") or {}
    return {
        "type": str(event.get("type", "")),
        "case_no": str(data.get("case_no") or event.get("subject") or ""),
        "title": data.get("title"),
        "severity": data.get("severity"),
        "device_id": str(alarm.get("device_id") or ""),
        "department": str(name.get("zh") or department.get("code") or "处置单位"),
        "event": event,
    }


def create_platform(
    *, secret: str, journal: Path, clock: Clock | None = None, crew: Crew | None = None
) -> FastAPI:
    """Return the stand-in as an ASGI application.

    Args:
        secret: What the hub signs with.
        journal: JSON lines, one a delivery; kept over restarts.
        clock: Unset: the wall.
        crew: Who carries orders out.
    """
    platform = Platform(secret, Journal(journal), clock=clock or SystemClock(), crew=crew)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        async with asyncio.TaskGroup() as tasks:
            working = tasks.create_task(platform.carry_out())
            yield
            working.cancel()

    app = FastAPI(
        title="城管平台（演示）", lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None
    )

    @app.post("/")
    @app.post("/events")
    async def receive(request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _LIMIT:
                return JSONResponse({"error": "larger than 1 MiB"}, 413)
        status, answer = platform.receive(request.headers, bytes(body))
        return JSONResponse(answer, status)

    @app.get("/received")
    async def received() -> Response:
        return JSONResponse(platform.journal.summary())

    @app.get("/")
    async def page() -> Response:
        return HTMLResponse(_page(platform.journal))

    return app


def _page(journal: Journal) -> str:
    """Return what was received as a small page, newest first."""
    columns = ("received_at", "external_id", "case_no", "type", "severity", "device_id")
    rows = "".join(
        "<tr>"
        + "".join(f"<td>{html.escape(str(order.get(name) or ''))}</td>" for name in columns)
        + f"<td>{html.escape(order['department'])}</td><td>{order['times']}</td></tr>"
        for order in reversed(list(journal.orders.values())[-_SHOWN:])
    )
    heads = "".join(f"<th>{name}</th>" for name in (*columns, "department", "times"))
    return (
        "<!doctype html><html lang=zh><meta charset=utf-8><title>城管平台（演示）</title>"
        "<h1>城市管理平台（演示） · stand-in platform</h1>"
        f"<p>{len(journal.orders)} 件 received, {journal.duplicates} 重复 duplicates,"
        f" {journal.rejected} 拒收 rejected</p>"
        f"<table border=1 cellpadding=4><tr>{heads}</tr>{rows}</table>"
    )
