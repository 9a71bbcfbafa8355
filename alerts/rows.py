"""Dataclasses whose attributes are columns: read, inserted, and updated by what changed."""

from collections.abc import Mapping, Sequence
from dataclasses import Field, fields
from typing import Any, ClassVar, Protocol

import msgspec
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from core.db import Connection


class Record(Protocol):
    """A dataclass whose attributes are columns."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


def values_of(record: Record) -> dict[str, Any]:
    """Return its attributes by column."""
    return {item.name: _plain(getattr(record, item.name)) for item in fields(record)}


def columns_of(kind: type[Record]) -> sql.Composed:
    """Return its columns, for a SELECT."""
    return sql.SQL(", ").join(sql.Identifier(item.name) for item in fields(kind))


async def select(
    conn: Connection, query: sql.SQL | sql.Composed, parameters: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return rows by column name."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, parameters)
        return await cursor.fetchall()


async def insert(
    conn: Connection, table: str, values: Mapping[str, Any], returning: str
) -> Any:  # the type of a column is known to the caller only
    """Insert one row of the schema ``hub``; return the named column of it."""
    query = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING {}").format(
        sql.Identifier("hub", table),
        sql.SQL(", ").join(map(sql.Identifier, values)),
        sql.SQL(", ").join(map(sql.Placeholder, values)),
        sql.Identifier(returning),
    )
    row = await (await conn.execute(query, dict(values))).fetchone()
    assert row is not None  # noqa: S101 - an insert returns its row
    return row[0]


async def update(
    conn: Connection,
    table: str,
    key: str,
    before: Record,
    after: Record,
) -> None:
    """Write what changed between two states of a row, if anything did."""
    old = values_of(before)
    changed = {name: value for name, value in values_of(after).items() if value != old[name]}
    if not changed:
        return
    query = sql.SQL("UPDATE {} SET {} WHERE {} = {}").format(
        sql.Identifier("hub", table),
        sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name))
            for name in changed
        ),
        sql.Identifier(key),
        sql.Placeholder("row_key"),
    )
    await conn.execute(query, {**changed, "row_key": old[key]})


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


async def write_many(
    conn: Connection, table: str, rows: Sequence[Mapping[str, Any]], *, key: str | None = None
) -> None:
    """Insert rows of the schema ``hub``, or change those with these keys, in one statement.

    Args:
        conn: The transaction.
        table: Which.
        rows: All with the same columns; numbers of an identity column are taken as they are.
        key: Column by which rows are found and changed; None: they are new.
    """
    if not rows:
        return
    names = list(rows[0])
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    source = sql.SQL("SELECT {} FROM jsonb_populate_recordset(NULL::{}, %s)").format(
        columns, sql.Identifier("hub", table)
    )
    if key is None:
        query = sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE {}").format(
            sql.Identifier("hub", table), columns, source
        )
    else:
        others = [name for name in names if name != key]
        query = sql.SQL("UPDATE {} AS t SET {} FROM ({}) AS r WHERE t.{} = r.{}").format(
            sql.Identifier("hub", table),
            sql.SQL(", ").join(
                sql.SQL("{} = r.{}").format(sql.Identifier(name), sql.Identifier(name))
                for name in others
            ),
            source,
            sql.Identifier(key),
            sql.Identifier(key),
        )
    await conn.execute(query, [Jsonb(rows, dumps=msgspec.json.encode)])
