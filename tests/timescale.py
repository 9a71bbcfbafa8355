"""A real TimescaleDB for the tests, a child of the run; ``scripts/timescaledb`` knows how."""

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cityhub.child import Child, Program
from cityhub.ports import free_port
from tests.servers import ROOT, missing, open_folder

SCRIPT: Final = str(ROOT / "scripts" / "timescaledb")
_PATIENCE_S: Final = 30.0


def describe_timescaledb() -> str:
    """Return how it is had here, for the head of the run."""
    said = _script("check")
    if said.returncode != 0:
        return f"TimescaleDB missing ({said.stderr.strip()})"
    return f"TimescaleDB ({said.stdout.strip()})"


@contextmanager
def open_timescaledb() -> Iterator[str]:
    """Lend the URL of a server; the first time on a machine this makes its installation."""
    made = _script("install")
    if made.returncode != 0:
        missing("TimescaleDB", made.stderr.strip())
    with open_folder() as folder:
        port = free_port()
        argv = [SCRIPT, "run", str(folder / "server"), str(port)]
        child = Child(Program(name="TimescaleDB", argv=argv, log=folder / "log"))
        try:
            yield _url(child, folder / "log")
        finally:
            child.stop()


def _script(verb: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([SCRIPT, verb], capture_output=True, text=True, timeout=900, check=False)


def _url(child: Child, log: Path) -> str:
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        if found := re.search(r"^postgresql://\S+$", log.read_text("utf-8"), re.MULTILINE):
            return found.group()
        assert child.ended() is None, child.last_words(20)
        time.sleep(0.05)
    raise AssertionError(f"TimescaleDB did not answer: {child.last_words(20)}")
