"""Rows 6 to 9 and 22: the database is away, slow, cut off, full, or being changed."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

import core.migrate
from cityhub.postgres import EmbeddedPostgres
from core.migrate import migrate, schema_files
from core.tables import make_tables
from devices import KINDS
from simulators.footprint import footprint
from simulators.proxy import FaultProxy, Faults, Way
from tests.e2e.faults.site import Site, open_nats, port_of, through
from tests.servers import Nats, missing, open_folder


@pytest.mark.tier_p
async def test_06_the_database_is_stopped_for_20_s(
    own_postgres: EmbeddedPostgres, nats: Nats, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    site = Site(own_postgres.url, open_nats(nats), tmp_path, request.node)
    with psycopg.connect(site.database) as conn:
        make_tables(conn, [kind.table for kind in KINDS.values()])
    with site.running(site.role()) as role:
        async with site.loaded(13_000, 500):
            await asyncio.sleep(3)
            before, base = await site.stored(), footprint(role.pid)
            await asyncio.to_thread(own_postgres.stop)
            await asyncio.sleep(20)
            assert role.is_running(), role.last_words()
            grown = footprint(role.pid).rss_kb - base.rss_kb
            await own_postgres.start()
        assert before > 0
        await site.settled(role)
    site.judge()
    assert grown < 50 << 10, f"{grown} KiB more while the database was away"


@pytest.mark.tier_p
async def test_07_commits_take_200_ms_and_the_table_is_locked(nats_site: Site) -> None:
    site = nats_site
    with site.running(site.role(), "ingest.before_commit:sleep=0.2") as role:
        async with site.loaded(8_000, 800):
            await asyncio.sleep(1)
            await asyncio.to_thread(_lock, site.database, 5.0)
        await site.settled(role, seconds=30)
    site.judge()
    ((batches,),) = await site.ask(
        "SELECT count(DISTINCT xmin::text) FROM hub.reading_manhole_cover"
    )
    assert batches < 80, "batches do not grow while the database is slow"


def _lock(database: str, seconds: float) -> None:
    with psycopg.connect(database) as conn:
        conn.execute("LOCK TABLE hub.reading_manhole_cover")
        threading.Event().wait(seconds)
        conn.rollback()


class Cutter:
    """Cuts the worker's connection at a word of the protocol, now and then."""

    def __init__(self) -> None:
        self.proxy: FaultProxy | None = None
        self.copies = self.commits = self.cut_copies = self.cut_commits = 0
        self._armed = False

    def watch(self, way: Way, data: bytes) -> None:
        """See each chunk; every 15th COPY is cut in its midst, every 20th COMMIT unanswered."""
        assert self.proxy is not None
        if way is Way.DOWN:
            return
        if self._armed:
            self._armed = False
            self.cut_copies += 1
            self.proxy.reset()
        elif b"FROM STDIN" in data:
            self.copies += 1
            self._armed = self.copies % 15 == 0
        elif b"COMMIT" in data:
            self.commits += 1
            if self.commits % 20 == 0:
                self.cut_commits += 1
                self.proxy.suffer(down=Faults(stalled=True))
                asyncio.get_running_loop().call_later(0.15, self._end, self.proxy)

    def _end(self, proxy: FaultProxy) -> None:
        proxy.reset()
        proxy.suffer()


@pytest.mark.tier_p
async def test_08_the_connection_is_cut_mid_copy_and_before_the_answer_to_commit(
    site: Site,
) -> None:
    cutter = Cutter()
    async with FaultProxy("127.0.0.1", port_of(site.database), watch=cutter.watch) as proxy:
        cutter.proxy = proxy
        role = site.role(database=through(site.database, proxy.port))
        await asyncio.to_thread(site.settle)
        role.start()
        try:
            async with asyncio.timeout(30):
                while not await site.ask("SELECT 1 FROM hub.source_offset"):
                    await asyncio.sleep(0.1)
            await asyncio.sleep(2)
            async with site.loaded(6_000, 500):
                pass
            await site.settled(role)
        finally:
            role.end()
    site.judge()
    assert cutter.cut_copies >= 2, vars(cutter)
    assert cutter.cut_commits >= 2, vars(cutter)


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """Lend a disk of a few megabytes that a server's account can write to."""
    with open_folder() as folder:
        disk = folder / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "cityhub-test", str(disk)]
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode:
            missing("the right to mount a tmpfs", f"run as root ({done.stderr.strip()})")
        try:
            inner = disk / "space"
            inner.mkdir()
            yield disk
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.long
async def test_09_the_disk_of_the_database_is_full(
    own_postgres: EmbeddedPostgres, nats: Nats, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    site = Site(own_postgres.url, open_nats(nats), tmp_path, request.node)
    with psycopg.connect(site.database) as conn:
        make_tables(conn, [kind.table for kind in KINDS.values()])
    with small_disk("24m") as disk:
        _move_tables(site.database, disk / "space")
        with site.running(site.role()) as role:
            async with site.loaded(12_000, 800):
                await asyncio.sleep(2)
                filler = disk / "filler"
                _fill(filler)
                stood = await site.stored()
                await asyncio.sleep(6)
                held = await site.stored()
                assert role.is_running(), role.last_words()
                assert "away" in role.last_words() or held == stood, "the disk was never full"
                filler.unlink()
            await site.settled(role)
        site.judge()
        _leave_space(site.database)


def _fill(file: Path) -> None:
    """Take all that is left of a disk."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as out:
        while out.write(bytes(1 << 16)):
            pass
    assert shutil.disk_usage(file.parent).free < 1 << 14


def _move_tables(database: str, folder: Path) -> None:
    """Put the tables of readings on the small disk, as a volume of their own."""
    with psycopg.connect(database, autocommit=True) as conn:
        uid = Path(f"/proc/{conn.info.backend_pid}").stat().st_uid
        os.chown(folder, uid, uid)
        conn.execute(
            sql.SQL("CREATE TABLESPACE small LOCATION {}").format(sql.Literal(str(folder)))
        )
        name = conninfo_to_dict(database)["dbname"]
        conn.execute(
            sql.SQL("ALTER DATABASE {} SET default_tablespace = small").format(
                sql.Identifier(str(name))
            )
        )
        conn.execute("SET default_tablespace = small")
        conn.execute("ALTER TABLE hub.reading_manhole_cover SET TABLESPACE small")


def _leave_space(database: str) -> None:
    """Drop what lies on the small disk, so that the server can go on without it."""
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("DROP SCHEMA hub CASCADE")
        conn.execute("DROP TABLESPACE small")


@pytest.mark.tier_p
async def test_22_the_schema_grows_under_load(
    nats_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release adds columns and an index while workers of the last one go on writing."""
    site = nats_site
    files = schema_files() | {
        "9999_expand.sql": "ALTER TABLE hub.reading_manhole_cover ADD COLUMN later float4;"
        "ALTER TABLE hub.device_seen ADD COLUMN later float8;"
        "CREATE TABLE hub.later (device_no int4 PRIMARY KEY);"
        "ALTER TABLE hub.ledger ADD COLUMN later bigint NOT NULL DEFAULT 0;"
    }
    monkeypatch.setattr(core.migrate, "schema_files", lambda: files)
    with site.running(site.role()) as role:
        async with site.loaded(8_000, 1_000):
            await asyncio.sleep(2)
            stalls = asyncio.create_task(_longest_stall(site, 5.0))
            await asyncio.sleep(0.5)
            assert await asyncio.to_thread(migrate, site.database) == ["9999_expand.sql"]
            stall = await stalls
        await site.settled(role)
        assert role.is_running()
    site.judge()
    assert stall < 2.0, f"nothing was written for {stall:.1f} s"


async def _longest_stall(site: Site, seconds: float) -> float:
    """Return for how long at most no row came, while some are sent all the time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    stored, grew, longest = await site.stored(), loop.time(), 0.0
    while loop.time() < end:
        if (now := await site.stored()) > stored:
            stored, grew = now, loop.time()
        longest = max(longest, loop.time() - grew)
        await asyncio.sleep(0.05)
    return longest
