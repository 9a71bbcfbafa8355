"""Who takes part: the hub in three forms, a counter in C, and consumers as others build them."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cityhub.bench.arena import Arena, Contestant, module
from cityhub.bench.broker import ROOT, USER, Door
from core.settings import Settings

RECEIVE_MAXIMUM: Final = 20_000
_RIVALS: Final = ROOT / "tests" / "bench"

Enter = Callable[[Door], Contestant]


def hub(settings: Settings, arena: Arena, messages: int, how: str = "judged") -> Enter:
    """Return the hub's own worker.

    Args:
        settings: Batch and linger.
        arena: Whose database it writes.
        messages: After how many it ends.
        how: See :mod:`cityhub.bench.drain`.
    """

    def enter(door: Door) -> Contestant:
        return Contestant(
            "the hub",
            module("drain", str(messages), str(arena.server), how),
            {
                "CITYHUB_DATABASE_URL": arena.url,
                "CITYHUB_BROKER_URL": door.url,
                "CITYHUB_BROKER_RECEIVE_MAXIMUM": str(RECEIVE_MAXIMUM),
                "CITYHUB_INGEST_BATCH": str(settings.ingest.batch),
                "CITYHUB_INGEST_LINGER_MS": str(settings.ingest.linger_ms),
            },
        )

    return enter


def counter(program: Path | None, messages: int) -> Enter:
    """Return the counter in C; where there is none, ``mosquitto_sub`` with a stopwatch."""

    def enter(door: Door) -> Contestant:
        words = [str(door.out_port), USER, door.password, USER, str(RECEIVE_MAXIMUM), str(messages)]
        argv = module("subscribe", *words) if program is None else [str(program), *words]
        return Contestant("the counter", argv, {})

    return enter


def paho(arena: Arena, messages: int, batch: int) -> Enter:
    """Return paho-mqtt with manual acknowledgement, json and COPY; batch 1: a COMMIT a message."""

    def enter(door: Door) -> Contestant:
        words = [str(door.out_port), USER, door.password, str(RECEIVE_MAXIMUM), str(messages)]
        script = str(_RIVALS / "paho_copy.py")
        argv = [sys.executable, script, *words, str(batch), arena.url]
        return Contestant("paho-mqtt", argv, {})

    return enter


def build_counter(folder: Path) -> tuple[Path | None, str]:
    """Compile the counter.

    Returns:
        The program, and what it is; None and why where there is none.
    """
    compiler, source = shutil.which("cc"), _RIVALS / "counter.c"
    if compiler is None:
        return None, "mosquitto_sub: there is no C compiler"
    program = folder / "counter"
    built = subprocess.run(
        [compiler, "-O2", "-o", str(program), str(source), "-lmosquitto"],
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        words = next((line for line in built.stderr.splitlines() if "error" in line), "no reason")
        return None, f"mosquitto_sub: the counter does not compile: {words}"
    return program, "libmosquitto, C"
