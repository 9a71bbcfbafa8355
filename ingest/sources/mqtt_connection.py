"""One MQTT connection: what comes over it, in batches, and what goes wrong with it.

It ends with the first thing that is not as it should be; :mod:`ingest.sources.mqtt` then makes
another.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from core.clock import Clock
from core.errors import ConfigError, LeaseLostError
from ingest import wire
from ingest.sources import RawBatch
from ingest.sources.gathering import WINDOW_BYTES, Gathering, size_of

_BREATH_S: Final = 0.002  # between two looks at the socket
_MUCH: Final = 1 << 17  # bytes: behind so many there are more


class Connection(asyncio.Protocol):
    """Takes messages and gives them out in batches, until something goes wrong with it.

    Args:
        clock: When messages came.
        epoch: Of the worker; batches carry it.
        v5: Speak MQTT 5, otherwise 3.1.1.
        window: The most messages taken and not yet acknowledged.
        batch: The most messages :meth:`take` gives.
        linger: How long the first message of a batch waits for company, in seconds.
        keep_alive: Seconds between signs of life, unless the broker insists on another interval.
        subscribed: Called when the broker has granted the subscription.
    """

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
        self.uncommitted = 0  # taken off the wire, whether handed on or not
        self._uncommitted_bytes = 0
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
        count = await self._gathering.take(self._arrivals)
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
            token=(self, taken.packet_ids, size_of(taken.payloads)),
        )

    def acknowledge(self, count: int, packet_ids: list[bytes], size: int) -> None:
        """Let the broker forget messages; without effect once the connection is gone.

        Args:
            count: How many.
            packet_ids: The ids of those that wait for an acknowledgement.
            size: Bytes of their payloads.
        """
        if self._transport is None:
            return
        self._write(wire.pubacks(packet_ids))
        self.uncommitted -= count
        self._uncommitted_bytes -= size
        if self._paused and not self._is_full():
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
            self.uncommitted += count
            self._uncommitted_bytes += size_of(arrivals.payloads[before:])
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
        self._paused = self._is_full()
        if size < _MUCH:
            self._breathing = self._loop.call_later(_BREATH_S, self._breathe)
        if self._paused or self._breathing is not None:
            self._transport.pause_reading()

    def _is_full(self) -> bool:
        """Return whether to take no more; QoS 0, and bytes, know no window but ours."""
        return self.uncommitted >= self._window or self._uncommitted_bytes >= WINDOW_BYTES

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
