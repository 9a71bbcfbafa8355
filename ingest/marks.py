"""Which buckets a batch touches: noted in its transaction, so that no late row is ever forgotten.

A mark is appended for each hour that has rows in the batch, nearly always one a kind: from which
minute to which, and whose. Nothing is ever updated here, so a writer waits for no other writer and
not for the job that takes the marks away. Rows that turn out to be duplicates are marked, too:
computing a bucket again does no harm.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import psycopg
from numpy.typing import NDArray

from ingest.rows import Rows

_MINUTE: Final = 60_000_000
_HOUR: Final = 60 * _MINUTE
_NAMED_DEVICES: Final = 1_000
"""More devices than this are not named: the job looks at all of the kind."""
_ONE_BY_ONE: Final = 3
"""Up to so many marks a statement each is cheaper than arrays (measured: half)."""
_APPEND: Final = """
INSERT INTO hub.rollup_dirty (level, kind, first, last, devices)
VALUES (0, %s, 'epoch'::timestamptz + %s::int8 * interval '1 microsecond',
        'epoch'::timestamptz + %s::int8 * interval '1 microsecond', %s::text::int4[])
"""
_APPEND_MANY: Final = """
INSERT INTO hub.rollup_dirty (level, kind, first, last, devices)
SELECT 0, k, 'epoch'::timestamptz + f * interval '1 microsecond',
       'epoch'::timestamptz + l * interval '1 microsecond', d::int4[]
  FROM unnest(%s::text[], %s::int8[], %s::int8[], %s::text[]) AS u (k, f, l, d)
"""

Mark = tuple[str, int, int, str | None]
"""Kind, first and last minute in microseconds UTC, and the devices as a PostgreSQL array."""


def touched(blocks: Sequence[Rows]) -> list[Mark]:
    """Return the marks of a batch."""
    marks: list[Mark] = []
    for rows in blocks:
        kind, ts, device_no = rows.kind.name, rows.batch.ts, rows.batch.device_no
        if not len(ts):
            continue
        first, last = int(ts.min()), int(ts.max())
        if first // _HOUR == last // _HOUR:
            marks.append(_mark(kind, first, last, device_no))
            continue
        order = np.argsort(ts, kind="stable")
        ts, device_no = ts[order], device_no[order]
        starts = np.flatnonzero(np.diff(ts // _HOUR, prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(ts)], strict=True):
            marks.append(_mark(kind, int(ts[start]), int(ts[end - 1]), device_no[start:end]))
    return marks


def _mark(kind: str, first: int, last: int, device_no: NDArray[np.int32]) -> Mark:
    numbers = np.unique(device_no).tolist()
    devices = f"{{{','.join(map(str, numbers))}}}" if len(numbers) <= _NAMED_DEVICES else None
    return kind, first // _MINUTE * _MINUTE, last // _MINUTE * _MINUTE, devices


def append(conn: psycopg.Connection[Any], marks: Sequence[Mark]) -> None:
    """Append marks, in the caller's transaction."""
    if len(marks) <= _ONE_BY_ONE:
        for mark in marks:
            conn.execute(_APPEND, mark)
    else:
        conn.execute(_APPEND_MANY, [list(column) for column in zip(*marks, strict=True)])
