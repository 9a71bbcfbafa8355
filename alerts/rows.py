"""Dataclasses whose attributes are columns: read, inserted, and updated by what changed."""

from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any, ClassVar, Protocol

from psycopg import sql
from psycopg.rows import dict_row

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
