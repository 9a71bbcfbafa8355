"""Properties of MQTT 5 packets, and the integers of variable length they are counted with."""

from typing import Final

LOW_BITS: Final = 0x7F  # of a variable byte integer; the highest says that more follows

CONTENT_TYPE: Final = 0x03
SESSION_EXPIRY: Final = 0x11
SERVER_KEEP_ALIVE: Final = 0x13
REASON_STRING: Final = 0x1F
RECEIVE_MAXIMUM: Final = 0x21
USER_PROPERTY: Final = 0x26

# How long the value of a property is: bytes, or one of the three below.
_TEXT: Final = -1
_PAIR: Final = -2
_VARIABLE: Final = -3
_SIZES: Final[dict[int, int]] = {
    0x01: 1,
    0x02: 4,
    CONTENT_TYPE: _TEXT,
    0x08: _TEXT,
    0x09: _TEXT,
    0x0B: _VARIABLE,
    SESSION_EXPIRY: 4,
    0x12: _TEXT,
    SERVER_KEEP_ALIVE: 2,
    0x15: _TEXT,
    0x16: _TEXT,
    0x17: 1,
    0x18: 4,
    0x19: 1,
    0x1A: _TEXT,
    0x1C: _TEXT,
    REASON_STRING: _TEXT,
    RECEIVE_MAXIMUM: 2,
    0x22: 2,
    0x23: 2,
    0x24: 1,
    0x25: 1,
    USER_PROPERTY: _PAIR,
    0x27: 4,
    0x28: 1,
    0x29: 1,
    0x2A: 1,
}


class WireError(Exception):
    """The peer does not keep the protocol; only closing the connection helps."""


def read_properties(body: bytes, at: int) -> dict[int, bytes]:
    """Return the properties that start at an index of a body; none if it ends there.

    Raises:
        WireError: They are cut off.
    """
    if at >= len(body):
        return {}
    try:
        length, at = read_variable(body, at)
        if at + length > len(body):
            raise WireError("properties are longer than their packet")
        return read_block(body[at : at + length])
    except IndexError as error:
        raise WireError("properties are cut off") from error


def read_block(block: bytes) -> dict[int, bytes]:
    """Return the properties of a block by their identifier; of several the last.

    Raises:
        WireError: A length in it lies, or nobody knows one of them.
        IndexError: It ends within a property.
    """
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
            _, at = read_variable(block, at)
        else:
            for _ in range(1 if size == _TEXT else 2):
                start = at + 2
                at = start + int.from_bytes(block[at:start], "big")
        if at > end:
            raise WireError("a property is longer than its block")
        found[name] = block[start:at]
    return found


def read_variable(data: bytes, at: int) -> tuple[int, int]:
    """Return a variable byte integer and where it ends.

    Raises:
        IndexError: It is not complete.
        WireError: It has more than four bytes.
    """
    value = 0
    for i in range(4):
        byte = data[at + i]
        value |= (byte & 0x7F) << 7 * i
        if byte <= LOW_BITS:
            return value, at + i + 1
    raise WireError("a length of more than four bytes")


def variable(value: int) -> bytes:
    """Return a variable byte integer.

    >>> variable(321).hex()
    'c102'
    """
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | 0x80 if value else low)
        if not value:
            return bytes(out)
