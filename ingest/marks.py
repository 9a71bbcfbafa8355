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

from ingest.rows import Rows

_MINUTE: Final = 60_000_000
_HOUR: Final = 60 * _MINUTE
_NAMED_DEVICES: Final = 256
"""More devices than this are not named: the job looks at all of the kind."""
_APPEND: Final = """
INSERT INTO hub.rollup_dirty (level, kind, first, last, devices)
SELECT 0, k, 'epoch'::timestamptz + f * interval '1 microsecond',
       'epoch'::timestamptz + l * interval '1 microsecond', d::int4[]
  FROM unnest(%s::text[], %s::int8[], %s::int8[], %s::text[]) AS u (k, f, l, d)
"""

Marks = list[tuple[str, int, int, str | None]]
"""Kind, first and last minute in microseconds UTC, and the devices as a PostgreSQL array."""


def touched(blocks: Sequence[Rows]) -> Marks:
    """Return the marks of a batch."""
    marks: Marks = []
    for rows in blocks:
        ts, device_no = rows.batch.ts, rows.batch.device_no
        if not len(ts):
            continue
        hours = ts // _HOUR
        if hours.min() == hours.max():
            marks.append(_mark(rows.kind.name, ts, device_no))
            continue
        for hour in np.unique(hours):
            some = hours == hour
            marks.append(_mark(rows.kind.name, ts[some], device_no[some]))
    return marks


def _mark(kind: str, ts: Any, device_no: Any) -> tuple[str, int, int, str | None]:
    first, last = (int(at) // _MINUTE * _MINUTE for at in (ts.min(), ts.max()))
    numbers = np.unique(device_no).tolist()
    devices = f"{{{','.join(map(str, numbers))}}}" if len(numbers) <= _NAMED_DEVICES else None
    return kind, first, last, devices


def append(conn: psycopg.Connection[Any], marks: Marks) -> None:
    """Append marks, in the caller's transaction."""
    if marks:
        conn.execute(_APPEND, [list(column) for column in zip(*marks, strict=True)])
