"""Cases: lists, one with its orders, deliveries and history, and what staff do to them."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi import Path as InPath
from fastapi.responses import JSONResponse
from pydantic import ConfigDict

from api.deps import Looking
from api.paging import After, Limit, Page, read_token
from api.policy import Policy, allow
from api.problems import missing
from api.reads.alarms import Alarm, alarms_of_case
from api.reads.cases import (
    OPEN_STATES,
    Case,
    CaseFilter,
    Clock,
    Delivery,
    Proposal,
    SideTrack,
    WorkOrder,
    list_cases,
    read_case,
)
from api.reads.events import Event, events_of
from api.routers.alarms import Severities
from api.routers.doing import Acted, By, Doing, MaybeBy, Name, Reasoned, Sentence
from api.store import Row
from core.model import Text

router = APIRouter(prefix="/api/v1/cases", tags=["cases"])

CaseNo = Annotated[str, InPath(pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["FY-20261121-000001"])]


class OneCase(Case):
    """A case with all that belongs to it."""

    work_orders: list[WorkOrder]
    deliveries: list[Delivery]
    clocks: list[Clock]
    side_tracks: list[SideTrack]
    proposals: list[Proposal]
    verify_evidence: list[dict[str, Any]]
    """What each verification rests on: who said what, and the sensors' curves, with a hash."""
    alarms: list[Alarm]
    events: list[Event]
    """What happened to it and to its orders, oldest first."""


class Dispatching(By):
    """Where a case goes."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"dept": "D01"}]})

    dept: Name


class Feedback(By):
    """What was done."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"note": "井盖已复位并加固"}]}
    )

    note: Sentence


class Verdict(By):
    """What an inspector found."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"passed": True, "note": "现场核查合格"}]},
    )

    passed: bool
    note: Sentence


@router.get("", summary="Cases", response_model=Page[Case])
@allow(Policy.STAFF)
async def cases(
    look: Looking,
    *,
    state: Annotated[
        str, Query(pattern=r"^[a-z_]{1,20}$", description="`open`, `all`, or one state.")
    ] = "open",
    severity: Severities = None,
    dept: Annotated[str | None, Query(max_length=32)] = None,
    grid: Annotated[str | None, Query(max_length=15)] = None,
    limit: Limit = 100,
    after: After = None,
) -> dict[str, Any]:
    """Return cases, newest first; by default the open ones."""
    key = read_token(after, datetime, str)
    states = {"open": list(OPEN_STATES), "all": None}.get(state, [state])
    items, token = await list_cases(
        look,
        CaseFilter(states, severity, dept, grid),
        after=(key[0], key[1]) if key else None,
        limit=limit,
    )
    return {"items": items, "next": token}


@router.get("/{case_no}", summary="One case with all that belongs to it", response_model=OneCase)
@allow(Policy.STAFF)
async def case(look: Looking, case_no: CaseNo) -> Row:
    """Return a case with its orders, deliveries, alarms and history."""
    row = await read_case(look, case_no)
    if row is None:
        raise missing(Text("案件", "case"), case_no)
    things = [("work_order", order["order_no"]) for order in row["work_orders"]]
    return {
        **row,
        "alarms": await alarms_of_case(look, case_no),
        "events": await events_of(look, ("case", case_no), *things),
    }


@router.post("/{case_no}/dispatch", summary="Dispatch 派遣", response_model=Acted)
@allow(Policy.STAFF)
async def dispatch(
    doing: Doing,
    case_no: CaseNo,
    body: Dispatching,
) -> JSONResponse:
    """Send a case to a department: makes its work order and acknowledges its alarms."""
    return await doing.do(doing.actions.dispatch, case_no, body)


@router.post("/{case_no}/sign", summary="Sign for the work order 签收", response_model=Acted)
@allow(Policy.STAFF)
async def sign(
    doing: Doing,
    case_no: CaseNo,
    body: MaybeBy = None,
) -> JSONResponse:
    """Take the work order on."""
    return await doing.do(doing.actions.sign, case_no, body)


@router.post("/{case_no}/arrive", summary="Arrive on site 到场", response_model=Acted)
@allow(Policy.STAFF)
async def arrive(
    doing: Doing,
    case_no: CaseNo,
    body: MaybeBy = None,
) -> JSONResponse:
    """Say that the crew is on site."""
    return await doing.do(doing.actions.arrive, case_no, body)


@router.post("/{case_no}/feedback", summary="Report the work done 反馈", response_model=Acted)
@allow(Policy.STAFF)
async def feedback(
    doing: Doing,
    case_no: CaseNo,
    body: Feedback,
) -> JSONResponse:
    """Say what was done; the case then waits for verification."""
    return await doing.do(doing.actions.feedback, case_no, body)


@router.post("/{case_no}/return", summary="Return a wrong dispatch 退办", response_model=Acted)
@allow(Policy.STAFF)
async def return_(
    doing: Doing,
    case_no: CaseNo,
    body: Reasoned,
) -> JSONResponse:
    """Give a wrongly dispatched case back; needs a reason."""
    return await doing.do(doing.actions.return_, case_no, body)


@router.post("/{case_no}/verify", summary="Verify 核查", response_model=Acted)
@allow(Policy.STAFF)
async def verify(
    doing: Doing,
    case_no: CaseNo,
    body: Verdict,
) -> JSONResponse:
    """Judge the work on site: a pass closes the case, a failure sends it back for rework."""
    return await doing.do(doing.actions.verify, case_no, body)
