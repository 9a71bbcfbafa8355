"""What a message of ten metrics takes on disk, beside the same values as a row a metric."""

from typing import Any, Final

import psycopg
from psycopg import sql

from devices import KINDS

KIND: Final = "manhole_cover"
"""A kind of ten metrics."""
_SIZE: Final = """
SELECT sum(pg_total_relation_size(relid))
  FROM pg_partition_tree(%s::regclass) WHERE isleaf
"""


def bytes_per_message(conn: psycopg.Connection[Any]) -> float:
    """Return table and index over messages; NaN where there are none."""
    size = _number(conn, _SIZE, [f"hub.reading_{KIND}"])
    count = _number(conn, f"SELECT count(*) FROM hub.reading_{KIND}")  # noqa: S608 - ours
    return size / count if count else float("nan")


def narrow_bytes_per_message(conn: psycopg.Connection[Any]) -> float:
    """Return the same of a row a metric: device, time, metric, value, and a key over the first."""
    names = [metric.name for metric in KINDS[KIND].metrics]
    values = sql.SQL(", ").join(
        sql.SQL("({}::int2, {}::float8)").format(number, sql.Identifier(name))
        for number, name in enumerate(names)
    )
    table = sql.Identifier("hub", KINDS[KIND].table.name)
    conn.execute("DROP TABLE IF EXISTS bench_narrow")
    conn.execute(
        "CREATE TABLE bench_narrow (ts timestamptz NOT NULL, device_no int4 NOT NULL,"
        " metric int2 NOT NULL, value float8, UNIQUE (device_no, metric, ts))"
    )
    conn.execute(
        sql.SQL(
            "INSERT INTO bench_narrow SELECT ts, device_no, m, v FROM {} , LATERAL (VALUES {})"
            " AS each (m, v) ORDER BY ts, device_no"
        ).format(table, values)
    )
    size = _number(conn, "SELECT pg_total_relation_size('bench_narrow')")
    count = _number(conn, "SELECT count(*) FROM bench_narrow")
    conn.execute("DROP TABLE bench_narrow")
    return size / count * len(names) if count else float("nan")


def _number(conn: psycopg.Connection[Any], query: str, values: list[str] | None = None) -> float:
    row = conn.execute(query.encode(), values).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always gives a row
    return float(row[0] or 0)
