"""The transaction of a batch: fence, readings, events, states, findings, quarantine, ledger.

All of it commits or none, and only then is the batch acknowledged. The fence is the row of
``source_offset``: a log moves its position from where the batch began, a session compares its epoch
and counts its commits. Whoever finds another number there was replaced.

A connection that breaks after COMMIT was sent leaves the outcome unknown. The next attempt looks at
the fence: did it move as this batch would have moved it, then the batch is in.
"""

import logging
from typing import Any, Final

import psycopg
from psycopg.errors import UniqueViolation, error_from_result
from psycopg.generators import fetch_many, send
from psycopg.pq import ExecStatus

from core.db import translated
from core.errors import LeaseLostError, StoreRejectedError, StoreUnavailableError
from core.failpoint import passing
from core.model import from_micros
from core.tables import read_edition
from ingest.contact import Contacts, Heard
from ingest.days import Days
from ingest.decode import Work
from ingest.ledger import Ledger
from ingest.link import Link
from ingest.marks import append, touched
from ingest.quarantine import Quarantine
from ingest.snapshots import save
from ingest.store import Store, Way

log = logging.getLogger(__name__)

Connection = psycopg.Connection[Any]
_ENSURE: Final = "INSERT INTO hub.source_offset (source) VALUES (%s) ON CONFLICT DO NOTHING"
_LOOK: Final = "SELECT epoch, position FROM hub.source_offset WHERE source = %s"
_MOVE: Final = """
UPDATE hub.source_offset SET position = %s, updated_at = %s WHERE source = %s AND position = %s
"""
_COUNT: Final = """
UPDATE hub.source_offset SET position = position + 1, updated_at = %s
 WHERE source = %s AND epoch = %s RETURNING position
"""


class Plan:
    """What is settled about a batch before its first attempt, and kept over all of them."""

    def __init__(self, work: Work, quarantine: Quarantine, contacts: Contacts) -> None:
        self.work = work
        self.quarantine = quarantine.rows(work.raw, work.refused)
        others = [(event.device_no, event.rx) for _, event in work.events]
        others += [(state.device_no, state.rx) for state in work.states]
        self.heard: Heard = contacts.due(work.rows, others)
        self.marks = touched(work.rows)

    def ledger(self) -> Ledger:
        """Return a fresh account, with what was received and what is refused already."""
        work, ledger = self.work, Ledger()
        refused = [work.raw.received_at[refusal.message] for refusal in work.refused]
        for rows in work.rows:
            ledger.receive(rows.batch.rx)
        ledger.receive([event.rx for _, event in work.events])
        ledger.receive([state.rx for state in work.states])
        ledger.receive(refused)
        ledger.refuse(refused)
        return ledger


class Writer:
    """Writes the batches of one source, over one connection, from one thread.

    Args:
        url: libpq URL of the database.
        source: The source's name.
        offsets: Whether the source stands in a log.
        new_days: How many day partitions of a kind a batch may add.
    """

    def __init__(self, url: str, *, source: str, offsets: bool, new_days: int) -> None:
        self._link = Link(url, f"cityhub ingest {source}")
        self._source = source
        self._offsets = offsets
        self._quarantine = Quarantine(source)
        self._contacts = Contacts()
        self._store = Store()
        self._days = Days(new_days)
        self._partitioned = False
        self._conn: Connection | None = None
        self._way = Way.COPY
        self._target = 0
        self._unsure: int | None = None  # the position that a COMMIT without an answer would set

    def connect(self) -> Connection:
        """Return the connection, in autocommit; made anew where it broke."""
        conn = self._link.connect()
        if conn is not self._conn:
            self._partitioned = not read_edition(conn).hypertables
            self._days.forget()
            self._conn = conn
        return conn

    def close(self) -> None:
        """Let the connection go; an open transaction is gone with it."""
        self._link.close()

    def position(self) -> int:
        """Return where the source stands.

        Raises:
            StoreUnavailableError: The database cannot be reached.
        """
        with translated():
            conn = self.connect()
            conn.execute(_ENSURE, [self._source])
            row = conn.execute(_LOOK, [self._source]).fetchone()
        return int(row[1]) if row else 0

    def plan(self, work: Work) -> Plan:
        """Settle what is written, and what is not; once a batch.

        Raises:
            StoreUnavailableError: Try again; nothing is settled.
        """
        with translated():
            conn = self.connect()
            if self._partitioned:
                self._days.bound(conn, work)
        return Plan(work, self._quarantine, self._contacts)

    def write(self, plan: Plan) -> Ledger:
        """Write a batch; return what became of its records.

        May be called again with the same plan after :class:`StoreUnavailableError`, never after
        success.

        Raises:
            LeaseLostError: Another worker took over.
            StoreUnavailableError: Try again; perhaps it is in, the next attempt will know.
        """
        while True:
            try:
                with translated():
                    ledger = self._attempt(plan)
            except StoreRejectedError as error:
                self._change_way(error)
            except (StoreUnavailableError, LeaseLostError):
                self.close()
                raise
            else:
                break
        # Redeliveries come in rows: as long as there are some, the detour is the shorter way.
        self._way = Way.MERGE if ledger.duplicate.total() else Way.COPY
        self._contacts.written(plan.heard)
        return ledger

    def _attempt(self, plan: Plan) -> Ledger:
        work, conn, ledger = plan.work, self.connect(), plan.ledger()
        if self._partitioned:
            self._days.make(conn, work)
        conn.execute("BEGIN")
        if not self._pass_fence(conn, work):
            conn.execute("ROLLBACK")
            self._unsure = None
            ledger.take_for_stored()
            return ledger
        passing("ingest.before_copy")
        refused = self._store.write(conn, work, ledger, self._way)
        passing("ingest.after_copy")
        self._quarantine.insert(conn, plan.quarantine + self._quarantine.rows(work.raw, refused))
        ledger.refuse([work.raw.received_at[refusal.message] for refusal in refused])
        ledger.add(conn, self._source)
        self._contacts.upsert(conn, plan.heard)
        append(conn, plan.marks)
        save(conn, work.snapshot)
        self._store.write_findings(conn, work.findings, self._way)
        self._commit(conn)
        return ledger

    def _change_way(self, error: StoreRejectedError) -> None:
        """Leave a refused transaction, and choose the way that will do.

        Raises:
            StoreRejectedError: There is none: not the batch is refused, but what we add to it.
        """
        if self._way is Way.SIFT:
            self.close()
            raise error
        with translated():
            self.connect().execute("ROLLBACK")
        self._days.forget()
        unique = isinstance(error.__cause__, UniqueViolation)
        self._way = Way.MERGE if unique and self._way is Way.COPY else Way.SIFT

    def _pass_fence(self, conn: Connection, work: Work) -> bool:
        """Move the fence; return False where this very batch moved it before.

        Raises:
            LeaseLostError: Another worker moved it.
        """
        raw, unsure, now = work.raw, self._unsure, from_micros(work.now)
        if self._offsets:
            values = [raw.position, now, self._source, raw.after]
            if conn.execute(_MOVE, values).rowcount == 1:
                self._target = raw.position
                return True
            row = conn.execute(_LOOK, [self._source]).fetchone()
            if unsure is not None and row is not None and row[1] == unsure:
                return False
            raise LeaseLostError(
                f"source {self._source} stands at {row and row[1]}, not {raw.after}"
            )
        row = conn.execute(_COUNT, [now, self._source, raw.epoch]).fetchone()
        if row is None:
            raise LeaseLostError(f"source {self._source}: epoch {raw.epoch} is over")
        self._target = row[0]
        return unsure is None or row[0] <= unsure

    def _commit(self, conn: Connection) -> None:
        """Commit, with a point between the question and its answer."""
        passing("ingest.before_commit")
        self._unsure = self._target
        conn.pgconn.send_query(b"COMMIT")
        conn.wait(send(conn.pgconn))
        passing("ingest.inside_commit")
        (result,) = conn.wait(fetch_many(conn.pgconn))
        if result.status == ExecStatus.FATAL_ERROR:
            raise error_from_result(result)
        if result.command_status != b"COMMIT":
            raise StoreUnavailableError("the transaction was rolled back instead of committed")
        self._unsure = None
        passing("ingest.after_commit")
