"""How devices and the hub name their conversation on MQTT: ``hub/<device id>/<channel>``.

The topic is the identity: the broker's access list ties it to the login, so a body can never speak
for another device. An id has no dot, slash, space, ``+ # $ * >``: they are syntax in MQTT or NATS,
and NATS takes ``*`` and ``>`` in a published topic (measured), so ids are checked on receipt too.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

TOPIC_PREFIX: Final = "hub"
DEVICE_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What a device id looks like; use ``fullmatch``."""


class Channel(StrEnum):
    """What a topic carries, by the name of its last levels."""

    TELEMETRY = "telemetry"
    EVENT = "event"
    STATE = "state"
    SNAPSHOT = "snapshot"
    THUMB = "thumb"
    COMMAND = "command"
    ACK = "command/ack"


PUBLISHED: Final = (
    Channel.TELEMETRY,
    Channel.EVENT,
    Channel.STATE,
    Channel.SNAPSHOT,
    Channel.THUMB,
    Channel.ACK,
)
"""What a device's login may publish; it may subscribe to ``Channel.COMMAND`` alone."""

_CHANNELS: Final = {channel.value: channel for channel in Channel}


@dataclass(frozen=True, slots=True)
class Topic:
    """Who speaks, or is spoken to, and on which channel."""

    device_id: str
    channel: Channel

    def __str__(self) -> str:
        return f"{TOPIC_PREFIX}/{self.device_id}/{self.channel}"


def format_topic(device_id: str, channel: Channel) -> str:
    """Return the topic of a device's channel.

    Raises:
        ValueError: The id has a character that MQTT or NATS reads as syntax.

    >>> format_topic("MH-0001", Channel.TELEMETRY)
    'hub/MH-0001/telemetry'
    """
    if not DEVICE_ID.fullmatch(device_id):
        raise ValueError(f"{device_id!r} is no device id: it must match {DEVICE_ID.pattern}")
    return str(Topic(device_id, channel))


def parse_topic(topic: str) -> Topic | None:
    """Return what a topic says, or None where it is not one of ours.

    >>> parse_topic("hub/MH-0001/command/ack")
    Topic(device_id='MH-0001', channel=<Channel.ACK: 'command/ack'>)
    >>> parse_topic("hub/MH 1/telemetry") is parse_topic("hub/MH-1/a/b") is None
    True
    """
    prefix, _, rest = topic.partition("/")
    device_id, _, name = rest.partition("/")
    channel = _CHANNELS.get(name)
    if prefix != TOPIC_PREFIX or channel is None or not DEVICE_ID.fullmatch(device_id):
        return None
    return Topic(device_id, channel)


def topic_matches(wanted: str, topic: str) -> bool:
    """Return whether a topic is meant by a filter: MQTT's ``+`` and ``#``, and ``*`` in a level.

    >>> topic_matches("hub/+/telemetry", "hub/MH-0001/telemetry"), topic_matches("hub/#", "hub")
    (True, True)
    >>> topic_matches("hub/MH-*/#", "hub/MH-0001/command/ack"), topic_matches("hub/+", "hub/a/b")
    (True, False)
    """
    levels = topic.split("/")
    for depth, level in enumerate(wanted.split("/")):
        if level == "#":
            return True
        if depth >= len(levels):
            return False
        if level != "+" and not fnmatchcase(levels[depth], level):
            return False
    return len(wanted.split("/")) == len(levels)


def subject_of(topic: Topic) -> str:
    """Return the topic as a NATS subject, dots for slashes, as its access lists want it.

    >>> subject_of(Topic("MH-0001", Channel.ACK))
    'hub.MH-0001.command.ack'
    """
    return str(topic).replace("/", ".")
