"""Reading for the screens: one consistent look, bounded in time, in UTC, with numbers JSON knows.

Every look is a REPEATABLE READ, READ ONLY transaction, so that a page or a snapshot never shows two
states of the world at once, and ends after five seconds, so that one heavy question cannot starve
the others.
"""

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, LiteralString

from psycopg import AsyncCursor, Cursor
from psycopg.sql import Composed

from core.db import Connection, Pool, transaction

TENANT: Final = 1
"""The city itself; the others are drills, which no screen mixes with it."""

_LOOK: Final = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;"
    " SET LOCAL statement_timeout = '5s'; SET LOCAL TIME ZONE 'UTC'"
)

Row = dict[str, Any]
Params = Mapping[str, Any] | Sequence[Any]


class Look:
    """One consistent look at the tables."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    async def rows(self, query: LiteralString | Composed, params: Params = ()) -> list[Row]:
        """Return the rows, as dicts by column."""
        async with self._conn.cursor(row_factory=_plain_row) as cursor:
            await cursor.execute(query, params)
            return await cursor.fetchall()

    async def row(self, query: LiteralString | Composed, params: Params = ()) -> Row | None:
        """Return the first row, None if there is none."""
        async with self._conn.cursor(row_factory=_plain_row) as cursor:
            await cursor.execute(query, params)
            return await cursor.fetchone()


@asynccontextmanager
async def look(pool: Pool) -> AsyncIterator[Look]:
    """Lend a look at the tables.

    Raises:
        StoreUnavailableError: The database cannot be reached, or a question took over 5 s.
    """
    async with transaction(pool) as conn:
        await conn.execute(_LOOK)
        yield Look(conn)


def _plain_row(cursor: Cursor[Any] | AsyncCursor[Any]) -> Any:
    """Make rows as dicts; NaN and infinities, which JSON does not know, become None."""
    names = [column.name for column in cursor.description or ()]

    def make(values: Sequence[Any]) -> Row:
        return dict(zip(names, map(_plain, values), strict=True))

    return make


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
