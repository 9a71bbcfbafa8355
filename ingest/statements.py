"""The statements that write what devices send; each in the caller's transaction."""

import json
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from core.batch import DeviceEvent, Finding
from core.copy import RowPacker
from core.findings import INSERT_FINDING, LOCK_FINDINGS, NOTIFY_FINDING, finding_rows
from core.model import from_micros
from devices import KINDS
from ingest.decode import StateChange
from ingest.rows import Rows

Connection = psycopg.Connection[Any]

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

    def copy(self, conn: Connection, rows: Rows) -> None:
        """Put readings straight into their table.

        Raises:
            psycopg.errors.UniqueViolation: One of them is there already.
        """
        packer = self._packers[rows.kind.name]
        _stream(conn, self._copies[rows.kind.name], rows.pack(packer))

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
        _stream(conn, _copy_statement(stage, packer), rows.pack(packer, some))
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


def _stream(conn: Connection, statement: bytes, packed: bytes) -> None:
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(packed)


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
