"""A city's history for the storage bench: a year of some covers, and a fleet of many more.

Readings lie in the table as they would after a year of live traffic: in the order of their time,
devices mixed, a COPY of some thousand rows at a time. A few devices report every five minutes for
the whole time, so that a day and a year of one device are real ones. All the others report every
six hours, through as many of the last days as the number of rows allows.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from cityhub.bench.progress import Progress
from core.copy import RowPacker
from core.model import to_micros
from core.tables import days_of, make_days
from devices import KINDS

KIND: Final = KINDS["manhole_cover"]
"""Ten metrics a message, all in single precision: what the goals are about."""
_SECOND: Final = 1_000_000
_DAY: Final = 86_400 * _SECOND
_DENSE_EVERY: Final = 300 * _SECOND
_SPARSE_EVERY: Final = 21_600 * _SECOND
_DENSE_A_DAY: Final = _DAY // _DENSE_EVERY
_SPARSE_A_DAY: Final = _DAY // _SPARSE_EVERY
_SPARSE_SHARE: Final = 0.02
_BLOCK: Final = 20_000
_NAMED_DEVICES: Final = 1_000
_WRITERS: Final = 2

_DEVICES: Final = """
INSERT INTO hub.device (device_id, kind)
SELECT 'MH-' || lpad(n::text, 7, '0'), %s FROM generate_series(1, %s::int) AS n
"""
_MARK: Final = """
INSERT INTO hub.rollup_dirty (level, kind, first, last, devices)
VALUES (0, %s, %s, %s::timestamptz + interval '1439 minutes', %s)
"""
_SEEN: Final = """
INSERT INTO hub.device_seen (device_no, last_contact_at, last_reading_at, last_ts)
SELECT device_no, max(ts), max(ts), max(ts) FROM {} WHERE ts >= %s GROUP BY device_no
"""


@dataclass(frozen=True, slots=True)
class History:
    """How much of it there is.

    Attributes:
        devices: How many devices.
        days: How many days, the last of which ends at ``end``.
        dense: How many of the devices report every five minutes for all the days.
        sparse_days: For how many days the others report.
        end: Midnight UTC behind the last day.
    """

    devices: int
    days: int
    dense: int
    sparse_days: int
    end: datetime

    @property
    def start(self) -> datetime:
        """Midnight UTC of the first day."""
        return self.end - timedelta(days=self.days)

    @property
    def rows(self) -> int:
        """How many readings there are."""
        sparse = (self.devices - self.dense) * _SPARSE_A_DAY * self.sparse_days
        return self.dense * _DENSE_A_DAY * self.days + sparse

    def rows_of(self, day: int) -> int:
        """Return how many readings a day has."""
        sparse = (self.devices - self.dense) * _SPARSE_A_DAY
        return self.dense * _DENSE_A_DAY + (sparse if day >= self.days - self.sparse_days else 0)


def plan(*, rows: int, devices: int, days: int, end: datetime) -> History:
    """Return a history of about so many rows, at least one for each device.

    >>> plan(rows=2_000_000, devices=100_000, days=365, end=datetime(2026, 5, 1)).rows
    1976740
    """
    sparse_days = round(rows * _SPARSE_SHARE / (devices * _SPARSE_A_DAY))
    sparse_days = min(max(sparse_days, 1), days)
    left = rows - devices * _SPARSE_A_DAY * sparse_days
    dense = min(max(left // (_DENSE_A_DAY * days - _SPARSE_A_DAY * sparse_days), 1), devices)
    return History(devices, days, dense, sparse_days, end)


def write(url: str, history: History, say: Callable[[str], None]) -> None:
    """Write a history into a migrated database, and mark it for the roll-up job.

    A day is a transaction, and which days are written stands beside them: whoever was stopped goes
    on where he was. Two connections write, each a day: the server's work is what takes the time.

    Args:
        url: libpq URL of the database.
        history: What to write; the same as before, where some of it is there.
        say: Takes a word on how far it is, every ten seconds.
    """
    with psycopg.connect(url, autocommit=True) as conn:
        _prepare(conn, history)
        done = {day for (day,) in conn.execute("SELECT day FROM bench_day").fetchall()}
    left = [day for day in range(history.days) if day not in done]
    progress = Progress("days written", len(left), say, rows=history.rows_of)
    days, lock = iter(left), threading.Lock()

    def work() -> None:
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("SET synchronous_commit = off")
            while True:
                with lock:
                    day = next(days, None)
                if day is None:
                    return
                _write_day(conn, history, day)
                with lock:
                    progress.done(day)

    with ThreadPoolExecutor(_WRITERS) as writers:
        for each in [writers.submit(work) for _ in range(_WRITERS)]:
            each.result()
    with psycopg.connect(url, autocommit=True) as conn:
        last = history.end - timedelta(days=history.sparse_days)
        if not conn.execute("SELECT FROM hub.device_seen LIMIT 1").fetchall():
            conn.execute(sql.SQL(_SEEN).format(KIND.table.identifier), [last])
        conn.execute(sql.SQL("ANALYZE {}").format(KIND.table.identifier))
        conn.execute("ANALYZE hub.device, hub.device_seen")


def _prepare(conn: psycopg.Connection[Any], history: History) -> None:
    """Register the devices and make the days, once."""
    conn.execute("CREATE TABLE IF NOT EXISTS bench_day (day int4 PRIMARY KEY)")
    if conn.execute("SELECT FROM hub.device LIMIT 1").fetchall():
        return
    start = to_micros(history.start)
    make_days(conn, KIND.table, days_of(range(start, to_micros(history.end), _DAY)))
    conn.execute(_DEVICES, [KIND.name, history.devices])


def _write_day(conn: psycopg.Connection[Any], history: History, day: int) -> None:
    table, packer = KIND.table, RowPacker(KIND.table)
    copy = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
        table.identifier, packer.columns
    )
    dense = list(range(1, history.dense + 1)) if history.dense <= _NAMED_DEVICES else None
    sparse = day >= history.days - history.sparse_days
    at = history.start + timedelta(days=day)
    with conn.transaction():
        for block in _blocks(history, to_micros(at), sparse=sparse):
            with conn.cursor() as cursor, cursor.copy(copy) as stream:
                stream.write(packer.pack(**block))
        conn.execute(_MARK, [KIND.name, at, at, None if sparse else dense])
        conn.execute("INSERT INTO bench_day VALUES (%s)", [day])


def _blocks(history: History, day: int, *, sparse: bool) -> Iterator[dict[str, Any]]:
    """Yield a day's rows in the order of their time, packed a block at a time."""
    chance = np.random.default_rng(day // _DAY)
    dense_no = np.arange(1, history.dense + 1)
    others = np.arange(history.dense + 1, history.devices + 1)
    for hour in range(0, _DAY, _SPARSE_EVERY):
        times, numbers = [], []
        for slot in range(hour, hour + _SPARSE_EVERY, _DENSE_EVERY):
            times.append(day + slot + chance.integers(0, _DENSE_EVERY, history.dense))
            numbers.append(dense_no)
        if sparse:
            times.append(day + hour + chance.integers(0, _SPARSE_EVERY, len(others)))
            numbers.append(others)
        ts, device_no = np.concatenate(times), np.concatenate(numbers)
        order = np.argsort(ts, kind="stable")
        ts, device_no = ts[order], device_no[order]
        for at in range(0, len(ts), _BLOCK):
            yield _block(chance, ts[at : at + _BLOCK], device_no[at : at + _BLOCK])


def _block(
    chance: np.random.Generator, ts: NDArray[np.int64], device_no: NDArray[np.int64]
) -> dict[str, Any]:
    rest = np.array([[metric.rest] for metric in KIND.reals])
    noise = np.array([[metric.noise] for metric in KIND.reals])
    values = rest + noise * chance.standard_normal((len(KIND.reals), len(ts)))
    return {
        "ts": ts,
        "seq": ts // _SECOND % 2**31,
        "device_no": device_no.astype(np.int32),
        "values": values.astype(np.float32),
        "exact": np.empty((0, len(ts))),
        "quality": np.zeros(len(ts), np.int16),
        "extra": {},
    }


def midnight(at: datetime) -> datetime:
    """Return the midnight UTC before a time."""
    return at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
