"""Rows 6 to 9 and 22: the database is away, slow, cut off, full, or being changed."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

import core.migrate
from cityhub.postgres import EmbeddedPostgres
from core.migrate import migrate, schema_files
from core.tables import make_tables
from devices import KINDS
from simulators.footprint import footprint
from simulators.proxy import FaultProxy, Faults, Way
from tests.e2e.faults.site import Broker, Site, port_of, through
from tests.e2e.faults.small_disk import fill, small_disk


@pytest.fixture
async def away_site(
    own_postgres: EmbeddedPostgres,
    broker: Broker,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> AsyncIterator[Site]:
    """A site with a database server of its own, and either broker."""
    with psycopg.connect(own_postgres.url) as conn:
        make_tables(conn, [kind.table for kind in KINDS.values()])
    async with Site(own_postgres.url, broker, tmp_path, request.node) as site:
        yield site


@pytest.mark.parametrize(
    "broker", ["nats", pytest.param("mosquitto", marks=pytest.mark.tier_n)], indirect=True
)
@pytest.mark.tier_p
async def test_06_the_database_is_stopped_for_20_s(
    away_site: Site, own_postgres: EmbeddedPostgres
) -> None:
    site = away_site
    with site.running(site.role()) as role:
        async with site.loaded(500):
            await asyncio.sleep(2)
            before, base = await site.stored(), footprint(role.pid)
            await asyncio.to_thread(own_postgres.stop)
            await asyncio.sleep(20)
            assert role.is_running(), role.last_words()
            grown = footprint(role.pid).rss_kb - base.rss_kb
            await own_postgres.start()
        assert before > 0
        await site.settled(role)
        await site.judge()
    assert grown < 50 << 10, f"{grown} KiB more while the database was away"


@pytest.mark.parametrize("locked_s", [5.0, pytest.param(60.0, marks=pytest.mark.tier_n)])
@pytest.mark.tier_p
async def test_07_commits_take_200_ms_and_the_table_is_locked(
    nats_site: Site, locked_s: float
) -> None:
    site = nats_site
    with site.running(site.role(), "ingest.before_commit:sleep=0.2") as role:
        async with site.loaded(800) as sending:
            await asyncio.sleep(1)
            await asyncio.to_thread(_lock, site.database, locked_s)
            assert not sending.done()
        await site.settled(role, seconds=30)
        found = await site.judge()
    ((batches,),) = await site.ask(
        "SELECT count(DISTINCT xmin::text) FROM hub.reading_manhole_cover"
    )
    assert found.stored / batches > 100, "batches do not grow while the database is slow"


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
            await asyncio.sleep(1)
            async with site.loaded(500), asyncio.timeout(30):
                while min(cutter.cut_copies, cutter.cut_commits) < 3:
                    await asyncio.sleep(0.1)
            await site.settled(role)
            await site.judge()
        finally:
            role.end()


@pytest.mark.parametrize("broker", ["nats"], indirect=True)
@pytest.mark.tier_n
async def test_09_the_disk_of_the_database_is_full(
    away_site: Site, own_postgres: EmbeddedPostgres
) -> None:
    site = away_site
    with small_disk("24m") as disk:
        _move_tables(own_postgres, disk / "space")
        with site.running(site.role()) as role:
            async with site.loaded(800):
                await asyncio.sleep(2)
                filler = disk / "filler"
                fill(filler)
                stood = await site.stored()
                await asyncio.sleep(6)
                held = await site.stored()
                assert role.is_running(), role.last_words()
                assert "away" in role.last_words() or held == stood, "the disk was never full"
                filler.unlink()
            await site.settled(role)
            await site.judge()
        await site.aclose()
        _leave_space(own_postgres)


def _move_tables(server: EmbeddedPostgres, folder: Path) -> None:
    """Put the tables of readings on the small disk, as a volume of their own."""
    name = str(conninfo_to_dict(server.url)["dbname"])
    with psycopg.connect(make_conninfo(server.superuser_url, dbname=name), autocommit=True) as conn:
        uid = Path(f"/proc/{conn.info.backend_pid}").stat().st_uid
        os.chown(folder, uid, uid)
        conn.execute(
            sql.SQL("CREATE TABLESPACE small LOCATION {}").format(sql.Literal(str(folder)))
        )
        conn.execute("GRANT CREATE ON TABLESPACE small TO PUBLIC")
        conn.execute(
            sql.SQL("ALTER DATABASE {} SET default_tablespace = small").format(sql.Identifier(name))
        )
        conn.execute("SET default_tablespace = small")
        conn.execute("ALTER TABLE hub.reading_manhole_cover SET TABLESPACE small")


def _leave_space(server: EmbeddedPostgres) -> None:
    """Drop what lies on the small disk, so that the server can go on without it."""
    name = str(conninfo_to_dict(server.url)["dbname"])
    with psycopg.connect(make_conninfo(server.superuser_url, dbname=name), autocommit=True) as conn:
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
        async with site.loaded(1_000):
            await asyncio.sleep(1.5)
            stalls = asyncio.create_task(_longest_stall(site, 3.0))
            await asyncio.sleep(0.5)
            assert await asyncio.to_thread(migrate, site.database) == ["9999_expand.sql"]
            stall = await stalls
        await site.settled(role)
        assert role.is_running()
        await site.judge()
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
