"""The statements that write what devices send; each in the caller's transaction."""

import json
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from psycopg.abc import PQGen
from psycopg.errors import error_from_result
from psycopg.generators import fetch_many, send
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import WAIT_W

from core.batch import DeviceEvent, Finding
from core.copy import RowPacker
from core.findings import INSERT_FINDING, LOCK_FINDINGS, NOTIFY_FINDING, finding_rows
from core.model import from_micros
from devices import KINDS
from ingest.decode import StateChange
from ingest.rows import Rows

Connection = psycopg.Connection[Any]

_AT_ONCE: Final = 1 << 20  # bytes; libpq keeps what the server does not take at once
_EVENT: Final = """
INSERT INTO hub.device_event (ts, seq, device_no, name, active, detail, quality)
VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_STATE: Final = """
INSERT INTO hub.device_state AS s (device_no, at, online, detail) VALUES (%s, %s, %s, %s)
ON CONFLICT (device_no) DO UPDATE SET at = excluded.at, online = excluded.online,
    detail = excluded.detail
WHERE s.at < excluded.at
"""


class ReadingTables:
    """The reading tables of all kinds."""

    def __init__(self) -> None:
        self._packers = {name: RowPacker(kind.table) for name, kind in KINDS.items()}
        self._copies = {
            name: _copy_statement(kind.table.identifier, self._packers[name])
            for name, kind in KINDS.items()
        }

    def copy(self, conn: Connection, blocks: Sequence[Rows]) -> None:
        """Put readings straight into their tables, those of all kinds with one question.

        Each wait for the server gives the interpreter to another thread, which may keep it for a
        while. So there is one wait a kind, for what the server says to its last row. All is packed
        beforehand: a server that waits for rows knows no time limit, and holds the fence.

        Raises:
            psycopg.errors.UniqueViolation: One of them is there already.
        """
        if not blocks:
            return
        packed = [rows.pack(self._packers[rows.kind.name]) for rows in blocks]
        _ask(conn, b"; ".join(self._copies[rows.kind.name] for rows in blocks))
        for block in packed:
            _send(conn, block)

    def merge(self, conn: Connection, rows: Rows, some: NDArray[np.intp]) -> int:
        """Put some readings into their table; return how many were not there yet."""
        packer = self._packers[rows.kind.name]
        table = rows.kind.table.identifier
        stage = sql.Identifier("pg_temp", f"stage_{rows.kind.name}")
        conn.execute(
            sql.SQL("CREATE TEMP TABLE IF NOT EXISTS {} (LIKE {}) ON COMMIT DELETE ROWS").format(
                sql.Identifier(f"stage_{rows.kind.name}"), table
            )
        )
        packed = rows.pack(packer, some)
        _ask(conn, _copy_statement(stage, packer))
        _send(conn, packed)
        cursor = conn.execute(
            sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} ON CONFLICT DO NOTHING").format(
                table, packer.columns, packer.columns, stage
            )
        )
        stored = cursor.rowcount
        conn.execute(sql.SQL("TRUNCATE {}").format(stage))
        return stored


def _copy_statement(table: sql.Identifier, packer: RowPacker) -> bytes:
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)")
    return statement.format(table, packer.columns).as_bytes(None)


def _ask(conn: Connection, statements: bytes) -> None:
    """Begin one COPY after the other; the server waits for the rows of the first."""
    conn.pgconn.send_query(statements)
    conn.wait(send(conn.pgconn))
    _check(conn.wait(fetch_many(conn.pgconn))[-1], ExecStatus.COPY_IN)


def _send(conn: Connection, packed: bytes) -> None:
    """Give the rows of one COPY, to the end; then the server waits for those of the next."""
    pgconn, whole = conn.pgconn, memoryview(packed)
    for start in range(0, len(packed), _AT_ONCE):
        pgconn.put_copy_data(whole[start : start + _AT_ONCE])
    _check(conn.wait(_end(pgconn))[0], ExecStatus.COMMAND_OK)


def _end(pgconn: PGconn) -> PQGen[list[PGresult]]:
    while not pgconn.put_copy_end():
        yield WAIT_W
    while pgconn.flush():
        yield WAIT_W
    results: list[PGresult] = yield from fetch_many(pgconn)
    return results


def _check(result: PGresult, expected: ExecStatus) -> None:
    if result.status != expected:
        raise error_from_result(result)


def write_events(conn: Connection, events: Sequence[DeviceEvent]) -> int:
    """Write device events; return how many were not there yet."""
    with conn.cursor() as cursor:
        cursor.executemany(_EVENT, [_event_row(event) for event in events])
        return cursor.rowcount


def write_states(conn: Connection, states: Sequence[StateChange]) -> int:
    """Write states; return how many were newer than what the table had.

    Sorted by device, so that two workers lock rows in one order.
    """
    ordered = sorted(states, key=lambda state: (state.device_no, state.at))
    with conn.cursor() as cursor:
        cursor.executemany(_STATE, [_state_row(state) for state in ordered])
        return cursor.rowcount


def write_findings(conn: Connection, findings: Sequence[Finding]) -> None:
    """Write findings, as the last act but the commit: the lock is held that long."""
    if findings:
        conn.execute(LOCK_FINDINGS)
        with conn.cursor() as cursor:
            cursor.executemany(INSERT_FINDING, finding_rows(findings))
        conn.execute(NOTIFY_FINDING)


def _event_row(event: DeviceEvent) -> tuple[Any, ...]:
    return (
        from_micros(event.ts),
        event.seq if event.seq >= 0 else None,
        event.device_no,
        event.name,
        event.on,
        json.dumps(event.values, ensure_ascii=False),
        event.quality,
    )


def _state_row(state: StateChange) -> tuple[Any, ...]:
    detail = json.dumps(state.detail, ensure_ascii=False)
    return (state.device_no, from_micros(state.at), state.online, detail)
