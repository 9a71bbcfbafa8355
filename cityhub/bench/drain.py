"""The hub as a contestant: the real worker of the role, in a process of its own, with a stopwatch.

``python -m cityhub.bench.drain MESSAGES SERVER_PID HOW`` takes settings from the environment like
``cityhub ingest``, takes so many messages and prints one JSON object. HOW is ``judged``: through
decoder, detectors, COPY, COMMIT and acknowledgement; ``stored``: the same without detectors; or
``parsed``: off the wire and acknowledged, without a database, the most a hub in Python could do.
"""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from core.clock import SystemClock
from core.settings import load_settings
from ingest.sources import RawBatch, Source

_TICKS: Final = os.sysconf("SC_CLK_TCK")


class _DoneError(Exception):
    """All is committed and acknowledged."""


class Stopwatch:
    """A source that notes when its first message came, and ends the worker behind the last.

    Args:
        source: The real one.
        messages: How many there are.
        server: Process id of the database server.
    """

    def __init__(self, source: Source, messages: int, server: int) -> None:
        self.name = source.name
        self.capabilities = source.capabilities
        self.figures: dict[str, Any] = {}
        self._source = source
        self._left = self._messages = messages
        self._server = server
        self._first = 0
        self._commits: list[tuple[int, int]] = []

    async def read(self, position: int) -> AsyncIterator[RawBatch]:
        """See :meth:`Source.read`."""
        self._own_cpu, self._database_cpu = time.process_time(), cpu_of(self._server)
        async for batch in self._source.read(position):
            self._first = self._first or batch.received_at[0]
            yield batch

    async def committed(self, batch: RawBatch) -> None:
        """See :meth:`Source.committed`."""
        await self._source.committed(batch)
        self._left -= len(batch)
        self._commits.append((len(batch), SystemClock().micros()))
        if self._left <= 0:
            self.figures = {
                "messages": self._messages - self._left,
                "batches": len(self._commits),
                "commits": self._commits,
                "wall_s": (self._commits[-1][1] - self._first) / 1e6,
                "cpu_s": time.process_time() - self._own_cpu,
                "database_cpu_s": cpu_of(self._server) - self._database_cpu,
            }
            await asyncio.sleep(0.2)  # the last acknowledgements leave
            raise _DoneError


def cpu_of(server: int) -> float:
    """Return the CPU seconds of a server and all of its processes, those that ended included."""
    total = 0
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(folder.name) == server or int(fields[1]) == server:
                    total += int(fields[11]) + int(fields[12])
                if int(folder.name) == server:
                    total += int(fields[13]) + int(fields[14])
    return total / _TICKS


async def _drain(messages: int, server: int, how: str) -> dict[str, Any]:
    from analytics.stages import build_stages
    from cityhub.access import database_url
    from cityhub.roles import make_source
    from ingest.worker import run_worker

    settings = load_settings()
    url = database_url(settings)
    watch = Stopwatch(make_source(settings, url), messages, server)
    try:
        if how == "parsed":
            async for batch in watch.read(0):
                await watch.committed(batch)
        with tempfile.TemporaryDirectory(prefix="cityhub-states-") as states:
            await run_worker(
                url=url,
                source=watch,
                build_stages=build_stages if how == "judged" else lambda _kind, _limits: [],
                settings=settings.ingest,
                clock=SystemClock(),
                states=Path(states),
            )
    except* _DoneError:
        pass
    return watch.figures


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_drain(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))))
