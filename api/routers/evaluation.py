"""Evaluation 综合评价, alarm health and bulletins, to read; as JSON, or as CSV for spreadsheets."""

from datetime import date
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from fastapi import Path as InPath
from fastapi.responses import Response

from api.deps import Hub, Looking, Parts
from api.evaluation.bulletin import (
    Bulletin,
    Evaluation,
    Published,
    list_bulletins,
    read_bulletin,
    read_evaluation,
)
from api.evaluation.figures import Cut
from api.evaluation.health import AlarmHealth, read_health
from api.evaluation.period import Period, days, read_month
from api.evaluation.sheet import bulletin_csv, evaluation_csv, health_csv
from api.policy import Policy, allow
from api.problems import Problem
from core.errors import ConfigError
from core.model import Text

router = APIRouter(prefix="/api/v1", tags=["evaluation"])

FirstDay = Annotated[
    date | None, Query(alias="from", description="First city day; the month's first by default.")
]
LastDay = Annotated[
    date | None, Query(alias="to", description="Last city day, included; today by default.")
]
Sheet = Annotated[
    Literal["json", "csv"], Query(alias="format", description="`csv` has a byte-order mark.")
]
Month = Annotated[str, InPath(pattern=r"^(19|20)[0-9]{2}-(0[1-9]|1[0-2])$", examples=["2026-11"])]
_CSV: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"text/csv": {}}}}


def period_of(hub: Parts, first: date | None, last: date | None) -> Period:
    """Return the city days asked for; by default this month so far.

    Raises:
        Problem: 422, they are in the wrong order, or too many.
    """
    today = hub.clock.now().astimezone(hub.zone).date()
    last = last or today
    first = first or min(today, last).replace(day=1)
    try:
        return days(first, last, hub.zone)
    except (ConfigError, OverflowError) as error:
        raise Problem(
            422,
            "bad_period",
            Text("起止日期应按先后，且不超过一年。",
                 "A period ends after it begins and has at most a year."),
        ) from error  # fmt: skip


def as_csv(text: str, name: str) -> Response:
    """Return a sheet as a file."""
    given = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=given)


@router.get("/evaluation", summary="Evaluation 综合评价", response_model=Evaluation, responses=_CSV)
@allow(Policy.STAFF)
async def evaluation(
    hub: Hub,
    look: Looking,
    *,
    first: FirstDay = None,
    last: LastDay = None,
    by: Annotated[Cut, Query(description="What to compare.")] = "city",
    sheet: Sheet = "json",
) -> Any:
    """Return each indicator with its formula, numerator and denominator, and the score."""
    period = period_of(hub, first, last)
    found = await read_evaluation(look, period, by, now=hub.clock.now(), zone=hub.zone)
    return as_csv(evaluation_csv([found]), f"evaluation-{by}") if sheet == "csv" else found


@router.get(
    "/alarm-health", summary="Alarm health 告警健康", response_model=AlarmHealth, responses=_CSV
)
@allow(Policy.STAFF)
async def alarm_health(
    hub: Hub,
    look: Looking,
    *,
    first: FirstDay = None,
    last: LastDay = None,
    seats: Annotated[
        int | None, Query(ge=1, le=1000, description="People who share the alarms; the roster's.")
    ] = None,
    sheet: Sheet = "json",
) -> Any:
    """Return how much the alarms ask of people, with targets after ISA-18.2 and EEMUA 191."""
    now = hub.clock.now()
    found = await read_health(look, period_of(hub, first, last).upto(now), now, seats)
    return as_csv(health_csv(found), "alarm-health") if sheet == "csv" else found


@router.get("/bulletins", summary="Published months", response_model=list[Published])
@allow(Policy.STAFF)
async def bulletins(look: Looking) -> list[dict[str, Any]]:
    """Return the months whose bulletin was published, newest first."""
    return await list_bulletins(look)


@router.get(
    "/bulletins/{month}", summary="The bulletin of a month", response_model=Bulletin, responses=_CSV
)
@allow(Policy.STAFF)
async def bulletin(
    hub: Hub,
    look: Looking,
    month: Month,
    *,
    sheet: Sheet = "json",
) -> Any:
    """Return a month as it was published, with later corrections; else a draft of it."""
    found = await read_bulletin(look, read_month(month), now=hub.clock.now(), zone=hub.zone)
    return as_csv(bulletin_csv(found), f"bulletin-{month}") if sheet == "csv" else found
