"""Everything a screen needs to begin, true at one entry of the event log.

A client takes this, then follows the feed from ``cursor``: nothing is missed and nothing counted
twice, since both come from one REPEATABLE READ transaction.
"""

from datetime import datetime
from typing import Any, Final

from api.lite.words import DONE, ORDER_STATES
from api.reads.alarms import Alarm, AlarmFilter, count_alarms, worst_alarms
from api.reads.cases import OPEN_STATES, Case, CaseFilter, count_cases, list_cases
from api.reads.city import Department, list_cells, list_departments
from api.reads.devices import Kind, show_kind
from api.reads.incidents import Incident, list_incidents
from api.shapes import CASE_STATES, Instant, Shape, Words, severity_label
from api.store import Look, Row
from core.model import Severity
from core.settings import City
from devices import KINDS

MOST: Final = 2_000

_CURSOR: Final = "SELECT coalesce(max(event_id), 0) AS cursor FROM hub.event_head"
_DEVICES: Final = """
SELECT d.device_id, d.kind, d.name, d.lon, d.lat, d.grid_code, d.state, t.online, s.last_contact_at
  FROM hub.device d LEFT JOIN hub.device_seen s USING (device_no)
  LEFT JOIN hub.device_state t USING (device_no)
 WHERE d.tenant_id = 1 AND d.state <> 'retired' ORDER BY d.device_id LIMIT 50000
"""


class Level(Shape):
    """One level of severity."""

    severity: int
    label: Words


class Meta(Shape):
    """What the codes mean here."""

    city: Words
    time_zone: str
    levels: list[Level]
    kinds: list[Kind]
    case_states: dict[str, Words]
    actions: dict[str, Words]
    """What happened to a thing, by its name in the event log."""
    order_states: dict[str, Words]
    """States of a work order."""
    departments: list[Department]
    cells: list[dict[str, Any]]
    """Grid cells: code, name, department and centre; outlines are under ``/api/v1/grid-cells``."""


class DevicePoint(Shape):
    """A device on the map."""

    device_id: str
    kind: str
    name: str
    lon: float | None
    lat: float | None
    grid_code: str | None
    state: str
    online: bool | None
    last_contact_at: Instant | None


class LevelCount(Shape):
    """Open alarms of one level."""

    severity: int
    open: int
    unacked: int


class Counters(Shape):
    """How much there is."""

    alarms: list[LevelCount]
    cases: dict[str, int]
    devices: int


class Snapshot(Shape):
    """The open alarms, incidents and cases, the devices, and what the codes mean."""

    cursor: int
    """The entry of the event log that all this is true at; follow the feed from here."""
    taken_at: Instant
    meta: Meta
    alarms: list[Alarm]
    incidents: list[Incident]
    cases: list[Case]
    devices: list[DevicePoint]
    counters: Counters


async def take_snapshot(look: Look, city: City, now: datetime) -> Row:
    """Return the snapshot; ``look`` makes it consistent."""
    head = await look.row(_CURSOR)
    devices = await look.rows(_DEVICES)
    incidents, _ = await list_incidents(look, state="open", severity=None, before=None, limit=MOST)
    cases, _ = await list_cases(look, CaseFilter(states=list(OPEN_STATES)), after=None, limit=MOST)
    counts = await count_alarms(look)
    return {
        "cursor": head["cursor"] if head else 0,
        "taken_at": now,
        "meta": await _meta(look, city),
        "alarms": await worst_alarms(look, AlarmFilter(), limit=MOST),
        "incidents": incidents,
        "cases": cases,
        "devices": devices,
        "counters": {
            "alarms": [
                {"severity": severity, "open": opened, "unacked": unacked}
                for severity, (opened, unacked) in counts.items()
            ],
            "cases": await count_cases(look),
            "devices": len(devices),
        },
    }


async def _meta(look: Look, city: City) -> Row:
    return {
        "city": Words(zh=city.name_zh, en=city.name_en),
        "time_zone": city.time_zone,
        "levels": [
            {"severity": int(severity), "label": Words.of(severity_label(severity))}
            for severity in sorted(Severity, reverse=True)
        ],
        "kinds": [show_kind(kind) for kind in KINDS.values()],
        "case_states": {state: Words.of(text) for state, text in CASE_STATES.items()},
        "actions": {name: Words.of(text) for name, text in DONE.items()},
        "order_states": {name: Words.of(text) for name, text in ORDER_STATES.items()},
        "departments": await list_departments(look),
        "cells": [cell["properties"] for cell in await list_cells(look)],
    }
