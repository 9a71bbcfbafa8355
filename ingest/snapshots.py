"""The detectors' state on disk (检测状态快照): taken in a batch's transaction, loaded at start.

A snapshot carries the position of the log at which it was taken. A worker on a log reads the rows
behind it once more, for the state only, so that the state after a crash is the one before it. A
session on an MQTT broker has no past to read: there the last seconds before a crash are missing
from the state, and the stages learn on.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

import psycopg

from core.batch import Stage
from core.model import from_micros

log = logging.getLogger(__name__)

_SAVE: Final = """
INSERT INTO hub.detector_state (source, kind, stage, version, position, state, taken_at)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (source, kind, stage) DO UPDATE SET version = excluded.version,
    position = excluded.position, state = excluded.state, taken_at = excluded.taken_at
"""
_LOAD: Final = (
    "SELECT kind, stage, version, position, state FROM hub.detector_state WHERE source = %s"
)

Stages = Mapping[str, Sequence[Stage]]


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

    def save(self, conn: psycopg.Connection[Any], stages: Stages, position: int, now: int) -> bool:
        """Save all states if it is time, in the caller's transaction; return whether it was."""
        if now - self._taken < self._every:
            return False
        at = from_micros(now)
        rows = [
            (self._source, kind, stage.name, stage.version, position, stage.dump(), at)
            for kind, several in stages.items()
            for stage in several
        ]
        if rows:
            with conn.cursor() as cursor:
                cursor.executemany(_SAVE, rows)
        return True

    def saved(self, now: int) -> None:
        """Note that the transaction of :meth:`save` is committed."""
        self._taken = now

    def load(self, conn: psycopg.Connection[Any], stages: Stages) -> int | None:
        """Load the states of the right version.

        Returns:
            The position at which they were taken; None: there was none to load, or they were taken
            at different positions, so that reading again would step some rows twice.
        """
        by_name = {
            (kind, stage.name): stage for kind, several in stages.items() for stage in several
        }
        positions = set()
        for kind, name, version, position, state in conn.execute(_LOAD, [self._source]).fetchall():
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
        return positions.pop() if len(positions) == 1 else None
