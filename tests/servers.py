"""Real servers for the tests, each a child of the test run with a folder of its own.

Folders lie below /var/tmp: pytest's own are closed to the account that servers run under when the
tests are run by root.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from cityhub.binaries import nats_server
from cityhub.broker import EmbeddedBroker, Login, device_login
from cityhub.child import Child, Program
from cityhub.folder import DataFolder
from cityhub.ports import free_port, is_free
from core.settings import Embedded
from devices.secret import device_secret

ROOT: Final = Path(__file__).parents[1]
SITE_KEY: Final = bytes(range(32))


@contextmanager
def open_folder() -> Iterator[Path]:
    """Lend a folder that a server's account can reach, removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix="cityhub-test-", dir="/var/tmp"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def missing(what: str, remedy: str) -> None:
    """Skip with what to do; where nothing may be skipped (CI=true) fail instead."""
    sentence = f"{what} is missing: {remedy}"
    if os.environ.get("CI") == "true":
        pytest.fail(sentence)
    pytest.skip(sentence)


class Nats:
    """The embedded broker as ``cityhub up`` runs it, on free ports."""

    def __init__(
        self, folder: DataFolder, *, sync: str = "2m", max_log_bytes: int = 8 << 30
    ) -> None:
        settings = Embedded(
            mqtt_port=0, nats_port=0, sync_interval=sync, max_log_bytes=max_log_bytes
        )
        self._broker = EmbeddedBroker(folder, settings, say=lambda _: None)
        self._devices: list[Login] = []

    @property
    def url(self) -> str:
        """The log, with the hub's login."""
        return self._broker.url

    @property
    def simulator_url(self) -> str:
        """The devices' door, with the login that speaks for all of them."""
        return self._broker.simulator_url

    @property
    def mqtt_port(self) -> int:
        """The devices' door."""
        return self._broker.mqtt_port

    async def start(self) -> None:
        """Start it, or start it again on the same ports with the same log."""
        await self._broker.start(self._devices)

    def stop(self) -> None:
        """End it in order."""
        self._broker.stop()

    def kill(self) -> None:
        """Kill -9."""
        assert self._broker.child is not None
        self._broker.child.signal(signal.SIGKILL)
        self._broker.child.wait(10)

    def let_in(self, *device_ids: str) -> None:
        """Give devices their logins; see :func:`device_secret` with ``SITE_KEY``."""
        self._devices = [device_login(d, device_secret(SITE_KEY, d)) for d in device_ids]
        self._broker.let_in(self._devices)


class Mosquitto:
    """A mosquitto configured as deploy/mosquitto says, with a login, on a free port."""

    user: Final = "hub"
    password: Final = "test-password"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """Where it is, with the hub's login."""
        return f"mqtt://{self.user}:{self.password}@127.0.0.1:{self.port}"

    @property
    def config(self) -> Path:
        """Its configuration; may be changed while it is stopped."""
        return self._folder / "mosquitto.conf"

    def prepare(self, logins: Sequence[tuple[str, str]] = ()) -> None:
        """Write its configuration, with these logins besides the hub's."""
        deployed = ROOT / "deploy" / "mosquitto"
        acl, passwords = self._folder / "acl", self._folder / "passwd"
        shutil.copy(deployed / "acl", acl)
        lines = [f"{user}:{password}\n" for user, password in [(self.user, self.password), *logins]]
        passwords.write_text("".join(lines), "utf-8")
        for file in (acl, passwords):
            file.chmod(0o600)
        subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True)
        text = (deployed / "mosquitto.conf").read_text("utf-8")
        text = text.replace("@FOLDER@", str(self._folder))
        text = text.replace("listener 1883 127.0.0.1", f"listener {self.port} 127.0.0.1")
        if os.geteuid() == 0:
            text = f"user root\n{text}"  # our folder, not that of the system's mosquitto
        self.config.write_text(text, "utf-8")

    def start(self) -> None:
        """Start it and wait until its port is open."""
        self._child = Child(
            Program(
                name="mosquitto",
                argv=[_mosquitto(), "-c", str(self.config)],
                log=self._folder / "mosquitto.log",
            )
        )
        until = time.monotonic() + 10
        while is_free(self.port):
            assert self._child.ended() is None, self._child.last_words(20)
            assert time.monotonic() < until, "mosquitto opened no port within 10 s"
            time.sleep(0.02)

    def stop(self) -> None:
        """End it in order; it keeps its sessions and messages on disk."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def kill(self) -> None:
        """Kill -9."""
        assert self._child is not None
        self._child.signal(signal.SIGKILL)
        self._child.wait(10)


def _mosquitto() -> str:
    return shutil.which("mosquitto", path=f"/usr/sbin:{os.environ.get('PATH', '')}") or ""


def require_mosquitto() -> None:
    """Skip, or fail in CI, where there is no mosquitto."""
    if not _mosquitto() or not shutil.which("mosquitto_passwd"):
        missing("mosquitto", "apt-get install mosquitto mosquitto-clients")


def broker_versions() -> str:
    """Return which brokers there are, for the head of the run."""
    nats = _says([str(nats_server(None)), "--version"])
    own = _says([_mosquitto(), "-h"]) if _mosquitto() else "mosquitto missing"
    return f"{nats.replace(': v', ' ')}, {own.replace(' version', '')}"


def _says(argv: Sequence[str]) -> str:
    said = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    return (said.stdout or said.stderr).splitlines()[0].strip()


def run_nats(folder: DataFolder, *, max_log_bytes: int = 8 << 30) -> Nats:
    """Return a started broker, for fixtures outside of any event loop."""
    server = Nats(folder, max_log_bytes=max_log_bytes)
    asyncio.run(server.start())
    return server


def is_running(pid: int) -> bool:
    """Return whether a process lives; one that nobody has buried yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
