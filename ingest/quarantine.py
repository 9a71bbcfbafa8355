"""What could not be read (隔离区), kept with its bytes and its reason for somebody to mend.

The same bytes on the same topic are one row with a count. Beyond a hundred rows a device and hour
there is one further row a topic and reason that only counts, so that a device that has gone mad
cannot fill the disk; senders whom nobody knows have ten thousand rows an hour among them all. The
sum of the counts is what the ledger calls quarantined.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import psycopg

from core.model import from_micros
from ingest.decode import Refusal
from ingest.reasons import REASONS
from ingest.sources import RawBatch

_KEPT_BYTES: Final = 65_536
_TOPIC_LENGTH: Final = 1_024
_ROWS_AN_HOUR: Final = 100
_ROWS_OF_STRANGERS: Final = 10_000
_HOUR: Final = 3_600_000_000

_INSERT: Final = """
INSERT INTO hub.quarantine AS q (received_at, last_at, source, position, topic, device_no, stage,
    code, detail_zh, detail_en, codec, record_index, payload, payload_length, payload_sha256,
    digest, content_type, repeat_count, counts_only)
VALUES (%(at)s, %(last_at)s, %(source)s, %(position)s, %(topic)s, %(device_no)s, %(stage)s,
    %(code)s, %(zh)s, %(en)s, 'native', %(record)s, %(payload)s, %(length)s, %(sha256)s,
    %(digest)s, %(content_type)s, %(count)s, %(counts_only)s)
ON CONFLICT (source, digest, code, record_index) WHERE state = 'open'
DO UPDATE SET repeat_count = q.repeat_count + excluded.repeat_count,
    last_at = greatest(q.last_at, excluded.last_at)
"""


class Quarantine:
    """The quarantine of one source."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._hour = 0
        self._rows: dict[int | bytes, int] = {}
        self._strangers = 0

    def rows(self, raw: RawBatch, refused: Sequence[Refusal]) -> list[dict[str, Any]]:
        """Return a row for each different refusal, for :meth:`insert`."""
        found: dict[tuple[bytes, str, int | None], dict[str, Any]] = {}
        for refusal in refused:
            topic, payload = raw.topics[refusal.message], raw.payloads[refusal.message]
            digest = hashlib.sha256(b"%d:%b%b" % (len(topic), topic, payload)).digest()
            key = (digest, refusal.code, refusal.record)
            at = raw.received_at[refusal.message]
            counter = self._counter(topic, refusal.device_no, at) if key not in found else None
            if counter is not None:
                key = (hashlib.sha256(counter).digest(), refusal.code, None)
            row = found.get(key)
            if row is None:
                found[key] = self._row(raw, refusal, from_micros(at)) | {
                    "digest": key[0],
                    "record": key[2],
                    "counts_only": counter is not None,
                }
            else:
                row["count"] += 1
                row["last_at"] = from_micros(at)
        return list(found.values())

    def insert(self, conn: psycopg.Connection[Any], rows: Sequence[dict[str, Any]]) -> None:
        """Write rows in the caller's transaction."""
        if rows:
            with conn.cursor() as cursor:
                cursor.executemany(_INSERT, rows)

    def _counter(self, topic: bytes, device_no: int | None, at: int) -> bytes | None:
        """Count a new row of a sender; return which row counts it instead, None: it has its own."""
        hour = at // _HOUR
        if hour != self._hour:
            self._hour = hour
            self._rows.clear()
            self._strangers = 0
        if device_no is None:
            self._strangers += 1
            if self._strangers > _ROWS_OF_STRANGERS:
                return b"%d:" % hour
        sender: int | bytes = topic if device_no is None else device_no
        count = self._rows[sender] = self._rows.get(sender, 0) + 1
        return b"%d:%b" % (hour, topic) if count > _ROWS_AN_HOUR else None

    def _row(self, raw: RawBatch, refusal: Refusal, at: datetime) -> dict[str, Any]:
        i = refusal.message
        reason = REASONS[refusal.code]
        payload = raw.payloads[i]
        contiguous = raw.position - raw.after == len(raw) and raw.position
        suffix = f" ({_printable(refusal.detail)})" if refusal.detail else ""
        return {
            "at": at,
            "last_at": at,
            "source": self._source,
            "position": raw.after + 1 + i if contiguous else None,
            "topic": _printable(raw.topics[i].decode("utf-8", "replace"))[:_TOPIC_LENGTH],
            "device_no": refusal.device_no,
            "stage": reason.stage,
            "code": refusal.code,
            "zh": reason.text.zh + suffix,
            "en": reason.text.en + suffix,
            "payload": payload[:_KEPT_BYTES],
            "length": len(payload),
            "sha256": hashlib.sha256(payload).digest(),
            "content_type": _printable(raw.content_types[i])[:256]
            if i in raw.content_types
            else None,
            "count": 1,
        }


def _printable(text: str) -> str:
    """Return a text that PostgreSQL takes."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
