"""How the hub does, to read: figures, ledger, quarantine."""

import json
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from fastapi import Path as InPath

from api.deps import Hub, Looking
from api.paging import After, Limit, Page, read_token
from api.policy import Policy, allow
from api.problems import missing
from api.reads.alarms import count_alarms
from api.reads.cases import count_cases
from api.reads.operations import (
    LedgerMinute,
    Quarantined,
    QuarantinedPayload,
    count_devices,
    ledger_totals,
    list_ledger,
    list_quarantine,
    read_lag,
    read_quarantined,
)
from api.reads.snapshot import LevelCount
from api.shapes import Instant, Moment, Shape
from api.store import Row
from core.model import Text
from devices import KINDS

router = APIRouter(prefix="/api/v1", tags=["operations"])

INTERVALS: Final = json.dumps({kind.name: kind.interval_s for kind in KINDS.values()})

LEDGER_WINDOW: Final = timedelta(days=1)
"""Sums of the ledger go so far back: the whole of it grows by a row a minute, for ever."""


class KindCount(Shape):
    """Devices of a kind."""

    kind: str
    known: int
    heard: int
    """Heard within three of their intervals."""


class LedgerTotals(Shape):
    """The sums of the ledger over the last day, in records."""

    received: int
    stored: int
    duplicate: int
    quarantined: int
    difference: int
    """received - stored - duplicate - quarantined: 0, always."""


class Stats(Shape):
    """The hub in figures."""

    at: Instant
    alarms: list[LevelCount]
    cases: dict[str, int]
    devices: list[KindCount]
    ledger: LedgerTotals
    outbox_waiting: int
    outbox_dead: int
    quarantine_open: int
    newest_event: int


@router.get("/stats", summary="The hub in figures", response_model=Stats)
@allow(Policy.STAFF)
async def stats(hub: Hub, look: Looking) -> Row:
    """Return open alarms by level, cases by state, devices heard, the last day's ledger."""
    now = hub.clock.now()
    lag = await read_lag(look)
    return {
        "at": now,
        "alarms": [
            {"severity": severity, "open": opened, "unacked": unacked}
            for severity, (opened, unacked) in (await count_alarms(look)).items()
        ],
        "cases": await count_cases(look),
        "devices": await count_devices(look, now=now, intervals=INTERVALS),
        "ledger": await ledger_totals(look, now - LEDGER_WINDOW),
        "outbox_waiting": lag["outbox_waiting"],
        "outbox_dead": lag["outbox_dead"],
        "quarantine_open": lag["quarantined"],
        "newest_event": lag["newest_event"],
    }


@router.get("/ledger", summary="The ledger by minute", response_model=Page[LedgerMinute])
@allow(Policy.STAFF)
async def ledger(
    look: Looking,
    *,
    source: Annotated[str | None, Query(max_length=31)] = None,
    start: Annotated[Moment | None, Query(alias="from")] = None,
    end: Annotated[Moment | None, Query(alias="to")] = None,
    limit: Limit = 100,
    after: After = None,
) -> dict[str, Any]:
    """Return what became of each minute's records: received = stored + duplicate + quarantined."""
    key = read_token(after, datetime, str)
    items, token = await list_ledger(
        look,
        source=source,
        start=start,
        end=end,
        after=(key[0], key[1]) if key else None,
        limit=limit,
    )
    return {"items": items, "next": token}


@router.get("/quarantine", summary="The quarantine", response_model=Page[Quarantined])
@allow(Policy.STAFF)
async def quarantine(
    look: Looking,
    *,
    state: Literal["open", "redriven", "discarded"] | None = "open",
    code: Annotated[str | None, Query(max_length=64, description="Reason code.")] = None,
    device: Annotated[str | None, Query(max_length=64, description="Device id.")] = None,
    limit: Limit = 100,
    after: After = None,
) -> dict[str, Any]:
    """Return payloads that could not be read, newest first, without their bytes."""
    key = read_token(after, int)
    items, token = await list_quarantine(
        look,
        state=state,
        code=code,
        device=device,
        before=key[0] if key else None,
        limit=limit,
    )
    return {"items": items, "next": token}


@router.get(
    "/quarantine/{quarantine_id}",
    summary="One quarantined payload with its bytes",
    response_model=QuarantinedPayload,
)
@allow(Policy.STAFF)
async def quarantined(
    look: Looking, quarantine_id: Annotated[int, InPath(ge=1, lt=1 << 63)]
) -> Row:
    """Return a payload that could not be read."""
    row = await read_quarantined(look, quarantine_id)
    if row is None:
        raise missing(Text("隔离记录", "quarantined payload"), str(quarantine_id))
    return row
