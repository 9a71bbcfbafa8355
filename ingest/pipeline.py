"""One batch from raw messages to COMMIT: judged in one thread, committed in another.

A batch is decoded and stepped through the detectors once; only its transaction is tried again,
for as long as the database is away. So a detector never sees a row twice, whatever breaks.

While one batch waits for COPY and COMMIT, the next ones are decoded and judged. The detectors then
stand ahead of what is committed, which only their snapshot must know: it is taken behind the batch
that it is saved with. And a batch that can never be committed ends the worker, so what its
detectors learnt from it, and from those behind it, is gone with them.

:meth:`Pipeline.judge` and :meth:`Pipeline.rescore` are for one thread, :meth:`Pipeline.commit` is
for another. Registry, routes, clocks and stages belong to the first; fence, quarantine, contacts
and the transaction to the second. Each has a connection of its own.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, repeat
from operator import attrgetter
from pathlib import Path
from typing import Final, TypeVar

from core.batch import DeviceEvent
from core.clock import Clock
from core.db import translated
from core.errors import StoreUnavailableError
from core.metrics import BATCH_ROWS, COMMIT_SECONDS, FINDINGS, QUARANTINED, READINGS, RECORDS
from core.settings import Ingest
from devices import KINDS
from devices.registry import Registry
from ingest.chatter import Chatter
from ingest.columns import Columns
from ingest.decode import Decoder, Work
from ingest.judge import BuildStages, Judge
from ingest.ledger import Ledger
from ingest.link import Link
from ingest.payload_watch import PayloadWatch
from ingest.routes import Routes
from ingest.slow_clocks import SlowClocks
from ingest.snapshots import Snapshots
from ingest.sources import RawBatch
from ingest.times import TimeRules
from ingest.writer import Writer

log = logging.getLogger(__name__)

PAUSES: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between attempts while the database is away; the last repeats."""
T = TypeVar("T")


class StoppedError(Exception):
    """The worker is told to stop while it waits for the database."""


class Pipeline:
    """Decoder, detectors and writer of one source.

    Args:
        url: libpq URL of the database.
        source: The source's name.
        offsets: Whether it stands in a log.
        build_stages: Makes the detectors of a kind.
        settings: Limits and rules.
        clock: The hub's time.
        states: Folder for large states of detectors; None: they go into rows.
    """

    def __init__(
        self,
        *,
        url: str,
        source: str,
        offsets: bool,
        build_stages: BuildStages,
        settings: Ingest,
        clock: Clock,
        states: Path | None = None,
    ) -> None:
        rules = TimeRules.of(max_future_s=settings.max_future_s, max_age_days=settings.max_age_days)
        columns = {name: Columns(kind, rules) for name, kind in KINDS.items()}
        self._source = source
        self._offsets = offsets
        self._clock = clock
        self._registry = Registry()
        self._routes = Routes(self._registry, columns, enrols=settings.unknown_devices == "open")
        self._decoder = Decoder(
            self._registry,
            columns,
            rules=rules,
            max_payload=settings.max_payload,
            max_records=settings.max_records,
        )
        self._clocks = SlowClocks()
        self._payloads = PayloadWatch()
        self._chatter = Chatter(settings.chatty_per_minute)
        self._judge = Judge(build_stages, self._registry)
        self._snapshots = Snapshots(source, every=round(settings.snapshot_s * 1e6), folder=states)
        self._link = Link(url, f"cityhub ingest {source} registry")
        self._writer = Writer(url, source=source, offsets=offsets, new_days=settings.new_days)
        self._stopping = threading.Event()
        self._stale = True

    def start(self) -> tuple[int, int]:
        """Load the detectors' state; return from where to read, and where the readings stand.

        Both are 0 for a source without offsets. They differ on a log that moved on after the last
        snapshot: the rows between the two are for :meth:`rescore`.
        """
        committed = self._insist(self._writer.position, self._writer.close)
        taken = self._insist(self._load_state, self._link.close)
        if not self._offsets:
            return 0, 0
        return (committed if taken is None else min(taken, committed)), committed

    def take(self, raw: RawBatch) -> None:
        """Judge and commit a batch.

        Raises:
            LeaseLostError: Another worker took over; the batch is theirs.
            StoppedError: :meth:`stop` was called while the database was away.
        """
        self.commit(self.judge(raw))

    def judge(self, raw: RawBatch) -> Work:
        """Decode a batch and step the detectors over it, for :meth:`commit` in the same order.

        Raises:
            StoppedError: :meth:`stop` was called while the database was away.
        """
        work = self._judged(raw)
        work.snapshot = self._snapshots.take(self._judge.stages, raw.position, work.now)
        return work

    def commit(self, work: Work) -> None:
        """Commit a batch.

        Raises:
            LeaseLostError: Another worker took over; the batch is theirs.
            StoppedError: :meth:`stop` was called while the database was away.
        """
        plan = self._insist(lambda: self._writer.plan(work), self._writer.close)
        with COMMIT_SECONDS.labels(self._source).time():
            ledger = self._insist(lambda: self._writer.write(plan), self._writer.close)
        self._snapshots.committed(work.snapshot)
        self._count(work, ledger)

    def rescore(self, raw: RawBatch) -> None:
        """Step the detectors over rows that are committed already; what they find is known."""
        self._judged(raw)

    def devices_changed(self) -> None:
        """Load the registry anew before the next batch. From any thread."""
        self._stale = True

    def stop(self) -> None:
        """End a wait for the database. From any thread."""
        self._stopping.set()

    def close(self) -> None:
        """Let the connections go."""
        self._snapshots.close()
        self._link.close()
        self._writer.close()

    def _judged(self, raw: RawBatch) -> Work:
        self._insist(lambda: self._learn(raw.topics), self._link.close)
        work = self._decoder.decode(raw, self._routes.cache, self._clock.micros())
        self._clocks.correct(work)
        work.findings += self._chatter.look(work.rows, work.now)
        for rows in work.rows:
            work.findings += self._judge.step(rows.batch)
        for kind, events in self._by_kind([event for _, event in work.events]).items():
            work.findings += self._judge.step_events(kind, events, work.now)
        work.findings += self._payloads.look(work)
        work.findings.sort(key=attrgetter("ts"))  # as they happened, however a batch was cut
        return work

    def _learn(self, topics: Sequence[bytes]) -> None:
        with translated():
            if self._stale:
                self._stale = False
                try:
                    self._registry.load(self._link.connect())
                except BaseException:
                    self._stale = True
                    raise
            self._routes.learn(topics, self._link.connect)

    def _load_state(self) -> int | None:
        with translated():
            conn = self._link.connect()
            self._clocks.load(conn)
            return self._snapshots.load(conn, self._judge.stages, rescores=self._offsets)

    def _by_kind(self, events: Sequence[DeviceEvent]) -> Mapping[str, list[DeviceEvent]]:
        found: dict[str, list[DeviceEvent]] = {}
        for event in events:
            found.setdefault(self._registry.by_no[event.device_no].kind, []).append(event)
        return found

    def _insist(self, attempt: Callable[[], T], hang_up: Callable[[], None]) -> T:
        """Do something until the database answers; the broker holds the rest meanwhile."""
        for pause in chain(PAUSES, repeat(PAUSES[-1])):
            try:
                return attempt()
            except StoreUnavailableError as error:
                log.warning(
                    "the database is away; nothing is acknowledged, nothing lost",
                    extra={"retry_in_s": pause, "reason": str(error).strip()},
                )
                hang_up()
                if self._stopping.wait(pause):
                    raise StoppedError from error
        raise AssertionError("unreachable")

    def _count(self, work: Work, ledger: Ledger) -> None:
        BATCH_ROWS.labels(self._source).observe(len(work.raw))
        for outcome in ("stored", "duplicate", "quarantined"):
            RECORDS.labels(self._source, outcome).inc(getattr(ledger, outcome).total())
        for rows in work.rows:
            READINGS.labels(self._source, rows.batch.kind).inc(len(rows.batch))
        for refusal in work.refused:
            QUARANTINED.labels(self._source, refusal.code).inc()
        for finding in work.findings:
            FINDINGS.labels(finding.rule_id).inc()
