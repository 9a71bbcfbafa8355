"""Maintenance windows (检修窗口) as the screens show them."""

from typing import Final

from api.paging import cut_page
from api.shapes import Instant, Shape
from api.store import TENANT, Look, Row

_LIST: Final = """
SELECT w.*, n.open AS alarms_open
  FROM hub.maintenance_window w
 CROSS JOIN LATERAL (
       SELECT count(*)::int AS open FROM hub.alarm a
        WHERE a.suppressed_by = 'window:' || w.window_id AND a.suppression <> 'none'
          AND (a.condition_state <> 'cleared' OR (a.latched AND a.reset_at IS NULL))) AS n
 WHERE w.tenant_id = %(tenant)s
   AND (%(state)s = 'all' OR w.state = %(state)s
        OR %(state)s = 'open' AND w.state IN ('planned', 'active'))
   AND (%(before)s::int8 IS NULL OR w.window_id < %(before)s)
 ORDER BY w.window_id DESC
 LIMIT %(limit)s
"""


class Window(Shape):
    """A time in which devices are out of service: judged, logged, counted, and nobody is told."""

    window_id: int
    version: int
    """Send it as ``If-Match`` with an action."""
    scope: str
    """``device``, ``group``, ``road``, ``grid`` or ``feeder``."""
    targets: list[str]
    reason: str
    order_no: str | None
    starts_at: Instant
    ends_at: Instant
    state: str
    """``planned``, ``active``, ``ended`` or ``cancelled``."""
    actor: str
    created_at: Instant
    ended_at: Instant | None
    ended_by: str | None
    alarms_open: int
    """Alarms that it keeps quiet now."""


async def list_windows(
    look: Look, state: str, *, before: int | None, limit: int
) -> tuple[list[Row], str | None]:
    """Return a page of windows, newest first, and the token of the next page."""
    params = {"tenant": TENANT, "state": state, "before": before, "limit": limit + 1}
    page, token = cut_page(await look.rows(_LIST, params), limit, lambda row: [row["window_id"]])
    return list(page), token
