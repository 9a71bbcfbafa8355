"""What one batch writes to the tables, in the three ways there are.

``COPY`` puts readings straight into their table: the way of nearly every batch, 2 µs of the server
a row. A single row that is there already makes it fail as a whole, then ``MERGE`` takes the detour
over a temporary table and counts what was new. Where the database refuses something for good,
``SIFT`` halves until it is alone, and names it for quarantine. All in the caller's transaction.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from functools import partial
from typing import Any, TypeVar

import numpy as np
import psycopg

from core.batch import DeviceEvent, Finding
from ingest.decode import Refusal, StateChange, Work
from ingest.ledger import MINUTE, Ledger
from ingest.rows import Rows
from ingest.statements import ReadingTables, write_events, write_findings, write_states

Connection = psycopg.Connection[Any]
T = TypeVar("T")

log = logging.getLogger(__name__)


class Way(IntEnum):
    """How a batch gets into its tables."""

    COPY = 0
    MERGE = 1
    SIFT = 2


class Store:
    """Writes readings, events and states."""

    def __init__(self) -> None:
        self._tables = ReadingTables()

    def write(self, conn: Connection, work: Work, ledger: Ledger, way: Way) -> list[Refusal]:
        """Write a batch and count what became of it.

        Returns:
            What the database refuses; nothing but by the way ``SIFT``.

        Raises:
            psycopg.IntegrityError: Something is there already, or refused; try the next way.
            psycopg.DataError: Something is refused.
        """
        refused: list[Refusal] = []
        if way is Way.COPY:
            self._tables.copy(conn, work.rows)
            for rows in work.rows:
                ledger.store(rows.batch.rx)
        else:
            for rows in work.rows:
                refused += self._rows(conn, rows, ledger, way)

        def put_events(some: Sequence[tuple[int, DeviceEvent]]) -> int:
            return write_events(conn, [event for _, event in some])

        received = [event.rx for _, event in work.events]
        for (message, event), detail in _put(
            conn, work.events, received, put_events, ledger=ledger, way=way
        ):
            refused.append(Refusal(message, "store_rejected", detail, event.device_no))

        def put_states(some: Sequence[StateChange]) -> int:
            return write_states(conn, some)

        received = [state.rx for state in work.states]
        for state, detail in _put(conn, work.states, received, put_states, ledger=ledger, way=way):
            refused.append(Refusal(state.message, "store_rejected", detail, state.device_no))
        return refused

    def write_findings(self, conn: Connection, findings: Sequence[Finding], way: Way) -> None:
        """Write findings, as the last act but the commit; one that is refused is only logged."""
        if way is not Way.SIFT:
            write_findings(conn, findings)
            return
        for finding, detail in sift(conn, findings, partial(write_findings, conn)):
            log.error(
                "the database refuses a finding; it is lost",
                extra={"rule": finding.rule_id, "device": finding.device_no, "reason": detail},
            )

    def _rows(self, conn: Connection, rows: Rows, ledger: Ledger, way: Way) -> list[Refusal]:
        def merge(some: Sequence[int]) -> int:
            return self._tables.merge(conn, rows, np.array(some, np.intp))

        every, received = range(len(rows)), rows.batch.rx.tolist()
        return [
            Refusal(
                int(rows.message[row]), "store_rejected", detail, int(rows.batch.device_no[row])
            )
            for row, detail in _put(conn, every, received, merge, ledger=ledger, way=way)
        ]


def _put(
    conn: Connection,
    items: Sequence[T],
    received_at: Sequence[int],
    put: Callable[[Sequence[T]], int],
    *,
    ledger: Ledger,
    way: Way,
) -> list[tuple[T, str]]:
    """Write items a minute of receipt, for the ledger; return the refused with the reason."""
    refused: list[tuple[T, str]] = []
    for minute, some in by_minute(items, received_at):

        def write(chosen: Sequence[T], minute: int = minute) -> None:
            ledger.write(minute, taken=len(chosen), stored=put(chosen))

        if way is Way.SIFT:
            refused += sift(conn, some, write)
        else:
            write(some)
    return refused


def by_minute(items: Sequence[T], received_at: Sequence[int]) -> Iterator[tuple[int, list[T]]]:
    """Yield each minute of receipt with its items; nearly always there is one.

    >>> list(by_minute("abc", [59_000_000, 60_000_000, 59_999_999]))
    [(0, ['a', 'c']), (1, ['b'])]
    """
    if not items:
        return
    first = min(received_at) // MINUTE
    if max(received_at) // MINUTE == first:
        yield first, list(items)
        return
    minutes = [at // MINUTE for at in received_at]
    for minute in sorted(set(minutes)):
        yield minute, [item for item, at in zip(items, minutes, strict=True) if at == minute]


def sift(
    conn: Connection, items: Sequence[T], write: Callable[[Sequence[T]], object]
) -> list[tuple[T, str]]:
    """Write what the database takes; return the items it refuses, with its words.

    Each attempt is a savepoint, so what is refused leaves nothing behind.
    """
    if not items:
        return []
    try:
        with conn.transaction():
            write(items)
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        if len(items) == 1:
            return [(items[0], str(error).splitlines()[0])]
        middle = len(items) // 2
        return sift(conn, items[:middle], write) + sift(conn, items[middle:], write)
    return []
