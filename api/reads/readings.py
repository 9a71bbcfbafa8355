"""Readings (读数) of one device, row by row; :mod:`api.reads.rolled` has them by bucket.

Where a metric was not measured it is null; NaN in a row means the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from psycopg import sql

from api.paging import cut_page
from api.reads.devices import MetricShape
from api.shapes import Instant, Shape
from api.store import Look, Row
from devices import DeviceKind

Bucket = Literal["1m", "1h", "1d"]
WIDTHS: Final[dict[Bucket, timedelta]] = {
    "1m": timedelta(minutes=1),
    "1h": timedelta(hours=1),
    "1d": timedelta(days=1),
}
MOST_BUCKETS: Final = 10_000

_RAW: Final = sql.SQL("""
SELECT ts, seq, quality, extra, {columns} FROM {table}
 WHERE device_no = %(device_no)s
   AND (%(start)s::timestamptz IS NULL OR ts >= %(start)s)
   AND (%(end)s::timestamptz IS NULL OR ts < %(end)s)
   AND ({any_measured})
   AND (%(at)s::timestamptz IS NULL OR ts {order_or_same} %(at)s
        AND (ts, coalesce(seq, -1)) {order} (%(at)s, %(seq)s))
 ORDER BY ts {direction}, coalesce(seq, -1) {direction}
 LIMIT %(limit)s
""")


class Reading(Shape):
    """One message of a device."""

    ts: Instant
    """Device time, or the time of receipt where the device's was not believed."""
    seq: int | None
    quality: int
    """Quality bits; 0 is good."""
    values: dict[str, float | None]
    """By metric; null: not measured."""
    extra: dict[str, Any] | None
    """What the thing model does not know, and times that differ."""


class RawReadings(Shape):
    """A page of a device's messages."""

    device_id: str
    kind: str
    metrics: list[MetricShape]
    items: list[Reading]
    next: str | None
    """Give it as ``after`` for the next page; null: this was the last."""


class Figures(Shape):
    """A metric within one bucket."""

    avg: float | None
    min: float | None
    max: float | None
    last: float | None
    count: int
    """Rows that measured it."""


class RolledReading(Shape):
    """One bucket."""

    at: Instant
    """Where the bucket begins."""
    metrics: dict[str, Figures]


class RolledReadings(Shape):
    """A device's messages by bucket; a bucket without any message is left out."""

    device_id: str
    kind: str
    bucket: str
    time_zone: str
    """A bucket of a day begins at midnight here."""
    metrics: list[MetricShape]
    items: list[RolledReading]


@dataclass(frozen=True, slots=True)
class Span:
    """Which readings of a device are asked for.

    Attributes:
        device_no: Whose.
        kind: Its kind.
        metrics: Which of the kind's metrics.
        start: From here on, None: from the first.
        end: Before this, None: to the last.
        newest_first: Which end comes first.
    """

    device_no: int
    kind: DeviceKind
    metrics: Sequence[str]
    start: datetime | None
    end: datetime | None
    newest_first: bool = True


async def raw_readings(
    look: Look, span: Span, *, after: tuple[datetime, int] | None, limit: int
) -> tuple[list[Row], str | None]:
    """Return a page of raw rows, and the token of the next page."""
    columns = [sql.Identifier(name) for name in span.metrics]
    everything = len(span.metrics) == len(span.kind.metrics)
    query = _RAW.format(
        columns=sql.SQL(", ").join(columns),
        table=span.kind.table.identifier,
        any_measured=sql.SQL("true")
        if everything
        else sql.SQL(" OR ").join(sql.SQL("{} IS NOT NULL").format(column) for column in columns),
        order=sql.SQL("<" if span.newest_first else ">"),
        order_or_same=sql.SQL("<=" if span.newest_first else ">="),
        direction=_direction(span),
    )
    at, seq = after or (None, None)
    params = {
        "device_no": span.device_no,
        "start": span.start,
        "end": span.end,
        "at": at,
        "seq": seq,
        "limit": limit + 1,
    }
    rows, token = cut_page(await look.rows(query, params), limit, _key)
    return [
        {
            "ts": row["ts"],
            "seq": row["seq"],
            "quality": row["quality"],
            "values": {name: row[name] for name in span.metrics},
            "extra": row["extra"],
        }
        for row in rows
    ], token


def _direction(span: Span) -> sql.SQL:
    return sql.SQL("DESC" if span.newest_first else "ASC")


def _key(row: Row) -> list[Any]:
    return [row["ts"], -1 if row["seq"] is None else row["seq"]]
