"""Where contestants meet: a database, fresh brokers, and the same load for each.

A contestant is a program that takes messages from a broker and prints one JSON object. In a
*drain* all messages are queued before it starts, so the consumer is measured; *live* they are
published while it runs, so the broker is.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from cityhub.bench.broker import Door
from cityhub.bench.drain import cpu_of
from cityhub.bench.load import Load
from core.clock import SystemClock
from core.errors import StartError
from core.tables import days_of, make_days
from devices import KINDS

_DAY_US: Final = 86_400_000_000
_PATIENCE_S: Final = 300.0
_CONNECTED_S: Final = 30.0
_SETTLE_S: Final = 0.3
_TOLD: Final = 500  # characters of a contestant's last words
_ESTABLISHED: Final = "01"
_EMPTIED: Final = (
    "ledger, source_offset, detector_state, quarantine, device_seen, device_event, device_state,"
    " rollup_dirty, finding"
)

Figures = dict[str, Any]
MakeDoor = Callable[[Path], AbstractAsyncContextManager[Door]]


@dataclass(frozen=True, slots=True)
class Contestant:
    """A program that takes messages.

    Attributes:
        name: What it is called when it fails.
        argv: Its command line.
        environ: What its environment has besides ours.
    """

    name: str
    argv: Sequence[str]
    environ: Mapping[str, str]


class Arena:
    """One database, and a fresh broker for each contestant.

    Args:
        url: libpq URL of a migrated database.
        server: Process id of its server.
        folder: Where brokers and loads are put.
    """

    def __init__(self, url: str, server: int, folder: Path) -> None:
        self.url = url
        self.server = server
        self.folder = folder

    async def drain(
        self, door: MakeDoor, load: Load, enter: Callable[[Door], Contestant]
    ) -> Figures:
        """Queue all messages, then let a contestant take them."""
        async with door(self.folder / "broker") as broker:
            await self._publish(broker, load)
            return await self._measure(broker, enter(broker), None)

    async def live(
        self,
        door: MakeDoor,
        load: Load,
        enter: Callable[[Door], Contestant],
        *,
        rate: float = 0,
    ) -> Figures:
        """Publish while a contestant takes messages, at a rate or as fast as the broker lets us.

        Returns:
            Its figures, those of the publisher in ``publisher``, and when each message left in
            ``left_at``.
        """
        async with door(self.folder / "broker") as broker:
            return await self._measure(broker, enter(broker), (load, rate))

    def reset(self) -> None:
        """Empty what a run fills, and make the days that it needs."""
        today = SystemClock().micros() // _DAY_US * _DAY_US
        with psycopg.connect(self.url, autocommit=True) as conn:
            for kind in KINDS.values():
                make_days(conn, kind.table, days_of([today, today + _DAY_US]))
                conn.execute(sql.SQL("TRUNCATE {}").format(kind.table.identifier))
            for name in _EMPTIED.split(", "):
                conn.execute(sql.SQL("TRUNCATE {} CASCADE").format(sql.Identifier("hub", name)))
            conn.execute("CHECKPOINT")

    def check(self, load: Load, *, dirt: bool = True) -> None:
        """Count in SQL what became of a load.

        Args:
            load: What was published.
            dirt: Events and bad messages are counted, too; rivals do not keep them.

        Raises:
            StartError: Something is missing, or there twice.
        """
        expected = {name: load.rows[name] for name in KINDS if load.rows[name]}
        with psycopg.connect(self.url, autocommit=True) as conn:
            found = {name: self._count(conn, name) for name in expected}
            if dirt:
                expected |= {"events": load.events, "quarantined": load.bad}
                row = conn.execute(
                    "SELECT (SELECT count(*) FROM hub.device_event),"
                    " (SELECT coalesce(sum(quarantined), 0) FROM hub.ledger)"
                ).fetchone()
                assert row is not None  # noqa: S101 - an aggregate always gives a row
                found |= {"events": row[0], "quarantined": int(row[1])}
        if found != expected:
            raise StartError(f"no result: {expected} were published, but there are {found}")

    def _count(self, conn: psycopg.Connection[Any], kind: str) -> int:
        row = conn.execute(
            sql.SQL("SELECT count(*), count(DISTINCT (device_no, seq)) FROM {}").format(
                KINDS[kind].table.identifier
            )
        ).fetchone()
        assert row is not None  # noqa: S101 - as above
        return int(row[0]) if row[0] == row[1] else -1

    async def _publish(
        self, broker: Door, load: Load, *, rate: float = 0, times: Path | None = None
    ) -> Figures:
        file = load.write(self.folder / "load.tsv")
        who = [str(broker.port), broker.user, broker.password]
        how = ["5" if broker.v5 else "4", str(rate), str(times or "-")]
        return await self._finish(
            "the publisher", await _start(module("publish", *who, str(file), *how), {})
        )

    async def _measure(
        self, broker: Door, contestant: Contestant, feed: tuple[Load, float] | None
    ) -> Figures:
        broker_cpu, database_cpu = cpu_of(broker.pid), cpu_of(self.server)
        process = await _start(contestant.argv, contestant.environ)
        extra: Figures = {}
        try:
            if feed is not None:
                await _connected(broker.out_port, process)
                broker_cpu, database_cpu = cpu_of(broker.pid), cpu_of(self.server)
                load, rate = feed
                times = self.folder / "times.json"
                extra["publisher"] = await self._publish(broker, load, rate=rate, times=times)
                extra["left_at"] = json.loads(times.read_text("ascii"))
            figures = await self._finish(contestant.name, process)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return {
            "broker_cpu_s": cpu_of(broker.pid) - broker_cpu,
            "database_cpu_s": cpu_of(self.server) - database_cpu,
            **figures,
            **extra,
        }

    async def _finish(self, name: str, process: asyncio.subprocess.Process) -> Figures:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                out, words = await process.communicate()
        except TimeoutError as error:
            process.kill()
            raise StartError(f"{name} did not end within {_PATIENCE_S:.0f} s") from error
        said = (words or out).decode("utf-8", "replace").strip()[-_TOLD:]
        if process.returncode or not out.strip():
            raise StartError(f"{name} failed: {said}")
        figures: Figures = json.loads(out)
        if "wall_s" not in figures:
            raise StartError(f"{name} ended early: {said}")
        return figures


def module(name: str, *words: str) -> list[str]:
    """Return the command line of a module of the bench."""
    return [sys.executable, "-m", f"cityhub.bench.{name}", *words]


async def _start(argv: Sequence[str], environ: Mapping[str, str]) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *argv, env={**os.environ, **environ}, stdout=pipe, stderr=pipe
    )


async def _connected(port: int, process: asyncio.subprocess.Process) -> None:
    """Wait until somebody is connected to a port of loopback, and a moment longer."""
    local = f":{port:04X}"
    try:
        async with asyncio.timeout(_CONNECTED_S):
            while process.returncode is None:
                text = await asyncio.to_thread(Path("/proc/net/tcp").read_text, "ascii")
                fields = (line.split() for line in text.splitlines())
                if any(at.endswith(local) and s == _ESTABLISHED for _, at, _, s, *_ in fields):
                    break
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise StartError(f"a contestant did not connect within {_CONNECTED_S:.0f} s") from error
    await asyncio.sleep(_SETTLE_S)
