"""MQTT packets of versions 5 and 3.1.1, without any I/O: bytes in, columns out.

The loop of :func:`take_packets` is where the hub meets every message of the city, so it makes one
pass over what the socket gave and no object a message besides the bytes that are kept. MQTT 5
properties are skipped by their length; only a block that is not empty is looked at, for the content
type. Acknowledgements leave the same way: thousands in one write.

A length that lies closes one connection and nothing else. A PUBLISH beyond ``limit`` bytes is cut
there and its rest skipped, so that one oversized message neither fills the memory nor comes back
for ever; what remains is still too long for any device and ends in quarantine.

Source: MQTT Version 5.0 and MQTT Version 3.1.1, OASIS Standards.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

CONNACK: Final = 0x20
PUBLISH: Final = 0x30
PUBACK: Final = 0x40
SUBACK: Final = 0x90
PINGRESP: Final = 0xD0
DISCONNECT: Final = 0xE0

PINGREQ: Final = b"\xc0\x00"
MAX_PACKET: Final = 1 << 21
"""Bytes of a PUBLISH that are kept: more than any payload the hub takes."""

_PUBLISH_QOS1: Final = 0x32
_QOS_BITS: Final = 0x06
_LOW_BITS: Final = 0x7F  # of a variable byte integer; the highest says that more follows
_PUBACK_HEAD: Final = b"\x40\x02"
_CONTENT_TYPE: Final = 0x03
_SESSION_EXPIRY: Final = 0x11
_SERVER_KEEP_ALIVE: Final = 0x13
_REASON_STRING: Final = 0x1F
_RECEIVE_MAXIMUM: Final = 0x21
_USER_PROPERTY: Final = 0x26

# How long the value of a property is: bytes, or one of the three below.
_TEXT: Final = -1
_PAIR: Final = -2
_VARIABLE: Final = -3
_SIZES: Final[dict[int, int]] = {
    0x01: 1,
    0x02: 4,
    _CONTENT_TYPE: _TEXT,
    0x08: _TEXT,
    0x09: _TEXT,
    0x0B: _VARIABLE,
    _SESSION_EXPIRY: 4,
    0x12: _TEXT,
    _SERVER_KEEP_ALIVE: 2,
    0x15: _TEXT,
    0x16: _TEXT,
    0x17: 1,
    0x18: 4,
    0x19: 1,
    0x1A: _TEXT,
    0x1C: _TEXT,
    _REASON_STRING: _TEXT,
    _RECEIVE_MAXIMUM: 2,
    0x22: 2,
    0x23: 2,
    0x24: 1,
    0x25: 1,
    _USER_PROPERTY: _PAIR,
    0x27: 4,
    0x28: 1,
    0x29: 1,
    0x2A: 1,
}

FAILURE: Final = 0x80
WRONG_VERSION: Final = 0x84
SESSION_TAKEN_OVER: Final = 0x8E
_REASONS: Final[dict[int, str]] = {
    FAILURE: "it gives no reason",
    0x81: "it calls the packet malformed",
    0x82: "it calls the packet a protocol error",
    0x83: "it has a reason of its own",
    WRONG_VERSION: "it does not speak this version of MQTT",
    0x85: "it does not take the client id",
    0x86: "user name or password is wrong",
    0x87: "this login is not allowed to do that",
    0x88: "it is not available",
    0x89: "it is busy",
    0x8A: "this client is banned",
    0x8B: "it is shutting down",
    0x8C: "it wants another way of logging in",
    0x8D: "it heard nothing within the keep-alive",
    SESSION_TAKEN_OVER: "another client took over the session",
    0x8F: "it does not take the topic filter",
    0x90: "it does not take the topic",
    0x93: "it was sent more than its window",
    0x95: "the packet is too large for it",
    0x97: "a quota is used up",
    0x98: "its administrator ended the connection",
    0x99: "it calls the payload malformed",
    0x9A: "it keeps no retained messages",
    0x9B: "it does not grant this QoS",
    0x9C: "it sends us to another server for now",
    0x9D: "it has moved to another server",
    0x9E: "it has no shared subscriptions",
    0x9F: "connections come too fast",
    0xA1: "it has no subscription identifiers",
    0xA2: "it has no wildcard subscriptions",
}
# MQTT 3.1.1 has five codes of its own; said in those of MQTT 5.
_OLD_REASONS: Final = {1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}
_PERMANENT: Final = frozenset({0x81, 0x82, 0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x8F, 0x9B, 0xA2})


class WireError(Exception):
    """The peer does not keep the protocol; only closing the connection helps."""


@dataclass(slots=True)
class Arrivals:
    """Messages off the wire that nobody has taken yet, as columns of one length.

    Attributes:
        topics: Topic of each message, as sent.
        payloads: Payload of each message.
        packet_ids: The two bytes that acknowledge it; empty for QoS 0.
        content_types: MQTT 5 content types by index, where given.
    """

    topics: list[bytes] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    packet_ids: list[bytes] = field(default_factory=list)
    content_types: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.payloads)

    def cut(self, count: int) -> "Arrivals":
        """Take the first so many messages away and return them."""
        if count >= len(self.payloads):
            first = Arrivals(self.topics, self.payloads, self.packet_ids, self.content_types)
            self.topics, self.payloads, self.packet_ids, self.content_types = [], [], [], {}
            return first
        first = Arrivals(self.topics[:count], self.payloads[:count], self.packet_ids[:count])
        del self.topics[:count], self.payloads[:count], self.packet_ids[:count]
        if self.content_types:
            types = self.content_types
            first.content_types = {i: name for i, name in types.items() if i < count}
            self.content_types = {i - count: name for i, name in types.items() if i >= count}
        return first


@dataclass(frozen=True, slots=True)
class Packet:
    """Any packet but a PUBLISH.

    Attributes:
        kind: Its type, in the upper four bits.
        body: What follows the length.
    """

    kind: int
    body: bytes


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


def take_packets(  # noqa: C901, PLR0912 - one loop: a call a message would cost as much again
    data: bytes, into: Arrivals, *, v5: bool, limit: int = MAX_PACKET
) -> tuple[int, int, list[Packet]]:
    """Read all complete packets at the start of some bytes.

    Args:
        data: What came from the socket, at the start of a packet.
        into: Where the messages go.
        v5: The connection speaks MQTT 5, otherwise 3.1.1.
        limit: A longer PUBLISH is cut to so many bytes, in bytes.

    Returns:
        How many bytes are done with; how many bytes after these belong to a cut packet and are
        to be skipped when they come; all packets that are no PUBLISH.

    Raises:
        WireError: A length or a flag cannot be.
    """
    others: list[Packet] = []
    add_topic, add_payload = into.topics.append, into.payloads.append
    add_id = into.packet_ids.append
    start, size = 0, len(data)
    try:
        while True:
            head = data[start]
            length = data[start + 1]
            at = start + 2
            if length > _LOW_BITS:
                more = data[at]
                if more > _LOW_BITS:
                    length, at = _read_variable(data, start + 1)
                else:
                    length = length & 0x7F | more << 7
                    at += 1
            end = at + length
            if end > size:
                break
            if head & 0xF6 == _PUBLISH_QOS1:  # nearly all there is
                topic_end = at + 2 + (data[at] << 8 | data[at + 1])
                body = topic_end + 2
                if v5:
                    if body < end and data[body]:
                        body = _take_properties(data, body, end, into)
                    else:
                        body += 1
                if body > end:
                    raise WireError("a PUBLISH is shorter than its topic")
                add_topic(data[at + 2 : topic_end])
                add_payload(data[body:end])
                add_id(data[topic_end : topic_end + 2])
            elif head & 0xF0 == PUBLISH:
                _take_unacknowledged(data, head, at, end, into, v5=v5)
            else:
                others.append(Packet(head & 0xF0, data[at:end]))
            start = end
    except IndexError:
        _check_incomplete(data, start)
        return start, 0, others
    if head & 0xF0 != PUBLISH:
        if length > limit:
            raise WireError(f"a packet of type {head >> 4} claims {length} bytes")
        return start, 0, others
    if length > limit and size - start >= limit:
        packet = _shorten(data[start:at], data[at : start + limit])
        take_packets(packet, into, v5=v5, limit=limit)
        return size, end - size, others
    return start, 0, others


def _take_unacknowledged(
    data: bytes, head: int, at: int, end: int, into: Arrivals, *, v5: bool
) -> None:
    """Read a PUBLISH of QoS 0."""
    if head & _QOS_BITS:
        raise WireError("the broker sends QoS 2, which nobody asked for")
    if end - at < 2:  # noqa: PLR2004 - two bytes of length
        raise WireError("a PUBLISH without a topic")
    body = topic_end = at + 2 + (data[at] << 8 | data[at + 1])
    if v5:
        body = _take_properties(data, body, end, into) if body < end else body + 1
    if body > end:
        raise WireError("a PUBLISH is shorter than its topic")
    into.topics.append(data[at + 2 : topic_end])
    into.payloads.append(data[body:end])
    into.packet_ids.append(b"")


def _take_properties(data: bytes, at: int, end: int, into: Arrivals) -> int:
    """Note the content type of the next message; return where its payload starts."""
    length, at = _read_variable(data, at)
    stop = at + length
    if stop > end:
        raise WireError("properties are longer than their packet")
    content_type = _read_properties(data[at:stop]).get(_CONTENT_TYPE)
    if content_type is not None:
        into.content_types[len(into.payloads)] = content_type.decode("utf-8", "replace")
    return stop


def _read_properties(block: bytes) -> dict[int, bytes]:
    """Return the properties of a block by their identifier; of several the last."""
    found = {}
    at, end = 0, len(block)
    while at < end:
        name = block[at]
        size = _SIZES.get(name)
        at += 1
        if size is None:
            raise WireError(f"unknown property 0x{name:02X}")
        start = at
        if size > 0:
            at += size
        elif size == _VARIABLE:
            _, at = _read_variable(block, at)
        else:
            for _ in range(1 if size == _TEXT else 2):
                start = at + 2
                at = start + int.from_bytes(block[at:start], "big")
        if at > end:
            raise WireError("a property is longer than its block")
        found[name] = block[start:at]
    return found


def _read_variable(data: bytes, at: int) -> tuple[int, int]:
    """Return a variable byte integer and where it ends.

    Raises:
        IndexError: It is not complete.
        WireError: It has more than four bytes.
    """
    value = 0
    for i in range(4):
        byte = data[at + i]
        value |= (byte & 0x7F) << 7 * i
        if byte <= _LOW_BITS:
            return value, at + i + 1
    raise WireError("a length of more than four bytes")


def _check_incomplete(data: bytes, start: int) -> None:
    """Tell a packet whose rest is still to come from one whose lengths lie.

    Raises:
        WireError: The packet is complete, and yet something in it points beyond the end.
    """
    try:
        length, at = _read_variable(data, start + 1)
    except IndexError:
        return
    if at + length <= len(data):
        raise WireError("a length inside a packet points beyond it")


def _shorten(header: bytes, body: bytes) -> bytes:
    """Return a packet with so much of its body, its length told anew."""
    return header[:1] + _variable(len(body)) + body


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
                bytes([_SESSION_EXPIRY])
                + session_expiry.to_bytes(4, "big")
                + bytes([_RECEIVE_MAXIMUM])
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
    code = _OLD_REASONS.get(body[1], body[1])
    if 0 < code < FAILURE:
        code = FAILURE
    properties = read_properties(body, 2) if v5 else {}
    keep_alive = properties.get(_SERVER_KEEP_ALIVE)
    return Connack(
        session_present=bool(body[0] & 1),
        code=code,
        keep_alive=int.from_bytes(keep_alive, "big") if keep_alive is not None else None,
        reason=properties.get(_REASON_STRING, b"").decode("utf-8", "replace"),
    )


def read_suback(body: bytes, *, v5: bool) -> int:
    """Return what was granted for our one filter: a QoS, or a code from 0x80.

    Raises:
        WireError: It is cut off.
    """
    at = 2
    if v5:
        try:
            length, at = _read_variable(body, 2)
        except IndexError as error:
            raise WireError("a SUBACK without properties") from error
        at += length
    if at >= len(body):
        raise WireError("a SUBACK without a code")
    return body[at]


def read_disconnect(body: bytes) -> int:
    """Return why the broker ends the connection; MQTT 5 only."""
    return body[0] if body else 0


def read_properties(body: bytes, at: int) -> dict[int, bytes]:
    """Return the properties that start at an index of a body; none if it ends there.

    Raises:
        WireError: They are cut off.
    """
    if at >= len(body):
        return {}
    try:
        length, at = _read_variable(body, at)
        if at + length > len(body):
            raise WireError("properties are longer than their packet")
        return _read_properties(body[at : at + length])
    except IndexError as error:
        raise WireError("properties are cut off") from error


def explain(code: int, words: str = "") -> str:
    """Return a reason code as half a sentence, with the broker's own words if it gave any.

    >>> explain(0x86)
    'user name or password is wrong (code 0x86)'
    """
    said = f': "{words}"' if words else ""
    return f"{_REASONS.get(code, 'its reason is unknown')} (code 0x{code:02X}{said})"


def is_permanent(code: int) -> bool:
    """Return whether trying again cannot help."""
    return code in _PERMANENT


def _variable(value: int) -> bytes:
    """Return a variable byte integer.

    >>> _variable(321).hex()
    'c102'
    """
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | 0x80 if value else low)
        if not value:
            return bytes(out)


def _text(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def _sized(body: bytes) -> bytes:
    return _variable(len(body)) + body
