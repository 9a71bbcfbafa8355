"""The bulk reader: a persistent MQTT session on mosquitto, EMQX or any city broker.

A message is acknowledged after COMMIT and in order, so the broker's window of unacknowledged
messages is the back-pressure: while nothing is committed, nothing more comes. An acknowledgement
goes only over the connection that brought the message, since a new one uses the same packet ids for
other messages.

Two traps decide the shape. A broker of 3.1.1 sends no more than its own limit unacknowledged (20 by
default), so a batch that waits for more would wait for ever: batch and window stay within that
limit, and the linger timer always runs. And a resumed session delivers before SUBACK, so messages
are taken from CONNACK on.

Not for NATS: its MQTT listener forgets what a killed reader held for half a minute, or sends newer
before older. Its log is read by ``jetstream``.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from core.clock import Clock
from core.errors import ConfigError, LeaseLostError, StoreUnavailableError
from ingest import wire
from ingest.session import Claim
from ingest.sources import Capabilities, RawBatch
from ingest.sources.address import Address, parse_address
from ingest.sources.gathering import Gathering
from ingest.sources.pauses import Pauses

log = logging.getLogger(__name__)

_CONNECT_S: Final = 10.0
_BREATH_S: Final = 0.002  # between two looks at the socket
_MUCH: Final = 1 << 17  # bytes: behind so many there are more
_SUBSCRIBE_ID: Final = 1


class MqttSource:
    """A session on an MQTT broker; see :class:`ingest.sources.Source`.

    Args:
        url: ``mqtt://user:password@host:port`` or ``mqtts://…``.
        name: The source's name.
        clock: When messages came.
        session: Claims the source before the first connection and confirms it before the others.
        client_id: Whose session; None: as ``session`` says. A broker that ties client ids to user
            names, as ours does, takes the user name.
        ca_file: CA certificate for TLS; None: the system's.
        protocol: ``"5"`` or ``"3.1.1"``.
        topic_filter: The one subscription.
        receive_maximum: Window of uncommitted messages.
        inflight_limit: What a 3.1.1 broker allows unacknowledged; caps window and batch there.
        session_expiry: How long the broker keeps messages while we are away, in seconds.
        keep_alive: Seconds between signs of life.
        batch: The most messages of a batch.
        linger: How long the first message of a batch waits for company, in seconds.
        pauses: Waits between attempts to connect.
    """

    capabilities = Capabilities(ordered=True, replayable=False, offsets=False)

    def __init__(
        self,
        *,
        url: str,
        name: str,
        clock: Clock,
        session: Claim,
        client_id: str | None = None,
        ca_file: Path | None = None,
        protocol: str = "5",
        topic_filter: str = "hub/#",
        receive_maximum: int = 20_000,
        inflight_limit: int = 20,
        session_expiry: int = 604_800,
        keep_alive: int = 30,
        batch: int = 5_000,
        linger: float = 0.02,
        pauses: Pauses | None = None,
    ) -> None:
        self.name = name
        self._address = parse_address(
            url, plain=("mqtt", 1883), encrypted=("mqtts", 8883), ca_file=ca_file
        )
        self._clock = clock
        self._session = session
        self._client_id = client_id
        self._v5 = protocol == "5"
        self._topic_filter = topic_filter
        self._window = receive_maximum if self._v5 else min(receive_maximum, inflight_limit)
        self._batch = min(batch, self._window)
        self._linger = linger
        self._session_expiry = session_expiry
        self._keep_alive = keep_alive
        self._pauses = pauses or Pauses()

    async def read(self, position: int) -> AsyncIterator[RawBatch]:
        """See :meth:`ingest.sources.Source.read`."""
        epoch = 0
        while True:
            try:
                epoch, client_id = await self._session(epoch)
                connection = await self._connect(self._client_id or client_id, epoch)
                try:
                    while True:
                        yield await connection.take()
                finally:
                    connection.close()
            except (OSError, wire.WireError, StoreUnavailableError) as error:
                pause = self._pauses.next()
                log.warning(
                    "broker away",
                    extra={
                        "source": self.name,
                        "broker": str(self._address),
                        "reason": str(error) or type(error).__name__,
                        "retry_in_s": round(pause, 2),
                    },
                )
                await asyncio.sleep(pause)

    async def committed(self, batch: RawBatch) -> None:
        """See :meth:`ingest.sources.Source.committed`."""
        connection, packet_ids = batch.token
        connection.acknowledge(len(batch), packet_ids)

    async def _connect(self, client_id: str, epoch: int) -> "_Connection":
        """Connect and log in; the subscription is under way.

        Raises:
            ConfigError: The broker refuses us for good.
            OSError: It cannot be reached, or refuses for now.
        """
        address, loop = self._address, asyncio.get_running_loop()

        def protocol() -> _Connection:
            return _Connection(
                clock=self._clock,
                epoch=epoch,
                v5=self._v5,
                window=self._window,
                batch=self._batch,
                linger=self._linger,
                keep_alive=self._keep_alive,
                subscribed=self._pauses.reset,
            )

        try:
            async with asyncio.timeout(_CONNECT_S):
                _, connection = await loop.create_connection(
                    protocol,
                    address.host,
                    address.port,
                    ssl=address.tls,
                    server_hostname=address.host if address.tls else None,
                )
                try:
                    connack = await connection.log_in(
                        self._connect_packet(client_id, address),
                        wire.subscribe(_SUBSCRIBE_ID, self._topic_filter, v5=self._v5),
                    )
                except BaseException:
                    connection.close()
                    raise
        except ssl.SSLCertVerificationError as error:
            raise ConfigError(
                f"the certificate of the broker {address} is not trusted: {error.verify_message}; "
                "set broker.ca_file to the CA that signed it"
            ) from error
        if not connack.session_present:
            log.info("new session", extra={"source": self.name, "broker": str(address)})
        return connection

    def _connect_packet(self, client_id: str, address: Address) -> bytes:
        return wire.connect(
            client_id,
            v5=self._v5,
            keep_alive=self._keep_alive,
            username=address.username,
            password=address.password,
            receive_maximum=self._window,
            session_expiry=self._session_expiry,
        )


class _Connection(asyncio.Protocol):
    """One connection: what came over it, and what went wrong with it."""

    def __init__(
        self,
        *,
        clock: Clock,
        epoch: int,
        v5: bool,
        window: int,
        batch: int,
        linger: float,
        keep_alive: float,
        subscribed: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._epoch = epoch
        self._v5 = v5
        self._window = window
        self._keep_alive = keep_alive
        self._subscribed = subscribed
        self._arrivals = wire.Arrivals()
        self._received_at: list[int] = []
        self._gathering = Gathering(batch, linger)
        self._uncommitted = 0  # taken off the wire, whether handed on or not
        self._rest = b""
        self._skip = 0
        self._paused = False
        self._breathing: asyncio.TimerHandle | None = None
        self._connack: asyncio.Future[wire.Connack] = self._loop.create_future()
        self._heard_at = self._said_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    async def log_in(self, connect: bytes, subscribe: bytes) -> wire.Connack:
        """Say who we are and what we want.

        Raises:
            ConfigError: The broker refuses for good.
            OSError: It refuses for now, or hangs up.
        """
        self._write(connect)
        connack = await self._connack
        if connack.code:
            sentence = (
                "the broker refuses the hub's CONNECT: "
                f"{wire.explain(connack.code, connack.reason)}"
            )
            if connack.code == wire.WRONG_VERSION:
                sentence += (
                    '. Set broker.protocol = "3.1.1"; but if it is a NATS, name its own port as '
                    "broker.url = nats://…: the hub never reads a NATS through MQTT"
                )
            if wire.is_permanent(connack.code):
                raise ConfigError(sentence)
            raise ConnectionError(sentence)
        if connack.keep_alive is not None:
            self._keep_alive = connack.keep_alive
        self._write(subscribe)
        if self._keep_alive:
            self._watch()
        return connack

    async def take(self) -> RawBatch:
        """Wait for messages and take at most a batch of them.

        Raises:
            OSError: The connection is gone, and all that it brought was handed on.
            WireError: The same, since what it brought next made no sense.
            LeaseLostError: Another client took over the session.
            ConfigError: The broker refuses the subscription.
        """
        count = await self._gathering.take()
        taken = self._arrivals.cut(count)
        received_at = self._received_at[:count]
        del self._received_at[:count]
        return RawBatch(
            topics=taken.topics,
            payloads=taken.payloads,
            received_at=received_at,
            epoch=self._epoch,
            after=0,
            position=0,
            content_types=taken.content_types,
            token=(self, taken.packet_ids),
        )

    def acknowledge(self, count: int, packet_ids: list[bytes]) -> None:
        """Let the broker forget messages; without effect once the connection is gone."""
        if self._transport is None:
            return
        self._write(wire.pubacks(packet_ids))
        self._uncommitted -= count
        if self._paused and self._uncommitted < self._window:
            self._paused = False
            self._heard_at = self._loop.time()
            if self._breathing is None:
                self._transport.resume_reading()

    def close(self) -> None:
        """End the connection; the session stays with the broker."""
        if self._transport is not None:
            self._write(wire.disconnect(v5=self._v5))
            self._transport.close()
            self._transport = None
        self._fail(ConnectionError("closed"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - create_connection's kind
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.Protocol`."""
        self._transport = None
        self._fail(exc or ConnectionError("the broker closed the connection"))

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        self._heard_at = self._loop.time()
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            if self._skip:
                return
            data = data[skipped:]
        if self._rest:
            data = self._rest + data
        arrivals = self._arrivals
        before = len(arrivals)
        try:
            used, self._skip, others = wire.take_packets(data, arrivals, v5=self._v5)
            for packet in others:
                self._handle(packet)
        except (wire.WireError, ConfigError, LeaseLostError) as error:
            broken: Exception | None = error
        else:
            broken = None
            self._rest = data[used:]
        count = len(arrivals) - before
        if count:
            self._received_at += [self._clock.micros()] * count
            self._uncommitted += count
            self._gathering.add(count)
            self._slow_down(len(data))
        if broken is not None:
            self._fail(broken)
            if self._transport is not None:
                self._transport.abort()

    def _slow_down(self, size: int) -> None:
        """Leave the socket alone for a moment, or until something is committed.

        A broker writes each message by itself. Whoever wakes for each pays for a turn of the event
        loop twenty messages long; two milliseconds later there are hundreds. The first of a quiet
        time is taken at once, and all wait for their batch far longer.
        """
        if self._transport is None:
            return
        self._paused = self._uncommitted >= self._window  # QoS 0 knows no window but ours
        if size < _MUCH:
            self._breathing = self._loop.call_later(_BREATH_S, self._breathe)
        if self._paused or self._breathing is not None:
            self._transport.pause_reading()

    def _breathe(self) -> None:
        """Look at the socket again."""
        self._breathing = None
        if self._transport is not None and not self._paused:
            self._transport.resume_reading()

    def _handle(self, packet: wire.Packet) -> None:
        """Do what any packet but a PUBLISH asks for.

        Raises:
            ConfigError: The broker refuses the subscription for good.
            LeaseLostError: Another client took over the session.
            WireError: The packet makes no sense here.
        """
        if packet.kind == wire.CONNACK:
            if not self._connack.done():
                self._connack.set_result(wire.read_connack(packet.body, v5=self._v5))
        elif packet.kind == wire.SUBACK:
            granted = wire.read_suback(packet.body, v5=self._v5)
            if granted != 1:
                raise ConfigError(
                    "the broker does not let the hub subscribe at QoS 1: "
                    + (wire.explain(granted) if granted else "it grants QoS 0 only")
                    + "; allow this login to read broker.topic_filter"
                )
            self._subscribed()
        elif packet.kind == wire.DISCONNECT:
            code = wire.read_disconnect(packet.body)
            if code == wire.SESSION_TAKEN_OVER:
                raise LeaseLostError("another client took over the hub's session at the broker")
            raise wire.WireError(f"the broker disconnects: {wire.explain(code)}")
        elif packet.kind != wire.PINGRESP:
            raise wire.WireError(f"the broker sends a packet of type {packet.kind >> 4}")

    def _watch(self) -> None:
        """Keep the connection alive, and give up one on which nothing was heard for too long.

        A ping goes out after half an interval of silence, so that a peer that is gone is noticed
        after one and a quarter at the latest.
        """
        if self._transport is None:
            return
        now = self._loop.time()
        if not self._paused and now - self._heard_at >= self._keep_alive:
            self._fail(ConnectionError("nothing heard within the keep-alive"))
            self._transport.abort()
            return
        if now - min(self._heard_at, self._said_at) >= self._keep_alive / 2:
            self._write(wire.PINGREQ)
        self._timer = self._loop.call_later(self._keep_alive / 4, self._watch)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and data:
            self._said_at = self._loop.time()
            self._transport.write(data)

    def _fail(self, error: Exception) -> None:
        """Wake whoever waits; the first thing that went wrong counts."""
        fatal = isinstance(error, ConfigError | LeaseLostError)
        self._gathering.fail(error, fatal=fatal)
        for timer in (self._timer, self._breathing):
            if timer is not None:
                timer.cancel()
        if not self._connack.done():
            self._connack.set_exception(error)
            self._connack.exception()  # perhaps nobody waits any more
