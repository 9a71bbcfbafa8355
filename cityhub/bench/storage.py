"""``cityhub bench storage``: a year of readings, what it takes on disk and how fast it answers.

On a fresh embedded PostgreSQL: write a history (:mod:`cityhub.bench.history`), have the roll-up job
compute it, ask (:mod:`cityhub.bench.questions`). Beside that, what a message takes on disk with its
index, wide as the hub stores it and narrow with a row a metric, and what the marks for the job cost
a batch. The goals speak of 100 million rows; the report says how many there were.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from analytics.rollup import step
from cityhub.bench.history import KIND, History, midnight, plan, write
from cityhub.bench.questions import ask, forget_some, questions
from cityhub.folder import DataFolder
from cityhub.postgres import EmbeddedPostgres
from core.clock import ManualClock, SystemClock
from core.db import open_pool
from core.errors import StartError
from core.migrate import migrate
from core.rollups import Level, RollupTable
from core.tables import make_tables
from devices import KINDS
from ingest.marks import append

GOAL_ROWS: Final = 100_000_000
MOST_BYTES: Final = 175
MOST_SHARE: Final = 0.2
_SAY_EVERY_S: Final = 10.0
_WRITING: Final = (
    "ALTER SYSTEM SET max_wal_size = '8GB'",  # a checkpoint a gigabyte would write pages twice
    "ALTER SYSTEM SET checkpoint_timeout = '30min'",
)
_MINUTES_KEPT: Final = timedelta(days=2)
"""No question is about minutes, and a month of them would take longer than all the rest."""

_SIZE: Final = """
SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0)::bigint FROM pg_inherits
 WHERE inhparent = %s::regclass
"""
_NARROW: Final = """
CREATE TABLE bench_narrow (
    ts timestamptz NOT NULL, device_no int4 NOT NULL, metric int2 NOT NULL, value real,
    quality int2 NOT NULL, seq int8, UNIQUE NULLS NOT DISTINCT (device_no, ts, seq, metric)
)
"""
_FILL_NARROW: Final = """
INSERT INTO bench_narrow (ts, device_no, metric, value, quality, seq)
SELECT ts, device_no, m.metric, m.value, quality, seq FROM {}
 CROSS JOIN LATERAL (VALUES {}) AS m (metric, value) ORDER BY ts, device_no, seq, metric
"""


async def run(
    *,
    rows: int,
    devices: int,
    days: int,
    rounds: int,
    say: Callable[[str], None],
    home: Path | None = None,
) -> dict[str, Any]:
    """Run the bench; return the report.

    Args:
        rows: About how many readings; about 200 bytes of disk each are needed.
        devices: Of how many devices.
        days: Over how many days.
        rounds: How often each question is asked.
        say: Takes a word on what is going on.
        home: A folder that is kept, so that a run which was stopped goes on; None: a passing one.

    Raises:
        StartError: The folder holds another history.
    """
    with _open_folder(home) as folder, DataFolder(folder / "data") as data:
        server = EmbeddedPostgres(data, home=None, port=0, say=say)
        await server.start()
        try:
            history = plan(rows=rows, devices=devices, days=days, end=_end(server.superuser_url))
            return await _measure(server.superuser_url, history, rounds, say)
        finally:
            server.stop()


@contextmanager
def _open_folder(home: Path | None) -> Iterator[Path]:
    """Lend a folder that a server's account can pass through, on a disk and not in memory."""
    if home is not None:
        home.mkdir(mode=0o711, parents=True, exist_ok=True)
        yield home
        return
    with tempfile.TemporaryDirectory(prefix="cityhub-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


def _end(url: str) -> datetime:
    """Return the midnight behind the last day: that of the history which is there, else today's."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("CREATE TABLE IF NOT EXISTS bench_history (at timestamptz, shape text)")
        row = conn.execute("SELECT at FROM bench_history").fetchone()
    return row[0].astimezone(UTC) if row else midnight(SystemClock().now())


def _keep(conn: psycopg.Connection[Any], history: History) -> None:
    """Note which history this is, or see that it is the one that is there.

    Raises:
        StartError: It is another one.
    """
    shape = f"{history.devices} devices, {history.days} days, {history.rows} rows"
    row = conn.execute("SELECT shape FROM bench_history").fetchone()
    if row is None:
        conn.execute("INSERT INTO bench_history VALUES (%s, %s)", [history.end, shape])
    elif row[0] != shape:
        raise StartError(f"the folder holds a history of {row[0]}, not of {shape}")


async def _roll_up(url: str, history: History, say: Callable[[str], None]) -> int:
    """Compute the roll-ups; return in how many steps."""
    with psycopg.connect(url, autocommit=True) as conn:
        ((marks,),) = conn.execute("SELECT count(*) FROM hub.rollup_dirty").fetchall()
        # As after a year: older minutes are past their time; their hours come from the readings.
        conn.execute(
            "UPDATE hub.rollup_kind SET minute_from = %s WHERE kind = %s",
            [max(history.start, history.end - _MINUTES_KEPT), KIND.name],
        )
    say(f"rolling up {marks} marks, and what they mark in turn")
    start = told = time.monotonic()
    steps, clock = 0, ManualClock(history.end + timedelta(days=2))
    async with open_pool(url, 2, name="bench") as pool:
        while await step(pool, clock):
            steps += 1
            if time.monotonic() - told >= _SAY_EVERY_S:
                told = time.monotonic()
                async with pool.connection() as conn:
                    cursor = await conn.execute("SELECT count(*) FROM hub.rollup_dirty")
                    ((left,),) = await cursor.fetchall()
                say(f"{steps} steps, {left} marks left, {told - start:,.0f} s")
    return steps


async def _measure(
    url: str, history: History, rounds: int, say: Callable[[str], None]
) -> dict[str, Any]:
    migrate(url)
    with psycopg.connect(url, autocommit=True) as conn:
        for setting in _WRITING:
            conn.execute(setting)
        conn.execute("SELECT pg_reload_conf()")
        make_tables(conn, [kind.table for kind in KINDS.values()])
        _keep(conn, history)
    say(f"writing {history.rows:,} readings of {history.devices:,} devices")
    start = time.perf_counter()
    write(url, history, say)
    written_s = time.perf_counter() - start
    start = time.perf_counter()
    steps = await _roll_up(url, history, say)
    rolled_s = time.perf_counter() - start
    say("asking")
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("VACUUM (ANALYZE)")
        answers = [ask(conn, question, rounds) for question in questions(history)]
        answers.append(ask(conn, forget_some(conn, history), rounds))
        disk = _disk(conn, history)
        marks = _marks(conn, rounds)
        (version,) = conn.execute("SELECT version()").fetchall()[0]
    return {
        "bench": "storage",
        "rows": history.rows,
        "goal_rows": GOAL_ROWS,
        "devices": history.devices,
        "dense_devices": history.dense,
        "days": history.days,
        "answers": answers,
        "disk": disk,
        "marks": marks,
        "met": disk["met"] and all(answer["met"] for answer in answers),
        "write_s": round(written_s, 1),
        "roll_up_s": round(rolled_s, 1),
        "roll_up_steps": steps,
        "versions": {"postgresql": version},
        "machine": {"cores": os.cpu_count(), "load": os.getloadavg()},
    }


def _disk(conn: psycopg.Connection[Any], history: History) -> dict[str, Any]:
    """Return bytes a message, with its index; narrow ones from the first day's readings."""
    rollups = {
        f"rollup_{level.suffix}_bytes": _size(conn, RollupTable(KIND.table, level).name)
        for level in Level
    }
    first = sql.Identifier("hub", f"{KIND.table.name}_{history.start:%Y%m%d}")
    metrics = sql.SQL(", ").join(
        sql.SQL("({}::int2, {})").format(sql.Literal(number), sql.Identifier(column.name))
        for number, column in enumerate(KIND.table.columns)
    )
    conn.execute(_NARROW)
    conn.execute(sql.SQL(_FILL_NARROW).format(first, metrics))
    narrow, messages = conn.execute(
        sql.SQL("SELECT pg_total_relation_size('bench_narrow'), count(*) FROM {}").format(first)
    ).fetchall()[0]
    wide = _size(conn, KIND.table.name) / history.rows
    share = wide / (narrow / messages)
    return {
        "bytes_per_message": round(wide, 1),
        "goal_bytes": MOST_BYTES,
        "narrow_bytes_per_message": round(narrow / messages, 1),
        "share_of_narrow": round(share, 3),
        "goal_share": MOST_SHARE,
        "met": wide <= MOST_BYTES and share <= MOST_SHARE,
        **rollups,
    }


def _size(conn: psycopg.Connection[Any], name: str) -> int:
    """Return the bytes of all partitions of a table, with indexes."""
    return int(conn.execute(_SIZE, [f"hub.{name}"]).fetchall()[0][0])


def _marks(conn: psycopg.Connection[Any], rounds: int) -> dict[str, Any]:
    """Return what noting the touched buckets adds to a batch's transaction, in microseconds."""
    hour = 3_600_000_000
    named = "{" + ",".join(map(str, range(1, 501))) + "}"
    mark = (KIND.name, 490_000 * hour, 490_000 * hour + 60_000_000, named)
    times = []
    for _ in range(rounds * 100):
        with conn.transaction():
            conn.execute("SELECT 1")
            start = time.perf_counter()
            append(conn, [mark])
            times.append((time.perf_counter() - start) * 1e6)
    return {"wall_us_per_batch": round(statistics.median(times), 1), "devices_in_batch": 500}
