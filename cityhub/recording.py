"""Recording and replaying, put together from the settings.

On an MQTT broker the recorder subscribes beside the hub, with a login of its own (setting
``broker.tool_url``). Without one it reads what the hub reads where that is a log, as the embedded
broker's is, from its end on.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from core.clock import SystemClock
from core.errors import ConfigError
from core.settings import Settings

if TYPE_CHECKING:
    from simulators.courier import Login


def record(
    settings: Settings,
    wanted: str,
    path: Path,
    *,
    lasts_s: float | None = None,
    most: int | None = None,
) -> int:
    """Record until Ctrl-C; return how many messages were written.

    Args:
        settings: The settings; the broker's URL says where to listen.
        wanted: Topic filter.
        path: The recording.
        lasts_s: End after so many seconds.
        most: End after so many messages.

    Raises:
        ConfigError: No broker is named, or it refuses us.
    """
    return asyncio.run(_record(settings, wanted, path, lasts_s, most))


def replay(
    settings: Settings,
    path: Path,
    *,
    speed: float,
    shift: bool,
    loop: bool,
    wanted: str,
    allow_remote: bool,
) -> int:
    """Publish a recording; return how many messages were acknowledged.

    Raises:
        ConfigError: No MQTT broker is named, or the file is no recording.
    """
    from simulators.replayer import run_replay

    login = _login(settings)
    return asyncio.run(
        run_replay(
            broker_host=login.host,
            broker_port=login.port,
            username=login.username,
            password=login.password,
            path=path,
            clock=SystemClock(),
            speed=speed,
            shift=shift,
            loop=loop,
            wanted=wanted,
            allow_remote=allow_remote,
        )
    )


async def _record(
    settings: Settings, wanted: str, path: Path, lasts_s: float | None, most: int | None
) -> int:
    from simulators.recorder import Recorder

    broker = settings.broker
    if (
        broker.tool_url is None
        and broker.url is not None
        and urlsplit(broker.url.get_secret_value()).scheme in {"nats", "tls"}
    ):
        return await _record_log(settings, wanted, path, lasts_s, most)
    recorder = Recorder(
        _login(settings),
        wanted=wanted,
        path=path,
        clock=SystemClock(),
        most=most,
        v5=broker.protocol == "5",
    )
    await _for(recorder.run(), lasts_s)
    return recorder.count


async def _record_log(
    settings: Settings, wanted: str, path: Path, lasts_s: float | None, most: int | None
) -> int:
    from core.recording import Recorded, RecordingWriter
    from devices.topics import topic_matches
    from ingest.sources.jetstream import JetStreamSource
    from ingest.sources.log import find_end

    broker = settings.broker
    url = broker.url.get_secret_value() if broker.url else ""
    source = JetStreamSource(url=url, name="record", clock=SystemClock(), ca_file=broker.ca_file)
    end = await find_end(url, ca_file=broker.ca_file)
    count = 0

    async def write(writer: RecordingWriter) -> None:
        nonlocal count
        async for batch in source.read(end):
            for topic, payload, at in zip(
                batch.topics, batch.payloads, batch.received_at, strict=True
            ):
                if topic_matches(wanted, topic.decode("utf-8", "replace")):
                    writer.append(Recorded(at, topic, payload))
                    count += 1
                    if count == most:
                        return
            writer.flush()
            await source.committed(batch)

    with RecordingWriter(path) as writer:
        await _for(write(writer), lasts_s)
    return count


async def _for(work: Coroutine[Any, Any, None], lasts_s: float | None) -> None:
    """Do something for a while, or until Ctrl-C, which is an orderly end here."""
    with suppress(TimeoutError, asyncio.CancelledError):
        async with asyncio.timeout(lasts_s):
            await work


def _login(settings: Settings) -> "Login":
    from simulators.courier import Login

    broker = settings.broker
    if broker.tool_url is None:
        raise ConfigError(
            "set CITYHUB_BROKER_TOOL_URL to the broker, mqtt://user:password@host:port, with a"
            " login of its own: the hub's would throw the hub out of its session"
        )
    parts = urlsplit(broker.tool_url.get_secret_value())
    if parts.scheme != "mqtt" or not parts.hostname:
        raise ConfigError("CITYHUB_BROKER_TOOL_URL must be mqtt://user:password@host:port")
    own = urlsplit(broker.url.get_secret_value()) if broker.url else None
    if own is not None and own[:2] == parts[:2]:
        raise ConfigError("broker.tool_url is the hub's own login; make another one at the broker")
    return Login(
        parts.hostname,
        parts.port or 1883,
        unquote(parts.username) if parts.username else None,
        unquote(parts.password) if parts.password else None,
    )
