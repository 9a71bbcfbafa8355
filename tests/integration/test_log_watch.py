"""The log is measured from beside the worker: how far behind it is, and whether it is whole."""

import asyncio
from contextlib import aclosing, suppress
from typing import Any
from urllib.parse import urlsplit

import nats as nats_py

from core.clock import SystemClock
from core.presence import collect
from ingest.sources.jetstream import JetStreamSource
from ingest.sources.log import make_log
from ingest.sources.log_watch import watch_log
from tests.publisher import Message, publish
from tests.servers import Nats
from tests.serving import until


def figure(name: str, source: str) -> float | None:
    """Return what a role would report of itself."""
    samples: list[tuple[str, dict[str, Any], float]] = collect()[name]["samples"]
    found = [value for _, labels, value in samples if labels.get("source") == source]
    return found[0] if found else None


async def test_lag_window_and_wholeness_of_the_log_are_told(nats: Nats) -> None:
    name = "watched"
    source = JetStreamSource(url=nats.url, name=name, clock=SystemClock(), batch=10, window=50)
    watching = asyncio.create_task(watch_log(nats.url, source, every=0.05))
    try:
        login = urlsplit(nats.simulator_url)
        messages = [Message("hub/MH-0001/telemetry", b"{}")] * 100
        await publish(nats.mqtt_port, login.username or "", login.password or "", *messages)
        await until(lambda: figure("cityhub_log_lag_messages", name) == 100)
        assert figure("cityhub_log_whole", name) == 1
        assert (figure("cityhub_log_bytes", name) or 0) > 100 * len(b"{}")
        assert figure("cityhub_ingest_window_limit_messages", name) == 50

        async with asyncio.timeout(20), aclosing(source.read(0)) as batches:  # type: ignore[type-var] # every source is a generator
            batch = await anext(batches)
            await until(lambda: (figure("cityhub_ingest_window_messages", name) or 0) >= 10)
            await source.committed(batch)
            while source.position < 100:
                await source.committed(await anext(batches))
            await until(lambda: figure("cityhub_log_lag_messages", name) == 0)
            assert figure("cityhub_ingest_window_messages", name) == 0

        client = await nats_py.connect(nats.url)
        await client.jetstream().delete_consumer("$MQTT_msgs", "hubsrc")
        await client.close()
        await until(lambda: figure("cityhub_log_whole", name) == 0)
        await make_log(nats.url)
        await until(lambda: figure("cityhub_log_whole", name) == 1)

        nats.kill()
        await until(lambda: figure("cityhub_log_whole", name) == 0)
        await nats.start()
        await until(lambda: figure("cityhub_log_whole", name) == 1)
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
