"""The record of who did what (审计), and the answer to who was first."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg.types.json import Jsonb

from alerts.office import Office
from core.db import Connection, Pool, transaction
from core.errors import ConflictError
from core.model import Text

_NOTE: Final = """
INSERT INTO hub.audit (at, actor, action, object, object_id, outcome, detail)
VALUES (%s, %s, %s, %s, %s, %s, %s)
"""
_LAST: Final = """
SELECT actor, action, at FROM hub.event_log WHERE object = %s AND object_id = %s
 ORDER BY event_id DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What somebody wants to do.

    Attributes:
        actor: Who.
        action: What, such as ``acknowledge``.
        object: On what: ``alarm`` or ``case``.
        object_id: On which.
        detail: With which arguments.
    """

    actor: str
    action: str
    object: str
    object_id: str
    detail: dict[str, Any]


@asynccontextmanager
async def acting(pool: Pool, act: Act, now: datetime) -> AsyncIterator[Connection]:
    """Lend a transaction that notes the act; one that is refused is noted as well.

    Raises:
        ConflictError: What the body raised.
    """
    try:
        async with transaction(pool) as conn:
            await _note(conn, act, now, "done")
            yield conn
    except ConflictError as error:
        async with transaction(pool) as conn:
            await _note(conn, act, now, "refused", error.text.en)
        raise


async def check_version(
    conn: Connection, act: Act, seen: int | None, actual: int, office: Office
) -> None:
    """Refuse an act on what somebody changed meanwhile.

    Raises:
        ConflictError: The version seen is not the actual one; names who was first, what, and when.
    """
    if seen is None or seen == actual:
        return
    row = await (await conn.execute(_LAST, [act.object, act.object_id])).fetchone()
    if row is None:
        raise ConflictError(Text("内容已变更", "it has changed meanwhile"))
    by, action, at = row
    clock = f"{at.astimezone(office.zone):%H:%M:%S}"
    raise ConflictError(
        Text(f"{by}已于{clock}先行操作({action})", f"{by} was first: {action} at {clock}"),
        by=by,
        at=at,
    )


async def _note(
    conn: Connection, act: Act, now: datetime, outcome: str, reason: str | None = None
) -> None:
    detail = act.detail if reason is None else act.detail | {"reason": reason}
    await conn.execute(
        _NOTE, [now, act.actor, act.action, act.object, act.object_id, outcome, Jsonb(detail)]
    )
