"""The hub as a contestant: the real worker of the role, in a process of its own, with a stopwatch.

``python -m cityhub.bench.drain MESSAGES SERVER_PID`` takes settings from the environment like
``cityhub ingest``, drains a queued session through decoder, detectors, COPY, COMMIT and
acknowledgement, and prints one JSON object.
"""

import asyncio
import contextlib
import json
import os
import sys
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
        self._batches = 0

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
        self._batches += 1
        if self._left <= 0:
            self.figures = {
                "messages": self._messages - self._left,
                "batches": self._batches,
                "wall_s": (SystemClock().micros() - self._first) / 1e6,
                "cpu_s": time.process_time() - self._own_cpu,
                "database_cpu_s": cpu_of(self._server) - self._database_cpu,
            }
            await asyncio.sleep(0.2)  # the last acknowledgements leave
            raise _DoneError


def cpu_of(server: int) -> float:
    """Return the CPU seconds of a database server and all of its processes."""
    total = 0
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(folder.name) == server or int(fields[1]) == server:
                    total += int(fields[11]) + int(fields[12])
    return total / _TICKS


async def _drain(messages: int, server: int) -> dict[str, Any]:
    from analytics.stages import build_stages
    from cityhub.access import database_url
    from cityhub.roles import make_source
    from ingest.worker import run_worker

    settings = load_settings()
    url = database_url(settings)
    watch = Stopwatch(make_source(settings, url), messages, server)
    try:
        await run_worker(
            url=url,
            source=watch,
            build_stages=build_stages,
            settings=settings.ingest,
            clock=SystemClock(),
        )
    except* _DoneError:
        pass
    return watch.figures


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_drain(int(sys.argv[1]), int(sys.argv[2])))))
