"""The tables of roll-ups and of last values, on every edition behind the same names.

Per kind: ``hub.rollup_1m_<kind>``, ``_1h_``, ``_1d_`` and ``hub.last_<kind>``. On plain PostgreSQL
the roll-ups have partitions (a day, a month, a year), on TimescaleDB they are hypertables, on its
community edition continuous aggregates over a reading table in the columnstore. Readers use the
views ``hub.rollup_1m``, ``_1h``, ``_1d`` (a row a metric and bucket) and ``hub.latest_<kind>``.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql

from core.rollups import FIGURES, Level, RollupTable, figure, figures_of_raw

if TYPE_CHECKING:
    from core.tables import Column, Edition, ReadingTable

Connection = psycopg.Connection[Any]

COLUMNSTORE_AFTER: Final = timedelta(days=7)
"""Chunks older than this go to the columnstore: late rows are rare by then, and cost more there."""
_CHUNKS: Final = {
    Level.MINUTE: timedelta(days=1),
    Level.HOUR: timedelta(days=30),
    Level.DAY: timedelta(days=365),
}
_RECENT: Final = sql.SQL("(now() - interval '2 days')")
_KNOWN_KIND: Final = "SELECT origin FROM hub.rollup_kind WHERE kind = %s"
_NOTE_KIND: Final = """
INSERT INTO hub.rollup_kind (kind, origin, metrics) VALUES (%s, %s, %s)
ON CONFLICT (kind) DO UPDATE SET metrics = excluded.metrics
"""


def make_rollups(
    conn: Connection, tables: "Sequence[ReadingTable]", edition: "Edition", origin: datetime
) -> None:
    """Make what is missing and renew the views; in the transaction of ``make_tables``.

    The first time, readings that are there already are marked for the job. A kind keeps the origin
    it began with: its buckets cannot move.
    """
    metrics: dict[str, list[str]] = {}
    for table in tables:
        row = conn.execute(_KNOWN_KIND, [table.kind]).fetchone()
        since = row[0] if row else origin
        if edition.aggregates and row is None:
            _use_columnstore(conn, table)
        for level in Level:
            rollup = RollupTable(table, level)
            if not columns_of(conn, rollup.name):
                _create(conn, rollup, edition, since)
            elif not edition.aggregates:
                _add_columns(conn, rollup)
        there = columns_of(conn, RollupTable(table, Level.HOUR).name)
        metrics[table.kind] = [c.name for c in table.columns if f"{c.name}_count" in there]
        _make_last(conn, table)
        conn.execute(_NOTE_KIND, [table.kind, since, metrics[table.kind]])
        if row is None:
            _mark_everything(conn, table, since)
    for level in Level:
        _renew_view(conn, [RollupTable(table, level) for table in tables], metrics)


def columns_of(conn: Connection, name: str) -> set[str]:
    """Return the columns of a table or view of the schema ``hub``; empty: there is none."""
    rows = conn.execute(
        "SELECT column_name FROM information_schema.columns"
        " WHERE table_schema = 'hub' AND table_name = %s",
        [name],
    ).fetchall()
    return {name for (name,) in rows}


def _use_columnstore(conn: Connection, table: "ReadingTable") -> None:
    """Have the server's own policy compress old readings, a device beside itself."""
    conn.execute(
        sql.SQL(
            "ALTER TABLE {} SET (timescaledb.enable_columnstore = true,"
            " timescaledb.segmentby = 'device_no', timescaledb.orderby = 'ts DESC, seq DESC')"
        ).format(table.identifier)
    )
    conn.execute(
        "CALL add_columnstore_policy(%s::regclass, after => %s)",
        [f"hub.{table.name}", COLUMNSTORE_AFTER],
    )


def _create(conn: Connection, rollup: RollupTable, edition: "Edition", origin: datetime) -> None:
    if edition.aggregates:
        _create_aggregate(conn, rollup, origin)
        return
    conn.execute(
        sql.SQL("CREATE TABLE {} (at timestamptz NOT NULL, device_no int4 NOT NULL, {}){}").format(
            rollup.identifier,
            sql.SQL(", ").join(_definitions(rollup.reading.columns)),
            sql.SQL("" if edition.hypertables else " PARTITION BY RANGE (at)"),
        )
    )
    if edition.hypertables:
        conn.execute(
            "SELECT create_hypertable(%s::regclass, 'at', chunk_time_interval => %s,"
            " create_default_indexes => false)",
            [f"hub.{rollup.name}", _CHUNKS[rollup.level]],
        )
    conn.execute(sql.SQL("CREATE UNIQUE INDEX ON {} (device_no, at)").format(rollup.identifier))


def _create_aggregate(conn: Connection, rollup: RollupTable, origin: datetime) -> None:
    """Make a continuous aggregate over the raw rows, refreshed by the hub's job.

    Each level stands on the readings, not on the level below: minutes may then be dropped before
    readings are, and a late row still finds what its hour and day are made of.
    """
    query = sql.SQL(
        "CREATE MATERIALIZED VIEW {view} WITH (timescaledb.continuous,"
        " timescaledb.materialized_only = true, timescaledb.create_group_indexes = false) AS"
        " SELECT time_bucket({width}::interval, ts, {origin}::timestamptz) AS at, device_no,"
        " {figures} FROM {table} GROUP BY 1, 2 WITH NO DATA"
    ).format(
        view=rollup.identifier,
        width=sql.Literal(f"{int(rollup.level.width.total_seconds())} seconds"),
        origin=sql.Literal(origin.astimezone(UTC).isoformat()),
        figures=figures_of_raw(rollup.reading.columns, inline=True),
        table=rollup.reading.identifier,
    )
    conn.execute(query)
    conn.execute(sql.SQL("CREATE INDEX ON {} (device_no, at)").format(rollup.identifier))


def _definitions(columns: "Iterable[Column]") -> list[sql.Composed]:
    """Return the columns of a table: those of 8 bytes first, which leaves no gaps."""
    exact = "float8"
    defined: list[tuple[str, sql.Identifier]] = []
    for column in columns:
        value = exact if column.exact else "real"
        defined += [(exact, figure(column.name, "avg")), ("int4", figure(column.name, "count"))]
        defined += [(value, figure(column.name, word)) for word in ("min", "max", "last")]
    defined.sort(key=lambda item: item[0] != exact)
    return [sql.SQL("{} {}").format(name, sql.SQL(kind)) for kind, name in defined]


def _add_columns(conn: Connection, rollup: RollupTable) -> None:
    there = columns_of(conn, rollup.name)
    for column in rollup.reading.columns:
        if f"{column.name}_count" not in there:
            for definition in _definitions([column]):
                conn.execute(
                    sql.SQL("ALTER TABLE {} ADD COLUMN {}").format(rollup.identifier, definition)
                )


def _make_last(conn: Connection, table: "ReadingTable") -> None:
    """Make ``hub.last_<kind>``, the newest row of each device, and ``hub.latest_<kind>``.

    The job renews the table with each pass; the view looks into the readings for those devices that
    were heard since, which it finds with one join for all. Nearly all of them were heard of late:
    for these the partitions of old are left out before the first look, since each look would
    otherwise pass by all of them. For one device alone ask the readings.
    """
    last, view = last_table(table), sql.Identifier("hub", f"latest_{table.kind}")
    conn.execute(
        sql.SQL(
            "CREATE TABLE IF NOT EXISTS {} (LIKE {}, PRIMARY KEY (device_no))"
            " WITH (fillfactor = 50)"
        ).format(last, table.identifier)
    )
    there = columns_of(conn, f"last_{table.kind}")
    for column in table.columns:
        if column.name not in there:
            kind = sql.SQL("float8" if column.exact else "real")
            conn.execute(
                sql.SQL("ALTER TABLE {} ADD COLUMN {} {}").format(
                    last, sql.Identifier(column.name), kind
                )
            )
    names = [sql.Identifier(column.name) for column in table.columns]

    def all_of(alias: str) -> sql.Composed:
        every = [sql.Identifier(name) for name in ("ts", "seq", "device_no")]
        every += [*names, sql.Identifier("quality")]
        return sql.SQL(", ").join(sql.SQL("{}.{}").format(sql.SQL(alias), n) for n in every)

    conn.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(view))
    conn.execute(
        sql.SQL(
            "CREATE VIEW {view} AS"
            " WITH s AS MATERIALIZED ("
            "SELECT s.device_no, s.last_ts, s.last_ts >= {recent} AS recent"
            " FROM hub.device_seen AS s LEFT JOIN {last} AS l USING (device_no)"
            " WHERE s.last_ts > l.ts OR (l.ts IS NULL AND s.last_ts IS NOT NULL AND EXISTS ("
            "SELECT FROM hub.device AS d WHERE d.device_no = s.device_no AND d.kind = {kind})))"
            " SELECT {last_row} FROM {last} AS l"
            " WHERE NOT EXISTS (SELECT FROM s WHERE s.device_no = l.device_no)"
            " UNION ALL SELECT {row} FROM s CROSS JOIN LATERAL ({newest}) AS r WHERE NOT s.recent"
            " UNION ALL SELECT {row} FROM s CROSS JOIN LATERAL ({newest_of_late}) AS r"
            " WHERE s.recent"
        ).format(
            view=view,
            recent=_RECENT,
            kind=sql.Literal(table.kind),
            last=last,
            last_row=all_of("l"),
            row=all_of("r"),
            newest=_newest(table, sql.SQL("")),
            newest_of_late=_newest(table, sql.SQL(" AND t.ts >= {}").format(_RECENT)),
        )
    )


def _newest(table: "ReadingTable", within: sql.Composable) -> sql.Composed:
    """Return the query for the newest row of ``s``, a device and the time of that row."""
    return sql.SQL(
        "SELECT * FROM {} AS t WHERE t.device_no = s.device_no AND t.ts = s.last_ts{}"
        " ORDER BY t.seq DESC NULLS LAST LIMIT 1"
    ).format(table.identifier, within)


def last_table(table: "ReadingTable") -> sql.Identifier:
    """Return the name of the table of last rows."""
    return sql.Identifier("hub", f"last_{table.kind}")


def make_part(rollup: RollupTable, start: datetime, end: datetime) -> list[sql.Composed]:
    """Return the statements that make a partition; CREATE, then ATTACH, stops no reader."""
    part = part_name(rollup, start)
    return [
        sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)").format(
            sql.Identifier("hub", part), rollup.identifier
        ),
        sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
            rollup.identifier,
            sql.Identifier("hub", part),
            sql.Literal(start),
            sql.Literal(end),
        ),
    ]


def part_name(rollup: RollupTable, start: datetime) -> str:
    """Return the name of the partition that begins at a time."""
    return f"{rollup.name}_{start:%Y%m%d}"


def _renew_view(
    conn: Connection, rollups: Sequence[RollupTable], metrics: dict[str, list[str]]
) -> None:
    """Make ``hub.rollup_1m`` and so on: one row a metric, device and bucket."""
    view = sql.Identifier("hub", f"rollup_{rollups[0].level.suffix}")
    parts = [
        sql.SQL(
            "SELECT r.device_no, r.at, m.* FROM {} AS r CROSS JOIN LATERAL (VALUES {}) AS m"
            " (metric, avg, min, max, last, count) WHERE m.count > 0"
        ).format(
            rollup.identifier,
            sql.SQL(", ").join(_narrow(name) for name in metrics[rollup.reading.kind]),
        )
        for rollup in rollups
        if metrics[rollup.reading.kind]
    ]
    conn.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(view))
    conn.execute(sql.SQL("CREATE VIEW {} AS {}").format(view, sql.SQL(" UNION ALL ").join(parts)))


def _narrow(metric: str) -> sql.Composed:
    values = [
        sql.SQL("r.{}{}").format(
            figure(metric, word), sql.SQL("" if word == "count" else "::float8")
        )
        for word in FIGURES
    ]
    return sql.SQL("({}, {})").format(sql.Literal(metric), sql.SQL(", ").join(values))


def _mark_everything(conn: Connection, table: "ReadingTable", origin: datetime) -> None:
    """Mark the readings that an older version stored, a day each."""
    conn.execute(
        sql.SQL(
            "INSERT INTO hub.rollup_dirty (level, kind, first, last)"
            " SELECT DISTINCT 0, {kind}, day, day + interval '1439 minutes'"
            " FROM (SELECT date_bin('1 day', ts, {origin}) AS day FROM {table}) AS d"
        ).format(
            kind=sql.Literal(table.kind),
            origin=sql.Literal(origin.astimezone(UTC)),
            table=table.identifier,
        )
    )
