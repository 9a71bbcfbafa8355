"""COPY with nothing around it: the same rows, packed as the hub packs them, a COMMIT a batch."""

import time
from typing import Any

import psycopg
from psycopg import sql

from cityhub.bench.arena import Arena, Figures
from cityhub.bench.drain import cpu_of
from cityhub.bench.load import Load
from core.clock import SystemClock
from core.copy import RowPacker
from core.settings import Settings
from devices import KINDS
from devices.registry import Registry
from ingest.columns import Columns
from ingest.decode import Decoder
from ingest.routes import Routes
from ingest.sources import RawBatch
from ingest.times import TimeRules


class Copied:
    """Packs a load beforehand, then copies it.

    Args:
        settings: Batch and rules of the hub.
        arena: Whose database it writes.
    """

    def __init__(self, settings: Settings, arena: Arena) -> None:
        own = settings.ingest
        self._batch = own.batch
        self._arena = arena
        rules = TimeRules.of(max_future_s=own.max_future_s, max_age_days=own.max_age_days)
        columns = {name: Columns(kind, rules) for name, kind in KINDS.items()}
        self._registry = Registry()
        self._routes = Routes(self._registry, columns, enrols=False)
        self._decoder = Decoder(
            self._registry,
            columns,
            rules=rules,
            max_payload=own.max_payload,
            max_records=own.max_records,
        )
        self._packers = {name: RowPacker(kind.table) for name, kind in KINDS.items()}

    def copy(self, load: Load) -> Figures:
        """Copy a load; return rows, and seconds of wall time and of the database's CPU."""
        with psycopg.connect(self._arena.url, autocommit=True) as conn:
            blocks = self._pack(conn, load)
            conn.execute("CHECKPOINT")
            server = self._arena.server
            before, start = cpu_of(server), time.perf_counter()
            for block in blocks:
                with conn.transaction():
                    for statement, packed in block:
                        with conn.cursor() as cursor, cursor.copy(statement) as copy:
                            copy.write(packed)
            wall = time.perf_counter() - start
            return {
                "rows": load.rows.total(),
                "wall_s": wall,
                "database_cpu_s": cpu_of(server) - before,
            }

    def _pack(
        self, conn: psycopg.Connection[Any], load: Load
    ) -> list[list[tuple[sql.Composed, bytes]]]:
        """Return the hub's batches, a packed block a kind in each."""
        self._registry.load(conn)
        blocks, now = [], SystemClock().micros()
        for start in range(0, len(load), self._batch):
            some = load.messages[start : start + self._batch]
            topics = [topic.encode() for topic, _ in some]
            self._routes.learn(topics, lambda: conn)
            payloads = [payload for _, payload in some]
            raw = RawBatch(topics, payloads, [now] * len(some), 0, 0, 0, {})
            work = self._decoder.decode(raw, self._routes.cache, now)
            blocks.append([(self._statement(r.kind.name), self._packed(r)) for r in work.rows])
        return blocks

    def _packed(self, rows: Any) -> bytes:
        packed: bytes = rows.pack(self._packers[rows.kind.name])
        return packed

    def _statement(self, kind: str) -> sql.Composed:
        return sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
            KINDS[kind].table.identifier, self._packers[kind].columns
        )
