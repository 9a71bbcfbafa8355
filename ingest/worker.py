"""The ingest role: reads a source in the event loop; one thread judges, another commits, in order.

Three batches are in flight at most, one being committed, one being judged and one waiting, so
memory stays bounded and the broker, or the log, holds what is behind. Crash-only: whatever ends the
worker, the next one starts from what is committed.
"""

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NoReturn

from core.batch import Stage
from core.clock import Clock
from core.db import listen
from core.errors import CityhubError, LeaseLostError
from core.metrics import FENCED, UNACKED_SECONDS
from core.settings import Ingest
from devices.kind import DeviceKind
from ingest.decode import Work
from ingest.pipeline import Pipeline
from ingest.sources import RawBatch, Source

log = logging.getLogger(__name__)

_IN_FLIGHT: Final = 3
_LOOK_S: Final = 60.0
_TURN_S: Final = 0.001
"""How long a thread that computes keeps the interpreter from one that waits for it. A transaction
asks the database some ten times, and after each answer it needs the interpreter for a moment, which
the detectors would not give up for five milliseconds, Python's default."""


@dataclass(frozen=True, slots=True)
class _Delivery:
    """A batch on its way; ``known`` if its rows are committed and only the detectors need it."""

    raw: RawBatch
    known: bool


async def run_worker(
    *,
    url: str,
    source: Source,
    build_stages: Callable[[DeviceKind, Mapping[int, Mapping[str, Any]]], Sequence[Stage]],
    settings: Ingest,
    clock: Clock,
    states: Path | None = None,
) -> NoReturn:
    """Take messages from a source into the database, for ever.

    Args:
        url: libpq URL of a migrated database.
        source: Where messages come from.
        build_stages: Makes the detectors of a kind; it gets the devices' own limits, live.
        settings: Limits and rules.
        clock: The hub's time.
        states: Folder for large states of detectors; None: they go into rows.

    Raises:
        LeaseLostError: Another worker took over the source; start anew or go.
        ConfigError: The broker refuses us for good.
    """
    sys.setswitchinterval(_TURN_S)
    pipeline = Pipeline(
        url=url,
        source=source.name,
        offsets=source.capabilities.offsets,
        build_stages=build_stages,
        settings=settings,
        clock=clock,
        states=states,
    )
    judging = ThreadPoolExecutor(1, f"judge-{source.name}")
    committing = ThreadPoolExecutor(1, f"commit-{source.name}")
    worker = _Worker(source, pipeline, clock, judging, committing)
    try:
        await worker.run(url)
    except BaseExceptionGroup as errors:
        error = _first(errors)
        if isinstance(error, LeaseLostError):
            FENCED.labels(source.name).inc()
        if isinstance(error, CityhubError):
            raise error from error.__cause__
        raise
    finally:
        pipeline.stop()
        for thread in (judging, committing):
            thread.shutdown(wait=True, cancel_futures=True)
        pipeline.close()
    raise AssertionError("a source never ends")


def _first(errors: BaseExceptionGroup[Any]) -> BaseException:
    """Return the first error of a group that is no group itself."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class _Worker:
    """The ends of a worker and what is between them."""

    def __init__(
        self,
        source: Source,
        pipeline: Pipeline,
        clock: Clock,
        judging: Executor,
        committing: Executor,
    ) -> None:
        self._source = source
        self._pipeline = pipeline
        self._clock = clock
        self._judging = judging
        self._committing = committing
        self._slots = asyncio.Semaphore(_IN_FLIGHT)
        self._came: asyncio.Queue[_Delivery] = asyncio.Queue()
        self._judged: asyncio.Queue[Work] = asyncio.Queue()
        self._oldest: deque[int] = deque()
        self._pending: deque[_Delivery] = deque()

    async def run(self, url: str) -> None:
        """Run until something fails."""
        loop = asyncio.get_running_loop()
        UNACKED_SECONDS.labels(self._source.name).set_function(self._oldest_age)
        start, committed = await loop.run_in_executor(self._judging, self._pipeline.start)
        if start < committed:
            log.info(
                "reading rows once more for the detectors' state",
                extra={"source": self._source.name, "from": start, "to": committed},
            )
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read(start, committed))
            group.create_task(self._judge())
            group.create_task(self._commit())
            group.create_task(self._watch(url))

    async def _read(self, start: int, committed: int) -> None:
        async with aclosing(self._source.read(start)) as batches:  # type: ignore[type-var] # every source is a generator
            while True:
                await self._slots.acquire()
                if not self._pending:
                    self._pending.extend(split(await anext(batches), committed))
                delivery = self._pending.popleft()
                if not delivery.known:
                    self._oldest.append(delivery.raw.received_at[0])
                self._came.put_nowait(delivery)

    async def _judge(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            delivery = await self._came.get()
            if delivery.known:
                await loop.run_in_executor(self._judging, self._pipeline.rescore, delivery.raw)
                await self._done(delivery.raw)
            else:
                judge = self._pipeline.judge
                work = await loop.run_in_executor(self._judging, judge, delivery.raw)
                self._judged.put_nowait(work)

    async def _commit(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            work = await self._judged.get()
            await loop.run_in_executor(self._committing, self._pipeline.commit, work)
            self._oldest.popleft()
            await self._done(work.raw)

    async def _done(self, raw: RawBatch) -> None:
        await self._source.committed(raw)
        self._slots.release()

    async def _watch(self, url: str) -> None:
        """Have devices and rules loaded anew when they change, or a nudge may be lost."""
        async for _ in listen(url, "hub_device", "hub_rule", every=_LOOK_S):
            self._pipeline.devices_changed()

    def _oldest_age(self) -> float:
        return (self._clock.micros() - self._oldest[0]) / 1e6 if self._oldest else 0.0


def split(raw: RawBatch, committed: int) -> list[_Delivery]:
    """Part a batch where the database stands: what is before it is for the detectors only.

    A log numbers its messages one by one. Where it left some out and a batch straddles the point,
    all of it is written, and the rows that are there already count as duplicates.
    """
    if raw.after >= committed:
        return [_Delivery(raw, known=False)]
    if raw.position <= committed:
        return [_Delivery(raw, known=True)]
    if raw.position - raw.after != len(raw):
        return [_Delivery(replace(raw, after=committed), known=False)]
    cut = committed - raw.after
    return [
        _Delivery(_part(raw, 0, cut, raw.after, committed), known=True),
        _Delivery(_part(raw, cut, len(raw), committed, raw.position), known=False),
    ]


def _part(raw: RawBatch, start: int, stop: int, after: int, position: int) -> RawBatch:
    kinds = {i - start: kind for i, kind in raw.content_types.items() if start <= i < stop}
    return replace(
        raw,
        topics=raw.topics[start:stop],
        payloads=raw.payloads[start:stop],
        received_at=raw.received_at[start:stop],
        content_types=kinds,
        after=after,
        position=position,
    )
