"""The log of a NATS, embedded or cluster, read from the offset in the database.

A consumer that lives as long as the connection starts behind that offset and acknowledges nothing:
the offset moves in the transaction of the readings. Whatever happens, a gap, a silent server, an
election, a consumer that is gone, is answered in one way: connect anew and read on behind the last
message that was handed on. So there is one path of recovery, and each restart tests it.

Back-pressure is not asking: messages are pulled by the thousand, as long as what was asked for and
not yet committed stays within the window.
"""

import asyncio
import itertools
import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from core.clock import Clock
from core.errors import ConfigError, StoreUnavailableError
from core.metrics import WINDOW, WINDOW_LIMIT
from ingest.nats_wire import STREAM, topic_of
from ingest.session import Identify
from ingest.sources import Capabilities, RawBatch
from ingest.sources.address import Address, parse_address
from ingest.sources.pauses import Pauses
from ingest.sources.puller import Puller
from ingest.wire import WireError

log = logging.getLogger(__name__)

_CONNECT_S: Final = 10.0
_TOPICS_KNOWN: Final = 100_000
_NOT_FOUND: Final = 404


class JetStreamSource:
    """The log of a NATS; see :class:`ingest.sources.Source`.

    Args:
        url: ``nats://user:password@host:port`` or ``tls://…``; several servers of a cluster
            separated by commas.
        name: The source's name.
        clock: The hub's time. When messages came is the log's word: what waited there while the hub
            was away came when it came.
        identify: Compares the log with the one the offset belongs to; None: only within the life
            of this object.
        ca_file: CA certificate for TLS; None: the system's.
        stream: The log.
        batch: The most messages of a batch.
        linger: How long the first message of a batch waits for company, in seconds.
        window: The most messages asked for and not yet committed.
        heartbeat: Seconds between the server's signs of life while we wait.
        pauses: Waits between attempts to connect.

    Attributes:
        position: What is committed of the log, as far as this object knows.
    """

    capabilities = Capabilities(ordered=True, replayable=True, offsets=True)

    def __init__(
        self,
        *,
        url: str,
        name: str,
        clock: Clock,
        identify: Identify | None = None,
        ca_file: Path | None = None,
        stream: str = STREAM,
        batch: int = 5_000,
        linger: float = 0.02,
        window: int = 20_000,
        heartbeat: float = 5.0,
        pauses: Pauses | None = None,
    ) -> None:
        self.name = name
        self._addresses = [
            parse_address(one, plain=("nats", 4222), encrypted=("tls", 4222), ca_file=ca_file)
            for one in url.split(",")
        ]
        self._clock = clock
        self._identify = identify
        self._stream = stream
        self._batch = min(batch, window)
        self._linger = linger
        self._window = window
        self._heartbeat = heartbeat
        self._pauses = pauses or Pauses()
        self._stream_id = ""
        self._topics: dict[bytes, bytes] = {}
        self._puller: Puller | None = None
        self.position = 0
        WINDOW_LIMIT.labels(name).set(window)
        WINDOW.labels(name).set_function(lambda: self._puller.held if self._puller else 0)

    async def read(self, position: int) -> AsyncIterator[RawBatch]:
        """See :meth:`ingest.sources.Source.read`."""
        self.position = position
        for address in itertools.cycle(self._addresses):
            try:
                puller = self._puller = await self._connect(address)
                try:
                    await self._start(puller, position)
                    self._pauses.reset()
                    while True:
                        batch = await self._take(puller, position)
                        position = batch.position
                        yield batch
                finally:
                    puller.close()
            except (OSError, WireError, StoreUnavailableError) as error:
                pause = self._pauses.next()
                log.warning(
                    "log away",
                    extra={
                        "source": self.name,
                        "broker": str(address),
                        "reason": str(error) or type(error).__name__,
                        "retry_in_s": round(pause, 2),
                    },
                )
                await asyncio.sleep(pause)

    async def committed(self, batch: RawBatch) -> None:
        """See :meth:`ingest.sources.Source.committed`."""
        puller: Puller = batch.token
        puller.release(batch.payloads)
        self.position = batch.position

    async def _connect(self, address: Address) -> Puller:
        """Connect and log in.

        Raises:
            ConfigError: The login is refused.
            OSError: The server cannot be reached.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_S):
            _, puller = await loop.create_connection(
                lambda: Puller(
                    clock=self._clock,
                    batch=self._batch,
                    linger=self._linger,
                    window=self._window,
                    heartbeat=self._heartbeat,
                ),
                address.host,
                address.port,
            )
            try:
                await puller.log_in(address)
            except ssl.SSLCertVerificationError as error:
                puller.close()
                raise ConfigError(
                    f"the certificate of the NATS {address} is not trusted: "
                    f"{error.verify_message}; set broker.ca_file to the CA that signed it"
                ) from error
            except BaseException:
                puller.close()
                raise
        return puller

    async def _start(self, puller: Puller, position: int) -> None:
        """Make sure of the log and read on behind a position.

        Raises:
            ConfigError: There is no such log, or it is another one.
            LeaseLostError: The log has lost its end.
            OSError: The server cannot tell now.
        """
        info = await puller.ask(f"STREAM.INFO.{self._stream}")
        if "error" in info:
            if info["error"].get("code") == _NOT_FOUND:
                raise ConfigError(
                    f"this NATS has no stream {self._stream}. Is broker.url the right one? "
                    "cityhub up makes the stream in its own NATS"
                )
            raise ConnectionError(f"JetStream: {info['error'].get('description')}")
        first, last = info["state"]["first_seq"], info["state"]["last_seq"]
        await self._check_identity(info["created"], last)
        if 0 < position < first - 1:
            log.error(
                "the log dropped messages unread, being older than it keeps",
                extra={"source": self.name, "messages": first - 1 - position},
            )
        await puller.start(self._stream, position, info.get("ts", ""))

    async def _check_identity(self, stream_id: str, last: int) -> None:
        if self._stream_id and self._stream_id != stream_id:
            raise ConfigError(
                f"the log was made anew while it was read: created {stream_id}, before "
                f"{self._stream_id}. Restore the old log, or give the source a new name (setting "
                "ingest.source) to read this one from its start"
            )
        if self._identify is not None:
            await self._identify(stream_id, last)
        self._stream_id = stream_id

    async def _take(self, puller: Puller, position: int) -> RawBatch:
        taken, received_at, last = await puller.take()
        known = self._topics
        if len(known) > _TOPICS_KNOWN:
            known.clear()
        topics = []
        for subject in taken.subjects:
            topic = known.get(subject)
            if topic is None:
                topic = known[subject] = topic_of(subject)
            topics.append(topic)
        return RawBatch(
            topics=topics,
            payloads=taken.payloads,
            received_at=received_at,
            epoch=0,
            after=position,
            position=last,
            content_types={},
            token=puller,
        )
