"""The wide tables ``hub.reading_<kind>``, made from the thing model instead of from files.

Column order is ``ts, seq, device_no, metrics…, quality, extra``: with 8-byte columns first a
message of ten metrics takes 164 bytes with its index, with ``device_no`` first 172 (measured).
Columns are only ever added, so an older worker beside a newer one goes on.

On TimescaleDB a table is a hypertable; on plain PostgreSQL it has a partition a UTC day and **no
default partition**: rows of an unknown day would land there, and making that day afterwards fails.
The writer calls :func:`make_days` before a batch needs them.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from zoneinfo import ZoneInfo

import psycopg
from psycopg import sql

from core.rollup_tables import make_rollups
from core.rollups import city_origin

_LOCK_TABLES: Final = 0x4349_5402  # one at a time makes tables and partitions
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,30}")


class Edition(StrEnum):
    """What the database is able to do."""

    PLAIN = "plain"
    TIMESCALE_APACHE = "timescaledb-apache"
    TIMESCALE_COMMUNITY = "timescaledb-community"

    @property
    def hypertables(self) -> bool:
        """Whether readings lie in hypertables, so that nobody has to make partitions."""
        return self is not Edition.PLAIN

    @property
    def aggregates(self) -> bool:
        """Whether roll-ups are continuous aggregates, and old readings lie in the columnstore."""
        return self is Edition.TIMESCALE_COMMUNITY


@dataclass(frozen=True, slots=True)
class Column:
    """One metric's column: ``real``, or ``float8`` if exact.

    Attributes:
        name: The metric's name.
        exact: Double precision.
        low: The least value its sensor can give; roll-ups leave out what a flagged row has beyond.
        high: The greatest.
    """

    name: str
    exact: bool = False
    low: float = float("-inf")
    high: float = float("inf")

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} cannot be a column: it must match {_NAME.pattern}")


@dataclass(frozen=True, slots=True)
class ReadingTable:
    """The table of one device kind: its name and the columns of its metrics, in order."""

    kind: str
    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.kind):
            raise ValueError(f"{self.kind!r} cannot be a kind: it must match {_NAME.pattern}")

    @property
    def name(self) -> str:
        """Its name within the schema ``hub``."""
        return f"reading_{self.kind}"

    @property
    def identifier(self) -> sql.Identifier:
        """Its quoted, qualified name."""
        return sql.Identifier("hub", self.name)

    @property
    def names(self) -> tuple[str, ...]:
        """All its columns, in the order of a new table."""
        return ("ts", "seq", "device_no", *(c.name for c in self.columns), "quality", "extra")


EDITION: Final = """
SELECT CASE WHEN count(*) = 0 THEN 'plain'
            WHEN current_setting('timescaledb.license', true) = 'timescale'
            THEN 'timescaledb-community'
            ELSE 'timescaledb-apache' END
  FROM pg_extension WHERE extname = 'timescaledb'
"""


def read_edition(conn: psycopg.Connection[Any]) -> Edition:
    """Return what this database is."""
    row = conn.execute(EDITION).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always gives a row
    return Edition(row[0])


def make_tables(
    conn: psycopg.Connection[Any],
    tables: Sequence[ReadingTable],
    *,
    time_zone: str = "Asia/Shanghai",
) -> None:
    """Make the tables that are missing, add the columns that are missing, renew the views.

    Runs in the caller's transaction, under an advisory lock, so that starting roles do not race.

    Args:
        conn: The database.
        tables: Of all kinds.
        time_zone: IANA name of the city's; the buckets of a day begin at its midnight.
    """
    conn.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK_TABLES])
    edition = read_edition(conn)
    for table in tables:
        if _columns(conn, table) is None:
            _create(conn, table, edition)
        _add_columns(conn, table)
    make_rollups(conn, tables, edition, city_origin(ZoneInfo(time_zone)))
    _renew_view(conn, tables)


def _columns(conn: psycopg.Connection[Any], table: ReadingTable) -> set[str] | None:
    rows = conn.execute(
        "SELECT column_name FROM information_schema.columns"
        " WHERE table_schema = 'hub' AND table_name = %s",
        [table.name],
    ).fetchall()
    return {name for (name,) in rows} or None


def _create(conn: psycopg.Connection[Any], table: ReadingTable, edition: Edition) -> None:
    partition = sql.SQL("" if edition.hypertables else " PARTITION BY RANGE (ts)")
    conn.execute(
        sql.SQL(
            "CREATE TABLE {} (ts timestamptz NOT NULL, seq int8, device_no int4 NOT NULL, {},"
            " quality int2 NOT NULL DEFAULT 0, extra jsonb){}"
        ).format(
            table.identifier,
            sql.SQL(", ").join(map(_definition, table.columns)),
            partition,
        )
    )
    if edition.hypertables:
        conn.execute(
            "SELECT create_hypertable(%s::regclass, 'ts', chunk_time_interval => interval '1 day',"
            " create_default_indexes => false)",
            [f"hub.{table.name}"],
        )
    conn.execute(
        sql.SQL("CREATE UNIQUE INDEX ON {} (device_no, ts, seq) NULLS NOT DISTINCT").format(
            table.identifier
        )
    )


def _add_columns(conn: psycopg.Connection[Any], table: ReadingTable) -> None:
    there = _columns(conn, table) or set()
    for column in table.columns:
        if column.name not in there:
            conn.execute(
                sql.SQL("ALTER TABLE {} ADD COLUMN {}").format(
                    table.identifier, _definition(column)
                )
            )


def _definition(column: Column) -> sql.Composable:
    kind = sql.SQL("float8" if column.exact else "real")
    return sql.SQL("{} {}").format(sql.Identifier(column.name), kind)


def _renew_view(conn: psycopg.Connection[Any], tables: Sequence[ReadingTable]) -> None:
    """Make ``hub.reading``: one row a metric value, for charts and exports."""
    parts = [
        sql.SQL(
            "SELECT r.device_no, r.ts, r.seq, m.metric, m.value, r.quality FROM {} AS r"
            " CROSS JOIN LATERAL (VALUES {}) AS m (metric, value) WHERE m.value IS NOT NULL"
        ).format(
            table.identifier,
            sql.SQL(", ").join(
                sql.SQL("({}, r.{}::float8)").format(
                    sql.Literal(column.name), sql.Identifier(column.name)
                )
                for column in table.columns
            ),
        )
        for table in tables
    ]
    conn.execute("DROP VIEW IF EXISTS hub.reading")
    conn.execute(
        sql.SQL("CREATE VIEW hub.reading AS {}").format(sql.SQL(" UNION ALL ").join(parts))
    )


def days_of(micros: Iterable[int]) -> set[date]:
    """Return the UTC days of some times, given in microseconds since 1970.

    >>> sorted(days_of([0, 86_399_999_999, 86_400_000_000]))
    [datetime.date(1970, 1, 1), datetime.date(1970, 1, 2)]
    """
    return {date(1970, 1, 1) + timedelta(days=us // 86_400_000_000) for us in micros}


def known_days(conn: psycopg.Connection[Any], table: ReadingTable) -> set[date]:
    """Return the days that have a partition."""
    rows = conn.execute(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = %s::regclass",
        [f"hub.{table.name}"],
    ).fetchall()
    return {datetime.strptime(name[-8:], "%Y%m%d").replace(tzinfo=UTC).date() for (name,) in rows}


def make_days(
    conn: psycopg.Connection[Any], table: ReadingTable, days: Iterable[date]
) -> set[date]:
    """Make the day partitions that are missing, in a short transaction of their own.

    Two writers may want the same day at once: the advisory lock lets one make it and the other find
    it. CREATE then ATTACH takes only a SHARE UPDATE EXCLUSIVE lock on the table, so readers and
    other writers go on. All go to the server in one message. 400 days at once cost it 2.8 s of CPU
    (measured), presumably since each ATTACH reads the bounds of all before; PARTITION OF would save
    a quarter and lock readers out. Days are made once, so nobody can ask for that price twice.

    Returns:
        All the days there are now.
    """
    wanted = set(days)
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK_TABLES])
        known = known_days(conn, table)
        missing = sorted(wanted - known)
        if missing:
            conn.execute(sql.SQL("; ").join(_statement(table, day) for day in missing))
    return known | wanted


def _statement(table: ReadingTable, day: date) -> sql.Composable:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    partition = sql.Identifier("hub", f"{table.name}_{day:%Y%m%d}")
    return sql.SQL(
        "CREATE TABLE {partition} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS);"
        " ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES FROM ({start}) TO ({end})"
    ).format(
        partition=partition,
        table=table.identifier,
        start=sql.Literal(start),
        end=sql.Literal(start + timedelta(days=1)),
    )
