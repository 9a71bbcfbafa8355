"""A row of the quarantine, and whether it can be taken up again."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from core.db import translated
from core.errors import ConflictError, NotFoundError
from core.model import Text, to_micros

_SELECT: Final = "SELECT * FROM hub.quarantine WHERE quarantine_id = %s"


@dataclass(frozen=True, slots=True)
class Held:
    """A row of the quarantine, as far as a re-drive needs it.

    Attributes:
        quarantine_id: Its number.
        topic: As it was kept: at most 1,024 characters.
        payload: Its first 64 KiB.
        length: Of the payload as it was received, in bytes.
        received_at: First receipt, microseconds UTC.
        record: The record that was refused; None: the whole message.
        content_type: Its MQTT 5 content type, where there was one.
        counts_only: It stands for messages whose bytes were not kept.
        state: ``open``, ``redriven`` or ``discarded``.
        settled_by: Who settled it.
        settled_at: When.
    """

    quarantine_id: int
    topic: str
    payload: bytes
    length: int
    received_at: int
    record: int | None
    content_type: str | None
    counts_only: bool
    state: str
    settled_by: str | None
    settled_at: datetime | None


def find(conn: psycopg.Connection[Any], quarantine_id: int) -> Held:
    """Return a row of the quarantine.

    Raises:
        NotFoundError: There is none of this number.
    """
    with translated(), conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(_SELECT, [quarantine_id]).fetchone()
    if row is None:
        raise NotFoundError(
            Text(
                f"隔离区没有消息 {quarantine_id}",
                f"there is no message {quarantine_id} in quarantine",
            )
        )
    return Held(
        quarantine_id=row["quarantine_id"],
        topic=row["topic"],
        payload=bytes(row["payload"]),
        length=row["payload_length"],
        received_at=to_micros(row["received_at"]),
        record=row["record_index"],
        content_type=row["content_type"],
        counts_only=row["counts_only"],
        state=row["state"],
        settled_by=row["settled_by"],
        settled_at=row["settled_at"],
    )


def check_open(held: Held) -> None:
    """Refuse what is settled already.

    Raises:
        ConflictError: By whom, and when.
    """
    if held.state != "open":
        raise ConflictError(
            Text(f"该记录已由{held.settled_by}处理", f"{held.settled_by} settled this message"),
            by=held.settled_by or "",
            at=held.settled_at,
        )


def check_kept(held: Held) -> None:
    """Refuse what stands for bytes that were not kept.

    Raises:
        ConflictError: It does.
    """
    if held.counts_only or len(held.payload) < held.length:
        raise ConflictError(
            Text(
                "该记录只有计数或部分内容，原始报文未完整保存，无法重新处理",
                "only a count or a part of this was kept, so it cannot be taken up again",
            )
        )
