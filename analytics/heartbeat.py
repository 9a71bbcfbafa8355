"""Who has fallen silent (失联): a pure judgement over the fleet, with what was said before.

A device is silent when nothing was heard of it for longer than three of its intervals. The count
starts at its last contact, or when the hub could hear again if that is later: the hub being deaf is
not the fleet being dead. A device that was never heard is not judged at all; it may lie in its box,
and a registry imported ahead of the installation must not raise thousands of alarms.

Where many devices of one gateway fall silent together, the gateway is the news and they are not
announced; hence a device behind a gateway waits one more interval for that verdict.
"""

from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

JITTER_US: Final = 30_000_000
"""What a message may be late by itself, microseconds; ours, to be learnt in a later round."""
_GROUP_SHARE: Final = 0.2  # of a gateway's devices …
_GROUP_LEAST: Final = 3  # … and at least so many …
_GROUP_INTERVALS: Final = 2  # … heard last within so many intervals of one another
_DEAF_CONTACTS: Final = 30  # that should have come from the whole fleet, and none did; ours
_DEAF_US: Final = 60_000_000
_DEAF_DEVICES: Final = 10  # a smaller fleet may really be silent as a whole


@dataclass(frozen=True, slots=True)
class Fleet:
    """The devices to judge, each heard at least once.

    Attributes:
        device_no: ``(n,) int32``.
        gateway: ``(n,) int32`` number of the gateway that carries each, -1 if none.
        interval: ``(n,) int64`` how often it reports at the least, microseconds.
        contact: ``(n,) int64`` when it was heard last, microseconds UTC by the hub's clock.
    """

    device_no: NDArray[np.int32]
    gateway: NDArray[np.int32]
    interval: NDArray[np.int64]
    contact: NDArray[np.int64]

    @property
    def allowed(self) -> NDArray[np.int64]:
        """How long each may be silent, microseconds."""
        return np.maximum(3 * self.interval, self.interval + 3 * JITTER_US)


class Memory(msgspec.Struct):
    """What was said, kept in the database beside it.

    Attributes:
        passed_at: When the last pass was, microseconds.
        available_since: Since when the hub can hear.
        lost: Last contact of each device announced as silent.
        gateways: Last contact behind each gateway announced as silent.
        spared: Devices left over when their gateway came back: silence counts from then.
    """

    passed_at: int
    available_since: int
    lost: dict[int, int] = {}
    gateways: dict[int, int] = {}
    spared: dict[int, int] = {}


@dataclass(frozen=True, slots=True)
class Lost:
    """A device that fell silent: its place in the fleet."""

    place: int


@dataclass(frozen=True, slots=True)
class GatewayLost:
    """A gateway whose devices fell silent together: their places, of how many."""

    gateway: int
    places: NDArray[np.intp]
    carried: int
    first_ts: int


@dataclass(frozen=True, slots=True)
class Heard:
    """A device or gateway that is heard again, or (``watched`` False) no longer looked after."""

    device_no: int
    first_ts: int
    gateway: bool
    watched: bool = True


Change = Lost | GatewayLost | Heard


def judge(fleet: Fleet, memory: Memory, now: int, *, opening: bool = True) -> list[Change]:
    """Return what changed since the last pass, and remember it.

    Args:
        fleet: The devices.
        memory: What was said so far; changed in place.
        now: The hub's time, microseconds.
        opening: Whether silence may be announced; False in the grace after a start.
    """
    memory.passed_at = now
    if is_deaf(fleet, now):
        memory.available_since = now
    contact = dict(zip(fleet.device_no.tolist(), fleet.contact.tolist(), strict=True))
    memory.spared = {no: at for no, at in memory.spared.items() if contact.get(no, at) < at}
    since = np.maximum(fleet.contact, memory.available_since)
    for place in np.flatnonzero(np.isin(fleet.device_no, list(memory.spared))):
        since[place] = max(since[place], memory.spared[int(fleet.device_no[place])])
    quiet = now - since
    silent = quiet > fleet.allowed
    changes: list[Change] = [*_heard(memory, contact), *_gateways_heard(fleet, memory, silent, now)]
    if opening:
        changes += _gateways_lost(fleet, memory, silent)
        changes += _lost(fleet, memory, silent, quiet)
    return changes


def is_deaf(fleet: Fleet, now: int) -> bool:
    """Return whether the whole city is silent, so that the fault must be the hub's own.

    Then nobody is announced; it also holds for a clock of the hub that leaps ahead.
    """
    if len(fleet.device_no) < _DEAF_DEVICES:
        return False
    first = fleet.gateway[0]
    if first >= 0 and (fleet.gateway == first).all():
        return False  # one gateway is as good an explanation
    quiet = now - int(fleet.contact.max())
    expected = quiet * float((1 / fleet.interval).sum())
    return quiet > _DEAF_US and expected > _DEAF_CONTACTS


def _heard(memory: Memory, contact: dict[int, int]) -> list[Change]:
    over = [
        (device_no, first_ts)
        for device_no, first_ts in memory.lost.items()
        if contact.get(device_no, first_ts + 1) > first_ts  # a device no longer judged is over too
    ]
    for device_no, _ in over:
        del memory.lost[device_no]
    return [
        Heard(device_no, first_ts, gateway=False, watched=device_no in contact)
        for device_no, first_ts in over
    ]


def _is_lost(fleet: Fleet, memory: Memory) -> NDArray[np.bool_]:
    return np.isin(fleet.device_no, list(memory.lost))


def _gateways_heard(
    fleet: Fleet, memory: Memory, silent: NDArray[np.bool_], now: int
) -> list[Change]:
    """End the silence of gateways; devices that stay silent are counted from now."""
    changes: list[Change] = []
    for gateway, first_ts in list(memory.gateways.items()):
        behind = fleet.gateway == gateway
        still = behind & silent
        if still.sum() >= _GROUP_LEAST and still.sum() > _GROUP_SHARE * behind.sum():
            continue
        del memory.gateways[gateway]
        memory.spared |= dict.fromkeys(fleet.device_no[still].tolist(), now)
        silent &= ~still
        changes.append(Heard(gateway, first_ts, gateway=True))
    return changes


def _gateways_lost(fleet: Fleet, memory: Memory, silent: NDArray[np.bool_]) -> list[Change]:
    changes: list[Change] = []
    alone = silent & ~_is_lost(fleet, memory) & (fleet.gateway >= 0)
    gateways, counts = np.unique(fleet.gateway[alone], return_counts=True)
    for gateway in gateways[counts >= _GROUP_LEAST].tolist():
        if gateway in memory.gateways:
            continue
        carried = int((fleet.gateway == gateway).sum())
        places = _together(fleet, np.flatnonzero(alone & (fleet.gateway == gateway)))
        if len(places) >= _GROUP_LEAST and len(places) > _GROUP_SHARE * carried:
            first_ts = int(fleet.contact[places].max())
            memory.gateways[gateway] = first_ts
            changes.append(GatewayLost(gateway, places, carried, first_ts))
    return changes


def _together(fleet: Fleet, places: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the most of these devices that were heard last within two intervals."""
    places = places[np.argsort(fleet.contact[places], kind="stable")]
    contact = fleet.contact[places]
    width = _GROUP_INTERVALS * int(fleet.interval[places].max())
    ends = np.searchsorted(contact, contact + width, side="right")
    start = int(np.argmax(ends - np.arange(len(places))))
    return places[start : ends[start]]


def _lost(
    fleet: Fleet, memory: Memory, silent: NDArray[np.bool_], quiet: NDArray[np.int64]
) -> list[Change]:
    """Announce single devices: not twice, and not behind a silent gateway."""
    waits = np.where(fleet.gateway >= 0, fleet.interval, 0)
    covered = np.isin(fleet.gateway, list(memory.gateways))
    new = silent & (quiet > fleet.allowed + waits) & ~covered & ~_is_lost(fleet, memory)
    for place in np.flatnonzero(new):
        memory.lost[int(fleet.device_no[place])] = int(fleet.contact[place])
    return [Lost(int(place)) for place in np.flatnonzero(new)]
