"""MQTT of versions 5 and 3.1.1, without any I/O: bytes in, columns out.

Lives here: the loop that reads messages, the packets around them, properties and reason codes. May
enter: what is in the standards, MQTT Version 5.0 and MQTT Version 3.1.1 (OASIS); no socket, no
clock, no chance.
"""

from ingest.wire.packets import (
    CONNACK,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    SUBACK,
    Connack,
    connect,
    disconnect,
    pubacks,
    read_connack,
    read_disconnect,
    read_suback,
    subscribe,
)
from ingest.wire.properties import WireError
from ingest.wire.publications import MAX_PACKET, Arrivals, Packet, take_packets
from ingest.wire.reasons import SESSION_TAKEN_OVER, WRONG_VERSION, explain, is_permanent

__all__ = [
    "CONNACK",
    "DISCONNECT",
    "MAX_PACKET",
    "PINGREQ",
    "PINGRESP",
    "SESSION_TAKEN_OVER",
    "SUBACK",
    "WRONG_VERSION",
    "Arrivals",
    "Connack",
    "Packet",
    "WireError",
    "connect",
    "disconnect",
    "explain",
    "is_permanent",
    "pubacks",
    "read_connack",
    "read_disconnect",
    "read_suback",
    "subscribe",
    "take_packets",
]
