"""Who reads a source: the row of ``hub.source_offset`` that a worker claims before it connects.

An MQTT source has no offset that could fence a worker which was replaced. So each worker raises
``epoch`` when it starts, its transactions compare it, and the zombie's commit finds another number.
A worker that merely lost its connection keeps its epoch, and looks before it connects again: had it
been replaced, its reconnecting would throw the new worker out of the session.

The client id is the name under which the broker keeps our messages: 128 random bits, made at first
use and kept for ever, so that nobody guesses it and takes the queue.

A log has an identity too, its time of creation. Offsets of one log mean nothing in another, so the
first worker notes it down, and a worker that finds another log stops with a sentence.
"""

import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

import psycopg

from core.db import Connection, translated
from core.errors import ConfigError, LeaseLostError

log = logging.getLogger(__name__)

Claim = Callable[[int], Awaitable[tuple[int, str]]]
"""Takes the epoch held, 0 for none; returns epoch and client id, or raises LeaseLostError."""

Identify = Callable[[str, int], Awaitable[None]]
"""Takes the identity of a log and its last sequence number; see :func:`identify_log`."""

_CLAIM: Final = """
INSERT INTO hub.source_offset AS held (source, epoch, client_id) VALUES (%s, 1, %s)
ON CONFLICT (source) DO UPDATE SET epoch = held.epoch + 1,
    client_id = coalesce(held.client_id, excluded.client_id)
RETURNING epoch, client_id
"""
_LOOK: Final = "SELECT epoch, client_id FROM hub.source_offset WHERE source = %s"
_IDENTIFY: Final = """
INSERT INTO hub.source_offset AS held (source, stream_id) VALUES (%s, %s)
ON CONFLICT (source) DO UPDATE SET stream_id = coalesce(held.stream_id, excluded.stream_id)
RETURNING stream_id, position
"""
_SET_BACK: Final = """
UPDATE hub.source_offset SET position = %s WHERE source = %s AND position = %s
"""


async def claim_epoch(conn: Connection, source: str) -> tuple[int, str]:
    """Take a source over from whoever held it.

    Args:
        conn: A connection in autocommit, or a transaction that is committed at once.
        source: The source's name.

    Returns:
        The new epoch and the client id.
    """
    cursor = await conn.execute(_CLAIM, (source, secrets.token_hex(16)))
    epoch, client_id = await _only(cursor)
    return epoch, client_id


async def confirm_epoch(conn: Connection, source: str, held: int) -> tuple[int, str]:
    """Make sure that a source is still ours; return epoch and client id.

    Raises:
        LeaseLostError: Another worker raised the epoch.
    """
    cursor = await conn.execute(_LOOK, (source,))
    epoch, client_id = await _only(cursor)
    if epoch != held:
        raise LeaseLostError(f"source {source}: epoch {epoch} was claimed, ours is {held}")
    return epoch, client_id


async def identify_log(conn: Connection, source: str, stream_id: str, last: int) -> None:
    """Note down which log the offset of a source belongs to, and that it lies within it.

    A power cut may take from the log what the database still has, and the log then gives the same
    numbers to other messages: the offset is set back to the log's end, and what is read twice is
    stored once.

    Args:
        conn: A connection in autocommit.
        source: The source's name.
        stream_id: The log's time of creation.
        last: Its last sequence number.

    Raises:
        ConfigError: The offset belongs to another log.
        LeaseLostError: The offset was set back; start anew.
    """
    cursor = await conn.execute(_IDENTIFY, (source, stream_id))
    known, position = await _only(cursor)
    if known != stream_id:
        raise ConfigError(
            f"the log is not the one that source '{source}' has read so far: it was created "
            f"{stream_id}, the known one {known}. Restore the old log, or give the source a new "
            "name (setting ingest.source) to read this one from its start"
        )
    if position > last:
        log.error(
            "the log has lost its end; the offset is set back",
            extra={"source": source, "position": position, "last": last},
        )
        await conn.execute(_SET_BACK, (last, source, position))
        raise LeaseLostError(f"the log of source {source} ends at {last}, read was {position}")


def claiming(url: str, source: str) -> Claim:
    """Return what an MQTT source calls before it connects, with a database connection of its own.

    Args:
        url: libpq URL of the hub's database.
        source: The source's name.
    """

    async def claim(held: int) -> tuple[int, str]:
        with translated():
            async with await _connect(url) as conn:
                if held:
                    return await confirm_epoch(conn, source, held)
                return await claim_epoch(conn, source)

    return claim


def identifying(url: str, source: str) -> Identify:
    """Return what a source with a log calls before it reads, likewise."""

    async def identify(stream_id: str, last: int) -> None:
        with translated():
            async with await _connect(url) as conn:
                await identify_log(conn, source, stream_id, last)

    return identify


async def _connect(url: str) -> Connection:
    return await psycopg.AsyncConnection.connect(
        url, autocommit=True, application_name="cityhub source", connect_timeout=5
    )


async def _only(cursor: psycopg.AsyncCursor[Any]) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = await cursor.fetchone()
    if row is None:
        raise LeaseLostError("the source's row in source_offset is gone")
    return row
