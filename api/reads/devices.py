"""Devices (设备) as the screens show them: who, where, last heard, and their kind's thing model."""

from dataclasses import asdict, dataclass
from typing import Any, Final

from api.paging import cut_page
from api.shapes import Instant, Shape, Words, kind_label
from api.store import Look, Row
from devices import KINDS, DeviceKind

_SHOWN: Final = """
SELECT d.device_no, d.device_id, d.kind, d.name, d.component_code, d.grid_code,
       coalesce(g.name, '') AS grid_name, d.dept_code, d.lon, d.lat, d.gateway, d.feeder,
       d.interval_s, d.limits, d.state, d.version,
       s.last_contact_at, s.last_reading_at, s.skew_s AS clock_skew_s,
       t.online, t.at AS state_at, t.detail AS state_detail
  FROM hub.device d
  LEFT JOIN hub.grid_cell g ON g.grid_code = d.grid_code
  LEFT JOIN hub.device_seen s USING (device_no)
  LEFT JOIN hub.device_state t USING (device_no)
"""
_LIST: Final = (
    _SHOWN
    + """
 WHERE d.tenant_id = 1
   AND (%(kind)s::text IS NULL OR d.kind = %(kind)s)
   AND (%(grid)s::text IS NULL OR d.grid_code = %(grid)s)
   AND (%(state)s::text IS NULL OR d.state = %(state)s)
   AND (%(gateway)s::text IS NULL OR d.gateway = %(gateway)s)
   AND (%(find)s::text IS NULL OR strpos(lower(d.device_id), lower(%(find)s)) > 0
        OR strpos(lower(d.name), lower(%(find)s)) > 0)
   AND d.device_id > %(after)s
 ORDER BY d.device_id
 LIMIT %(limit)s
"""
)
_ONE: Final = _SHOWN + " WHERE d.device_id = %s AND d.tenant_id = 1"
_EVENTS: Final = """
SELECT ts, seq, name, active, detail, quality FROM hub.device_event
 WHERE device_no = %s ORDER BY ts DESC LIMIT %s
"""


class Device(Shape):
    """A device of the city."""

    device_id: str
    device_no: int
    kind: str
    kind_label: Words
    name: str
    state: str
    """``active``, ``maintenance`` or ``retired``."""
    component_code: str | None
    grid_code: str | None
    grid_name: str
    dept_code: str | None
    lon: float | None
    """WGS-84 degrees, where it is installed."""
    lat: float | None
    gateway: str | None
    feeder: str | None
    interval_s: float | None
    """How often it reports at rest, in seconds."""
    limits: dict[str, Any]
    """This device's own limits; they replace the kind's."""
    online: bool | None
    """What its last state message said; null: it never sent one."""
    last_contact_at: Instant | None
    last_reading_at: Instant | None
    clock_skew_s: float | None
    """Receive time minus device time, in seconds, a running mean that one late message does not
    move; negative: the device's clock is ahead. Null: it never gave a time."""
    version: int


class MetricShape(Shape):
    """One quantity a kind measures."""

    name: str
    unit: str
    """UCUM code."""
    label: Words
    low: float
    high: float
    decimals: int


class EventShape(Shape):
    """A signal a kind raises by itself."""

    name: str
    label: Words
    rule_id: str | None
    severity: int


class RuleShape(Shape):
    """What a finding on this kind means."""

    rule_id: str
    label: Words
    severity: int
    audience: str
    latched: bool
    class_code: str
    verify: str


class CommandShape(Shape):
    """What a kind can be told."""

    name: str
    label: Words
    arguments: list[tuple[str, str]]


class Kind(Shape):
    """The thing model of a kind of device."""

    name: str
    label: Words
    id_prefix: str
    class_code: str
    interval_s: float
    moves: bool
    metrics: list[MetricShape]
    events: list[EventShape]
    commands: list[CommandShape]
    rules: list[RuleShape]


class DeviceEventShape(Shape):
    """A signal that a device raised."""

    ts: Instant
    seq: int | None
    name: str
    label: Words
    active: bool | None
    detail: dict[str, Any]
    quality: int


@dataclass(frozen=True, slots=True)
class DeviceFilter:
    """Which devices are asked for; None: any."""

    kind: str | None = None
    grid: str | None = None
    state: str | None = None
    gateway: str | None = None
    find: str | None = None


async def list_devices(
    look: Look, wanted: DeviceFilter, *, after: str, limit: int
) -> tuple[list[Row], str | None]:
    """Return a page of devices by id, and the token of the next page."""
    params = {**asdict(wanted), "after": after, "limit": limit + 1}
    page, token = cut_page(await look.rows(_LIST, params), limit, lambda row: [row["device_id"]])
    return [_show(row) for row in page], token


async def read_device(look: Look, device_id: str) -> Row | None:
    """Return one device."""
    row = await look.row(_ONE, [device_id])
    return _show(row) if row else None


async def device_events(look: Look, device: Row, limit: int) -> list[Row]:
    """Return the last signals a device raised, newest first."""
    kind = KINDS.get(device["kind"])
    labels = {event.name: event.label for event in kind.events} if kind else {}
    rows = await look.rows(_EVENTS, [device["device_no"], limit])
    return [{**row, "label": _words(labels.get(row["name"]), row["name"])} for row in rows]


def show_kind(kind: DeviceKind) -> Kind:
    """Return the thing model of a kind."""
    return Kind(
        name=kind.name,
        label=Words.of(kind.label),
        id_prefix=kind.id_prefix,
        class_code=kind.class_code,
        interval_s=kind.interval_s,
        moves=kind.moves,
        metrics=[show_metric(kind, metric.name) for metric in kind.metrics],
        events=[
            EventShape(
                name=event.name,
                label=Words.of(event.label),
                rule_id=event.rule_id,
                severity=event.severity,
            )
            for event in kind.events
        ],
        commands=[
            CommandShape(
                name=command.name,
                label=Words.of(command.label),
                arguments=list(command.arguments),
            )
            for command in kind.commands
        ],
        rules=[
            RuleShape(
                rule_id=rule.rule_id,
                label=Words.of(rule.label),
                severity=rule.severity,
                audience=rule.audience,
                latched=rule.latched,
                class_code=rule.class_code,
                verify=rule.verify,
            )
            for rule in kind.rules
        ],
    )


def show_metric(kind: DeviceKind, name: str) -> MetricShape:
    """Return what a metric is."""
    metric = kind.metric(name)
    return MetricShape(
        name=metric.name,
        unit=metric.unit,
        label=Words.of(metric.label),
        low=metric.low,
        high=metric.high,
        decimals=metric.decimals,
    )


def _show(row: Row) -> Row:
    kind = KINDS.get(row["kind"])
    interval = row["interval_s"] or (kind.interval_s if kind else None)
    return {**row, "kind_label": Words.of(kind_label(row["kind"])), "interval_s": interval}


def _words(label: Any, name: str) -> Words:
    return Words.of(label) if label else Words(zh=f"未知事件 {name}", en=f"unknown event {name}")
