"""What a child says is kept within bounds while it runs, and from others' eyes."""

import sys
import time
from pathlib import Path

import pytest

from cityhub import child as module
from cityhub.child import Child, Program
from cityhub.supervisor import Supervisor

TALKER = "import time\nfor n in range(4000):\n    print(f'line {n:05}', flush=True)\ntime.sleep(60)"


def test_the_log_of_a_child_that_talks_for_ever_does_not_grow_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_KEEP_LOG_BYTES", 8_000)
    log = tmp_path / "talker.log"
    program = Program(name="talker", argv=[sys.executable, "-c", TALKER], log=log)
    supervisor = Supervisor([program], lambda _: None)
    try:
        until = time.monotonic() + 20
        while "line 03999" not in _all(log):
            supervisor.look()
            assert time.monotonic() < until
        supervisor.look()
        older = log.with_name("talker.log.1")
        assert log.stat().st_size <= 8_000
        assert older.stat().st_size < 44_000, "not all of it"
        assert "\0" not in _all(log), "it writes on at the new end"
        assert {path.stat().st_mode & 0o777 for path in (log, older)} == {0o600}
    finally:
        supervisor.stop()


def test_a_log_that_others_could_read_is_closed(tmp_path: Path) -> None:
    log = tmp_path / "old.log"
    log.touch(0o644)
    child = Child(Program(name="old", argv=["/bin/true"], log=log))
    assert child.wait(10)
    assert log.stat().st_mode & 0o777 == 0o600


def _all(log: Path) -> str:
    files = (log.with_name(f"{log.name}.1"), log)
    return "".join(path.read_text("utf-8") for path in files if path.exists())
