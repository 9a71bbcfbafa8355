"""What the roll-ups have to compute anew, gathered into as few spans as will do. Pure.

The writer appends a mark a batch and hour. A thousand marks of one minute become one span here, and
the marks of one device that sends a year late become a span a day.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from core.rollups import Level

Devices = frozenset[int] | None
"""Whose rows changed; None: anybody's."""

_MOST_BUCKETS: Final = 2_000_000
"""Of all devices together in one span: some ten seconds of work at the very most."""
_SLOT: Final = {Level.MINUTE: Level.HOUR, Level.HOUR: Level.HOUR, Level.DAY: Level.DAY}
_LONGEST: Final = {
    Level.MINUTE: timedelta(days=1),
    Level.HOUR: timedelta(days=31),
    Level.DAY: timedelta(days=366),
}


@dataclass(frozen=True, slots=True)
class Span:
    """Buckets to compute, of some devices.

    Attributes:
        first: Beginning of the first bucket.
        end: End of the last bucket.
        devices: Whose.
    """

    first: datetime
    end: datetime
    devices: Devices


def gather(spans: Iterable[Span], level: Level, origin: datetime) -> list[Span]:
    """Return spans that cover the same buckets, newest first.

    Within an hour (of days: a day) everything becomes one span. Spans of the same devices that
    follow on each other are joined, up to a day, a month or a year, so that no single one takes
    long.
    """
    slots: dict[datetime, Span] = {}
    for span in spans:
        for slot, part in _parts(span, level, origin):
            other = slots.get(slot)
            slots[slot] = part if other is None else _hull(other, part)
    joined: list[Span] = []
    for slot in sorted(slots):
        span = slots[slot]
        if joined and _joins(joined[-1], span, slot, level, origin):
            joined[-1] = replace(joined[-1], end=span.end)
        else:
            joined.append(span)
    return joined[::-1]


def lift(spans: Sequence[Span], level: Level, origin: datetime) -> list[Span]:
    """Return the spans of the next level that contain these."""
    return [
        Span(
            level.floor(span.first, origin),
            level.floor(span.end - timedelta(microseconds=1), origin) + level.width,
            span.devices,
        )
        for span in spans
    ]


def _parts(span: Span, level: Level, origin: datetime) -> Iterator[tuple[datetime, Span]]:
    """Yield each slot that a span touches, with the part of the span in it."""
    slot, width = _SLOT[level].floor(span.first, origin), _SLOT[level].width
    while slot < span.end:
        yield slot, replace(span, first=max(slot, span.first), end=min(slot + width, span.end))
        slot += width


def _hull(one: Span, other: Span) -> Span:
    several = None
    if one.devices is not None and other.devices is not None:
        several = one.devices | other.devices
    return Span(min(one.first, other.first), max(one.end, other.end), several)


def _joins(before: Span, span: Span, slot: datetime, level: Level, origin: datetime) -> bool:
    """Tell whether a span may be one with that before it."""
    if span.devices is None or before.devices != span.devices:
        return False
    if (span.end - before.first) // level.width * len(span.devices) > _MOST_BUCKETS:
        return False
    last = _SLOT[level].floor(before.end - timedelta(microseconds=1), origin)
    follows = slot == last + _SLOT[level].width
    return follows and span.end - before.first <= _LONGEST[level]
