"""What staff do to take devices out of service for a while (检修窗口), and back."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg import sql

from alerts.audit import acting, check_version
from alerts.journal import Entry, append
from alerts.rows import insert, select
from alerts.staff import Outcome, Staff, act_of
from alerts.standing import end_census
from alerts.suppression import WINDOW_S
from core.db import Connection
from core.errors import ConflictError, NotFoundError
from core.failpoint import passing
from core.model import Text

_COVERED: Final = sql.SQL("""
SELECT count(*) AS devices FROM hub.device d
 WHERE d.state <> 'retired'
   AND hub.covers(jsonb_populate_record(NULL::hub.maintenance_window, %(window)s::jsonb), d)
""")
_ORDER: Final = sql.SQL("SELECT state FROM hub.work_order WHERE order_no = %(order_no)s")
_WINDOW: Final = sql.SQL(
    "SELECT window_id, scope, targets, reason, ends_at, state, version"
    " FROM hub.maintenance_window WHERE window_id = %(window_id)s FOR UPDATE"
)
_END: Final = """
UPDATE hub.maintenance_window
   SET state = %(state)s, ended_at = %(now)s, ended_by = %(actor)s, version = version + 1
 WHERE window_id = %(window_id)s
"""


class WindowActions(Staff):
    """The actions on maintenance windows."""

    async def open_window(
        self,
        *,
        actor: str,
        scope: str,
        targets: Sequence[str],
        reason: str,
        starts_at: datetime | None = None,
        ends_at: datetime | None = None,
        order_no: str | None = None,
    ) -> Outcome:
        """Plan or begin a maintenance window.

        Args:
            actor: Who.
            scope: ``device``, ``group``, ``road``, ``grid`` or ``feeder``.
            targets: Device ids, names of roads, codes of grid cells, or ids of feeders.
            reason: Why.
            starts_at: From when on; None: now.
            ends_at: Until when; None: with the work order, at the latest after 30 days.
            order_no: The work order that it is for.
        """
        now = self._clock.now()
        starts = max(starts_at or now, now)
        ends = ends_at or starts + timedelta(seconds=WINDOW_S)
        detail = {"scope": scope, "targets": list(targets), "reason": reason, "order_no": order_no}
        times = {"starts_at": starts.isoformat(), "ends_at": ends.isoformat()}
        act = act_of(actor, "open_window", "window", "new", **detail, **times)
        async with acting(self._pool, act, now) as conn:
            await _check(conn, detail, starts, ends, has_end=ends_at is not None)
            values = detail | {
                "starts_at": starts,
                "ends_at": ends,
                "actor": actor,
                "created_at": now,
            }
            window_id = await insert(conn, "maintenance_window", values, "window_id")
            passing("actions.before_events")
            entry = Entry(
                log="alarm",
                actor=actor,
                object="window",
                object_id=str(window_id),
                action="window_planned",
                after="planned",
                reason=reason,
                detail=detail | times | {"window_id": window_id},
            )
            (event_id,) = await append(conn, [entry], now)
        return Outcome(1, event_id, window_id)

    async def end_window(
        self, window_id: int, *, actor: str, version: int | None = None
    ) -> Outcome:
        """End a window before its time: what still goes on is told of within a second."""
        act = act_of(actor, "end_window", "window", window_id)
        async with acting(self._pool, act, self._clock.now()) as conn:
            now = self._clock.now()
            rows = await select(conn, _WINDOW, {"window_id": window_id})
            if not rows:
                raise NotFoundError(
                    Text(f"没有检修窗口 {window_id}", f"there is no maintenance window {window_id}")
                )
            window = rows[0]
            await check_version(conn, act, version, window["version"], self._office)
            if window["state"] not in {"planned", "active"}:
                raise ConflictError(Text("检修窗口已结束", "the window is over"))
            state = "ended" if window["state"] == "active" else "cancelled"
            parameters = {"window_id": window_id, "state": state, "now": now, "actor": actor}
            await conn.execute(_END, parameters)
            passing("actions.before_events")
            ended = window | {"before": window["state"], "state": state}
            (event_id,) = await append(conn, [await end_census(conn, ended, actor)], now)
        return Outcome(window["version"] + 1, event_id, window_id)


async def _check(
    conn: Connection, window: dict[str, Any], starts: datetime, ends: datetime, *, has_end: bool
) -> None:
    if not window["reason"].strip():
        raise ConflictError(Text("请填写检修原因", "a maintenance window needs a reason"))
    if not has_end and window["order_no"] is None:
        raise ConflictError(
            Text("请填写结束时间或任务单号", "a maintenance window needs an end or a work order")
        )
    if not starts < ends <= starts + timedelta(seconds=WINDOW_S):
        raise ConflictError(
            Text(
                "检修窗口最长30天，且须晚于开始时间",
                "a window ends after it starts, within 30 days",
            )
        )
    if window["order_no"] is not None:
        rows = await select(conn, _ORDER, {"order_no": window["order_no"]})
        if not rows:
            raise NotFoundError(
                Text(
                    f"没有任务单 {window['order_no']}",
                    f"there is no work order {window['order_no']}",
                )
            )
    (count,) = await select(conn, _COVERED, {"window": _json(window)})
    if count["devices"] == 0:
        raise ConflictError(Text("该范围内没有设备", "there is no device in that scope"))


def _json(window: dict[str, Any]) -> str:
    return json.dumps({"scope": window["scope"], "targets": window["targets"]})
