"""Entries of the event log (告警流水, 案件流水): what happened to one thing, in order."""

from typing import Any, Final

from api.shapes import Instant, Shape
from api.store import TENANT, Look, Row

COLUMNS: Final = (
    "event_id, log, at, actor, object, object_id, action, from_state, to_state, reason, detail"
)

_OF_OBJECTS: Final = """
SELECT event_id, log, at, actor, object, object_id, action, from_state, to_state, reason, detail
  FROM hub.event_log
 WHERE tenant_id = %(tenant)s
   AND (object, object_id) IN (SELECT * FROM unnest(%(objects)s::text[], %(ids)s::text[]))
 ORDER BY event_id
 LIMIT 1000
"""


class Event(Shape):
    """One entry of the event log."""

    event_id: int
    """Its number, the same as the feed's id."""
    log: str
    """``alarm`` or ``case``."""
    at: Instant
    actor: str
    """Who did it."""
    object: str
    """What it happened to: ``alarm``, ``incident``, ``case``, ``work_order``, ``device`` …"""
    object_id: str
    action: str
    from_state: str | None
    to_state: str | None
    reason: str | None
    detail: dict[str, Any]


async def events_of(look: Look, *things: tuple[str, str]) -> list[Row]:
    """Return what happened to some things, given as ``(object, object_id)``, oldest first."""
    return await look.rows(
        _OF_OBJECTS,
        {
            "tenant": TENANT,
            "objects": [name for name, _ in things],
            "ids": [key for _, key in things],
        },
    )
