"""Receivers, what waits for them, and what they told us."""

from typing import Any, Final, Literal

from api.paging import cut_page
from api.shapes import Instant, Shape, Words
from api.store import Look, Row

_RECEIVERS: Final = """
SELECT r.name, r.kind, r.url, r.takes, r.least, r.per_minute, r.disabled, r.changed_at,
       r.changed_by,
       count(o.*) FILTER (WHERE o.state IN ('queued', 'sending')) AS waiting,
       count(o.*) FILTER (WHERE o.state = 'dead') AS dead,
       max(o.delivered_at) AS delivered_at
  FROM hub.receiver AS r LEFT JOIN hub.outbox AS o ON o.connector = r.name
 GROUP BY r.name ORDER BY r.name
"""
_CALLBACKS: Final = """
SELECT callback_id, receiver, external_key, seq, case_no, action, body, state, reason_zh, reason_en,
       received_at, applied_at
  FROM hub.callback
 WHERE (%(state)s::text IS NULL OR state = %(state)s)
   AND (%(before)s::bigint IS NULL OR callback_id < %(before)s)
 ORDER BY callback_id DESC LIMIT %(limit)s
"""


class Receiver(Shape):
    """Who is told of cases. Its secret is nowhere in it."""

    name: str
    kind: Literal["webhook", "exchange", "cap", "alertmanager", "open311", "file", "notify", "null"]
    url: str | None
    takes: list[str]
    """CloudEvents types it is told."""
    least: int | None
    """The least severity it is told of, 1 to 4; null: all."""
    per_minute: float | None
    disabled: bool
    changed_at: Instant
    changed_by: str
    waiting: int
    """Messages that are on their way."""
    dead: int
    """Dead letters."""
    delivered_at: Instant | None
    """When it last took one."""


class Callback(Shape):
    """What a receiver told us."""

    callback_id: int
    receiver: str
    external_key: str
    seq: int
    case_no: str
    action: Literal["accept", "feedback", "return"]
    body: dict[str, Any]
    state: Literal["parked", "applied"]
    reason: Words | None
    """Why it is parked."""
    received_at: Instant
    applied_at: Instant | None


async def list_receivers(look: Look) -> list[Row]:
    """Return all receivers, by name."""
    return await look.rows(_RECEIVERS)


async def list_callbacks(
    look: Look, *, state: str | None, before: int | None, limit: int
) -> tuple[list[Row], str | None]:
    """Return a page of callbacks, newest first, and the token of the next page."""
    params = {"state": state, "before": before, "limit": limit + 1}
    rows, token = cut_page(
        await look.rows(_CALLBACKS, params), limit, lambda row: [row["callback_id"]]
    )
    return [{**row, "reason": _reason(row)} for row in rows], token


def _reason(row: Row) -> Words | None:
    return Words(zh=row["reason_zh"], en=row["reason_en"]) if row["reason_zh"] else None
