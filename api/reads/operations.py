"""How the hub itself does: ledger, quarantine (隔离区), backlog and lag."""

import base64
from datetime import datetime
from typing import Any, Final

from api.paging import cut_page
from api.shapes import Instant, Shape, Words
from api.store import TENANT, Look, Row
from core.presence import SELECT_ROLES, Presence
from core.presence import read_roles as presences

_LEDGER: Final = """
SELECT source, minute, received, stored, duplicate, quarantined FROM hub.ledger
 WHERE (%(source)s::text IS NULL OR source = %(source)s)
   AND (%(start)s::timestamptz IS NULL OR minute >= %(start)s)
   AND (%(end)s::timestamptz IS NULL OR minute < %(end)s)
   AND (%(at)s::timestamptz IS NULL OR (minute, source) < (%(at)s, %(last)s))
 ORDER BY minute DESC, source DESC
 LIMIT %(limit)s
"""
_TOTALS: Final = """
SELECT coalesce(sum(received), 0)::int8 AS received, coalesce(sum(stored), 0)::int8 AS stored,
       coalesce(sum(duplicate), 0)::int8 AS duplicate,
       coalesce(sum(quarantined), 0)::int8 AS quarantined,
       coalesce(sum(received - stored - duplicate - quarantined), 0)::int8 AS difference
  FROM hub.ledger WHERE minute >= %(since)s
"""
_QUARANTINE: Final = """
SELECT q.*, d.device_id FROM hub.quarantine q LEFT JOIN hub.device d USING (device_no)
 WHERE (%(state)s::text IS NULL OR q.state = %(state)s)
   AND (%(code)s::text IS NULL OR q.code = %(code)s)
   AND (%(device)s::text IS NULL OR d.device_id = %(device)s)
   AND (%(before)s::int8 IS NULL OR q.quarantine_id < %(before)s)
 ORDER BY q.quarantine_id DESC
 LIMIT %(limit)s
"""
_QUARANTINED: Final = """
SELECT q.*, d.device_id FROM hub.quarantine q LEFT JOIN hub.device d USING (device_no)
 WHERE q.quarantine_id = %s
"""
_LAG: Final = """
SELECT (SELECT max(minute) FROM hub.ledger) AS last_minute,
       (SELECT coalesce(max(finding_id), 0) FROM hub.finding) AS newest_finding,
       (SELECT min(received_at) FROM hub.finding
         WHERE finding_id > (SELECT coalesce(max(position), 0) FROM hub.cursor
                              WHERE name = 'alerts')) AS oldest_unhandled,
       (SELECT count(*) FROM hub.outbox WHERE state IN ('queued', 'sending')) AS outbox_waiting,
       (SELECT min(created_at) FROM hub.outbox WHERE state IN ('queued', 'sending'))
           AS outbox_oldest,
       (SELECT count(*) FROM hub.outbox WHERE state = 'dead') AS outbox_dead,
       (SELECT count(*) FROM hub.quarantine WHERE state = 'open') AS quarantined,
       (SELECT coalesce(max(event_id), 0) FROM hub.event_head) AS newest_event,
       (SELECT max(taken_at) FROM hub.detector_state WHERE source = 'silence') AS last_sweep,
       (SELECT count(*) FROM hub.rollup_dirty) AS rollup_marks
"""
_SOURCES: Final = (
    "SELECT source, position, epoch, updated_at FROM hub.source_offset ORDER BY source"
)
_KINDS: Final = """
SELECT d.kind, count(*) AS known, min(d.interval_s) AS least_interval_s,
       bool_or(d.interval_s IS NULL) AS any_default,
       count(*) FILTER (WHERE s.last_contact_at > %(now)s - make_interval(
           secs => 3 * coalesce(d.interval_s, (%(intervals)s::jsonb ->> d.kind)::float8, 3600)))
           AS heard,
       bool_or(s.last_contact_at IS NOT NULL) AS ever_heard
  FROM hub.device d LEFT JOIN hub.device_seen s USING (device_no)
 WHERE d.tenant_id = %(tenant)s AND d.state = 'active'
 GROUP BY d.kind ORDER BY d.kind
"""


class LedgerMinute(Shape):
    """A minute of a source; received = stored + duplicate + quarantined, always."""

    source: str
    minute: Instant
    received: int
    stored: int
    duplicate: int
    quarantined: int


class Quarantined(Shape):
    """A payload that could not be read."""

    quarantine_id: int
    received_at: Instant
    last_at: Instant
    repeat_count: int
    source: str
    position: int | None
    """Its place in the broker's log, where the source has one."""
    topic: str
    device_id: str | None
    stage: str
    code: str
    """The reason, stable and short."""
    detail: Words
    codec: str
    record_index: int | None
    """Which record of the message; null: the whole message."""
    payload_length: int
    payload_sha256: str
    content_type: str | None
    state: str
    counts_only: bool
    """It counts messages beyond the hourly share; only the first one's bytes are there."""
    settled_at: Instant | None
    settled_by: str | None
    settled_reason: str | None


class QuarantinedPayload(Quarantined):
    """A payload that could not be read, with its bytes."""

    payload_base64: str
    """Its first 64 KiB."""


async def list_ledger(
    look: Look,
    *,
    source: str | None,
    start: datetime | None,
    end: datetime | None,
    after: tuple[datetime, str] | None,
    limit: int,
) -> tuple[list[Row], str | None]:
    """Return a page of the ledger, newest minute first, and the token of the next page."""
    at, last = after or (None, None)
    params = {
        "source": source,
        "start": start,
        "end": end,
        "at": at,
        "last": last,
        "limit": limit + 1,
    }
    rows, token = cut_page(
        await look.rows(_LEDGER, params), limit, lambda row: [row["minute"], row["source"]]
    )
    return list(rows), token


async def ledger_totals(look: Look, since: datetime) -> Row:
    """Return the sums of the ledger since some minute, and what does not add up (0, always)."""
    row = await look.row(_TOTALS, {"since": since})
    return row or {}


async def list_quarantine(
    look: Look,
    *,
    state: str | None,
    code: str | None,
    device: str | None,
    before: int | None,
    limit: int,
) -> tuple[list[Row], str | None]:
    """Return a page of the quarantine, newest first, and the token of the next page."""
    params = {
        "state": state,
        "code": code,
        "device": device,
        "before": before,
        "limit": limit + 1,
    }
    rows, token = cut_page(
        await look.rows(_QUARANTINE, params), limit, lambda row: [row["quarantine_id"]]
    )
    return [_show(row) for row in rows], token


async def read_quarantined(look: Look, quarantine_id: int) -> Row | None:
    """Return one quarantined payload."""
    row = await look.row(_QUARANTINED, [quarantine_id])
    return _show(row) if row else None


async def read_lag(look: Look) -> Row:
    """Return how far the parts have come, and what waits."""
    row = await look.row(_LAG)
    return row or {}


async def read_sources(look: Look) -> list[Row]:
    """Return where each source stands."""
    return await look.rows(_SOURCES)


async def read_roles(look: Look) -> list[Presence]:
    """Return what each role said of itself last."""
    return presences(await look.rows(SELECT_ROLES))


async def count_devices(look: Look, *, now: datetime, intervals: str) -> list[Row]:
    """Return, by kind, how many active devices are known and heard within three intervals.

    Args:
        look: The look.
        now: The hub's time.
        intervals: The kinds' own intervals in seconds, as a JSON object.
    """
    return await look.rows(_KINDS, {"now": now, "intervals": intervals, "tenant": TENANT})


def _show(row: Row) -> dict[str, Any]:
    return {
        **row,
        "detail": Words(zh=row["detail_zh"], en=row["detail_en"]),
        "payload_sha256": bytes(row["payload_sha256"]).hex(),
        "payload_base64": base64.b64encode(row["payload"]).decode(),
    }
