"""A city's traffic recorded, then taken through the whole hub again, by clocks that are not ours.

In lock-step the clock stands until all work is done and then jumps on: ingest worker, slow roles
and engine see the same moments in every run, so even the event log comes out equal, hash by hash.
Scaled, the clock runs a thousand times as fast and nobody waits for anybody.
"""

import asyncio
import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import psycopg

from alerts.engine import step
from analytics.likeness import compare_all
from analytics.patrol import patrol
from analytics.rivers import compare
from analytics.rollup import roll_up
from analytics.rounds import judge_rounds
from analytics.silence import sweep
from analytics.stages import build_stages
from core.clock import Clock, ManualClock, ScaledClock, SystemClock
from core.db import Pool, open_pool
from core.model import from_micros, to_micros
from core.recording import Recorded, Recording, RecordingWriter
from core.settings import Ingest
from devices import KINDS
from devices.importer import import_file
from devices.intake.sheet import What
from ingest.sources.replay import ReplaySource
from ingest.worker import run_worker
from simulators.city import City, build_city
from simulators.city_files import (
    COMPONENTS,
    DEPARTMENTS,
    DEVICES,
    DUTIES,
    GRID_CELLS,
    LINKS,
    PLANS,
    SEGMENTS,
    write_city,
)
from simulators.life import Life
from simulators.stream import Stream

START: Final = to_micros(datetime(2026, 5, 4, tzinfo=UTC))
LATENCY_US: Final = 400_000
_HOUR_US: Final = 3_600_000_000
_ROUND_US: Final = 600_000_000
ZONE: Final = ZoneInfo("Asia/Shanghai")
SHEETS: Final[tuple[tuple[What, str], ...]] = (
    ("departments", DEPARTMENTS),
    ("grid", GRID_CELLS),
    ("components", COMPONENTS),
    ("duties", DUTIES),
    ("devices", DEVICES),
    ("links", LINKS),
    ("segments", SEGMENTS),
    ("plans", PLANS),
)
_TABLES: Final = (
    # what a run leaves behind, by table; sequences begin at 1 in every database
    ("device_event", "device_no, ts, seq, name, active"),
    ("device_state", "device_no"),
    ("device_seen", "device_no"),
    ("quarantine", "quarantine_id"),
    ("ledger", "source, minute"),
    ("source_offset", "source"),
    ("cursor", "name"),
    ("finding", "finding_id"),
    ("alarm_pending", "device_no, rule_id"),
    ("incident", "incident_id"),
    ("alarm", "alarm_id"),
    ('"case"', "case_no"),
    ("work_order", "order_no"),
    ("outbox", "outbox_id"),
    ("event_log", "event_id"),
    ("event_head", "tenant_id"),
)


def small_city() -> City:
    """One or two devices of each kind that report seldom, so that a week is no flood."""
    intervals = dict.fromkeys(KINDS, 600.0) | {"manhole_cover": 120.0, "street_lamp": 300.0}
    return build_city(7, components=0, scale=0.006, intervals=intervals)


def record_city(city: City, path: Path, *, hours: float) -> int:
    """Record what the city says in so many hours, scenes included; return how many messages."""
    stream = Stream(city.devices, seed=7, start=START)
    life = Life(stream, seed=7, start=START, first_s=900)
    end = START + round(hours * 3600e6)
    with RecordingWriter(path) as recording:
        now = START
        while now < end:
            now = min(stream.next_at(), life.next_at(), end)
            life.step(now)
            for message in stream.until(now):
                at = message.at + LATENCY_US
                recording.append(Recorded(at, message.topic.encode(), message.payload))
    return recording.count


def settle(url: str, city: City, folder: Path) -> None:
    """Import the city."""
    write_city(city, folder)
    with psycopg.connect(url, autocommit=True) as conn:
        for what, name in SHEETS:
            assert import_file(conn, what, folder / name, site_key=bytes(32)).ok


@asynccontextmanager
async def _working(url: str, source: ReplaySource, clock: Clock) -> AsyncIterator[None]:
    """Run an ingest worker beside the body; its failure is the body's."""
    worker = asyncio.create_task(
        run_worker(
            url=url,
            source=source,
            build_stages=build_stages,
            settings=Ingest(snapshot_s=3600),
            clock=clock,
        )
    )
    try:
        yield
        assert not worker.done(), worker.exception()
    finally:
        worker.cancel()
        await asyncio.wait([worker])


async def look_back(pool: Pool, clock: Clock) -> None:
    """Let those slow roles look once that judge hours and shifts that are over."""
    await judge_rounds(pool, clock, ZONE)
    await roll_up(pool, clock)
    await compare(pool, clock)


async def run_in_lockstep(
    url: str,
    path: Path,
    *,
    step_s: float,
    watch_silence: bool = True,
    slow_roles: bool = False,
    stops: Sequence[int] = (),
    restarts: Sequence[int] = (),
    hourly: Callable[[Pool, Clock], Awaitable[None]] | None = None,
) -> None:
    """Take a recording through the hub, the clock jumping from one moment with work to the next.

    Args:
        url: A migrated database with the city in it.
        path: The recording.
        step_s: How far the clock jumps at least, in seconds.
        watch_silence: Look for silent devices at each stop.
        slow_roles: Let the other slow roles look, every ten minutes or every hour.
        stops: Further moments to stop at, microseconds, such as those of devices' own alarms.
        restarts: When the ingest worker is ended and started anew, microseconds.
        hourly: Done about once an hour.
    """
    times = [message.at for message in Recording(path).read()]
    jump = round(step_s * 1e6)
    clock = ManualClock(from_micros(START))
    done, looked, hour = 0, START, START
    async with open_pool(url, 2, name="lockstep") as pool:
        for until in (*sorted(restarts), times[-1] + jump):
            source = ReplaySource(path=path, name="replay", clock=clock, paced=True, poll_s=0.001)
            async with _working(url, source, clock):
                while done < len(times) and times[done] <= until:
                    now = -(-times[done] // jump) * jump
                    at = bisect_left(stops, times[done])
                    now = min([now, *stops[at : at + 1]])
                    clock.advance((now - clock.micros()) / 1e6)
                    done = bisect_right(times, now)
                    async with asyncio.timeout(60):
                        while source.position < done:
                            await asyncio.sleep(0.001)
                    if watch_silence:
                        await sweep(pool, clock, every=step_s)
                    if slow_roles and now - looked >= _ROUND_US:
                        looked = now
                        await compare_all(pool, clock)
                        await patrol(pool, clock, ZONE)
                    while await step(pool, clock, "webhook"):
                        pass
                    if now - hour >= _HOUR_US:
                        hour = now
                        if slow_roles:
                            await look_back(pool, clock)
                        if hourly is not None:
                            await hourly(pool, clock)


async def run_scaled(url: str, path: Path, *, speed: float) -> None:
    """Take a recording through the hub by a clock that runs, nobody waiting for anybody."""
    recording = Recording(path)
    assert recording.last is not None
    wall = SystemClock()
    clock = ScaledClock(from_micros(START), wall.micros() / 1e6, speed)
    source = ReplaySource(path=path, name="replay", clock=clock, paced=True, poll_s=0.005)
    async with open_pool(url, 2, name="scaled") as pool, _working(url, source, clock):
        while source.position < len(recording):
            while await step(pool, clock, "webhook"):
                pass
            await asyncio.sleep(0.05)
        while await step(pool, clock, "webhook"):
            pass


def rows_of(url: str) -> dict[str, str]:
    """Return a hash of each reading table's rows."""
    with psycopg.connect(url) as conn:
        return {
            name: _hash(conn, f"SELECT * FROM hub.{kind.table.name} ORDER BY device_no, ts, seq")
            for name, kind in KINDS.items()
        }


def everything_of(url: str) -> dict[str, str]:
    """Return a hash of each further table that a run writes, every column of it."""
    with psycopg.connect(url) as conn:
        return {
            table: _hash(conn, f"SELECT * FROM hub.{table} ORDER BY {order}")
            for table, order in _TABLES
        }


def findings_of(url: str) -> set[tuple[Any, ...]]:
    """Return what was found, in no order."""
    with psycopg.connect(url) as conn:
        return set(
            conn.execute(
                "SELECT device_no, rule_id, detector, kind, metric, edge, ts, first_ts,"
                " received_at, severity, value, threshold, quality, explain_zh FROM hub.finding"
            )
        )


def alarms_of(url: str) -> list[tuple[Any, ...]]:
    """Return (device, rule, started, cleared, peak severity) of all alarms."""
    with psycopg.connect(url) as conn:
        return conn.execute(
            "SELECT device_no, rule_id, started_at, cleared_at, severity_peak FROM hub.alarm"
            " ORDER BY 1, 2, 3, 4"
        ).fetchall()


def _hash(conn: psycopg.Connection[Any], query: str) -> str:
    digest, count = hashlib.sha256(), 0
    for row in conn.execute(f"SELECT t::text FROM ({query}) AS t".encode()):
        digest.update(row[0].encode() + b"\n")
        count += 1
    return f"{count}:{digest.hexdigest()}"
