"""What a case's sensors measured around the work: what a verdict rests on, and the curve 曲线."""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from psycopg import sql

from alerts.message import Evidence
from alerts.rows import select
from alerts.sensor_check import Fresh
from core.db import Connection
from core.model import Quality
from devices import KINDS

_BEFORE: Final = timedelta(hours=2)
_MOST: Final = 240
_BAD: Final = int(
    Quality.NO_DEVICE_TIME | Quality.CLOCK_SUSPECT | Quality.OUT_OF_RANGE | Quality.SENSOR_FAULT
)
_METRIC: Final = sql.SQL("""
SELECT metric FROM hub.finding
 WHERE device_no = %(device_no)s AND rule_id = %(rule_id)s AND metric <> ''
 ORDER BY finding_id DESC LIMIT 1
""")
_FRESH: Final = """
SELECT min(ts) FILTER (WHERE {good}) AS first, max(ts) FILTER (WHERE {good}) AS last,
       max(ts) AS any_at
  FROM {table} WHERE device_no = %(device_no)s AND ts > %(since)s
"""
_CURVE: Final = """
SELECT ts, {metric} AS value, quality FROM {table}
 WHERE device_no = %(device_no)s AND ts > %(start)s AND ts <= %(end)s AND {metric} IS NOT NULL
 ORDER BY ts DESC LIMIT %(most)s
"""


async def read_fresh(conn: Connection, item: Evidence, since: datetime) -> Fresh:
    """Return what a sensor measured since the work was reported done.

    Args:
        conn: The database.
        item: The alarm, its device, its rule.
        since: When the work was reported done.
    """
    kind = KINDS.get(item.facts.kind)
    if kind is None:
        return Fresh()
    good = sql.SQL("quality & {} = 0").format(sql.Literal(_BAD))
    if item.rule.seen_when:
        good += sql.SQL(" AND {} > 0").format(sql.Identifier(item.rule.seen_when))
    query = sql.SQL(_FRESH).format(good=good, table=kind.table.identifier)
    (row,) = await select(conn, query, {"device_no": item.facts.device_no, "since": since})
    return Fresh(row["first"], row["last"], row["any_at"])


async def read_curve(
    conn: Connection, item: Evidence, since: datetime, now: datetime
) -> dict[str, Any] | None:
    """Return what a sensor measured around the work; None: nothing that makes a curve.

    Args:
        conn: The database.
        item: The alarm, its device, its rule.
        since: When the work was reported done; the curve begins two hours before.
        now: Where it ends.
    """
    kind = KINDS.get(item.facts.kind)
    named = {"device_no": item.facts.device_no, "rule_id": item.rule.rule_id}
    found = await select(conn, _METRIC, named)
    if kind is None or not found or found[0]["metric"] not in {m.name for m in kind.metrics}:
        return None
    metric = kind.metric(found[0]["metric"])
    query = sql.SQL(_CURVE).format(metric=sql.Identifier(metric.name), table=kind.table.identifier)
    window = {"start": since - _BEFORE, "end": now, "most": _MOST}
    rows = await select(conn, query, named | window)
    return {
        "device_id": item.facts.device_id,
        "metric": metric.name,
        "label": {"zh": metric.label.zh, "en": metric.label.en},
        "unit": metric.unit,
        "limit": item.alarm.threshold,
        "feedback_at": since.isoformat(),
        "points": [[r["ts"].isoformat(), r["value"], r["quality"]] for r in reversed(rows)],
    }


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of evidence with the SHA-256 of its canonical JSON, keys sorted.

    >>> sealed({"passed": True})["sha256"][:8]
    '11c11db3'
    """
    body = msgspec.json.encode(dict(record), order="sorted")
    return dict(record) | {"sha256": hashlib.sha256(body).hexdigest()}
