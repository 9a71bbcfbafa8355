"""How the tests come by a TimescaleDB: it dies with its parent, and says what is in the way."""

import os
import signal
import subprocess
import time
from pathlib import Path

import psycopg
import pytest

from cityhub.ports import free_port, is_free
from tests.servers import missing, open_folder
from tests.timescale import SCRIPT


def script(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [SCRIPT, *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )


@pytest.fixture
def installed() -> None:
    made = script("install")
    if made.returncode != 0:
        missing("TimescaleDB", made.stderr.strip())


def test_it_starts_and_stops_and_keeps_its_data(installed: None) -> None:
    del installed
    with open_folder() as folder:
        port = str(free_port())
        for expected in ([], [(1,)]):
            started = script("start", str(folder / "server"), port)
            assert started.returncode == 0, started.stderr
            try:
                with psycopg.connect(started.stdout.strip(), autocommit=True) as conn:
                    conn.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
                    conn.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
                    assert conn.execute("SELECT n FROM kept").fetchall() == expected
                    conn.execute("INSERT INTO kept VALUES (1)")
            finally:
                assert script("stop", str(folder / "server")).returncode == 0
        assert is_free(int(port))


def test_it_dies_with_its_parent(installed: None) -> None:
    del installed
    with open_folder() as folder:
        port = free_port()
        parent = subprocess.Popen(
            ["sh", "-c", '"$0" run "$1" "$2" & wait', SCRIPT, str(folder / "server"), str(port)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert parent.stdout is not None
        assert parent.stdout.readline().startswith("postgresql://")
        server = int((folder / "server" / "pid").read_text("ascii"))
        parent.send_signal(signal.SIGKILL)
        parent.wait(10)
        parent.stdout.close()
        until = time.monotonic() + 15
        while Path(f"/proc/{server}").exists() and time.monotonic() < until:
            time.sleep(0.05)
        assert is_free(port)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an ordinary user")
def test_an_ordinary_user_is_told_why_there_is_none() -> None:
    if script("check", CITYHUB_TEST_TIMESCALEDB_WAY="").stdout.strip() == "native":
        pytest.skip("this system's own PostgreSQL has TimescaleDB, so anybody can have one")
    said = subprocess.run(
        ["sh", "-s", "check"],
        input=Path(SCRIPT).read_text("utf-8"),
        user=65534,
        group=65534,
        extra_groups=[],
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.returncode == 1
    assert "only root can make one" in said.stderr


def test_a_way_that_there_is_not_is_named() -> None:
    said = script("install", CITYHUB_TEST_TIMESCALEDB_WAY="magic")
    assert (said.returncode, said.stderr) == (
        1,
        "there is no way 'magic': native, chroot, docker\n",
    )
