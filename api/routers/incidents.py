"""Incidents: lists, and one with its alarms and history."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from fastapi import Path as InPath
from fastapi.responses import JSONResponse
from pydantic import ConfigDict, Field

from api.deps import Looking
from api.paging import After, Limit, Page, read_token
from api.policy import Policy, allow
from api.problems import missing
from api.reads.alarms import Alarm, alarms_of_incident
from api.reads.events import Event, events_of
from api.reads.incidents import Incident, list_incidents, read_incident
from api.routers.alarms import Severities
from api.routers.doing import Acted, Doing, MaybeBy, Reasoned
from api.store import Row
from core.model import Text

router = APIRouter(prefix="/api/v1/incidents", tags=["alarms"])

Number = Annotated[int, Field(ge=1, lt=1 << 63)]
IncidentId = Annotated[int, InPath(ge=1, lt=1 << 63, examples=[1])]


class OneIncident(Incident):
    """An incident with its alarms and history."""

    alarms: list[Alarm]
    events: list[Event]


@router.get("", summary="Incidents", response_model=Page[Incident])
@allow(Policy.STAFF)
async def incidents(
    look: Looking,
    *,
    state: Literal["open", "closed", "all"] = "open",
    severity: Severities = None,
    limit: Limit = 100,
    after: After = None,
) -> dict[str, Any]:
    """Return incidents, newest first; by default the open ones."""
    key = read_token(after, int)
    items, token = await list_incidents(
        look, state=state, severity=severity, before=key[0] if key else None, limit=limit
    )
    return {"items": items, "next": token}


@router.get("/{incident_id}", summary="One incident with its alarms", response_model=OneIncident)
@allow(Policy.STAFF)
async def incident(look: Looking, incident_id: IncidentId) -> Row:
    """Return an incident, its alarms and what happened to it."""
    row = await read_incident(look, incident_id)
    if row is None:
        raise missing(Text("事件簇", "incident"), str(incident_id))
    return {
        **row,
        "alarms": await alarms_of_incident(look, incident_id),
        "events": await events_of(look, ("incident", str(incident_id))),
    }


@router.post("/{incident_id}/acknowledge", summary="Acknowledge all 成组确认", response_model=Acted)
@allow(Policy.STAFF)
async def acknowledge(doing: Doing, incident_id: IncidentId, body: MaybeBy = None) -> JSONResponse:
    """Say that a person has seen all its alarms; the audit lists each of them."""
    return await doing.do(doing.actions.acknowledge_incident, incident_id, body)


class Merging(Reasoned):
    """Which incidents are one with this, and why."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"reason": "同一处管网破裂", "others": [18, 21]}]},
    )

    others: list[Number] = Field(min_length=1, max_length=100)


@router.post("/{incident_id}/merge", summary="Merge others into it 合并", response_model=Acted)
@allow(Policy.STAFF)
async def merge(doing: Doing, incident_id: IncidentId, body: Merging) -> JSONResponse:
    """Put the alarms of other incidents into this one, which stays; the others close."""
    return await doing.do(doing.actions.merge_incidents, incident_id, body)


class Splitting(Reasoned):
    """Which alarms have another cause, and why."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"reason": "与该网关无关", "alarms": [1042]}]},
    )

    alarms: list[Number] = Field(min_length=1, max_length=2000)


@router.post("/{incident_id}/split", summary="Split alarms off 拆分", response_model=Acted)
@allow(Policy.STAFF)
async def split(doing: Doing, incident_id: IncidentId, body: Splitting) -> JSONResponse:
    """Take alarms out into an incident of their own; what was kept quiet is told as new."""
    return await doing.do(doing.actions.split_incident, incident_id, body)
