"""The log of a NATS: made once, then fed by the server itself.

The MQTT listener stores a message of QoS 1 in ``$MQTT_msgs`` and only then acknowledges it. Any
other stream that subscribes to the same subject gets a copy as far as it goes: 14,890 of 40,000
acknowledged messages were missing in one (measured). So the stream HUB is sourced from
``$MQTT_msgs`` through a durable consumer with flow control, made beforehand, which misses nothing.

``$MQTT_msgs`` exists only after the first MQTT client of the account, hence :func:`touch_mqtt`: it
comes before any device may publish, or the first messages are acknowledged and forgotten.

Where the disk is limited, HUB has a share of it and refuses what does not fit; then messages wait
in ``$MQTT_msgs``, which has a share, too. When that is full, devices get no acknowledgement and
send again: nothing is dropped. Both shares stay below the quota, since a server at its quota
may forget what it was about to copy from one to the other.
"""

import asyncio
import math
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Final

import nats
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    StreamConfig,
    StreamConsumerSource,
    StreamInfo,
    StreamSource,
)
from nats.js.errors import NoStreamResponseError, NotFoundError

from core.errors import ConfigError, StartError
from ingest import wire
from ingest.nats_wire import STREAM

KEPT_H: Final = 72
"""Hours for which the log can be read again."""

TRIM_FROM: Final = 0.5
TRIM_TO: Final = 0.4
"""A limited log that is fuller than the first share of its limit is trimmed to the second."""

_MQTT_STREAM: Final = "$MQTT_msgs"
_CONSUMER: Final = "hubsrc"
_DELIVER: Final = "hubsrc.deliver"
_FILTER: Final = "$MQTT.msgs.hub.>"
_PROBE: Final = "$MQTT.msgs.cityhub.probe"
_MAX_ACK_PENDING: Final = 10_000
_TIMEOUT_S: Final = 10.0
_SAFE_COPIES: Final = 3


async def make_log(
    url: str,
    *,
    replicas: int = 1,
    max_bytes: int = -1,
    waiting_bytes: int = -1,
    ca_file: Path | None = None,
) -> bool:
    """Make the durable consumer and the stream HUB where they are missing, with their limits.

    Args:
        url: ``nats://user:password@host:port``.
        replicas: Copies of the log in a cluster; explicit, since a cluster that is just forming
            would choose two.
        max_bytes: The most disk the log takes; -1: what the server's limit allows.
        waiting_bytes: The most disk for messages that do not fit into the log yet; -1 likewise.
        ca_file: CA certificate for TLS; None: the system's.

    Returns:
        Whether the limits hold; one below what is there already holds only when that is stored.

    Raises:
        StartError: The server cannot be reached, refuses, or has had no MQTT client yet.
    """
    try:
        client = await connect(url, ca_file=ca_file)
        try:
            js = client.jetstream(timeout=_TIMEOUT_S)
            await _make(js, replicas)
            limits = {STREAM: max_bytes, _MQTT_STREAM: waiting_bytes}
            return all([await _limit(js, *limit) for limit in limits.items()])
        finally:
            await client.close()
    except (NatsError, OSError) as error:
        raise StartError(f"the log of the NATS cannot be made: {error}") from error


async def find_log_problem(url: str, *, ca_file: Path | None = None) -> str | None:
    """Return one sentence on what is wrong with the log, or None.

    Raises:
        StartError: The server cannot be reached.
    """
    try:
        client = await connect(url, ca_file=ca_file)
        try:
            return await find_problem(client.jetstream(timeout=_TIMEOUT_S))
        finally:
            await client.close()
    except (NatsError, OSError) as error:
        raise StartError(f"the NATS cannot be asked: {error}") from error


async def _read_stream(url: str, ca_file: Path | None) -> StreamInfo:
    """Return how the log stands.

    Raises:
        StartError: The server cannot be asked, or has no log.
    """
    try:
        client = await connect(url, ca_file=ca_file)
        try:
            return await client.jetstream(timeout=_TIMEOUT_S).stream_info(STREAM)
        finally:
            await client.close()
    except (NatsError, OSError) as error:
        raise StartError(f"the NATS cannot be asked: {error}") from error


async def find_end(url: str, *, ca_file: Path | None = None) -> int:
    """Return the last number of the log.

    Raises:
        StartError: The server cannot be asked, or has no log.
    """
    return int((await _read_stream(url, ca_file)).state.last_seq)


async def can_write(url: str, *, ca_file: Path | None = None) -> bool:
    """Return whether the server can still store what devices publish.

    When its disk is full it stops writing, and goes on not writing when there is room again, until
    it is started anew. It tells by the number that it gives to a message which nobody reads and
    which is therefore not kept: 0, or the stream is gone (measured on 2.15.1).

    Raises:
        StartError: The server cannot be asked.
    """
    try:
        client = await connect(url, ca_file=ca_file)
        try:
            answer = await client.jetstream(timeout=_TIMEOUT_S).publish(_PROBE, b"")
        except NoStreamResponseError:
            return False
        else:
            return answer.seq > 0
        finally:
            await client.close()
    except (NatsError, OSError) as error:
        raise StartError(f"the NATS cannot be asked: {error}") from error


async def read_fill(url: str, *, ca_file: Path | None = None) -> float:
    """Return how much of the log's limit is taken, 0 to 1; 0 where it has none.

    Raises:
        StartError: The server cannot be asked, or has no log.
    """
    info = await _read_stream(url, ca_file)
    limit = info.config.max_bytes or 0
    return info.state.bytes / limit if limit > 0 else 0.0


async def trim(js: JetStreamContext, position: int) -> int:
    """Make room in a log that is half full: drop its oldest messages, none that is not committed.

    Args:
        js: The log's server.
        position: The last message that is committed.

    Returns:
        How many messages were dropped.
    """
    info = await js.stream_info(STREAM)
    limit, state = info.config.max_bytes or 0, info.state
    if limit <= 0 or state.bytes <= TRIM_FROM * limit:
        return 0
    share = 1 - TRIM_TO * limit / state.bytes
    upto = min(position, state.first_seq - 1 + math.ceil(share * state.messages))
    if upto < state.first_seq:
        return 0
    await js.purge_stream(STREAM, seq=upto + 1)
    return upto + 1 - state.first_seq


async def touch_mqtt(host: str, port: int, user: str, password: str) -> None:
    """Log in over MQTT once, so that the server makes its streams for MQTT.

    Raises:
        ConfigError: The login is refused.
        OSError: The server cannot be reached.
    """
    async with asyncio.timeout(_TIMEOUT_S):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(
                wire.connect(
                    "cityhub-setup", v5=False, keep_alive=10, username=user, password=password
                )
            )
            head = await reader.readexactly(2)
            connack = wire.read_connack(await reader.readexactly(head[1]), v5=False)
            if connack.code:
                raise ConfigError(f"the MQTT login is refused: {wire.explain(connack.code)}")
            writer.write(wire.disconnect(v5=False))
            await writer.drain()
        finally:
            writer.close()
            await writer.wait_closed()


async def connect(url: str, *, ca_file: Path | None = None) -> Client:
    """Log in to a NATS, once: a connection that breaks stays broken."""
    encrypted = {"tls": ssl.create_default_context(cafile=ca_file)} if ca_file else {}
    return await nats.connect(
        url.split(","),
        **encrypted,
        allow_reconnect=False,
        connect_timeout=5,
        max_reconnect_attempts=1,  # to a server that never was there it would go on for minutes
        reconnect_time_wait=0.1,
    )


async def _make(js: JetStreamContext, replicas: int) -> None:
    try:
        await js.consumer_info(_MQTT_STREAM, _CONSUMER)
    except NotFoundError:
        await _make_consumer(js, replicas)
    try:
        await js.stream_info(STREAM)
    except NotFoundError:
        await js.add_stream(
            StreamConfig(
                name=STREAM,
                num_replicas=replicas,
                max_age=KEPT_H * 3600,
                sources=[
                    StreamSource(
                        name=_MQTT_STREAM,
                        consumer=StreamConsumerSource(name=_CONSUMER, deliver_subject=_DELIVER),
                    )
                ],
            )
        )


async def _limit(js: JetStreamContext, stream: str, max_bytes: int) -> bool:
    """Have a stream refuse what is beyond a limit, -1: as it is; return whether it now does."""
    if max_bytes < 0:
        return True
    info = await js.stream_info(stream)
    # Below what it holds a limit might drop messages: it comes down with a later start.
    limit = max(max_bytes, info.state.bytes)
    if info.config.max_bytes != limit or info.config.discard != DiscardPolicy.NEW:
        await js.update_stream(replace(info.config, max_bytes=limit, discard=DiscardPolicy.NEW))
    return limit == max_bytes


async def _make_consumer(js: JetStreamContext, replicas: int) -> None:
    try:
        await js.add_consumer(
            _MQTT_STREAM,
            ConsumerConfig(
                durable_name=_CONSUMER,
                deliver_subject=_DELIVER,
                filter_subject=_FILTER,
                ack_policy=AckPolicy.FLOW_CONTROL,
                flow_control=True,
                idle_heartbeat=1,
                max_ack_pending=_MAX_ACK_PENDING,
                num_replicas=replicas,
            ),
        )
    except NotFoundError as error:
        raise StartError(
            "this NATS has had no MQTT client yet, so it has no MQTT messages to make a log of; "
            "is its MQTT listener on?"
        ) from error


async def find_problem(js: JetStreamContext) -> str | None:
    """Return one sentence on what is wrong with the log, or None."""
    try:
        stream = await js.stream_info(STREAM)
    except NotFoundError:
        return f"there is no stream {STREAM}; make the log before any device may publish"
    if not any(
        source.consumer is not None and source.consumer.name == _CONSUMER
        for source in stream.config.sources or []
    ):
        return (
            f"stream {STREAM} is not sourced through the durable consumer {_CONSUMER}: a crash of "
            "the server would lose acknowledged messages; delete the stream and make it anew"
        )
    try:
        await js.consumer_info(_MQTT_STREAM, _CONSUMER)
    except NotFoundError:
        return (
            f"{_MQTT_STREAM} has no consumer {_CONSUMER}: what devices publish is acknowledged "
            "and forgotten; make the log"
        )
    copies = stream.config.num_replicas or 1
    if stream.cluster is not None and stream.cluster.name and copies < _SAFE_COPIES:
        return (
            f"stream {STREAM} has {copies} cop{'ies' if copies > 1 else 'y'} in the cluster "
            f"{stream.cluster.name}: the loss of one server would stop or lose it; "
            f"set its replicas to {_SAFE_COPIES}"
        )
    return None
