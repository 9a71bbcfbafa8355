"""The application: its parts put together. Nothing in it reaches another host."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api import health, lite
from api.actions import Actions
from api.auth import Gate, check_binding
from api.bench import Bench
from api.callbacks import Callbacks
from api.deps import Parts
from api.examples import EXAMPLES
from api.feed import Feed
from api.guard import HEADERS, Guard
from api.lite.refusal import answer_lite
from api.policy import Policy, allow, enforce
from api.problems import MEDIA_TYPE, Problem, answer_problem
from api.routers import (
    alarms,
    case_desk,
    cases,
    city,
    devices,
    evaluation,
    incidents,
    kinds,
    operations,
    outbox,
    page,
    quarantine,
    receivers,
    rules,
    stream,
    windows,
)
from core.clock import Clock
from core.db import Pool
from core.errors import CityhubError
from core.settings import Settings

log = logging.getLogger(__name__)

VERSION: Final = "1"
_DESCRIPTION: Final = """
The sensor hub of a city: devices, readings, alarms 告警, incidents 事件簇, cases 案件 and work
orders 任务单, with a live feed of everything that happens to them.

Times are RFC 3339 in UTC. Texts for people come as `{"zh": …, "en": …}`. Errors are problem
documents (RFC 9457) with `detail` and `detail_zh`. Lists give `next`; send it as `after`. Actions
take `Idempotency-Key` and `If-Match: "version"`; 409 says who was first.
"""

own = APIRouter()

ROUTERS: Final[Sequence[APIRouter]] = (
    own,
    health.router,
    kinds.router,
    devices.router,
    alarms.router,
    windows.router,
    incidents.router,
    cases.router,
    case_desk.router,
    outbox.router,
    receivers.router,
    city.router,
    evaluation.router,
    rules.router,
    quarantine.router,  # before operations, whose path of one payload would take its names
    operations.router,
    stream.router,
    page.api,
    page.router,
    *lite.ROUTERS,
)
"""All there is; a test holds every route of theirs to its policy."""


def create_app(
    *,
    pool: Pool,
    url: str,
    settings: Settings,
    clock: Clock,
    actions: Actions,
    bench: Bench | None = None,
    callbacks: Callbacks | None = None,
) -> FastAPI:
    """Put the application together.

    Args:
        pool: Where tables are read.
        url: The database's URL, for notifications.
        settings: The hub's settings.
        clock: What time it is.
        actions: What staff can do.
        bench: What staff can do to payloads in quarantine; None: nothing.
        callbacks: Where receivers are heard; None: nowhere.

    Raises:
        ConfigError: It would be reachable from other machines without a login.
    """
    check_binding(settings)
    feed = Feed(pool, url, clock, ZoneInfo(settings.city.time_zone))
    gate = Gate(settings.api, clock)
    app = FastAPI(
        title="cityhub",
        version=VERSION,
        description=_DESCRIPTION,
        openapi_url=None,  # served below, under a policy as every other route
        docs_url=None,  # these two load their scripts from another host
        redoc_url=None,
        dependencies=[Depends(enforce)],
        lifespan=_tail,
    )
    app.state.parts = Parts(pool, settings, clock, actions, feed, gate, bench, callbacks)
    app.state.gate = gate
    app.state.feed = feed
    for router in ROUTERS:
        app.include_router(router)
    for error in (Problem, CityhubError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(error, _answer)
    hosts = [*settings.api.public_hosts, settings.api.host]
    app.add_middleware(Guard, hosts=hosts)
    return app


@asynccontextmanager
async def _tail(app: FastAPI) -> AsyncIterator[None]:
    """Tail the event log, and renew the figures, while the application runs."""
    feed: Feed = app.state.feed
    tasks = [
        asyncio.create_task(feed.run(), name="feed"),
        asyncio.create_task(feed.tell(), name="feed figures"),
    ]
    for task in tasks:
        task.add_done_callback(_tell)
    try:
        yield
    finally:
        feed.close()
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def _tell(tailing: asyncio.Task[None]) -> None:
    if not tailing.cancelled() and (error := tailing.exception()) is not None:
        log.error("the feed has died; restart the API", exc_info=error)


async def _answer(request: Request, error: Exception) -> Response:
    """Answer an error: people on ``/lite`` get a page, all others a problem document."""
    lite_page = request.url.path.startswith("/lite")
    response = answer_lite(request, error) if lite_page else await answer_problem(request, error)
    for name, value in HEADERS.items():  # an internal error is answered outside the guard
        response.headers.setdefault(name, value)
    return response


@own.get("/api/openapi.json", include_in_schema=False)
@allow(Policy.STAFF)
async def openapi(request: Request) -> JSONResponse:
    """Return the description of this API (OpenAPI 3.1)."""
    return JSONResponse(describe(request.app))


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, with the problem documents every route may answer."""
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = _PROBLEM
    for name, example in EXAMPLES.items():
        schemas[name]["examples"] = [example]
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for item in document["paths"].values():
        for operation in item.values():
            responses = operation["responses"]
            responses.pop("422", None)
            responses["4XX"] = {"description": "Refused, and why.", "content": content}
            responses["5XX"] = {"description": "Not possible for now.", "content": content}
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return document


_PROBLEM: Final = {
    "title": "Problem",
    "description": "What went wrong (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "title_zh", "status", "detail", "detail_zh"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "title_zh": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "detail_zh": {"type": "string"},
        "by": {"type": ["string", "null"], "description": "409: who was first."},
        "at": {"type": ["string", "null"], "description": "409: when."},
    },
    "examples": [
        {
            "type": "urn:cityhub:problem:conflict",
            "title": "Somebody acted first",
            "title_zh": "已有他人先处理",
            "status": 409,
            "detail": "already acknowledged by seat 2",
            "detail_zh": "席位2已确认",
            "by": "席位2",
            "at": "2026-11-21T08:00:00Z",
        }
    ],
}
