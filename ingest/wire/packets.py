"""The packets around the messages: login, subscription, acknowledgements and farewells."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ingest.wire.properties import (
    REASON_STRING,
    RECEIVE_MAXIMUM,
    SERVER_KEEP_ALIVE,
    SESSION_EXPIRY,
    WireError,
    read_properties,
    read_variable,
    variable,
)
from ingest.wire.reasons import FAILURE, OLD_REASONS

CONNACK: Final = 0x20
SUBACK: Final = 0x90
PINGRESP: Final = 0xD0
DISCONNECT: Final = 0xE0
PINGREQ: Final = b"\xc0\x00"

_PUBACK_HEAD: Final = b"\x40\x02"


@dataclass(frozen=True, slots=True)
class Connack:
    """The broker's answer to CONNECT.

    Attributes:
        session_present: The broker kept our session.
        code: 0, or why not, as a code of MQTT 5.
        keep_alive: The interval the broker insists on, in seconds; None: ours.
        reason: The broker's own words, often empty.
    """

    session_present: bool
    code: int
    keep_alive: int | None
    reason: str


def connect(
    client_id: str,
    *,
    v5: bool,
    keep_alive: int,
    username: str | None = None,
    password: str | None = None,
    receive_maximum: int = 65_535,
    session_expiry: int = 0,
) -> bytes:
    """Return a CONNECT that goes on with the session of this client id.

    Args:
        client_id: Whose session.
        v5: MQTT 5, otherwise 3.1.1.
        keep_alive: Seconds between signs of life.
        username: The login, or None.
        password: Its password, or None.
        receive_maximum: How many unacknowledged messages we take; MQTT 5 only.
        session_expiry: How long the broker keeps the session while we are away, in seconds; MQTT 5
            only, and in 3.1.1 as long as the broker pleases.
    """
    flags = (0x80 if username is not None else 0) | (0x40 if password is not None else 0)
    parts = [_text("MQTT"), bytes([5 if v5 else 4, flags]), keep_alive.to_bytes(2, "big")]
    if v5:
        # No topic aliases: their maximum is 0 unless we name another.
        parts.append(
            _sized(
                bytes([SESSION_EXPIRY])
                + session_expiry.to_bytes(4, "big")
                + bytes([RECEIVE_MAXIMUM])
                + receive_maximum.to_bytes(2, "big")
            )
        )
    parts.append(_text(client_id))
    parts += [_text(word) for word in (username, password) if word is not None]
    return b"\x10" + _sized(b"".join(parts))


def subscribe(packet_id: int, topic_filter: str, *, v5: bool) -> bytes:
    """Return a SUBSCRIBE for one filter at QoS 1.

    In MQTT 5 retained messages come only if the subscription is new: at each reconnect they would
    tell of old states once more.
    """
    options = b"\x11" if v5 else b"\x01"
    body = packet_id.to_bytes(2, "big") + (b"\x00" if v5 else b"") + _text(topic_filter) + options
    return b"\x82" + _sized(body)


def pubacks(packet_ids: Iterable[bytes]) -> bytes:
    """Return one PUBACK after the other, in this order; the ids of QoS 0 are empty and skipped."""
    joined = _PUBACK_HEAD.join(filter(None, packet_ids))
    return _PUBACK_HEAD + joined if joined else b""


def disconnect(*, v5: bool) -> bytes:
    """Return a DISCONNECT; the session stays."""
    return b"\xe0\x02\x00\x00" if v5 else b"\xe0\x00"


def read_connack(body: bytes, *, v5: bool) -> Connack:
    """Read the body of a CONNACK; a broker of 3.1.1 answers MQTT 5 in its own form.

    Raises:
        WireError: It is cut off.
    """
    if len(body) < 2:  # noqa: PLR2004 - flags and code
        raise WireError("a CONNACK without a code")
    code = OLD_REASONS.get(body[1], body[1])
    if 0 < code < FAILURE:
        code = FAILURE
    properties = read_properties(body, 2) if v5 else {}
    keep_alive = properties.get(SERVER_KEEP_ALIVE)
    return Connack(
        session_present=bool(body[0] & 1),
        code=code,
        keep_alive=int.from_bytes(keep_alive, "big") if keep_alive is not None else None,
        reason=properties.get(REASON_STRING, b"").decode("utf-8", "replace"),
    )


def read_suback(body: bytes, *, v5: bool) -> int:
    """Return what was granted for our one filter: a QoS, or a code from 0x80.

    Raises:
        WireError: It is cut off.
    """
    at = 2
    if v5:
        try:
            length, at = read_variable(body, 2)
        except IndexError as error:
            raise WireError("a SUBACK without properties") from error
        at += length
    if at >= len(body):
        raise WireError("a SUBACK without a code")
    return body[at]


def read_disconnect(body: bytes) -> int:
    """Return why the broker ends the connection; MQTT 5 only."""
    return body[0] if body else 0


def _text(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def _sized(body: bytes) -> bytes:
    return variable(len(body)) + body
