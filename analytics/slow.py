"""What the slow roles share: one holder at a time, a memory in the database, findings with it.

A role's memory and its findings commit together, so a restart announces nothing twice. The memory
is msgpack, never pickle, in ``hub.detector_state`` under the role's name.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from core.batch import Finding
from core.db import Connection
from core.errors import StoreUnavailableError
from core.findings import INSERT_FINDING, LOCK_FINDINGS, NOTIFY_FINDING, finding_rows
from core.metrics import FINDINGS
from core.model import from_micros
from devices.rule_store import stamp

log = logging.getLogger(__name__)

TRY_LOCK: Final = "SELECT pg_try_advisory_xact_lock(%s)"
SELECT_MEMORY: Final = """
SELECT state FROM hub.detector_state
 WHERE source = %(role)s AND kind = '' AND stage = %(role)s AND version = %(version)s
"""
STORE_MEMORY: Final = """
INSERT INTO hub.detector_state (source, kind, stage, version, state, taken_at)
VALUES (%(role)s, '', %(role)s, %(version)s, %(state)s, %(at)s)
ON CONFLICT (source, kind, stage) DO UPDATE
   SET version = excluded.version, state = excluded.state, taken_at = excluded.taken_at
"""
M = TypeVar("M")


async def is_holder(conn: Connection, lock: int) -> bool:
    """Return whether this transaction holds a role's lock; another may be at it."""
    held = await (await conn.execute(TRY_LOCK, [lock])).fetchone()
    return bool(held and held[0])


async def recall(conn: Connection, role: str, version: int, form: type[M], empty: M) -> M:
    """Return what a role remembers, ``empty`` where there is nothing or it cannot be read."""
    row = await (await conn.execute(SELECT_MEMORY, {"role": role, "version": version})).fetchone()
    if row is None:
        return empty
    try:
        return msgspec.msgpack.decode(row[0], type=form)
    except msgspec.DecodeError as error:
        log.warning("a role lost its memory", extra={"role": role, "reason": str(error)})
        return empty


async def remember(conn: Connection, role: str, version: int, memory: Any, now: int) -> None:
    """Store what a role remembers."""
    state = msgspec.msgpack.encode(memory)
    await conn.execute(
        STORE_MEMORY, {"role": role, "version": version, "state": state, "at": from_micros(now)}
    )


async def store_findings(conn: Connection, findings: Sequence[Finding]) -> None:
    """Append findings; the last act of a transaction but for its commit."""
    if findings:
        await conn.execute(LOCK_FINDINGS)
        async with conn.cursor() as cursor:
            ruled = await stamp(conn, findings)
            await cursor.executemany(INSERT_FINDING, finding_rows(ruled))
        await conn.execute(NOTIFY_FINDING)


def count(findings: Sequence[Finding]) -> None:
    """Count findings in the metrics, once they are committed."""
    for finding in findings:
        FINDINGS.labels(finding.rule_id).inc()


async def repeat(what: str, step: Callable[[], Awaitable[object]], every: float) -> NoReturn:
    """Make passes for ever; an outage of the database only delays them.

    Args:
        what: What a pass does, for the log.
        step: One pass.
        every: Seconds between two passes.
    """
    while True:
        try:
            await step()
        except StoreUnavailableError as error:
            log.warning("trying again: %s", what, extra={"reason": str(error)})
        await asyncio.sleep(every)
