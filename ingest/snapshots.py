"""The detectors' state on disk (检测状态快照): saved in a batch's transaction, loaded at start.

It is taken when the detectors have stepped that batch and nothing after it, for they run ahead of
what is committed. A snapshot carries the position of the log at which it was taken. A worker on a
log reads the rows behind it once more, for the state only, so that the state after a crash is the
one before it. A session on an MQTT broker has no past to read: there the last seconds before a
crash are missing from what the stages learnt. But what was found in these seconds is committed, and
alarms know it: the stages take up the episodes as the findings tell them, so that nothing open is
forgotten. So does a stage whose snapshot is missing, or of another version.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg

from core.batch import Episode, Resumes, Stage
from core.model import Edge, Severity, from_micros, to_micros

log = logging.getLogger(__name__)

_SAVE: Final = """
INSERT INTO hub.detector_state (source, kind, stage, version, position, state, taken_at)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (source, kind, stage) DO UPDATE SET version = excluded.version,
    position = excluded.position, state = excluded.state, taken_at = excluded.taken_at
"""
_LOAD: Final = """
SELECT kind, stage, version, position, state, taken_at FROM hub.detector_state WHERE source = %s
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
Dump = tuple[str, str, str, int, int, bytes, datetime]
"""The state of one stage, as :data:`_SAVE` takes it."""


class Snapshots:
    """Snapshots of one source.

    Args:
        source: Its name.
        every: Microseconds between two.
    """

    def __init__(self, source: str, every: int) -> None:
        self._source = source
        self._every = every
        self._taken = 0

    def take(self, stages: Stages, position: int, now: int) -> list[Dump]:
        """Return all states if it is time, for :func:`save` in the transaction of this batch.

        Either that transaction is committed, however often it must be tried, or the worker ends and
        what it knows with it; so the next one is due from now on.
        """
        if now - self._taken < self._every:
            return []
        self._taken = now
        at = from_micros(now)
        return [
            (self._source, kind, stage.name, stage.version, position, stage.dump(), at)
            for kind, several in stages.items()
            for stage in several
        ]

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
        for kind, name, version, position, state, taken in rows:
            stage = by_name.get((kind, name))
            if stage is None or stage.version != version:
                continue
            try:
                stage.load(state)
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
