"""Maintenance windows (检修窗口): lists, and what staff do to them."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi import Path as InPath
from fastapi.responses import JSONResponse
from pydantic import ConfigDict, Field

from api.deps import Looking
from api.paging import After, Limit, Page, read_token
from api.policy import Policy, allow
from api.reads.windows import Window, list_windows
from api.routers.doing import Acted, By, Doing, MaybeBy, Name, Sentence
from api.shapes import Moment

router = APIRouter(prefix="/api/v1/windows", tags=["alarms"])


class Opened(Acted):
    """What opening a window left behind."""

    window_id: int


class Opening(By):
    """What goes out of service, why, and until when."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "scope": "device",
                    "targets": ["MH-0001"],
                    "reason": "更换井盖",
                    "ends_at": "2026-11-21T10:00:00Z",
                }
            ]
        },
    )

    scope: Literal["device", "group", "road", "grid", "feeder"]
    targets: Annotated[list[Name], Field(min_length=1, max_length=1000)]
    reason: Sentence
    starts_at: Moment | None = Field(default=None, description="From when on; default: now.")
    ends_at: Moment | None = Field(
        default=None, description="Until when, within 30 days; may be left out with `order_no`."
    )
    order_no: Name | None = Field(default=None, description="It ends with this work order.")


@router.get("", summary="Maintenance windows", response_model=Page[Window])
@allow(Policy.STAFF)
async def windows(
    look: Looking,
    *,
    state: Annotated[
        Literal["open", "planned", "active", "ended", "cancelled", "all"],
        Query(description="`open`: planned or active."),
    ] = "open",
    limit: Limit = 100,
    after: After = None,
) -> dict[str, Any]:
    """Return windows, newest first; by default those that are planned or active."""
    key = read_token(after, int)
    items, token = await list_windows(look, state, before=key[0] if key else None, limit=limit)
    return {"items": items, "next": token}


@router.post("", summary="Open a maintenance window 检修窗口", response_model=Opened)
@allow(Policy.STAFF)
async def open_window(doing: Doing, body: Opening) -> JSONResponse:
    """Take devices out of service for a while; at the end what still goes on is told as new."""
    wanted = body.model_dump(exclude={"actor"})
    return await doing.answer(lambda: doing.actions.open_window(actor=doing.actor(body), **wanted))


@router.post("/{window_id}/end", summary="End a maintenance window", response_model=Acted)
@allow(Policy.STAFF)
async def end_window(
    doing: Doing,
    window_id: Annotated[int, InPath(ge=1, lt=1 << 63, examples=[1])],
    body: MaybeBy = None,
) -> JSONResponse:
    """End a window before its time, or cancel one that has not begun."""
    return await doing.do(doing.actions.end_window, window_id, body)
