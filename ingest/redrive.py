"""Taking up again what stands in quarantine (重新处理), through the very code that refused it.

Decoder, store, ledger and quarantine are those of the worker. Three things differ. The message
keeps its first receipt, so that its time is judged as it was then. Its rows are marked as history
and no detector sees them: they complete a curve and never sound. And the account is kept under a
source of its own, ``redrive``: what the worker counted as quarantined stays so, and ``redrive``
says what became of it later, at the minute of the first receipt and again received = stored +
duplicate + quarantined. A message of which nothing can be read stays where it is, uncounted.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import psycopg
from psycopg.types.json import Jsonb

from core.clock import Clock
from core.db import translated
from core.errors import ConflictError, PayloadError, StoreRejectedError
from core.model import Quality, Text
from core.settings import Ingest
from core.tables import days_of, make_days, read_edition
from devices import KINDS
from devices.registry import Registry
from ingest.columns import Columns
from ingest.contact import Contacts
from ingest.decode import Decoder, Work
from ingest.envelopes import native
from ingest.held import Held, check_kept, check_open, find
from ingest.ledger import Ledger
from ingest.mapping import FieldMapping
from ingest.marks import append
from ingest.preview import Preview, preview, sentence
from ingest.quarantine import Quarantine
from ingest.routes import Route, Routes
from ingest.sources import RawBatch
from ingest.store import Store, Way
from ingest.times import TimeRules
from ingest.writer import Plan

SOURCE: Final = "redrive"
"""The name under which the ledger keeps what was taken up again."""
_REENCODED_BYTES: Final = 1 << 24

_SETTLE: Final = """
UPDATE hub.quarantine SET state = %(state)s, settled_at = %(at)s, settled_by = %(by)s,
       settled_reason = %(reason)s, mapping = %(mapping)s
 WHERE quarantine_id = %(id)s AND state = 'open'
"""
_AUDIT: Final = """
INSERT INTO hub.audit (at, actor, action, object, object_id, outcome, detail)
VALUES (%s, %s, %s, 'quarantine', %s, %s, %s)
"""

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Redriven:
    """What became of the records of a message that was taken up again."""

    received: int
    stored: int
    duplicate: int
    quarantined: int


class Redrive:
    """Takes up messages again, over one connection.

    Args:
        conn: In autocommit.
        settings: The worker's own.
        clock: The hub's time.
    """

    def __init__(self, conn: Connection, settings: Ingest, clock: Clock) -> None:
        self._conn = conn
        self._clock = clock
        self._settings = settings
        self._rules = TimeRules.of(
            max_future_s=settings.max_future_s, max_age_days=settings.max_age_days
        )
        self._columns = {name: Columns(kind, self._rules) for name, kind in KINDS.items()}
        self._registry = Registry()
        with translated():
            self._registry.load(conn)
            self._partitioned = not read_edition(conn).hypertables
        self._routes = Routes(
            self._registry, self._columns, enrols=settings.unknown_devices == "open"
        )
        self._quarantine = Quarantine(SOURCE)
        self._store = Store()

    def route(self, held: Held) -> Route:
        """Return who speaks on the topic of a message, as the registry has it now."""
        topic = held.topic.encode()
        with translated():
            self._routes.learn([topic], lambda: self._conn)
        return self._routes.cache[topic]

    def attempt(self, quarantine_id: int, mapping: FieldMapping) -> list[Preview]:
        """Return what a message would become, record by record; nothing is written.

        Raises:
            NotFoundError: There is no such row.
            ConflictError: Its bytes were not kept.
        """
        held = find(self._conn, quarantine_id)
        check_kept(held)
        return preview(self._decode(held, mapping), self._registry)

    def redrive(self, quarantine_id: int, mapping: FieldMapping, *, actor: str) -> Redriven:
        """Store what can be read of a message now, and settle its row, in one transaction.

        Harmless twice: the rows have their keys. Of several records those that are still refused
        get rows of their own in quarantine.

        Raises:
            NotFoundError: There is no such row.
            ConflictError: It is settled already, its bytes were not kept, or nothing of it can be
                read; noted in the audit.
        """
        held = find(self._conn, quarantine_id)
        try:
            check_kept(held)
            check_open(held)
            work = self._decode(held, mapping)
            _check_readable(work)
            ledger = self._write(held, work, mapping, actor)
        except ConflictError as error:
            detail = {"mapping": mapping.as_json(), "reason": error.text.en}
            with translated():
                self._note(actor, "redrive", held, "refused", detail)
            raise
        return Redriven(
            ledger.received.total(),
            ledger.stored.total(),
            ledger.duplicate.total(),
            ledger.quarantined.total(),
        )

    def discard(self, quarantine_id: int, *, reason: str, actor: str) -> None:
        """Settle a message as worth nothing.

        Raises:
            NotFoundError: There is no such row.
            ConflictError: It is settled already.
        """
        held = find(self._conn, quarantine_id)
        check_open(held)
        with translated(), self._conn.transaction():
            self._settle(held, "discarded", actor, reason, None)
            self._note(actor, "discard", held, "done", {"reason": reason})

    def _decode(self, held: Held, mapping: FieldMapping) -> Work:
        """Decode a message as the worker would, marked as history, with no findings."""
        payload, most = self._prepared(held, mapping)
        topic = held.topic.encode()
        self.route(held)
        decoder = Decoder(
            self._registry,
            self._columns,
            rules=self._rules,
            max_payload=most,
            max_records=self._settings.max_records,
        )
        raw = RawBatch(
            topics=[topic],
            payloads=[payload],
            received_at=[held.received_at],
            epoch=0,
            after=0,
            position=0,
            content_types={0: held.content_type} if held.content_type else {},
        )
        work = decoder.decode(raw, self._routes.cache, self._clock.micros())
        work.findings.clear()
        for rows in work.rows:
            rows.batch.quality[:] |= np.int16(Quality.BACKLOG)
        work.events = [
            (i, replace(event, quality=event.quality | Quality.BACKLOG)) for i, event in work.events
        ]
        return work

    def _prepared(self, held: Held, mapping: FieldMapping) -> tuple[bytes, int]:
        """Return the payload to decode, and how long it may be.

        What nobody can parse, or is too long anyhow, stays as it is and is refused once more.
        """
        most = self._settings.max_payload
        if (held.record is None and not mapping) or held.length > most:
            return held.payload, most
        try:
            body = native.parse(held.payload)
            records = list(native.records(body, self._settings.max_records))
        except PayloadError:
            return held.payload, most
        mapped = [
            mapping.apply(fields) if isinstance(fields, dict) else fields
            for index, fields in records
            if held.record is None or index == held.record
        ]
        single = held.record is not None or records[0][0] is None
        text = json.dumps(mapped[0] if single and mapped else mapped, ensure_ascii=False)
        return text.encode(), _REENCODED_BYTES

    def _write(self, held: Held, work: Work, mapping: FieldMapping, actor: str) -> Ledger:
        self._make_days(work)
        for way in (Way.MERGE, Way.SIFT):
            try:
                with translated(), self._conn.transaction():
                    return self._attempt(held, work, mapping, actor, way)
            except StoreRejectedError:
                if way is Way.SIFT:
                    raise
        raise AssertionError("unreachable")

    def _attempt(
        self, held: Held, work: Work, mapping: FieldMapping, actor: str, way: Way
    ) -> Ledger:
        self._settle(held, "redriven", actor, None, mapping)  # locks the row: one of two wins
        plan = Plan(work, self._quarantine, Contacts())
        ledger = plan.ledger()
        refused = self._store.write(self._conn, work, ledger, way)
        ledger.refuse([held.received_at for _ in refused])
        if not ledger.stored.total() + ledger.duplicate.total():
            raise ConflictError(sentence(refused[0]))
        self._quarantine.insert(
            self._conn, plan.quarantine + self._quarantine.rows(work.raw, refused)
        )
        ledger.add(self._conn, SOURCE)
        append(self._conn, plan.marks)  # roll-ups look again
        detail = {
            "mapping": mapping.as_json(),
            "stored": ledger.stored.total(),
            "duplicate": ledger.duplicate.total(),
            "quarantined": ledger.quarantined.total(),
        }
        self._note(actor, "redrive", held, "done", detail)
        return ledger

    def _settle(
        self, held: Held, state: str, actor: str, reason: str | None, mapping: FieldMapping | None
    ) -> None:
        values = {
            "id": held.quarantine_id,
            "state": state,
            "at": self._clock.now(),
            "by": actor,
            "reason": reason,
            "mapping": Jsonb(mapping.as_json()) if mapping else None,
        }
        if self._conn.execute(_SETTLE, values).rowcount != 1:
            raise ConflictError(
                Text("该记录刚被他人处理", "somebody settled this message a moment ago")
            )

    def _note(
        self, actor: str, action: str, held: Held, outcome: str, detail: Mapping[str, Any]
    ) -> None:
        values = [self._clock.now(), actor, action, str(held.quarantine_id), outcome]
        self._conn.execute(_AUDIT, [*values, Jsonb(dict(detail))])

    def _make_days(self, work: Work) -> None:
        if self._partitioned:
            with translated():
                for rows in work.rows:
                    make_days(self._conn, rows.kind.table, days_of(rows.batch.ts.tolist()))


def _check_readable(work: Work) -> None:
    if not sum(map(len, work.rows)) + len(work.events) + len(work.states):
        nothing = Text("没有记录", "there is no record in it")
        raise ConflictError(sentence(work.refused[0]) if work.refused else nothing)
