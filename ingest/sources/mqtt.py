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
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from core.clock import Clock
from core.errors import ConfigError, StoreUnavailableError
from core.metrics import WINDOW, WINDOW_LIMIT
from ingest import wire
from ingest.session import Claim
from ingest.sources import Capabilities, RawBatch
from ingest.sources.address import Address, parse_address
from ingest.sources.mqtt_connection import Connection
from ingest.sources.pauses import Pauses

log = logging.getLogger(__name__)

_CONNECT_S: Final = 10.0
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
        self._connection: Connection | None = None
        WINDOW_LIMIT.labels(name).set(self._window)
        WINDOW.labels(name).set_function(self._uncommitted)

    async def read(self, position: int) -> AsyncIterator[RawBatch]:
        """See :meth:`ingest.sources.Source.read`."""
        epoch = 0
        while True:
            try:
                epoch, client_id = await self._session(epoch)
                connection = await self._connect(self._client_id or client_id, epoch)
                self._connection = connection
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
        connection: Connection
        connection, packet_ids, size = batch.token
        connection.acknowledge(len(batch), packet_ids, size)

    def _uncommitted(self) -> float:
        return self._connection.uncommitted if self._connection else 0

    async def _connect(self, client_id: str, epoch: int) -> Connection:
        """Connect and log in; the subscription is under way.

        Raises:
            ConfigError: The broker refuses us for good.
            OSError: It cannot be reached, or refuses for now.
        """
        address, loop = self._address, asyncio.get_running_loop()

        def protocol() -> Connection:
            return Connection(
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
