"""Devices: the list, one of them, its readings raw or rolled up, its last values, its signals."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from fastapi import Path as InPath

from api.deps import Hub, Looking
from api.paging import After, Limit, Page, read_token
from api.policy import Policy, allow
from api.problems import Problem, missing
from api.reads.devices import (
    Device,
    DeviceEventShape,
    DeviceFilter,
    Kind,
    MetricShape,
    device_events,
    list_devices,
    read_device,
    show_kind,
    show_metric,
)
from api.reads.readings import (
    MOST_BUCKETS,
    WIDTHS,
    Bucket,
    RawReadings,
    RolledReadings,
    Span,
    raw_readings,
)
from api.reads.rolled import rolled_readings
from api.shapes import Instant, Moment, Shape
from api.store import Look, Row
from core.model import Text
from devices import KINDS

router = APIRouter(prefix="/api/v1/devices", tags=["devices"])

DEFAULT_SPANS: Final[dict[Bucket, timedelta]] = {
    "1m": timedelta(hours=6),
    "1h": timedelta(days=7),
    "1d": timedelta(days=90),
}

DeviceId = Annotated[
    str,
    InPath(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="The device's id.", examples=["MH-0001"]),
]
Code = Annotated[str | None, Query(max_length=64)]


class OneDevice(Device):
    """A device with the thing model of its kind."""

    kind_schema: Kind | None
    """What its kind measures, signals and obeys; null for gateways and feeders."""
    state_at: Instant | None
    state_detail: dict[str, Any] | None
    """Its last state message."""


class Latest(Shape):
    """The newest message of a device."""

    device_id: str
    kind: str
    metrics: list[MetricShape]
    ts: Instant | None
    """Null: it never sent a reading."""
    seq: int | None
    quality: int | None
    values: dict[str, float | None]
    last_contact_at: Instant | None


@router.get("", summary="Devices", response_model=Page[Device])
@allow(Policy.STAFF)
async def devices(
    look: Looking,
    *,
    kind: Code = None,
    grid: Code = None,
    state: Literal["active", "maintenance", "retired"] | None = None,
    gateway: Code = None,
    find: Annotated[
        str | None, Query(max_length=64, description="Part of the id or the name.")
    ] = None,
    limit: Limit = 100,
    after: After = None,
) -> dict[str, Any]:
    """Return devices by id."""
    key = read_token(after, str)
    wanted = DeviceFilter(kind=kind, grid=grid, state=state, gateway=gateway, find=find)
    items, token = await list_devices(look, wanted, after=key[0] if key else "", limit=limit)
    return {"items": items, "next": token}


@router.get("/{device_id}", summary="One device", response_model=OneDevice)
@allow(Policy.STAFF)
async def device(look: Looking, device_id: DeviceId) -> Row:
    """Return a device with its place, last contact and thing model."""
    row = await find_device(look, device_id)
    kind = KINDS.get(row["kind"])
    return {**row, "kind_schema": show_kind(kind) if kind else None}


@router.get(
    "/{device_id}/readings",
    summary="Readings, raw or rolled up",
    response_model=RawReadings | RolledReadings,
)
@allow(Policy.STAFF)
async def readings(
    hub: Hub,
    look: Looking,
    *,
    device_id: DeviceId,
    metric: Annotated[
        list[str] | None, Query(max_length=64, description="Only these metrics; all without it.")
    ] = None,
    start: Annotated[Moment | None, Query(alias="from", description="From this time on.")] = None,
    end: Annotated[Moment | None, Query(alias="to", description="Before this time.")] = None,
    bucket: Annotated[Bucket | None, Query(description="Roll up; without it, raw rows.")] = None,
    order: Annotated[Literal["asc", "desc"], Query(description="By time.")] = "desc",
    limit: Annotated[int, Query(ge=1, le=5000, description="Raw rows a page.")] = 500,
    after: After = None,
) -> Any:
    """Return a device's messages, newest first unless asked otherwise.

    Without ``bucket``: raw rows, a page at a time. With it: average, least, greatest, last and
    count of each metric in each bucket, out of what lies within its sensor's range; without
    ``from``, the last 6 h, 7 days or 90 days.
    """
    row = await find_device(look, device_id)
    kind = KINDS.get(row["kind"])
    known = [m.name for m in kind.metrics] if kind else []
    if unknown := [name for name in metric or () if name not in known]:
        raise missing(Text("指标", "metric"), unknown[0])
    names = (metric and list(dict.fromkeys(metric))) or known
    head = {
        "device_id": device_id,
        "kind": row["kind"],
        "metrics": [show_metric(kind, name) for name in names] if kind else [],
    }
    span = None
    if kind is not None:
        span = Span(row["device_no"], kind, names, start, end, newest_first=order == "desc")
    if bucket is None:
        key = read_token(after, datetime, int)
        items, token = (
            await raw_readings(look, span, after=(key[0], key[1]) if key else None, limit=limit)
            if span
            else ([], None)
        )
        return RawReadings.model_validate({**head, "items": items, "next": token})
    rolled = []
    if span is not None:
        rolled = await rolled_readings(
            look, _bounded(span, bucket, hub.clock.now()), bucket, hub.zone
        )
    zone = hub.settings.city.time_zone
    return RolledReadings.model_validate(
        {**head, "bucket": bucket, "time_zone": zone, "items": rolled}
    )


@router.get("/{device_id}/latest", summary="The newest reading", response_model=Latest)
@allow(Policy.STAFF)
async def latest(look: Looking, device_id: DeviceId) -> Row:
    """Return a device's newest message."""
    row = await find_device(look, device_id)
    kind = KINDS.get(row["kind"])
    newest: Row = {"ts": None, "seq": None, "quality": None, "values": {}}
    if kind is not None:
        names = [metric.name for metric in kind.metrics]
        span = Span(row["device_no"], kind, names, None, None)
        rows, _ = await raw_readings(look, span, after=None, limit=1)
        newest = rows[0] if rows else newest
    return {
        **newest,
        "device_id": device_id,
        "kind": row["kind"],
        "metrics": [show_metric(kind, m.name) for m in kind.metrics] if kind else [],
        "last_contact_at": row["last_contact_at"],
    }


@router.get(
    "/{device_id}/events",
    summary="Signals the device raised itself",
    response_model=Page[DeviceEventShape],
)
@allow(Policy.STAFF)
async def events(look: Looking, device_id: DeviceId, limit: Limit = 100) -> dict[str, Any]:
    """Return the last signals of a device, newest first."""
    row = await find_device(look, device_id)
    return {"items": await device_events(look, row, limit), "next": None}


async def find_device(look: Look, device_id: str) -> Row:
    """Return a device.

    Raises:
        Problem: 404, there is none.
    """
    row = await read_device(look, device_id)
    if row is None:
        raise missing(Text("设备", "device"), device_id)
    return row


def _bounded(span: Span, bucket: Bucket, now: datetime) -> Span:
    """Return the span with both ends, refusing one of too many buckets."""
    end = span.end or now
    start = span.start or end - DEFAULT_SPANS[bucket]
    if (end - start) / WIDTHS[bucket] > MOST_BUCKETS:
        raise Problem(
            422,
            "too_many_buckets",
            Text(f"时段过长：每次最多 {MOST_BUCKETS} 个区间，请缩短时段或加大区间。",
                 f"Too long: at most {MOST_BUCKETS} buckets at a time; shorten the span or take a"
                 " wider bucket."),
        )  # fmt: skip
    return Span(span.device_no, span.kind, span.metrics, start, end, span.newest_first)
