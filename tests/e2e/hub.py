"""``cityhub up`` as a process, for tests that stop, kill and look at it from outside."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cityhub.ports import free_port
from tests.servers import is_running


class Up:
    """A running ``cityhub up`` on a data folder and free ports of its own.

    Args:
        folder: Its data folder.
        arguments: Further arguments.
        environ: Further settings.
        python: The interpreter that runs it.
        before: Arguments of ``cityhub`` itself, before the command.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        environ: Mapping[str, str] | None = None,
        python: Sequence[str] = (sys.executable,),
        before: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("CITYHUB_")},
            "CITYHUB_DATA_FOLDER": str(folder),
            "CITYHUB_API_PORT": str(free_port()),
            "CITYHUB_EMBEDDED_MQTT_PORT": "0",
            **(environ or {}),
        }
        self._argv = [*python, "-m", "cityhub", *before, "up", *arguments]
        self.process: subprocess.Popen[str] | None = None

    def start(self, seconds: float = 60) -> None:
        """Start it and wait until it says that everything runs."""
        self.process = subprocess.Popen(
            self._argv,
            env=self.environ,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        until = time.monotonic() + seconds
        while not self.hear().startswith("Ctrl-C"):
            assert time.monotonic() < until, self.said

    def hear(self) -> str:
        """Return the next line that it says."""
        assert self.process is not None
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"it ended with {self.process.wait()}: {self.said}")
        self.said.append(line.rstrip())
        return self.said[-1]

    @property
    def facts(self) -> dict[str, Any]:
        """Where its servers are."""
        facts: dict[str, Any] = json.loads((self.folder / "running.json").read_text("utf-8"))
        return facts

    @property
    def database_url(self) -> str:
        """Its database."""
        return str(self.facts["database_url"])

    def family(self) -> list[int]:
        """Return the processes that it started, directly or not, and itself."""
        assert self.process is not None
        family = [self.process.pid]
        for pid in family:
            family += _children(pid)
        return family

    def child(self, word: str) -> int:
        """Return the process that it started whose command line has the word as an argument."""
        for pid in self.family()[1:]:
            argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if any(part.decode().rpartition("/")[2] == word for part in argv):
                return pid
        raise LookupError(f"it runs no {word}")

    def get(self, path: str) -> Any:
        """Return what the API answers."""
        return json.loads(self.read(path))

    def read(self, path: str) -> bytes:
        """Return the bytes of an answer."""
        with urllib.request.urlopen(f"{self.facts['api_url']}{path}", timeout=10) as answer:
            body: bytes = answer.read()
        return body

    def stop(self, number: signal.Signals = signal.SIGINT, seconds: float = 30) -> int:
        """Send it a signal and return its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=seconds)
        self.said += out.splitlines()
        return self.process.returncode


@contextmanager
def running(up: Up) -> Iterator[Up]:
    """Start it, and leave nothing of it behind, whatever happens."""
    family: list[int] = []
    try:
        up.start()
        family = up.family()
        yield up
    finally:
        if up.process is not None and up.process.poll() is None:
            family = sorted({*family, *up.family()})
            up.process.kill()
            up.process.communicate()
        wait_until_gone(family)


def wait_until_gone(pids: Sequence[int], seconds: float = 20) -> None:
    """Wait until none of these processes lives."""
    until = time.monotonic() + seconds
    while left := [pid for pid in pids if is_running(pid)]:
        assert time.monotonic() < until, f"still alive: {[_command(pid) for pid in left]}"
        time.sleep(0.05)


def _children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text("utf-8").rpartition(")")[2].split()
            except OSError:
                continue
            if int(stat[1]) == parent and stat[0] != "Z":
                found.append(int(entry.name))
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text("utf-8").replace("\0", " ")
    except OSError:
        return str(pid)
