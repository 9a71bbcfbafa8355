"""What the tests of ingest share: devices, raw batches, a pipeline of one's own, and a worker."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import psycopg

from core.batch import Batch, DeviceEvent, Finding, Stage
from core.clock import Clock, ManualClock
from core.model import Edge, Severity, Text, to_micros
from core.settings import Ingest
from devices import KINDS, DeviceKind
from devices.native import encode_record
from devices.registry import Device, register
from ingest.pipeline import Pipeline
from ingest.sources import RawBatch, Source
from ingest.worker import run_worker

NOON: Final = datetime(2026, 5, 1, 12, tzinfo=UTC)
NOON_MICROS: Final = to_micros(NOON)
COVER: Final = KINDS["manhole_cover"]
SECOND: Final = 1_000_000

Message = tuple[str, bytes]


def no_stages(kind: DeviceKind, limits: Mapping[int, Mapping[str, Any]]) -> list[Stage]:
    """Build no detectors: what is tested is the way to the tables."""
    del kind, limits
    return []


def add_devices(url: str, *ids: str, kind: str = "manhole_cover", **more: Any) -> list[Device]:
    """Register devices."""
    with psycopg.connect(url) as conn:
        return [register(conn, device_id, kind, **more) for device_id in ids]


def retire(url: str, device_id: str) -> None:
    """Take a device out of service for good."""
    with psycopg.connect(url) as conn:
        conn.execute("UPDATE hub.device SET state = 'retired' WHERE device_id = %s", [device_id])


def telemetry(device_id: str, payload: bytes) -> Message:
    """Return a message of telemetry."""
    return f"hub/{device_id}/telemetry", payload


def cover(device_id: str, seq: int, *, ts: int | None = None, tilt: float = 0.5) -> Message:
    """Return a plain reading of a cover; unless told, a second a count before noon."""
    ts = NOON_MICROS - seq * SECOND if ts is None else ts
    payload = encode_record(COVER, {"tilt": tilt, "batt": 3.6}, ts_micros=ts, seq=seq)
    return telemetry(device_id, payload)


def raw_batch(
    messages: Sequence[Message],
    *,
    after: int = 0,
    epoch: int = 0,
    received_at: int | Sequence[int] = NOON_MICROS,
) -> RawBatch:
    """Return messages as a source hands them over."""
    times = [received_at] * len(messages) if isinstance(received_at, int) else list(received_at)
    return RawBatch(
        topics=[topic.encode() for topic, _ in messages],
        payloads=[payload for _, payload in messages],
        received_at=times,
        epoch=epoch,
        after=after,
        position=after + len(messages),
        content_types={},
    )


@contextmanager
def open_pipeline(
    url: str,
    *,
    build_stages: Any = no_stages,
    clock: Clock | None = None,
    offsets: bool = True,
    source: str = "test",
    **settings: Any,
) -> Iterator[Pipeline]:
    """Lend a started pipeline."""
    pipeline = Pipeline(
        url=url,
        source=source,
        offsets=offsets,
        build_stages=build_stages,
        settings=Ingest(**settings),
        clock=clock or ManualClock(NOON),
    )
    try:
        pipeline.start()
        yield pipeline
    finally:
        pipeline.close()


def take(url: str, messages: Sequence[Message], **options: Any) -> None:
    """Take some messages into a database, as its first batch."""
    batch = {k: options.pop(k) for k in ("after", "epoch", "received_at") if k in options}
    with open_pipeline(url, **options) as pipeline:
        pipeline.take(raw_batch(messages, **batch))


@asynccontextmanager
async def running_worker(
    url: str, source: Source, clock: Clock, *, build_stages: Any = no_stages, **settings: Any
) -> AsyncIterator["asyncio.Task[None]"]:
    """Run a worker beside the test, and end it afterwards; its failure fails the test."""
    task: asyncio.Task[None] = asyncio.create_task(
        run_worker(
            url=url,
            source=source,
            build_stages=build_stages,
            settings=Ingest(**settings),
            clock=clock,
        )
    )
    try:
        yield task
    finally:
        failed = task.done()
        task.cancel()
        await asyncio.wait([task])
        if failed:
            task.result()


def query(url: str, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a statement."""
    with psycopg.connect(url) as conn:
        return conn.execute(statement.encode(), list(parameters)).fetchall()


def count(url: str, table: str) -> int:
    """Return how many rows a table has."""
    return int(query(url, f"SELECT count(*) FROM hub.{table}")[0][0])


def codes(url: str) -> dict[str, int]:
    """Return what is in quarantine: how many by reason."""
    rows = query(url, "SELECT code, sum(repeat_count)::int FROM hub.quarantine GROUP BY code")
    return {str(code): int(number) for code, number in rows}


def ledger(url: str) -> tuple[int, int, int, int]:
    """Return received, stored, duplicate and quarantined over all minutes."""
    sums = ", ".join(
        f"coalesce(sum({name}), 0)::int"
        for name in ("received", "stored", "duplicate", "quarantined")
    )
    ((received, stored, duplicate, quarantined),) = query(url, f"SELECT {sums} FROM hub.ledger")
    return received, stored, duplicate, quarantined


def values_of(url: str, columns: str, kind: str = "manhole_cover") -> list[tuple[Any, ...]]:
    """Return some columns of all readings of a kind, by device, time and counter."""
    return query(url, f"SELECT {columns} FROM hub.reading_{kind} ORDER BY device_no, ts, seq")


def interleaved(streams: Iterable[Sequence[Message]]) -> list[Message]:
    """Return messages of several devices, one of each in turn."""
    return [message for turn in zip(*streams, strict=True) for message in turn]


class Watcher:
    """A stage that finds each tilt past ten degrees, remembers what it saw, and may be poisoned."""

    name = "watcher"
    version = 1

    def __init__(self, poisoned: int = 0) -> None:
        self.seen: list[tuple[int, int]] = []
        self.events: list[DeviceEvent] = []
        self._poisoned = poisoned

    def apply(self, batch: Batch) -> Sequence[Finding]:
        if self._poisoned in batch.device_no:
            raise ZeroDivisionError
        self.seen += zip(batch.device_no.tolist(), batch.seq.tolist(), strict=True)
        return [self._finding(batch, int(row)) for row in np.flatnonzero(batch.values[0] > 10)]

    def apply_events(self, events: Sequence[DeviceEvent]) -> Sequence[Finding]:
        if any(event.device_no == self._poisoned for event in events):
            raise ZeroDivisionError
        self.events += events
        return []

    def dump(self) -> bytes:
        return json.dumps(self.seen).encode()

    def load(self, state: bytes | memoryview) -> None:
        self.seen = [(int(device), int(seq)) for device, seq in json.loads(bytes(state))]

    def _finding(self, batch: Batch, row: int) -> Finding:
        ts = int(batch.ts[row])
        return Finding(
            device_no=int(batch.device_no[row]),
            rule_id="cover_shift",
            detector=self.name,
            kind="tilt",
            edge=Edge.ONCE,
            ts=ts,
            first_ts=ts,
            received_at=int(batch.rx[row]),
            severity=Severity.ORANGE,
            explain=Text("倾斜", "tilted"),
        )


class Stages:
    """Builds one watcher for covers, and keeps it for the test to look at."""

    def __init__(self, poisoned: int = 0) -> None:
        self.poisoned = poisoned
        self.watcher = Watcher()

    def __call__(
        self, kind: DeviceKind, limits: Mapping[int, Mapping[str, Any]]
    ) -> Sequence[Watcher]:
        del limits
        if kind is not COVER:
            return []
        self.watcher = Watcher(self.poisoned)
        return [self.watcher]


def end_sessions(url: str) -> None:
    """Cut all connections of the workers, as a restart of the server would."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name LIKE 'cityhub ingest%' AND datname = current_database()"
        )
