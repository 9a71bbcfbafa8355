"""Who speaks on a topic, and how it is read: one look-up in a dict a message.

A topic is taken apart once and cached as bytes; a change of the registry empties the cache. Ids
that the registry does not know are asked of the database first, all of a batch in one statement,
so a device that was added a moment ago is known with its first message.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg

from core.errors import PayloadError
from devices.registry import Device, Registry, enrol
from devices.topics import DEVICE_ID, Channel, parse_topic
from ingest.columns import Columns

_MOST_CACHED: Final = 500_000  # topics; whoever floods us with new ones only empties the cache
_KNOWN: Final = "SELECT device_id FROM hub.device WHERE device_id = ANY(%s)"
_MIN_LEVELS: Final = 3
PLACE_BITS: Final = 32
"""A place stands so many bits above a device's number."""

Connect = Callable[[], psycopg.Connection[Any]]


@dataclass(frozen=True, slots=True)
class Route:
    """What a topic means.

    Attributes:
        channel: What it carries.
        device: Who speaks; None: nobody whom we know.
        device_no: Its number, 0 for nobody.
        kind: Its kind, empty for nobody.
        place: Place of its kind among those whose plain records are read in one go; -1: none, all
            goes the exact path.
        code: Why it is refused; empty: it is not.
        spot: ``place`` and ``device_no`` in one number, :data:`PLACE_BITS` apart, so that a batch
            is told apart by a single look-up a message.
    """

    channel: Channel
    device: Device | None
    device_no: int = 0
    kind: str = ""
    place: int = -1
    code: str = ""
    spot: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "spot", self.place << PLACE_BITS | self.device_no)


class Routes:
    """The routes of all topics met so far.

    Args:
        registry: The devices; loaded anew where the database knows more.
        columns: Column makers by kind; their order is that of :attr:`Route.place`.
        enrols: Register an unknown device at first sight.
    """

    def __init__(self, registry: Registry, columns: Mapping[str, Columns], *, enrols: bool) -> None:
        self.registry = registry
        self._places = {kind: place for place, kind in enumerate(columns)}
        self._enrols = enrols
        self._epoch = registry.epoch
        self.cache: dict[bytes, Route] = {}
        """The route of each topic that :meth:`learn` was given."""

    def learn(self, topics: Sequence[bytes], connect: Connect) -> None:
        """Make sure that :attr:`cache` has all of these topics.

        Args:
            topics: UTF-8 bytes of each.
            connect: Returns a connection in autocommit; called where a topic is new.
        """
        if self._epoch != self.registry.epoch or len(self.cache) > _MOST_CACHED:
            self._forget()
        cache = self.cache
        if all(map(cache.__contains__, topics)):
            return
        new = set(topics).difference(cache)
        parsed = {topic: _parse(topic) for topic in new}
        ids = {one[0] for one in parsed.values() if not isinstance(one, PayloadError)}
        if self._meet(ids - self.registry.by_id.keys(), connect):
            self.registry.load(connect())
            self._forget()
            parsed.update({topic: _parse(topic) for topic in set(topics) - parsed.keys()})
        for topic, one in parsed.items():
            self.cache[topic] = self._route(one)

    def _forget(self) -> None:
        self.cache.clear()
        self._epoch = self.registry.epoch

    def _meet(self, unknown: set[str], connect: Connect) -> bool:
        """Return whether the database knows more devices now than the registry."""
        if not unknown:
            return False
        conn = connect()
        rows = conn.execute(_KNOWN, [sorted(unknown)]).fetchall()
        fresh = {device_id for (device_id,) in rows}
        if self._enrols:
            fresh |= {i for i in sorted(unknown - fresh) if enrol(conn, i) is not None}
        return bool(fresh)

    def _route(self, parsed: "tuple[str, Channel] | PayloadError") -> Route:
        if isinstance(parsed, PayloadError):
            return Route(Channel.TELEMETRY, None, code=parsed.code)
        device_id, channel = parsed
        device = self.registry.by_id.get(device_id)
        if channel in {Channel.SNAPSHOT, Channel.THUMB}:
            return Route(channel, device, code="snapshot_unsupported")
        if channel not in {Channel.TELEMETRY, Channel.EVENT, Channel.STATE}:
            return Route(channel, device, code="unknown_message")
        if device is None:
            return Route(channel, None, code="unknown_device")
        if device.state == "retired":
            return Route(channel, device, code="device_retired")
        place = self._places.get(device.kind, -1) if channel is Channel.TELEMETRY else -1
        return Route(channel, device, device.device_no, device.kind, place)


def _parse(topic: bytes) -> tuple[str, Channel] | PayloadError:
    """Return device id and channel, or why there are none."""
    try:
        text = topic.decode()
    except UnicodeDecodeError:
        return PayloadError("wrong_topic")
    parsed = parse_topic(text)
    if parsed is not None:
        return parsed.device_id, parsed.channel
    levels = text.split("/")
    if levels[0] != "hub" or len(levels) < _MIN_LEVELS:
        return PayloadError("wrong_topic")
    if not DEVICE_ID.fullmatch(levels[1]):
        return PayloadError("bad_device_id")
    if len(levels) == _MIN_LEVELS:
        return PayloadError("unknown_message")
    return PayloadError("wrong_topic")
