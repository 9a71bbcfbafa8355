"""Alarms: lists, one with its history, and what staff do to them."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query
from fastapi import Path as InPath
from fastapi.responses import JSONResponse

from api.deps import Looking
from api.paging import After, Limit, Page, read_token
from api.policy import Policy, allow
from api.problems import missing
from api.reads.alarms import Alarm, AlarmFilter, list_alarms, read_alarm
from api.reads.events import Event, events_of
from api.routers.doing import Acted, By, Doing, Filed, Reasoned
from api.store import Row
from core.model import Text

router = APIRouter(prefix="/api/v1/alarms", tags=["alarms"])

AlarmId = Annotated[int, InPath(ge=1, lt=1 << 63, examples=[1])]
Severities = Annotated[
    list[Annotated[int, Query(ge=1, le=4)]] | None,
    Query(max_length=4, description="4 red, 3 orange, 2 yellow, 1 blue; may be repeated."),
]


class OneAlarm(Alarm):
    """An alarm with its history."""

    events: list[Event]
    """What happened to it, oldest first."""


@router.get("", summary="Alarms", response_model=Page[Alarm])
@allow(Policy.STAFF)
async def alarms(
    look: Looking,
    *,
    state: Annotated[
        Literal["open", "unacked", "cleared", "all"],
        Query(description="`open`: going on, or latched and not yet reset."),
    ] = "open",
    severity: Severities = None,
    audience: Literal["city", "maintenance", "system"] | None = None,
    device: Annotated[str | None, Query(max_length=64, description="Device id.")] = None,
    grid: Annotated[str | None, Query(max_length=15, description="Grid cell code.")] = None,
    rule: Annotated[str | None, Query(max_length=64, description="Alarm rule.")] = None,
    limit: Limit = 100,
    after: After = None,
) -> dict[str, Any]:
    """Return alarms, newest first; by default the open ones."""
    key = read_token(after, int)
    wanted = AlarmFilter(state, severity, audience, device, grid, rule)
    items, token = await list_alarms(look, wanted, before=key[0] if key else None, limit=limit)
    return {"items": items, "next": token}


@router.get("/{alarm_id}", summary="One alarm with its history", response_model=OneAlarm)
@allow(Policy.STAFF)
async def alarm(look: Looking, alarm_id: AlarmId) -> Row:
    """Return an alarm and all that happened to it."""
    row = await read_alarm(look, alarm_id)
    if row is None:
        raise missing(Text("告警", "alarm"), str(alarm_id))
    return {**row, "events": await events_of(look, ("alarm", str(alarm_id)))}


@router.post("/{alarm_id}/acknowledge", summary="Acknowledge 确认", response_model=Acted)
@allow(Policy.STAFF)
async def acknowledge(
    doing: Doing,
    alarm_id: AlarmId,
    body: Annotated[By | None, Body()] = None,
) -> JSONResponse:
    """Say that a person has seen it; stops sound and escalation, not the clocks of its case."""
    return await doing.answer(
        lambda: doing.actions.acknowledge(alarm_id, actor=doing.actor(body), version=doing.version),
    )


@router.post(
    "/{alarm_id}/undo-acknowledge", summary="Undo an acknowledgement", response_model=Acted
)
@allow(Policy.STAFF)
async def undo_acknowledge(
    doing: Doing,
    alarm_id: AlarmId,
    body: Annotated[By | None, Body()] = None,
) -> JSONResponse:
    """Take an acknowledgement back, within seconds of it."""
    return await doing.answer(
        lambda: doing.actions.undo_acknowledge(
            alarm_id, actor=doing.actor(body), version=doing.version
        ),
    )


@router.post("/{alarm_id}/reset", summary="Reset a latched alarm 复位", response_model=Acted)
@allow(Policy.STAFF)
async def reset(
    doing: Doing,
    alarm_id: AlarmId,
    body: Reasoned,
) -> JSONResponse:
    """Release a latched alarm whose condition is over; needs a reason."""
    return await doing.answer(
        lambda: doing.actions.reset_alarm(
            alarm_id, actor=doing.actor(body), reason=body.reason, version=doing.version
        ),
    )


@router.post("/{alarm_id}/file", summary="File a case 立案", response_model=Filed)
@allow(Policy.STAFF)
async def file(
    doing: Doing,
    alarm_id: AlarmId,
    body: Annotated[By | None, Body()] = None,
) -> JSONResponse:
    """Make a case of the alarm's incident."""
    return await doing.answer(
        lambda: doing.actions.file(alarm_id, actor=doing.actor(body), version=doing.version),
    )
