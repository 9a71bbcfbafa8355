"""The log of events (流水): what the feed shows and what nobody can change afterwards.

Appending takes one lock to the end of the transaction, so it is always the last thing done: ids
become visible in their order, and each entry is chained to the one before.

``detail`` of an alarm's or a case's entry holds all a line of the feed shows, so that nobody needs
a join: see :func:`alerts.facts.describe`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from psycopg.types.json import Jsonb

from core.db import Connection

_APPEND: Final = "SELECT hub.append_events(1::int2, %s, %s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the log."""

    log: Literal["alarm", "case"]
    actor: str
    object: Literal["alarm", "case", "work_order", "incident", "device", "system", "window"]
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
        {
            "log": entry.log,
            "actor": entry.actor,
            "object": entry.object,
            "object_id": entry.object_id,
            "action": entry.action,
            "before": entry.before or None,
            "after": entry.after or None,
            "reason": entry.reason,
            "detail": entry.detail,
        }
        for entry in entries
    ]
    cursor = await conn.execute(_APPEND, [at, Jsonb(rows, dumps=_dump)])
    return [event_id for (event_id,) in await cursor.fetchall()]


_dump: Final = msgspec.json.Encoder().encode
