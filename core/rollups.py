"""Roll-ups (汇总) of readings: what a bucket is, and the SQL that computes one.

Average, least, greatest, last and count of each metric, a minute, an hour and a day. One wide row a
device and bucket, since nearly all readers want a few metrics of one device over time. The hub's
own job, the continuous aggregates of TimescaleDB and the API's look at raw rows all take their SQL
from here, so they give the same figures.

A value counts where it was measured and, in a row flagged as out of range, where it lies within its
sensor's range. The last value is that of the newest row, by time and then by the device's counter.
Buckets count from a midnight of the city, so that a day is the city's day.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from psycopg import sql

from core.model import Quality

if TYPE_CHECKING:
    from core.tables import Column, ReadingTable

FIGURES: Final = ("avg", "min", "max", "last", "count")


class Level(IntEnum):
    """The widths of buckets; each is computed from the one before."""

    MINUTE = 0
    HOUR = 1
    DAY = 2

    @property
    def width(self) -> timedelta:
        """How long a bucket is."""
        return _WIDTHS[self]

    @property
    def suffix(self) -> str:
        """Its name in tables, views and the API: ``1m``, ``1h``, ``1d``."""
        return _SUFFIXES[self]

    def floor(self, at: datetime, origin: datetime) -> datetime:
        """Return the beginning of the bucket that a time lies in.

        >>> from datetime import UTC
        >>> midnight = datetime(1999, 12, 31, 16, tzinfo=UTC)
        >>> Level.DAY.floor(datetime(2026, 5, 1, 12, tzinfo=UTC), midnight).isoformat()
        '2026-04-30T16:00:00+00:00'
        """
        return at - (at - origin) % self.width

    def ceil(self, at: datetime, origin: datetime) -> datetime:
        """Return the beginning of the first bucket that does not begin before a time."""
        return -((origin - at) // self.width) * self.width + origin


_WIDTHS: Final = {
    Level.MINUTE: timedelta(minutes=1),
    Level.HOUR: timedelta(hours=1),
    Level.DAY: timedelta(days=1),
}
_SUFFIXES: Final = {Level.MINUTE: "1m", Level.HOUR: "1h", Level.DAY: "1d"}


@dataclass(frozen=True, slots=True)
class RollupTable:
    """The table of one kind's roll-ups at one level."""

    reading: "ReadingTable"
    level: Level

    @property
    def name(self) -> str:
        """Its name within the schema ``hub``."""
        return f"rollup_{self.level.suffix}_{self.reading.kind}"

    @property
    def identifier(self) -> sql.Identifier:
        """Its quoted, qualified name."""
        return sql.Identifier("hub", self.name)

    def part_of(self, at: datetime) -> tuple[datetime, datetime]:
        """Return the ends of the partition a bucket lies in: a UTC day, month or year."""
        day = datetime(at.year, at.month, at.day, tzinfo=UTC)
        if self.level is Level.MINUTE:
            return day, day + timedelta(days=1)
        if self.level is Level.HOUR:
            month = day.replace(day=1)
            return month, (month + timedelta(days=32)).replace(day=1)
        year = day.replace(month=1, day=1)
        return year, year.replace(year=year.year + 1)


def city_origin(zone: ZoneInfo) -> datetime:
    """Return the midnight that buckets count from."""
    return datetime(2000, 1, 1, tzinfo=zone)


def figure(metric: str, word: str) -> sql.Identifier:
    """Return the column of one of :data:`FIGURES` of a metric.

    >>> figure("tilt", "avg").as_string()
    '"tilt_avg"'
    """
    return sql.Identifier(f"{metric}_{word}")


def known(column: "Column") -> sql.Composed:
    """Return a metric's value where it counts, else null; of a row with ``quality``."""
    value = sql.Identifier(column.name)
    return sql.SQL(
        "CASE WHEN quality & {bit} = 0 OR {value} BETWEEN {low}::{type} AND {high}::{type}"
        " THEN nullif({value}, 'NaN') END"
    ).format(
        bit=sql.Literal(int(Quality.OUT_OF_RANGE)),
        value=value,
        low=sql.Literal(str(column.low)),
        high=sql.Literal(str(column.high)),
        type=sql.SQL("float8" if column.exact else "real"),
    )


def figures_of_raw(columns: "tuple[Column, ...]", *, inline: bool = False) -> sql.Composed:
    """Return the aggregates over raw rows.

    Args:
        columns: Of which metrics.
        inline: Aggregate :func:`known` itself, as a continuous aggregate must, not a column that
            already is.
    """
    newest = sql.SQL("ORDER BY ts DESC, seq DESC NULLS LAST")
    parts = []
    for column in columns:
        value = known(column) if inline else sql.Identifier(column.name)
        parts.append(
            sql.SQL(
                "avg({v}) AS {avg}, min({v}) AS {min}, max({v}) AS {max},"
                " (array_agg({v} {newest}) FILTER (WHERE ({v}) IS NOT NULL))[1] AS {last},"
                " count({v})::int4 AS {count}"
            ).format(v=value, newest=newest, **{w: figure(column.name, w) for w in FIGURES})
        )
    return sql.SQL(", ").join(parts)


def figures_of_finer(columns: "tuple[Column, ...]") -> sql.Composed:
    """Return the aggregates over the rows of the level below, which have ``at``."""
    parts = [
        sql.SQL(
            "sum({avg} * {count}) / nullif(sum({count}), 0) AS {avg},"
            " min({min}) AS {min}, max({max}) AS {max},"
            " (array_agg({last} ORDER BY at DESC) FILTER (WHERE {last} IS NOT NULL))[1] AS {last},"
            " sum({count})::int4 AS {count}"
        ).format(**{word: figure(column.name, word) for word in FIGURES})
        for column in columns
    ]
    return sql.SQL(", ").join(parts)


def roll_raw(table: "ReadingTable", columns: "tuple[Column, ...] | None" = None) -> sql.Composed:
    """Return the query that rolls up raw rows.

    Parameters: ``width``, ``origin``, ``start``, ``end``, ``devices``. Gives ``at``, ``device_no``
    and the figures. ``OFFSET 0`` keeps the planner from computing :func:`known` five times a value
    (measured: two to four times as fast).

    Args:
        table: Of which kind.
        columns: Of which metrics; None: of all.
    """
    columns = table.columns if columns is None else columns
    return sql.SQL(
        "SELECT date_bin(%(width)s, ts, %(origin)s) AS at, device_no, {figures} FROM ("
        "SELECT device_no, ts, seq, {known} FROM {table}"
        " WHERE device_no = ANY(%(devices)s::int4[]) AND ts >= %(start)s AND ts < %(end)s"
        " OFFSET 0) AS r GROUP BY 1, 2"
    ).format(
        figures=figures_of_raw(columns),
        known=sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(known(column), sql.Identifier(column.name))
            for column in columns
        ),
        table=table.identifier,
    )


def roll_finer(table: RollupTable) -> sql.Composed:
    """Return the query that rolls up the level below; parameters and columns as above."""
    finer = RollupTable(table.reading, Level(table.level - 1))
    return sql.SQL(
        "SELECT date_bin(%(width)s, at, %(origin)s) AS at, device_no, {figures} FROM {finer} AS r"
        " WHERE device_no = ANY(%(devices)s::int4[]) AND r.at >= %(start)s AND r.at < %(end)s"
        " GROUP BY 1, 2"
    ).format(figures=figures_of_finer(table.reading.columns), finer=finer.identifier)


def upsert(table: RollupTable, query: sql.Composed) -> sql.Composed:
    """Return the statement that writes what a query rolled up, over what is there.

    In the order of the key: what is computed together lies together, a device beside itself, and a
    year of hours that came late is some hundred pages instead of as many as hours.
    """
    names = [figure(column.name, word) for column in table.reading.columns for word in FIGURES]
    return sql.SQL(
        "INSERT INTO {table} (at, device_no, {names}) {query} ORDER BY 2, 1"
        " ON CONFLICT (device_no, at) DO UPDATE SET {sets}"
    ).format(
        table=table.identifier,
        names=sql.SQL(", ").join(names),
        query=query,
        sets=sql.SQL(", ").join(sql.SQL("{n} = excluded.{n}").format(n=name) for name in names),
    )
