"""The snapshot, and the live feed that goes on from it."""

from typing import Annotated, Final

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from api.deps import Hub, Looking
from api.policy import Policy, allow
from api.problems import Problem
from api.reads.snapshot import Snapshot, take_snapshot
from api.store import Row
from core.model import Text

router = APIRouter(prefix="/api/v1", tags=["feed"])

_UNKNOWN: Final = -1
_EXAMPLE: Final = (
    'id: 41\nevent: hello\ndata: {"cursor":41}\n\n'
    'id: 42\nevent: alarm\ndata: {"event_id":42,"log":"alarm","at":"2026-11-21T08:00:00Z",'
    '"actor":"hub","object":"alarm","object_id":"7","action":"raised","from_state":null,'
    '"to_state":"active","reason":null,"detail":{}}\n\n'
)


@router.get("/snapshot", summary="Everything a screen begins with", response_model=Snapshot)
@allow(Policy.STAFF)
async def snapshot(hub: Hub, look: Looking) -> Row:
    """Return the open alarms, incidents and cases, true at the entry ``cursor`` of the event log.

    Then follow ``/api/v1/stream?cursor=…``: nothing is missed and nothing comes twice.
    """
    return await take_snapshot(look, hub.settings.city, hub.clock.now())


@router.get(
    "/stream",
    summary="The live feed",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-Sent Events, one for each entry of the event log.",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}},
        }
    },
)
@router.get("/feed", include_in_schema=False, response_class=StreamingResponse)
@allow(Policy.STAFF)
async def stream(
    hub: Hub,
    cursor: Annotated[
        int | None, Query(ge=0, lt=1 << 63, description="Go on after this id; 0: from the first.")
    ] = None,
    last_event_id: Annotated[
        str | None, Header(description="As `cursor`, and stronger: browsers send it by themselves.")
    ] = None,
) -> StreamingResponse:
    """Return the event log as it grows, after ``cursor``; without one, from now on.

    The first event is ``hello``, or ``reset`` where the log cannot go on from the id given: take a
    new snapshot then. Each further event is named by what it happened to (``alarm``, ``incident``,
    ``case``, ``work_order`` …), its id is its number in the log, and its data is the entry. After
    quiet an event comes at once, else at most ten times a second; ``: ping`` comes every 15 s.

    Three events have no id, since nothing is resumed from them: ``rows`` after each stretch of
    entries (the alarms, incidents and cases they touched, as they stand now), and each second
    ``stats`` (the figures of the strip) and ``pos`` (id, longitude, latitude of what moved).
    """
    if hub.feed.full:
        raise Problem(
            503,
            "feed_full",
            Text("实时连接已满。", "The feed has no room for another client."),
            headers={"Retry-After": "10"},
        )
    after = cursor if last_event_id is None else _parse(last_event_id)
    bounds = await hub.feed.bounds()
    return StreamingResponse(
        hub.feed.follow(after, bounds),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _parse(text: str) -> int:
    """Return an id; one that is no number of ours is unknown, hence answered by a reset."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else _UNKNOWN  # noqa: PLR2004
