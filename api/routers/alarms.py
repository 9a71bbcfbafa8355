"""Alarms: lists, one with its history, and what staff do to them."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi import Path as InPath
from fastapi.responses import JSONResponse
from pydantic import ConfigDict, Field

from api.deps import Looking
from api.paging import After, Limit, Page, read_token
from api.policy import Policy, allow
from api.problems import missing
from api.reads.alarms import Alarm, AlarmFilter, list_alarms, read_alarm
from api.reads.events import Event, events_of
from api.routers.doing import Acted, Doing, Filed, MaybeBy, Reasoned
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
    body: MaybeBy = None,
) -> JSONResponse:
    """Say that a person has seen it; stops sound and escalation, not the clocks of its case."""
    return await doing.do(doing.actions.acknowledge, alarm_id, body)


@router.post(
    "/{alarm_id}/undo-acknowledge", summary="Undo an acknowledgement", response_model=Acted
)
@allow(Policy.STAFF)
async def undo_acknowledge(
    doing: Doing,
    alarm_id: AlarmId,
    body: MaybeBy = None,
) -> JSONResponse:
    """Take an acknowledgement back, within seconds of it."""
    return await doing.do(doing.actions.undo_acknowledge, alarm_id, body)


@router.post("/{alarm_id}/reset", summary="Reset a latched alarm 复位", response_model=Acted)
@allow(Policy.STAFF)
async def reset(
    doing: Doing,
    alarm_id: AlarmId,
    body: Reasoned,
) -> JSONResponse:
    """Release a latched alarm whose condition is over; needs a reason."""
    return await doing.do(doing.actions.reset_alarm, alarm_id, body)


@router.post("/{alarm_id}/file", summary="File a case 立案", response_model=Filed)
@allow(Policy.STAFF)
async def file(
    doing: Doing,
    alarm_id: AlarmId,
    body: MaybeBy = None,
) -> JSONResponse:
    """Make a case of the alarm's incident."""
    return await doing.do(doing.actions.file, alarm_id, body)


class Shelving(Reasoned):
    """For how long an alarm is kept quiet, and why."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"reason": "施工单位在场", "minutes": 60}]},
    )

    minutes: float = Field(gt=0, le=480, description="Operators at most 120, red at most 30.")
    once: bool = Field(default=False, description="It ends with the condition, if that is sooner.")


@router.post("/{alarm_id}/shelve", summary="Shelve 搁置", response_model=Acted)
@allow(Policy.STAFF)
async def shelve(doing: Doing, alarm_id: AlarmId, body: Shelving) -> JSONResponse:
    """Keep an alarm quiet for a while; it is judged and logged, and told again if it goes on."""
    return await doing.do(doing.actions.shelve, alarm_id, body)


@router.post("/{alarm_id}/unshelve", summary="Unshelve", response_model=Acted)
@allow(Policy.STAFF)
async def unshelve(doing: Doing, alarm_id: AlarmId, body: MaybeBy = None) -> JSONResponse:
    """Take an alarm off the shelf."""
    return await doing.do(doing.actions.unshelve, alarm_id, body)
