"""``cityhub bench alarms``: from a finding to the feed, how soon, how many, and for how much CPU.

On a fresh embedded PostgreSQL, with the real roles ``cityhub alert`` and ``cityhub serve`` as
processes of their own. Findings are committed as ingest commits them; what follows arrives here
over the feed, as it does in a browser. First a calm minute's rate for the time to the feed, then
the rate of a storm for as long as is asked, then as many at once for the most the engine can do.

The mix: episodes of five findings on a device (open, three updates, clear), a cover in 200 opened
for good, which files a case, its order and its message.
"""

import asyncio
import contextlib
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg

from cityhub.bench.drain import cpu_of
from cityhub.bench.goals import judge
from cityhub.folder import DataFolder
from cityhub.ports import LOOPBACK, free_port
from cityhub.postgres import EmbeddedPostgres
from core.batch import Finding
from core.clock import SystemClock
from core.findings import INSERT_FINDING, LOCK_FINDINGS, NOTIFY_FINDING, finding_rows
from core.migrate import migrate
from core.model import Edge, Severity, Text
from core.tables import make_tables
from devices import KINDS

CALM_PER_MINUTE: Final = 1_000
STORM_PER_MINUTE: Final = 50_000
_EPISODE: Final = 5
_TOGETHER: Final = 100
_RED_EVERY: Final = 200
_TICK_S: Final = 0.1
_PATIENCE_S: Final = 120.0

_DEVICES: Final = """
INSERT INTO hub.device (device_id, kind, lon, lat)
SELECT 'MH-' || n, 'manhole_cover', 111.7 + n %% 1000 / 10000.0, 37.2 + n / 1000 / 10000.0
  FROM generate_series(1, %s) AS n
"""
_SEEN: Final = """
INSERT INTO hub.device_seen (device_no, last_contact_at, last_reading_at, last_ts)
SELECT device_no, now(), now(), now() FROM hub.device
"""
_POSITION: Final = "SELECT coalesce(max(position), 0) FROM hub.cursor WHERE name = 'alerts'"


async def run(*, seconds: float, calm_s: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the bench; return the report.

    Args:
        seconds: How long the storm lasts.
        calm_s: How long the calm lasts.
        say: Takes a word on what is going on.
    """
    counts = [round(CALM_PER_MINUTE * calm_s / 60), round(STORM_PER_MINUTE * seconds / 60)]
    counts.append(counts[1])
    with _open_folder() as folder, DataFolder(folder / "data") as data:
        server = EmbeddedPostgres(data, home=None, port=0, say=say)
        await server.start()
        try:
            url = server.superuser_url
            migrate(url)
            with psycopg.connect(url, autocommit=True) as conn:
                make_tables(conn, [kind.table for kind in KINDS.values()])
                conn.execute(_DEVICES, [sum(counts) // _EPISODE + 2 * _TOGETHER])
                conn.execute(_SEEN)
                async with _hub(url, folder) as hub:
                    return await _measure(conn, hub, counts, seconds, say)
        finally:
            server.stop()


@dataclass(frozen=True, slots=True)
class Hub:
    """The two roles under test.

    Attributes:
        engine: Process id of the alarm engine.
        address: Where the feed is.
    """

    engine: int
    address: str


async def _measure(
    conn: psycopg.Connection[Any],
    hub: Hub,
    counts: Sequence[int],
    seconds: float,
    say: Callable[[str], None],
) -> dict[str, Any]:
    findings = _findings()
    postmaster = _parent_of(conn.info.backend_pid)
    say(f"calm: {counts[0]:,} findings")
    async with _listening(hub) as arrived:
        calm = list(itertools.islice(findings, counts[0]))
        sent = await _send(conn, calm, CALM_PER_MINUTE, one_by_one=True)
        await _until_read(conn, sum(counts[:1]))
        await asyncio.sleep(1)
    waits = sorted(arrived[key] - at for key, at in sent.items() if key in arrived)
    say(f"storm: {counts[1]:,} findings in {seconds:g} s")
    before = cpu_of(hub.engine), cpu_of(postmaster)
    start = time.perf_counter()
    await _send(conn, list(itertools.islice(findings, counts[1])), STORM_PER_MINUTE)
    sent_s = time.perf_counter() - start
    await _until_read(conn, sum(counts[:2]))
    read_s = time.perf_counter() - start
    after = cpu_of(hub.engine), cpu_of(postmaster)
    say(f"at once: {counts[2]:,} findings")
    await _send(conn, list(itertools.islice(findings, counts[2])), None)
    start, left = time.perf_counter(), counts[2] - (_read(conn) - sum(counts[:2]))
    await _until_read(conn, sum(counts))
    drained_s = time.perf_counter() - start
    (events, raised, cases), broken = _counted(conn)
    figures = {
        "calm_findings": counts[0],
        "calm_events_heard": len(waits),
        "alarm_feed_p50_ms": round(statistics.median(waits) * 1000, 1),
        "alarm_feed_p99_ms": round(waits[int(len(waits) * 0.99)] * 1000, 1),
        "storm_findings": counts[1],
        "storm_sent_s": round(sent_s, 2),
        "alarm_findings_per_min": round(counts[1] / read_s * 60),
        "storm_backlog_s": round(read_s - sent_s, 2),
        "engine_cpu_us_per_finding": round((after[0] - before[0]) / counts[1] * 1e6, 1),
        "database_cpu_us_per_finding": round((after[1] - before[1]) / counts[1] * 1e6, 1),
        "alarm_drain_per_min": round(left / drained_s * 60),
        "events": events,
        "alarms": raised,
        "cases": cases,
        "chain_whole": broken is None,
    }
    return figures | {"goals": judge(figures, bench="alarms")}


def _findings() -> Iterator[Finding]:
    """Yield findings for ever: episodes on one device after the other, many side by side."""
    for first in itertools.count(1, _TOGETHER):
        for place in range(_EPISODE):
            for device in range(first, first + _TOGETHER):
                yield _finding(device, place)


def _finding(device: int, place: int) -> Finding:
    red = device % _RED_EVERY == 0
    edge = Edge.OPEN if place == 0 else Edge.UPDATE
    if place == _EPISODE - 1 and not red:
        edge = Edge.CLEAR
    return Finding(
        device_no=device,
        rule_id="cover_open" if red else "cover_shift",
        detector="displacement",
        kind="open" if red else "shift",
        edge=edge,
        ts=place,
        first_ts=0,
        received_at=0,
        severity=Severity.RED if red else Severity.ORANGE,
        explain=Text("倾角 12.3° ≥ 10°，井盖移位", "Tilt 12.3 deg at or above 10 deg: it shifted"),
        metric="tilt",
        value=12.3,
        limit=10.0,
        unit="deg",
        detail={"lo": -1.0, "hi": 1.0, "z": 8.2},
    )


async def _send(
    conn: psycopg.Connection[Any],
    findings: Sequence[Finding],
    per_minute: int | None,
    *,
    one_by_one: bool = False,
) -> dict[tuple[int, str], float]:
    """Commit findings at a rate, as ingest does; return when those that are told of were."""
    sent, start, done = {}, time.perf_counter(), 0
    while done < len(findings):
        until = len(findings)
        if per_minute is not None:
            until = min(until, int((time.perf_counter() - start) * per_minute / 60) + 1)
        some = findings[done : done + 1 if one_by_one else until]
        if done < until:
            _commit(conn, some)
            for each in some:
                if each.edge is not Edge.UPDATE:
                    sent[each.device_no, _SAID[each.edge]] = time.perf_counter()
            done += len(some)
        if done >= until:
            await asyncio.sleep(0.005 if one_by_one else _TICK_S)
        else:
            await asyncio.sleep(0)
    return sent


_SAID: Final = {Edge.OPEN: "raised", Edge.CLEAR: "clearing"}


def _commit(conn: psycopg.Connection[Any], findings: Sequence[Finding]) -> None:
    now = SystemClock().micros()
    dated = [replace(one, ts=now + one.ts, first_ts=now, received_at=now) for one in findings]
    with conn.transaction():
        conn.execute(LOCK_FINDINGS)
        with conn.cursor() as cursor:
            cursor.executemany(INSERT_FINDING, finding_rows(dated))
        conn.execute(NOTIFY_FINDING)


async def _until_read(conn: psycopg.Connection[Any], position: int) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while _read(conn) < position:  # noqa: ASYNC110 - another process moves it
            await asyncio.sleep(0.02)


def _read(conn: psycopg.Connection[Any]) -> int:
    row = conn.execute(_POSITION).fetchone()
    return int(row[0]) if row else 0


def _counted(conn: psycopg.Connection[Any]) -> tuple[tuple[int, int, int], object]:
    row = conn.execute(
        "SELECT (SELECT count(*) FROM hub.event_log), (SELECT count(*) FROM hub.alarm),"
        " (SELECT count(*) FROM hub.case)"
    ).fetchone()
    broken = conn.execute("SELECT event_id FROM hub.broken_link(1::int2)").fetchone()
    return row or (0, 0, 0), broken


@asynccontextmanager
async def _listening(hub: Hub) -> AsyncIterator[dict[tuple[int, str], float]]:
    """Follow the feed; lend when the first of each event of a device arrived."""
    arrived: dict[tuple[int, str], float] = {}
    ready = asyncio.Event()

    async def follow() -> None:
        async with (
            httpx.AsyncClient(base_url=hub.address, timeout=_PATIENCE_S, trust_env=False) as client,
            client.stream("GET", "/api/v1/stream") as response,
        ):
            ready.set()
            async for line in response.aiter_lines():
                if line.startswith("data: ") and '"alarm"' in line:
                    data = json.loads(line[6:])
                    device = str(data.get("detail", {}).get("device_id", "MH-0"))
                    key = int(device.removeprefix("MH-")), str(data.get("action"))
                    arrived.setdefault(key, time.perf_counter())

    task = asyncio.create_task(follow())
    try:
        await asyncio.wait_for(ready.wait(), 20)
        yield arrived
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def _hub(url: str, folder: Path) -> AsyncIterator[Hub]:
    """Run the engine and the feed as the roles they are."""
    port = free_port()
    environ = {
        **os.environ,
        "CITYHUB_DATABASE_URL": url,
        "CITYHUB_DATA_FOLDER": str(folder),
        "CITYHUB_API_PORT": str(port),
        "CITYHUB_LOG_LEVEL": "WARNING",
    }
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cityhub", role, env=environ, stdout=sys.stderr
        )
        for role in ("alert", "serve")
    ]
    try:
        address = f"http://{LOOPBACK}:{port}"
        await _answers(address)
        yield Hub(processes[0].pid, address)
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _answers(address: str) -> None:
    async with asyncio.timeout(60), httpx.AsyncClient(trust_env=False) as client:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(f"{address}/healthz")).status_code:
                    return
            await asyncio.sleep(0.1)


def _parent_of(process: int) -> int:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(fields[1])


@contextmanager
def _open_folder() -> Iterator[Path]:
    """Lend a folder that a server's account can pass through, on a disk and not in memory."""
    with tempfile.TemporaryDirectory(prefix="cityhub-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder
