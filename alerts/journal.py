"""The log of events (流水): what the feed shows and what nobody can change afterwards.

Appending takes one lock to the end of the transaction, so it is always the last thing done: ids
become visible in their order, and each entry is chained to the one before.

``detail`` of an alarm's or a case's entry holds all a line of the feed shows, so that nobody needs
a join: see :func:`alerts.facts.describe`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from core.db import Connection

_APPEND: Final = "SELECT hub.append_event(%s, 1::int2, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the log."""

    log: Literal["alarm", "case"]
    actor: str
    object: Literal["alarm", "case", "work_order", "incident", "device", "system"]
    object_id: str
    action: str
    before: str = ""
    after: str = ""
    reason: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)


async def append(conn: Connection, entries: Sequence[Entry], at: datetime) -> list[int]:
    """Append entries in order, as the last act of a transaction.

    Returns:
        Their ids, in order.
    """
    if not entries:
        return []
    rows = [
        (
            entry.log,
            at,
            entry.actor,
            entry.object,
            entry.object_id,
            entry.action,
            entry.before or None,
            entry.after or None,
            entry.reason,
            json.dumps(entry.detail, ensure_ascii=False, default=_plain),
        )
        for entry in entries
    ]
    ids: list[int] = []
    async with conn.cursor() as cursor:
        await cursor.executemany(_APPEND, rows, returning=True)
        while True:
            row = await cursor.fetchone()
            assert row is not None  # noqa: S101 - the function always returns its id
            ids.append(row[0])
            if not cursor.nextset():
                return ids


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in the log")
