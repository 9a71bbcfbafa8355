"""The loop in which the hub meets every message of the city.

It makes one pass over what the socket gave and no object a message besides the bytes that are kept.
MQTT 5 properties are skipped by their length; only a block that is not empty is looked at, for the
content type.

A length that lies closes one connection and nothing else. A PUBLISH beyond ``limit`` bytes is cut
there and its rest skipped, so that one oversized message neither fills the memory nor comes back
for ever; what remains is still too long for any device and ends in quarantine.
"""

from dataclasses import dataclass, field
from typing import Final

from ingest.wire.properties import (
    CONTENT_TYPE,
    LOW_BITS,
    WireError,
    read_block,
    read_variable,
    variable,
)

PUBLISH: Final = 0x30
MAX_PACKET: Final = 1 << 21
"""Bytes of a PUBLISH that are kept: more than any payload the hub takes."""

_PUBLISH_QOS1: Final = 0x32
_QOS_BITS: Final = 0x06


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
            if length > LOW_BITS:
                more = data[at]
                if more > LOW_BITS:
                    length, at = read_variable(data, start + 1)
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
    length, at = read_variable(data, at)
    stop = at + length
    if stop > end:
        raise WireError("properties are longer than their packet")
    content_type = read_block(data[at:stop]).get(CONTENT_TYPE)
    if content_type is not None:
        into.content_types[len(into.payloads)] = content_type.decode("utf-8", "replace")
    return stop


def _check_incomplete(data: bytes, start: int) -> None:
    """Tell a packet whose rest is still to come from one whose lengths lie.

    Raises:
        WireError: The packet is complete, and yet something in it points beyond the end.
    """
    try:
        length, at = read_variable(data, start + 1)
    except IndexError:
        return
    if at + length <= len(data):
        raise WireError("a length inside a packet points beyond it")


def _shorten(header: bytes, body: bytes) -> bytes:
    """Return a packet with so much of its body, its length told anew."""
    return header[:1] + variable(len(body)) + body
