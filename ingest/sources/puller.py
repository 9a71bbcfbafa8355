"""One connection to a NATS, with one consumer of the log on it.

It ends with the first thing that is not as it should be; :mod:`ingest.sources.jetstream` then makes
another. The consumer acknowledges nothing and dies with the connection or soon after.
"""

import asyncio
import json
import secrets
from datetime import datetime
from typing import Any, Final

from core.clock import Clock
from core.errors import ConfigError
from core.model import to_micros
from ingest import nats_wire
from ingest.sources.address import Address
from ingest.sources.gathering import WINDOW_BYTES, Gathering, size_of
from ingest.wire import WireError

_ANSWER_S: Final = 10.0
_PULL: Final = 2_000  # messages asked for at once
_PULL_EXPIRES_S: Final = 30.0
_IDLE_S: Final = 300.0  # after so long without a pull the server drops the consumer
_NS: Final = 1_000_000_000
_HEARTBEAT: Final = b"100"
_EXPIRED: Final = (b"404", b"408")  # nothing there; the time of the pull is over
_PENDING: Final = b"nats-pending-messages:"
_SAME_TIME: Final = 1_000_000  # microseconds; closer than this two clocks are the same


class Puller(asyncio.Protocol):
    """Pulls messages as long as there is room for them.

    Args:
        clock: The hub's time, which the server's is compared with.
        batch: The most messages :meth:`take` gives.
        linger: How long the first message of a batch waits for company, in seconds.
        window: The most messages asked for and not yet released.
        heartbeat: Seconds between the server's signs of life while we wait.
    """

    def __init__(
        self, *, clock: Clock, batch: int, linger: float, window: int, heartbeat: float
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._gathering = Gathering(batch, linger)
        self._window = window
        self._pull = max(1, min(_PULL, window // 2))
        self._heartbeat = heartbeat
        self._inbox = f"_INBOX.{secrets.token_hex(11)}"
        self._deliveries = nats_wire.Deliveries()
        self._received_at: list[int] = []
        self._ahead = 0  # so many microseconds our clock is ahead of the server's
        self._rest = b""
        self._asked = 0  # and not yet delivered
        self.held = 0  # delivered and not yet released
        self._held_bytes = 0
        self._last = nats_wire.Place(0, 0)
        self._consumer = ""
        self._expected = "INFO"
        self._answer: asyncio.Future[bytes] = self._loop.create_future()
        self._heard_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    async def log_in(self, address: Address) -> None:
        """Log in, over TLS if the address says so.

        Raises:
            ConfigError: The login is refused, or the server wants TLS.
            OSError: The server hangs up or is silent.
        """
        info = json.loads(await self._wait())
        if address.tls is not None and self._transport is not None:
            transport = await self._loop.start_tls(
                self._transport, self, address.tls, server_hostname=address.host
            )
            if transport is None:
                raise ConnectionError("the server hangs up during the TLS handshake")
            self._transport = transport
        elif info.get("tls_required"):
            raise ConfigError(f"the NATS {address} wants TLS: write broker.url with tls://")
        self._expect("PONG")
        self._write(nats_wire.connect(address.username, address.password))
        await self._wait()
        self._write(nats_wire.subscribe(f"{self._inbox}.m", nats_wire.DATA_SID))
        self._write(nats_wire.subscribe(f"{self._inbox}.a", nats_wire.ANSWER_SID))

    async def ask(self, call: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return JetStream's answer to a call; one at a time.

        Raises:
            OSError: There is none.
        """
        self._expect("ANSWER")
        sent = json.dumps(body).encode() if body else b""
        self._write(nats_wire.publish(f"$JS.API.{call}", f"{self._inbox}.a", sent))
        answer = await self._wait()
        if not answer:
            raise ConnectionError("JetStream does not answer")
        told: dict[str, Any] = json.loads(answer)
        return told

    async def start(self, stream: str, after: int, told: str = "") -> None:
        """Make a consumer that reads a stream behind a sequence number, and pull.

        Args:
            stream: Which.
            after: The sequence number.
            told: What time it is now by the server's clock, RFC 3339; empty: as by ours. The two
                may differ by a second, the way of the answer included.

        Raises:
            OSError: The server cannot make it now.
        """
        name = f"cityhub-{secrets.token_hex(8)}"
        config = {
            "name": name,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": after + 1,
            "ack_policy": "none",
            "inactive_threshold": int(_IDLE_S * _NS),
            "mem_storage": True,
            "num_replicas": 1,
        }
        answer = await self.ask(
            f"CONSUMER.CREATE.{stream}.{name}", {"stream_name": stream, "config": config}
        )
        if "error" in answer:
            raise ConnectionError(f"no consumer: {answer['error'].get('description')}")
        if told:
            ahead = self._clock.micros() - to_micros(datetime.fromisoformat(told))
            self._ahead = ahead if abs(ahead) > _SAME_TIME else 0
        self._last = nats_wire.Place(after, 0)
        self._consumer = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}"
        self._pull_more()
        self._watch()

    async def take(self) -> tuple[nats_wire.Deliveries, list[int], int]:
        """Wait for messages, and return at most a batch of them.

        Returns:
            The messages, when the log took each (microseconds UTC by our clock), and the sequence
            number of the last. Not when we did: a message that waited for us in the log is not late
            by that, and whoever reads the log again makes the same rows of it.

        Raises:
            OSError: The connection is gone, and all that it brought was handed on.
            WireError: The same, or messages are missing between two deliveries.
        """
        count = await self._gathering.take(self._deliveries)
        taken = self._deliveries.cut(count)
        came, ahead = self._received_at[:count], self._ahead
        del self._received_at[:count]
        stored = nats_wire.read_times(taken.replies)
        received_at = list(map(min, [at + ahead for at in stored] if ahead else stored, came))
        last = nats_wire.read_place(taken.replies[-1])
        if last.consumer - self._last.consumer != count:
            raise WireError(
                f"deliveries {self._last.consumer} to {last.consumer} are {count}: some are missing"
            )
        self._last = last
        return taken, received_at, last.stream

    def release(self, payloads: list[bytes]) -> None:
        """Make room for as much as these messages took."""
        self.held -= len(payloads)
        self._held_bytes -= size_of(payloads)
        self._pull_more()

    def close(self) -> None:
        """End the connection, and with it the consumer."""
        if self._transport is not None:
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
        self._fail(exc or ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        self._heard_at = self._loop.time()
        if self._rest:
            data = self._rest + data
        before = len(self._deliveries)
        try:
            used, notes = nats_wire.take_deliveries(data, self._deliveries)
            self._rest = data[used:]
            for note in notes:
                self._handle(note)
        except (WireError, ConfigError, OSError) as error:
            self._fail(error)
            if self._transport is not None:
                self._transport.abort()
        count = len(self._deliveries) - before
        if count:
            self._received_at += [self._clock.micros()] * count
            self.held += count
            self._held_bytes += size_of(self._deliveries.payloads[before:])
            self._asked -= count
            self._gathering.add(count)
            self._pull_more()

    def _handle(self, note: nats_wire.Note) -> None:
        """Do what anything but a message of the log asks for.

        Raises:
            ConfigError: The login is refused.
            OSError: The consumer is no use any more.
        """
        if note.verb == "PING":
            self._write(nats_wire.PONG)
        elif note.verb == "STATUS":
            self._handle_status(note.text)
        elif note.verb == "-ERR":
            words = note.text.decode("utf-8", "replace").strip("'")
            if words.lower().startswith(("authorization", "permissions")):
                raise ConfigError(f"the NATS refuses the hub: {words}; check broker.url")
            raise ConnectionError(f"the NATS says: {words}")
        if note.verb == self._expected and not self._answer.done():
            self._answer.set_result(note.text)

    def _handle_status(self, text: bytes) -> None:
        """Take a word about a pull: ``408 Request Timeout`` and headers."""
        if text.startswith(_HEARTBEAT):
            return
        if not text.startswith(_EXPIRED):
            line = text.partition(b"\r\n")[0].decode("utf-8", "replace")
            raise ConnectionError(f"the consumer is gone: {line}")
        pending = text.lower().partition(_PENDING)[2].partition(b"\r\n")[0]
        self._asked -= int(pending) if pending.strip().isdigit() else self._asked
        self._pull_more()

    def _pull_more(self) -> None:
        """Ask for more while there is room for it."""
        while self._has_room():
            count = min(self._window - self.held - self._asked, self._pull)
            if count <= 0 or (self._asked and count < self._pull):
                return  # not by drips: many small pulls cost the server more than one
            pull = {
                "batch": count,
                "expires": int(_PULL_EXPIRES_S * _NS),
                "idle_heartbeat": int(self._heartbeat * _NS),
            }
            self._asked += count
            self._write(
                nats_wire.publish(self._consumer, f"{self._inbox}.m", json.dumps(pull).encode())
            )

    def _has_room(self) -> bool:
        return (
            bool(self._consumer)
            and self._transport is not None
            and self._asked <= self._pull
            and self._held_bytes < WINDOW_BYTES
        )

    def _watch(self) -> None:
        """Give up a server from which nothing was heard for two heartbeats."""
        if self._transport is None:
            return
        if self._asked and self._loop.time() - self._heard_at > 2 * self._heartbeat:
            self._fail(ConnectionError("nothing heard from the log"))
            self._transport.abort()
            return
        self._timer = self._loop.call_later(self._heartbeat / 2, self._watch)

    def _expect(self, verb: str) -> None:
        if self._answer.done() and not self._answer.cancelled() and self._answer.exception():
            return  # it failed before anybody asked
        self._expected = verb
        self._answer = self._loop.create_future()

    async def _wait(self) -> bytes:
        async with asyncio.timeout(_ANSWER_S):
            return await self._answer

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _fail(self, error: Exception) -> None:
        """Wake whoever waits; the first thing that went wrong counts."""
        self._gathering.fail(error, fatal=isinstance(error, ConfigError))
        if self._timer is not None:
            self._timer.cancel()
        if not self._answer.done():
            self._answer.set_exception(error)
            self._answer.exception()  # perhaps nobody waits any more
