"""The quarantine bench (隔离台): what staff do with payloads that could not be read.

They look at groups (one reason, one maker's firmware), compare a payload with the thing model, try
a mapping on it, take a group up again, or discard it. All answers are JSON-ready: the command line
prints them, the API shows them. Each change is noted in ``hub.audit`` in its own transaction.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NoReturn, TypeVar

import msgspec
import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from core.clock import Clock
from core.db import translated
from core.errors import ConflictError, StoreUnavailableError
from core.settings import Ingest
from devices import KINDS
from devices.registry import kind_of
from devices.topics import parse_topic
from ingest.comparison import compare
from ingest.held import find
from ingest.mapping import FieldMapping, read_mapping
from ingest.redrive import Connection, Redrive

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_AT_ONCE: Final = 1_000
"""The most messages that one call settles."""
_EXPIRED_AT_ONCE: Final = 5_000

# who sent it, as far as its topic and its own state tell
_SENDERS: Final = """
  FROM hub.quarantine AS q
  LEFT JOIN hub.device AS d USING (device_no)
  LEFT JOIN hub.device_state AS s USING (device_no)
 CROSS JOIN LATERAL (SELECT left(split_part(q.topic, '/', 2), 64) AS sender) AS t
 CROSS JOIN LATERAL (
    SELECT coalesce(substring(t.sender FROM '^([A-Za-z-]*[A-Za-z])'), '') AS prefix,
           coalesce(d.kind, '') AS kind,
           left(coalesce(s.detail ->> 'model', s.detail ->> 'hw', ''), 64) AS model,
           left(coalesce(s.detail ->> 'fw', ''), 64) AS firmware) AS m
"""
_GROUPS: Final = f"""
SELECT q.code, q.stage, m.prefix, m.kind, m.model, m.firmware, count(*) AS messages,
       sum(q.repeat_count)::int8 AS records, count(DISTINCT t.sender) AS senders,
       min(q.received_at) AS first_at, max(q.last_at) AS last_at,
       (array_agg(q.quarantine_id ORDER BY q.counts_only, q.quarantine_id DESC))[1] AS example
{_SENDERS}
 WHERE q.state = 'open'
 GROUP BY q.code, q.stage, m.prefix, m.kind, m.model, m.firmware
 ORDER BY records DESC, code, prefix LIMIT %s
"""
_CHOOSE: Final = f"""
SELECT q.quarantine_id
{_SENDERS}
 WHERE q.state = 'open' AND NOT q.counts_only
   AND (%(code)s::text IS NULL OR q.code = %(code)s)
   AND (%(device)s::text IS NULL OR t.sender = %(device)s)
   AND (%(prefix)s::text IS NULL OR m.prefix = %(prefix)s)
   AND (%(kind)s::text IS NULL OR m.kind = %(kind)s)
   AND (%(model)s::text IS NULL OR m.model = %(model)s)
   AND (%(firmware)s::text IS NULL OR m.firmware = %(firmware)s)
   AND q.quarantine_id > %(after)s
 ORDER BY q.quarantine_id LIMIT %(limit)s
"""
_EXPIRE: Final = """
UPDATE hub.quarantine SET payload = '',
       settled_at = CASE state WHEN 'open' THEN %(now)s ELSE settled_at END,
       settled_by = CASE state WHEN 'open' THEN 'hub' ELSE settled_by END,
       settled_reason = CASE state WHEN 'open' THEN 'expired' ELSE settled_reason END,
       state = CASE state WHEN 'open' THEN 'discarded' ELSE state END
 WHERE quarantine_id IN (SELECT quarantine_id FROM hub.quarantine
     WHERE (state = 'open' OR payload <> '') AND last_at < %(before)s
     ORDER BY last_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
"""
_NOTE_EXPIRED: Final = """
INSERT INTO hub.audit (at, actor, action, object, object_id, detail)
VALUES (%s, 'hub', 'expire', 'quarantine', '', %s)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which messages: by number, else all open ones that match what is given.

    Attributes:
        ids: Their numbers; empty: by what follows.
        code: Reason.
        device: Device id of the topic.
        prefix: What the device id begins with, as the groups show it.
        kind: Device kind.
        model: What the device calls itself in its state message.
        firmware: Likewise.
        after: Behind this number.
        limit: At most so many.
    """

    ids: tuple[int, ...] = ()
    code: str | None = None
    device: str | None = None
    prefix: str | None = None
    kind: str | None = None
    model: str | None = None
    firmware: str | None = None
    after: int = 0
    limit: int = MOST_AT_ONCE

    def __bool__(self) -> bool:
        named = (self.code, self.device, self.prefix, self.kind, self.model, self.firmware)
        return bool(self.ids) or any(word is not None for word in named)


class QuarantineBench:
    """The bench, over a connection a call: staff are few.

    Args:
        url: libpq URL of the database.
        settings: The worker's own.
        clock: The hub's time.
    """

    def __init__(self, url: str, settings: Ingest, clock: Clock) -> None:
        self._url = url
        self._settings = settings
        self._clock = clock

    async def groups(self, *, limit: int = 100) -> list[dict[str, Any]]:
        """Return the open messages by reason, maker, kind, model and firmware; the most first."""

        def read(conn: Connection) -> list[dict[str, Any]]:
            with conn.cursor(row_factory=dict_row) as cursor:
                return cursor.execute(_GROUPS.encode(), [limit]).fetchall()

        return await self._run(read)

    async def compare(self, quarantine_id: int) -> dict[str, Any]:
        """Return a payload beside the thing model, the differing fields marked.

        Raises:
            NotFoundError: There is no such message.
        """
        return await self._run(lambda conn: self._compare(conn, quarantine_id))

    async def attempt(self, quarantine_id: int, *, mapping: Any = None) -> list[dict[str, Any]]:
        """Return what a message would become with a mapping; nothing is written.

        Raises:
            NotFoundError: There is no such message.
            ConflictError: Its bytes were not kept, or the mapping cannot be.
        """
        wanted = read_mapping(mapping)

        def attempt(conn: Connection) -> list[dict[str, Any]]:
            found = self._redrive(conn).attempt(quarantine_id, wanted)
            return [msgspec.to_builtins(each) for each in found]

        return await self._run(attempt)

    async def redrive(self, *, actor: str, mapping: Any = None, **chosen: Any) -> dict[str, Any]:
        """Take messages up again; a transaction each.

        Args:
            actor: Who.
            mapping: How their fields are changed; see :class:`ingest.mapping.FieldMapping`.
            chosen: Which; see :class:`Chosen`.

        Raises:
            ConflictError: The mapping cannot be, or nothing says which messages.
        """
        wanted = read_mapping(mapping)
        return await self._run(lambda conn: self._redrive_all(conn, _chosen(chosen), wanted, actor))

    async def discard(self, *, actor: str, reason: str, **chosen: Any) -> dict[str, Any]:
        """Settle messages as worth nothing; a transaction each.

        Args:
            actor: Who.
            reason: Why.
            chosen: Which; see :class:`Chosen`.

        Raises:
            ConflictError: Nothing says which messages.
        """
        return await self._run(lambda conn: self._discard_all(conn, _chosen(chosen), reason, actor))

    async def expire(self, *, days: float) -> int:
        """Discard what nobody took up for so long, and drop the bytes of all that old.

        Returns:
            How many rows were changed.
        """
        return await self._run(lambda conn: self._expire(conn, days))

    async def run_expiry(self, *, days: float, every: float = 3600.0) -> NoReturn:
        """Expire for ever; a database that is away is asked again the next time."""
        while True:
            try:
                await self.expire(days=days)
            except StoreUnavailableError as error:
                log.warning("nothing expires for now", extra={"reason": str(error).strip()})
            await asyncio.sleep(every)

    async def _run(self, act: Callable[[Connection], T]) -> T:
        def work() -> T:
            with (
                translated(),
                psycopg.connect(
                    self._url, autocommit=True, application_name="cityhub bench", connect_timeout=5
                ) as conn,
            ):
                conn.execute("SET timezone = 'UTC'")
                return act(conn)

        return await asyncio.to_thread(work)

    def _redrive(self, conn: Connection) -> Redrive:
        return Redrive(conn, self._settings, self._clock)

    def _compare(self, conn: Connection, quarantine_id: int) -> dict[str, Any]:
        redrive = self._redrive(conn)
        held = find(conn, quarantine_id)
        topic = parse_topic(held.topic)
        route = redrive.route(held)
        name = route.kind or (kind_of(topic.device_id) if topic else None)
        found = compare(
            held.payload,
            topic.channel if topic else None,
            KINDS.get(name or ""),
            most_records=self._settings.max_records,
            only=held.record,
        )
        body: dict[str, Any] = msgspec.to_builtins(found)
        return body | {"quarantine_id": quarantine_id, "topic": held.topic}

    def _redrive_all(
        self, conn: Connection, chosen: Chosen, mapping: FieldMapping, actor: str
    ) -> dict[str, Any]:
        redrive = self._redrive(conn)
        sums = {"received": 0, "stored": 0, "duplicate": 0, "quarantined": 0}
        done, refused = 0, []
        ids = _ids(conn, chosen)
        for number in ids:
            try:
                one = redrive.redrive(number, mapping, actor=actor)
            except ConflictError as error:
                refused.append(_refused(number, error))
            else:
                done += 1
                for name in sums:
                    sums[name] += getattr(one, name)
        return {"redriven": done, **sums, "refused": refused, "last": _last(ids)}

    def _discard_all(
        self, conn: Connection, chosen: Chosen, reason: str, actor: str
    ) -> dict[str, Any]:
        redrive = self._redrive(conn)
        done, refused = 0, []
        ids = _ids(conn, chosen)
        for number in ids:
            try:
                redrive.discard(number, reason=reason, actor=actor)
            except ConflictError as error:
                refused.append(_refused(number, error))
            else:
                done += 1
        return {"discarded": done, "refused": refused, "last": _last(ids)}

    def _expire(self, conn: Connection, days: float) -> int:
        now = self._clock.now()
        values = {"now": now, "before": now - timedelta(days=days), "limit": _EXPIRED_AT_ONCE}
        total = 0
        while True:
            with conn.transaction():
                changed = conn.execute(_EXPIRE, values).rowcount
                if changed:
                    detail = Jsonb({"rows": changed, "days": days})
                    conn.execute(_NOTE_EXPIRED, [now, detail])
            total += changed
            if changed < _EXPIRED_AT_ONCE:
                return total


def _chosen(words: dict[str, Any]) -> Chosen:
    chosen = Chosen(**words)
    if not chosen:
        raise ConflictError("name the messages, or say which by reason, device, kind or firmware")
    return chosen


def _ids(conn: Connection, chosen: Chosen) -> list[int]:
    limit = min(chosen.limit, MOST_AT_ONCE)
    if chosen.ids:
        return list(dict.fromkeys(chosen.ids))[:limit]
    words = {name: getattr(chosen, name) for name in Chosen.__dataclass_fields__ if name != "ids"}
    return [number for (number,) in conn.execute(_CHOOSE.encode(), words | {"limit": limit})]


def _last(ids: Sequence[int]) -> int | None:
    return ids[-1] if ids else None


def _refused(number: int, error: ConflictError) -> dict[str, Any]:
    return {"quarantine_id": number, "why": {"zh": error.text.zh, "en": error.text.en}}
