"""The detectors' state on disk (检测状态快照): saved in a batch's transaction, loaded at start.

It is taken when the detectors have stepped that batch and nothing after it, for they run ahead of
what is committed. A snapshot carries the position of the log at which it was taken. A worker on a
log reads the rows behind it once more, for the state only, so that the state after a crash is the
one before it. A session on an MQTT broker has no past to read: there the last seconds before a
crash are missing from what the stages learnt. But what was found in these seconds is committed, and
alarms know it: the stages take up the episodes as the findings tell them, so that nothing open is
forgotten. So does a stage whose snapshot is missing, or of another version.

Small states go into their rows with the batch that they belong to. Where all together are large,
they are copied as they stand behind that batch, a part behind each of the next ones so that no
reading waits; then they are written to files by another thread, and the rows that name the files
are saved with the first batch after that; all rows of a snapshot have one position. The larger they
are the more rarely it is done, so that they cost a megabyte of writing a second.
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg

from core.batch import Episode, Freezes, Freezing, Frozen, Resumes, Stage
from core.model import Edge, Severity, from_micros, to_micros
from ingest.state_files import names_of, open_state, sweep, write_state

log = logging.getLogger(__name__)

_SAVE: Final = """
INSERT INTO hub.detector_state (source, kind, stage, version, position, state, taken_at, file)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (source, kind, stage) DO UPDATE SET version = excluded.version,
    position = excluded.position, state = excluded.state, taken_at = excluded.taken_at,
    file = excluded.file
"""
_LOAD: Final = """
SELECT kind, stage, version, position, state, taken_at, file
  FROM hub.detector_state WHERE source = %s
"""
_FOUND: Final = """
SELECT f.* FROM (
    SELECT DISTINCT ON (device_no, detector, rule_id, metric) finding_id, device_no, detector,
           rule_id, metric, edge, ts, first_ts, severity, flags, detail
      FROM hub.finding
     WHERE edge <> 'once' AND detector = %s
       AND received_at >= coalesce(%s::timestamptz, '-infinity')
     ORDER BY device_no, detector, rule_id, metric, finding_id DESC) AS f
  JOIN hub.device AS d USING (device_no) WHERE d.kind = %s ORDER BY f.finding_id
"""
_WAITED: Final = timedelta(minutes=10)
"""What was found in a batch after a snapshot was received at most so long before it."""

Stages = Mapping[str, Sequence[Stage]]
Dump = tuple[str, str, str, int, int, bytes, datetime, str | None]
"""The state of one stage, as :data:`_SAVE` takes it: its bytes, or the file with them."""
_LARGE: Final = 1 << 20
"""From so many bytes on a state is no row any more."""
_BYTES_A_SECOND: Final = 1_000_000
_PART: Final = 8 << 20
"""Bytes copied behind a batch: some ten milliseconds."""


@dataclass(frozen=True, slots=True)
class _State:
    """The state of one stage, not yet a row."""

    kind: str
    stage: str
    version: int
    data: Freezing | bytes

    @property
    def size(self) -> int:
        return len(self.data) if isinstance(self.data, bytes) else self.data.size

    def advance(self, most: int) -> bool:
        """Copy some more of it; return whether all is there."""
        return isinstance(self.data, bytes) or self.data.advance(most)


@dataclass(frozen=True, slots=True)
class _Copy:
    """All states as they were behind one batch, until they are copied."""

    states: Sequence[_State]
    position: int
    now: int

    def advance(self, most: int) -> bool:
        """Copy some more of the first that is not complete; return whether all are."""
        return all(state.advance(most) for state in self.states)


def _data_of(stage: Stage) -> Freezing | bytes:
    return stage.freeze() if isinstance(stage, Freezes) else stage.dump()


class Snapshots:
    """Snapshots of one source.

    Args:
        source: Its name.
        every: Microseconds between two at least.
        folder: Where large states are kept; None: in the rows, however large.
    """

    def __init__(self, source: str, every: int, folder: Path | None = None) -> None:
        self._source = source
        self._every = every
        self._folder = folder
        self._taken = 0
        self._bytes = 0
        self._thread: ThreadPoolExecutor | None = None
        self._copy: _Copy | None = None
        self._writing: Future[list[Dump]] | None = None
        self._lock = threading.Lock()  # between the start of a write and that of a sweep

    def take(self, stages: Stages, position: int, now: int) -> list[Dump]:
        """Return all states if it is time, for :func:`save` in the transaction of this batch.

        Either that transaction is committed, however often it must be tried, or the worker ends and
        what it knows with it; so the next one is due from now on.
        """
        if self._copy is not None:
            if self._copy.advance(_PART):
                self._write(self._copy)
                self._copy = None
            return []
        if self._writing is not None:
            return self._written(self._writing) if self._writing.done() else []
        if now - self._taken < max(self._every, self._bytes * 1_000_000 // _BYTES_A_SECOND):
            return []
        self._taken = now
        states = [
            _State(kind, stage.name, stage.version, _data_of(stage))
            for kind, several in stages.items()
            for stage in several
        ]
        self._bytes = sum(state.size for state in states)
        if self._folder is None or self._bytes < _LARGE:
            for state in states:
                state.advance(state.size)
            self._bytes = 0
            return [self._row(state, position, now) for state in states]
        self._copy = _Copy(states, position, now)
        return []

    def committed(self, rows: Sequence[Dump]) -> None:
        """Note that rows of :meth:`take` are committed: the files before them go. Any thread."""
        folder = self._folder
        if not rows or folder is None or not folder.is_dir():
            return
        with self._lock:
            if self._writing is None:  # else what is being written would go too; next time
                self._behind().submit(sweep, folder, self._source, names_of(rows))

    def close(self) -> None:
        """Wait for what is being written."""
        if self._thread is not None:
            self._thread.shutdown(wait=True)

    def _behind(self) -> ThreadPoolExecutor:
        """Return the thread that writes and sweeps, one after the other."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, f"states-{self._source}")
        return self._thread

    def _write(self, copy: _Copy) -> None:
        def rows() -> list[Dump]:
            return [self._row(state, copy.position, copy.now, apart=True) for state in copy.states]

        with self._lock:
            self._writing = self._behind().submit(rows)

    def _written(self, writing: Future[list[Dump]]) -> list[Dump]:
        self._writing = None
        try:
            return writing.result()
        except OSError as error:
            log.warning(
                "the detectors' state cannot be written; the one before stands",
                extra={"folder": str(self._folder), "reason": str(error)},
            )
            return []

    def _row(self, state: _State, position: int, now: int, *, apart: bool = False) -> Dump:
        file = None
        data = state.data if isinstance(state.data, bytes) else state.data.frozen()
        if apart and self._folder is not None and state.size >= _LARGE:
            name = f"{self._source}.{state.kind}.{state.stage}.{now}"
            file, data = write_state(self._folder, name, data), b""
        if isinstance(data, Frozen):
            data = b"".join(data.parts())
        at = from_micros(now)
        return self._source, state.kind, state.stage, state.version, position, data, at, file

    def load(self, conn: psycopg.Connection[Any], stages: Stages, *, rescores: bool) -> int | None:
        """Load the states of the right version, and take up the episodes that they do not know.

        Args:
            conn: The database.
            stages: By kind.
            rescores: The rows since the snapshot are read once more.

        Returns:
            The position at which they were taken; None: there was none to load, or they were taken
            at different positions, so that reading again would step some rows twice.
        """
        by_name = {
            (kind, stage.name): stage for kind, several in stages.items() for stage in several
        }
        positions, taken_at = set(), dict[tuple[str, str], datetime]()
        rows = conn.execute(_LOAD, [self._source]).fetchall()
        for kind, name, version, position, data, taken, file in rows:
            stage = by_name.get((kind, name))
            if stage is None or stage.version != version:
                continue
            try:
                stage.load(data if file is None else self._open(file, stage))
            except ValueError as error:
                log.warning(
                    "a detector's state cannot be read; it learns anew",
                    extra={"stage": name, "kind": kind, "reason": str(error)},
                )
            else:
                positions.add(position)
                taken_at[kind, name] = taken
        for key, stage in by_name.items():
            if key not in taken_at or not rescores:
                self._take_up(conn, key[0], stage, taken_at.get(key))
        return positions.pop() if len(positions) == 1 else None

    def _open(self, file: str, stage: Stage) -> memoryview:
        if self._folder is None:
            raise ValueError(f"its file {file} is in a folder that is not named here")
        return open_state(self._folder, file, frozen=isinstance(stage, Freezes))

    def _take_up(
        self, conn: psycopg.Connection[Any], kind: str, stage: Stage, since: datetime | None
    ) -> None:
        """Have a stage take up what it found after a time; None: ever."""
        if not isinstance(stage, Resumes):
            return
        after = None if since is None else since - _WAITED
        found = conn.execute(_FOUND, [stage.name, after, kind]).fetchall()
        if not found:
            return
        stage.resume(
            [
                Episode(
                    device_no=device_no,
                    rule_id=rule_id,
                    metric=metric,
                    is_open=edge != Edge.CLEAR.value,
                    ts=to_micros(ts),
                    first_ts=to_micros(first_ts),
                    severity=Severity(severity),
                    flags=tuple(flags),
                    detail=detail,
                )
                for (
                    _,
                    device_no,
                    _,
                    rule_id,
                    metric,
                    edge,
                    ts,
                    first_ts,
                    severity,
                    flags,
                    detail,
                ) in found
            ]
        )


def save(conn: psycopg.Connection[Any], dumps: Sequence[Dump]) -> None:
    """Save states, in the caller's transaction."""
    if dumps:
        with conn.cursor() as cursor:
            cursor.executemany(_SAVE, dumps)
