"""Looks at an MQTT broker before the hub trusts it: is it a NATS, and can others take our session?

Whoever connects with the hub's client id takes its queue: 200 of 200 acknowledged messages were
gone from a mosquitto that lets a login choose its id, and none from one that ties ids to user names
(measured). A broker does not tell which it is, but shows it: of two connections of one login under
two ids, one that ties them cuts the first. Both go on with the login's session and change nothing
of it, so a hub that runs meanwhile only connects again.

A NATS refuses MQTT 5 and the subscriptions it keeps for itself; no other broker we know does both.
"""

import asyncio
import contextlib
import secrets
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from ingest import wire
from ingest.sources.address import Address, parse_address

_ANSWER_S: Final = 5.0
_CLEAN: Final = 0x02
_FAILURE: Final = 0x80
_NATS_OWN: Final = "$MQTT/sub/cityhub"
_PUBLISH: Final = 0x30
_MOST: Final = 1 << 21
"""The longest packet worth reading here."""

NATS: Final = (
    "this broker is a NATS, which the hub never reads through MQTT: name its own port, as"
    " broker.url = nats://…"
)
UNTIED: Final = (
    "this broker lets any login use any client id, so a device could take the hub's session and its"
    " messages: tie ids to user names (mosquitto: use_username_as_clientid true)"
)
NO_LOGIN: Final = (
    "broker.url has no user, so the broker cannot tell the hub from a device: give the hub a login"
)


async def find_mqtt_problem(
    url: str, *, protocol: str = "5", session_expiry: int = 604_800, ca_file: Path | None = None
) -> str | None:
    """Return one sentence on why a broker is unsafe for the hub, or None.

    Args:
        url: ``mqtt://user:password@host:port`` or ``mqtts://…``, the hub's own login.
        protocol: The version that the hub uses.
        session_expiry: As the hub asks for it, so that its session stays as it is; seconds.
        ca_file: CA certificate for TLS; None: the system's.

    Raises:
        ConfigError: The URL makes no sense.
        OSError: The broker cannot be reached, or refuses the login.
    """
    address = parse_address(url, plain=("mqtt", 1883), encrypted=("mqtts", 8883), ca_file=ca_file)
    visitor = _Visitor(address, session_expiry)
    try:
        if await visitor.is_nats():
            return NATS
        if address.username is None:
            return NO_LOGIN
        return None if await visitor.is_tied(v5=protocol == "5") else UNTIED
    except (EOFError, wire.WireError) as error:
        raise ConnectionError("what answers there speaks no MQTT, or hangs up") from error


class _Visitor:
    """Makes short connections to a broker."""

    def __init__(self, address: Address, session_expiry: int) -> None:
        self._address = address
        self._session_expiry = session_expiry
        self._names = [f"cityhub-probe-{secrets.token_hex(16)}" for _ in range(2)]

    async def is_nats(self) -> bool:
        """Tell whether this is the MQTT listener of a NATS.

        With a login nothing begins a clean session before it is known that the name is ours alone:
        where ids are tied to logins, it would be the hub's session that is wiped.
        """
        name, clean = self._names[0], self._address.username is None
        async with self._connected(name, v5=True, clean=clean) as (connack, _, _):
            if connack.code != wire.WRONG_VERSION:
                return False
        async with self._connected(name, v5=False, clean=clean) as (connack, reader, writer):
            if connack.code:
                return False
            writer.write(wire.subscribe(1, _NATS_OWN, v5=False))
            kind, body = await _packet(reader)
            nats = kind == wire.SUBACK and wire.read_suback(body, v5=False) >= _FAILURE
        if nats:  # it knows each id for itself
            async with self._connected(name, v5=False, clean=True):
                pass
        return nats

    async def is_tied(self, *, v5: bool) -> bool:
        """Tell whether the broker knows a login under one client id only.

        Raises:
            ConnectionError: It refuses the login.
        """
        names = self._names
        async with self._connected(names[0], v5=v5) as (first, reader, writer):
            _must(first)
            async with self._connected(names[1], v5=v5) as (second, _, _):
                _must(second)
                tied = await _is_cut(reader, writer)
        if not tied:  # they were sessions of their own, which nobody needs
            for name in names:
                async with self._connected(name, v5=v5, clean=True):
                    pass
        return tied

    @contextlib.asynccontextmanager
    async def _connected(
        self, client_id: str, *, v5: bool, clean: bool = False
    ) -> AsyncIterator[tuple[wire.Connack, asyncio.StreamReader, asyncio.StreamWriter]]:
        address = self._address
        hello = wire.connect(
            client_id,
            v5=v5,
            keep_alive=30,
            username=address.username,
            password=address.password,
            session_expiry=0 if clean else self._session_expiry,
        )
        async with asyncio.timeout(_ANSWER_S):
            reader, writer = await asyncio.open_connection(
                address.host,
                address.port,
                ssl=address.tls,
                server_hostname=address.host if address.tls else None,
            )
        try:
            writer.write(_cleaned(hello) if clean else hello)
            kind, body = await _packet(reader)
            if kind != wire.CONNACK:
                raise ConnectionError("what answers there speaks no MQTT")
            yield wire.read_connack(body, v5=v5 and len(body) > 2), reader, writer  # noqa: PLR2004 - 3.1.1 has two bytes
        finally:
            with contextlib.suppress(OSError):
                writer.write(wire.disconnect(v5=False))
                writer.close()
                await writer.wait_closed()


def _must(connack: wire.Connack) -> None:
    if connack.code:
        raise ConnectionError(f"the broker refuses the login: {wire.explain(connack.code)}")


def _cleaned(hello: bytes) -> bytes:
    """Return a CONNECT that begins a new session."""
    at = hello.index(b"\x00\x04MQTT") + 7
    return hello[:at] + bytes([hello[at] | _CLEAN]) + hello[at + 1 :]


async def _packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return type and body of the next packet that is no message."""
    async with asyncio.timeout(_ANSWER_S):
        while True:
            kind, length, shift = (await reader.readexactly(1))[0], 0, 0
            while True:
                byte = (await reader.readexactly(1))[0]
                length |= (byte & 0x7F) << shift
                shift += 7
                if byte < _FAILURE:
                    break
            if length > _MOST:
                raise ConnectionError("what answers there speaks no MQTT")
            body = await reader.readexactly(length)
            if kind & 0xF0 != _PUBLISH:
                return kind & 0xF0, body


async def _is_cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Tell whether the broker has ended a connection.

    A broker ends the old connection before it welcomes the new one, so one that still answers a
    ping is alive. One that does neither is no verdict, and an error.
    """
    try:
        writer.write(wire.PINGREQ)
        while True:
            kind, _ = await _packet(reader)
            if kind in {wire.PINGRESP, wire.DISCONNECT}:
                return kind == wire.DISCONNECT
    except (EOFError, ConnectionError, ssl.SSLError):
        return True
