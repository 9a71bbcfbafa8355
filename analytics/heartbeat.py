"""Who has fallen silent (失联): a pure judgement over the fleet, with what was said before.

A device is silent when nothing was heard of it for longer than three of its periods, and longer
than one period and three times its own jitter (:mod:`.periods` learns both). The count starts at
its last contact, or when the hub could hear again if that is later: the hub being deaf is not the
fleet being dead. A device that was never heard is not judged at all; it may lie in its box,
and a registry imported ahead of the installation must not raise thousands of alarms.

Where many devices of one gateway 网关 or one feeder 回路 fall silent together, that carrier is the
news and they are not announced; hence a device behind a carrier waits one more interval for that
verdict. Where both could be to blame it is the one that explains more: the share of its devices
that is silent, times its share of all that is silent (p × q of the cause tree). Lamps of a tripped
feeder fall silent one by one: while all that are silent behind a gateway hang on one feeder, a
fifth of them is no dead gateway.
"""

from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

JITTER_US: Final = 30_000_000
"""What a message may be late by itself, microseconds, before a device's own jitter is learnt."""


@dataclass(frozen=True, slots=True)
class _Group:
    """When a carrier is to blame: more than ``share`` of its devices, and at least ``least``.

    They were heard last within ``intervals`` of their own and ``within_us`` of one another.
    """

    share: float
    least: int
    intervals: int = 2
    within_us: int = 0


_GROUPS: Final = {
    "gateway": _Group(0.2, 3),
    "feeder": _Group(0.6, 3),
    "network": _Group(0.3, 5, 1, 300_000_000),
    "cell": _Group(0.3, 5, 1, 300_000_000),
}
CARRIERS: Final = tuple(_GROUPS)
"""Kinds of the virtual devices whose failure silences others: the rows of ``Fleet.carriers``."""
_CABLES: Final = 2  # the first of them: one of these explains even a city that is silent as a whole
_FEEDERS: Final = CARRIERS.index("feeder")
_NARROWEST_FIRST: Final = ("feeder", "gateway", "network", "cell")
"""Of carriers that explain a silence equally well the first one is blamed."""
NOBODY: Final = -1
_DEAF_CONTACTS: Final = 30  # that should have come from the whole fleet, and none did; ours
_DEAF_US: Final = 60_000_000
_DEAF_DEVICES: Final = 10  # a smaller fleet may really be silent as a whole


@dataclass(frozen=True, slots=True)
class Fleet:
    """The devices to judge, each heard at least once.

    Attributes:
        device_no: ``(n,) int32``.
        carriers: ``(4, n) int32`` number of the gateway that carries each, of the feeder that
            powers it, of its operator's network and of its grid cell, as in :data:`CARRIERS`; -1 if
            none. Carriers without a row in the registry have numbers below -1.
        interval: ``(n,) int64`` how often it reports at the least, microseconds.
        contact: ``(n,) int64`` when it was heard last, microseconds UTC by the hub's clock.
        jitter: ``(n,) int64`` how late 99 of 100 of its messages are at most, microseconds; None:
            :data:`JITTER_US` for all.
    """

    device_no: NDArray[np.int32]
    carriers: NDArray[np.int32]
    interval: NDArray[np.int64]
    contact: NDArray[np.int64]
    jitter: NDArray[np.int64] | None = None

    @property
    def allowed(self) -> NDArray[np.int64]:
        """How long each may be silent, microseconds."""
        jitter = JITTER_US if self.jitter is None else self.jitter
        allowed: NDArray[np.int64] = np.maximum(3 * self.interval, self.interval + 3 * jitter)
        return allowed


class Memory(msgspec.Struct):
    """What was said, kept in the database beside it.

    Attributes:
        passed_at: When the last pass was, microseconds.
        available_since: Since when the hub can hear.
        lost: Last contact of each device announced as silent.
        carriers: Last contact behind each carrier announced as silent.
        spared: Devices left over when their carrier came back: silence counts from then.
    """

    passed_at: int
    available_since: int
    lost: dict[int, int] = {}
    carriers: dict[int, int] = {}
    spared: dict[int, int] = {}


@dataclass(frozen=True, slots=True)
class Lost:
    """A device that fell silent: its place in the fleet."""

    place: int


@dataclass(frozen=True, slots=True)
class CarrierLost:
    """A carrier whose devices fell silent together: their places, of how many.

    Attributes:
        device_no: The carrier's own number.
        kind: One of :data:`CARRIERS`.
        places: ``(k,)`` places in the fleet of those that fell silent.
        carried: How many it carries.
        first_ts: When the last of them was heard, microseconds.
    """

    device_no: int
    kind: str
    places: NDArray[np.intp]
    carried: int
    first_ts: int


@dataclass(frozen=True, slots=True)
class Heard:
    """A device or carrier that is heard again, or (``watched`` False) no longer looked after.

    ``carrier`` is its kind if it is one, else empty.
    """

    device_no: int
    first_ts: int
    carrier: str = ""
    watched: bool = True


Change = Lost | CarrierLost | Heard


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
    changes: list[Change] = [*_heard(memory, contact), *_carriers_heard(fleet, memory, silent, now)]
    if opening:
        changes += _carriers_lost(fleet, memory, silent)
        changes += _lost(fleet, memory, silent, quiet)
    return changes


def is_deaf(fleet: Fleet, now: int) -> bool:
    """Return whether the whole city is silent, so that the fault must be the hub's own.

    Then nobody is announced; it also holds for a clock of the hub that leaps ahead.
    """
    if len(fleet.device_no) < _DEAF_DEVICES:
        return False
    cables = fleet.carriers[:_CABLES]
    first = cables[:, :1]
    if ((first != NOBODY) & (cables == first).all(axis=1, keepdims=True)).any():
        return False  # one gateway or feeder is as good an explanation
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
        Heard(device_no, first_ts, watched=device_no in contact) for device_no, first_ts in over
    ]


def _is_lost(fleet: Fleet, memory: Memory) -> NDArray[np.bool_]:
    return np.isin(fleet.device_no, list(memory.lost))


def _carriers_heard(
    fleet: Fleet, memory: Memory, silent: NDArray[np.bool_], now: int
) -> list[Change]:
    """End the silence of carriers; devices that stay silent are counted from now."""
    changes: list[Change] = []
    for carrier, first_ts in list(memory.carriers.items()):
        kind, behind = _behind(fleet, carrier)
        still = behind & silent
        group = _GROUPS[kind]
        if still.sum() >= group.least and still.sum() > group.share * behind.sum():
            continue
        del memory.carriers[carrier]
        memory.spared |= dict.fromkeys(fleet.device_no[still].tolist(), now)
        silent &= ~still
        changes.append(Heard(carrier, first_ts, carrier=kind))
    return changes


def _behind(fleet: Fleet, carrier: int) -> tuple[str, NDArray[np.bool_]]:
    """Return a carrier's kind, and ``(n,)`` which devices it carries.

    One that carries nobody any more counts as a gateway: nothing is told apart by it.
    """
    rows = fleet.carriers == carrier
    return CARRIERS[int(rows.any(axis=1).argmax())], rows.any(axis=0)


def _carriers_lost(fleet: Fleet, memory: Memory, silent: NDArray[np.bool_]) -> list[Change]:
    """Blame carriers, the one that explains most first, until what is left explains nothing."""
    changes: list[Change] = []
    alone = silent & ~_is_lost(fleet, memory)
    alone &= ~np.isin(fleet.carriers, list(memory.carriers)).any(axis=0)
    while found := _blame(fleet, alone):
        memory.carriers[found.device_no] = found.first_ts
        alone &= ~_behind(fleet, found.device_no)[1]
        changes.append(found)
    return changes


def _blame(fleet: Fleet, alone: NDArray[np.bool_]) -> CarrierLost | None:
    """Return the carrier that best explains these silent devices, if any does."""
    best, best_score = None, 0.0
    feeder_of = fleet.carriers[_FEEDERS]
    for kind in _NARROWEST_FIRST[: len(fleet.carriers)]:
        row, group = fleet.carriers[CARRIERS.index(kind)], _GROUPS[kind]
        carriers, counts = np.unique(row[alone], return_counts=True)
        for carrier in carriers[(counts >= group.least) & (carriers != NOBODY)].tolist():
            behind = row == carrier
            carried = int(behind.sum())
            places = _together(fleet, np.flatnonzero(alone & behind), group)
            share = len(places) / carried
            score = share * len(places)  # the share of all that is silent has one divisor
            one_feeder = len(places) and (feeder_of[places] == feeder_of[places[0]]).all()
            needed = group.share
            if kind == "gateway" and one_feeder and feeder_of[places[0]] != NOBODY:
                needed = max(needed, _GROUPS["feeder"].share)  # more of that feeder may follow
            if len(places) < group.least or share <= needed or score <= best_score:
                continue
            first_ts = int(fleet.contact[places].max())
            best, best_score = CarrierLost(carrier, kind, places, carried, first_ts), score
    return best


def _together(fleet: Fleet, places: NDArray[np.intp], group: _Group) -> NDArray[np.intp]:
    """Return the most of these devices that were heard last within the group's span."""
    places = places[np.argsort(fleet.contact[places], kind="stable")]
    contact = fleet.contact[places]
    width = group.intervals * int(fleet.interval[places].max()) + group.within_us
    ends = np.searchsorted(contact, contact + width, side="right")
    start = int(np.argmax(ends - np.arange(len(places))))
    return places[start : ends[start]]


def _lost(
    fleet: Fleet, memory: Memory, silent: NDArray[np.bool_], quiet: NDArray[np.int64]
) -> list[Change]:
    """Announce single devices: not twice, and not behind a silent carrier."""
    waits = np.where((fleet.carriers != NOBODY).any(axis=0), fleet.interval, 0)
    covered = np.isin(fleet.carriers, list(memory.carriers)).any(axis=0)
    new = silent & (quiet > fleet.allowed + waits) & ~covered & ~_is_lost(fleet, memory)
    for place in np.flatnonzero(new):
        memory.lost[int(fleet.device_no[place])] = int(fleet.contact[place])
    return [Lost(int(place)) for place in np.flatnonzero(new)]
