"""Incidents: lists, and one with its alarms and history."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from fastapi import Path as InPath

from api.deps import Looking
from api.paging import After, Limit, Page, read_token
from api.policy import Policy, allow
from api.problems import missing
from api.reads.alarms import Alarm, alarms_of_incident
from api.reads.events import Event, events_of
from api.reads.incidents import Incident, list_incidents, read_incident
from api.routers.alarms import Severities
from api.store import Row
from core.model import Text

router = APIRouter(prefix="/api/v1/incidents", tags=["alarms"])


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
async def incident(look: Looking, incident_id: Annotated[int, InPath(ge=1, lt=1 << 63)]) -> Row:
    """Return an incident, its alarms and what happened to it."""
    row = await read_incident(look, incident_id)
    if row is None:
        raise missing(Text("事件簇", "incident"), str(incident_id))
    return {
        **row,
        "alarms": await alarms_of_incident(look, incident_id),
        "events": await events_of(look, ("incident", str(incident_id))),
    }
