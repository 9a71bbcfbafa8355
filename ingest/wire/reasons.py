"""Reason codes of MQTT 5 as half sentences, for whoever has to mend a login at night."""

from typing import Final

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
OLD_REASONS: Final = {1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}
_PERMANENT: Final = frozenset({0x81, 0x82, 0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x8F, 0x9B, 0xA2})


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
