"""One round: every contestant has its turn with the same load, and what each did is counted."""

import asyncio
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import psycopg

from cityhub.bench import contestants
from cityhub.bench.alone import Copied
from cityhub.bench.arena import Arena, Figures
from cityhub.bench.broker import fresh_log, fresh_mosquitto
from cityhub.bench.disk import bytes_per_message, narrow_bytes_per_message
from cityhub.bench.load import Load, Sender, make_load
from cityhub.bench.node_red import node_red
from core.clock import SystemClock
from core.errors import StartError
from core.settings import Settings

RATE: Final = 1_000
"""Messages a second at which latency is measured."""
_LATENCY_S: Final = 5


class Round:
    """The turns of one round.

    Args:
        settings: Batch and linger of the hub.
        arena: Where they meet.
        senders: The devices of the load.
        messages: In a drain.
        counter: The counter in C, if there is one.
    """

    def __init__(
        self,
        settings: Settings,
        arena: Arena,
        senders: Sequence[Sender],
        messages: int,
        counter: Path | None,
    ) -> None:
        self._settings = settings
        self._arena = arena
        self._senders = senders
        self._messages = messages
        self._counter = counter
        self._sample: Figures = {}

    async def run(self, peers: Sequence[str]) -> dict[str, Any]:
        """Let each have its turn; return what was measured."""
        await self._drains()
        await self._live()
        await self._rivals(peers)
        await self._latency()
        await self._log()
        self._sample["load"] = os.getloadavg()[0]
        return self._sample

    async def _drains(self) -> None:
        arena, count = self._arena, self._messages
        load = self._make(count)
        self._sample["payload_bytes"] = round(
            statistics.mean(len(payload) for _, payload in load.messages)
        )
        hub = await self._hub_drains(load, "judged")
        self._note("hub", hub)
        self._sample["hub_batches"] = hub["batches"]
        self._sample["db_cpu_us_per_msg"] = hub["database_cpu_s"] / count * 1e6
        with psycopg.connect(arena.url, autocommit=True) as conn:
            self._sample["bytes_per_msg"] = bytes_per_message(conn)
            self._sample["narrow_bytes_per_msg"] = narrow_bytes_per_message(conn)
        counted = contestants.counter(self._counter, count)
        self._note("counter", await arena.drain(fresh_mosquitto, load, counted))
        parsed = contestants.hub(self._settings, arena, count, "parsed")
        self._note("parsed", await arena.drain(fresh_mosquitto, load, parsed))
        self._note("stored", await self._hub_drains(load, "stored"))
        arena.reset()
        copied = await asyncio.to_thread(Copied(self._settings, arena).copy, load)
        arena.check(load, dirt=False)
        self._sample["copy_rows_per_s"] = copied["rows"] / copied["wall_s"]
        self._sample["copy_db_cpu_us_per_msg"] = copied["database_cpu_s"] / copied["rows"] * 1e6

    async def _live(self) -> None:
        arena, count = self._arena, self._messages // 2
        load = self._make(count)
        hub = contestants.hub(self._settings, arena, count)
        live = await arena.live(fresh_mosquitto, load, hub)
        arena.check(load)
        self._note("hub_live", live)
        counted = contestants.counter(self._counter, count)
        self._note("counter_live", await arena.live(fresh_mosquitto, load, counted))

    async def _rivals(self, peers: Sequence[str]) -> None:
        arena = self._arena
        load = self._make(self._messages // 4)
        paho = contestants.paho(arena, len(load), 500)
        self._note("paho", await arena.live(fresh_mosquitto, load, paho))
        arena.check(load, dirt=False)
        load = self._make(max(500, self._messages // 100))
        single = contestants.paho(arena, len(load), 1)
        self._note("single", await arena.drain(fresh_mosquitto, load, single))
        arena.check(load, dirt=False)
        if "node-red" in peers:
            load = self._make(self._messages // 5, dirt=False)
            peer = node_red(arena, load, self._senders)
            self._note("node_red", await arena.live(fresh_mosquitto, load, peer))
            arena.check(load, dirt=False)

    async def _latency(self) -> None:
        """Measure from the write of the publisher to the return of COMMIT, both of one clock."""
        arena = self._arena
        load = self._make(min(RATE * _LATENCY_S, self._messages))
        hub = contestants.hub(self._settings, arena, len(load))
        paced = await arena.live(fresh_mosquitto, load, hub, rate=RATE)
        arena.check(load)
        committed = [at for count, at in paced["commits"] for _ in range(count)]
        waits = sorted(
            (done - left) / 1000 for left, done in zip(paced["left_at"], committed, strict=True)
        )
        self._sample["committed_p50_ms"] = waits[len(waits) // 2]
        self._sample["committed_p99_ms"] = waits[len(waits) * 99 // 100]
        self._sample["paced_cpu_us_per_msg"] = paced["cpu_s"] / len(load) * 1e6

    async def _log(self) -> None:
        arena, count = self._arena, self._messages // 2
        hub = contestants.hub(self._settings, arena, count)
        load = self._make(count)
        self._note("log_live", await arena.live(fresh_log, load, hub))
        arena.check(load)
        load = self._make(count)
        self._note("log_drain", await arena.drain(fresh_log, load, hub))
        arena.check(load)

    async def _hub_drains(self, load: Load, how: str) -> Figures:
        self._arena.reset()
        enter = contestants.hub(self._settings, self._arena, len(load), how)
        figures = await self._arena.drain(fresh_mosquitto, load, enter)
        self._arena.check(load)
        return figures

    def _make(self, count: int, *, dirt: bool = True) -> Load:
        """Return a fresh load, and an empty database for it."""
        self._arena.reset()
        return make_load(self._senders, count, at=SystemClock().micros(), dirt=dirt)

    def _note(self, name: str, figures: Figures) -> None:
        """Keep what a contestant did."""
        count, sample = figures["messages"], self._sample
        if count < 1:
            raise StartError(f"no result: {name} took nothing")
        each = 1e6 / count
        sample[f"{name}_msgs_per_s"] = count / figures["wall_s"]
        sample[f"{name}_cpu_us_per_msg"] = figures["cpu_s"] * each
        sample[f"{name}_broker_cpu_us_per_msg"] = figures["broker_cpu_s"] * each
        sample[f"{name}_db_cpu_us_per_msg"] = figures["database_cpu_s"] * each
        sample[f"{name}_all_cpu_us_per_msg"] = (figures["cpu_s"] + figures["database_cpu_s"]) * each
