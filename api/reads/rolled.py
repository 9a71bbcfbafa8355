"""Readings (读数) of one device by bucket: from the roll-ups where they fit, else from the rows.

Both give the same figures, since both take their SQL from :mod:`core.rollups`. What a mark of the
roll-up job still waits for, such as the bucket that is not over and one that a late row touched, is
computed from the rows; so is a bucket that the question cuts, and what is older than the roll-ups
are kept. Rows, marks and roll-ups are seen in one look, so no row is missed or counted twice.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from psycopg import sql

from api.reads.readings import Bucket, Span
from api.store import Look, Row
from core.rollups import FIGURES, Level, RollupTable, city_origin, figure, roll_raw

LEVELS: Final[dict[Bucket, Level]] = {level.suffix: level for level in Level}  # type: ignore[misc] # the suffixes are the buckets
_MOST_PARTS: Final = 8
"""More stretches than this are read as one: each costs a query."""

_REACH: Final = """
SELECT origin, metrics, raw_from,
       CASE %(level)s WHEN 0 THEN minute_from WHEN 1 THEN hour_from ELSE day_from END AS kept_from
  FROM hub.rollup_kind WHERE kind = %(kind)s
"""
_PENDING: Final = """
SELECT lower(r) AS start, upper(r) AS end FROM (
    SELECT unnest(range_agg(tstzrange(first, last + interval '1 minute'
                  * CASE level WHEN 0 THEN 1 WHEN 1 THEN 60 ELSE 1440 END))) AS r
      FROM hub.rollup_dirty
     WHERE kind = %(kind)s AND level <= %(level)s AND first < %(end)s
       AND last >= %(start)s::timestamptz - interval '1 day'
       AND (devices IS NULL OR %(device_no)s = ANY(devices))) AS pending
"""
_ROLLED: Final = sql.SQL("""
SELECT at, {columns} FROM {table}
 WHERE device_no = %(device_no)s AND at >= %(start)s AND at < %(end)s
""")

Part = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Reach:
    """What the roll-ups of a kind cover.

    Attributes:
        level: The buckets asked for.
        origin: A midnight that they count from.
        raw_from: Older readings were dropped.
        kept_from: Older roll-ups were dropped.
    """

    level: Level
    origin: datetime
    raw_from: datetime
    kept_from: datetime


async def rolled_readings(look: Look, span: Span, bucket: Bucket, zone: ZoneInfo) -> list[Row]:
    """Return the buckets that have readings; ``span`` must have both ends."""
    if span.start is None or span.end is None:
        raise ValueError("a span of buckets has two ends")
    level, origin = LEVELS[bucket], city_origin(zone)
    asked = {
        "kind": span.kind.name,
        "level": int(level),
        "device_no": span.device_no,
        "start": span.start,
        "end": span.end,
    }
    reach = _fits(await look.row(_REACH, asked), span.metrics, level, origin)
    rows: list[Row] = []
    parts = [(span.start, span.end)]
    if reach is not None:
        pending = [(row["start"], row["end"]) for row in await look.rows(_PENDING, asked)]
        parts = raw_parts((span.start, span.end), pending, reach)
        since = level.floor(span.start, origin)
        query = _ROLLED.format(
            columns=sql.SQL(", ").join(
                figure(name, word) for name in span.metrics for word in FIGURES
            ),
            table=RollupTable(span.kind.table, level).identifier,
        )
        rows = await look.rows(query, {**asked, "start": since})
        rows = [row for row in rows if not _within(row["at"], parts, reach)]
    for part in parts:
        rows += await _from_raw(look, span, level, origin, part)
    rows.sort(key=lambda row: row["at"], reverse=span.newest_first)
    return [_show(row, span.metrics) for row in rows]


def _fits(row: Row | None, metrics: Sequence[str], level: Level, origin: datetime) -> Reach | None:
    """Return how far the roll-ups reach; None: they count from another hour, or lack a metric."""
    if row is None or not set(metrics) <= set(row["metrics"]):
        return None
    if (row["origin"] - origin) % level.width:
        return None
    return Reach(level, origin, row["raw_from"], row["kept_from"])


def raw_parts(asked: Part, pending: Iterable[Part], reach: Reach) -> list[Part]:
    """Return the stretches that must be computed from the rows, in order."""
    level, origin = reach.level, reach.origin
    start, end = asked
    parts = [(start, level.ceil(start, origin)), (level.floor(end, origin), end)]
    parts += [(level.floor(a, origin), level.ceil(b, origin)) for a, b in pending]
    parts.append((start, min(level.ceil(reach.kept_from, origin), end)))
    least = max(start, level.ceil(reach.raw_from, origin))  # a bucket before it is final
    joined: list[Part] = []
    for first, last in sorted((max(a, least), min(b, end)) for a, b in parts):
        if first >= last:
            continue
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    if len(joined) > _MOST_PARTS:
        return [(joined[0][0], joined[-1][1])]
    return joined


def _within(at: datetime, parts: Sequence[Part], reach: Reach) -> bool:
    """Tell whether a bucket is computed from the rows."""
    return any(reach.level.floor(start, reach.origin) <= at < end for start, end in parts)


async def _from_raw(
    look: Look, span: Span, level: Level, origin: datetime, part: Part
) -> list[Row]:
    table = span.kind.table
    columns = tuple(column for column in table.columns if column.name in span.metrics)
    return await look.rows(
        roll_raw(table, columns),
        {
            "width": level.width,
            "origin": origin.astimezone(UTC),
            "start": part[0],
            "end": part[1],
            "devices": [span.device_no],
        },
    )


def _show(row: Row, metrics: Sequence[str]) -> dict[str, Any]:
    return {
        "at": row["at"],
        "metrics": {name: {word: row[f"{name}_{word}"] for word in FIGURES} for name in metrics},
    }
