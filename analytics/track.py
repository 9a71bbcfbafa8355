"""Where somebody was: positions on a plane, without those that cannot be true, and their holes.

A hole (定位空洞) is time without a believable position: a tunnel, an urban canyon, a radio that was
away. It hides something, so it is never held against anybody. The numbers are ours.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEAST_SATELLITES: Final = 6
"""With fewer a receiver among houses is off by tens of metres: unknown rather than wrong."""
HOLE_US: Final = 60_000_000
_JUMP_M_S: Final = 28.0
_PARKED_M: Final = 50.0
_STEP_M: Final = 10.0
_M_PER_DEG: Final = 111_195.0


@dataclass(frozen=True, slots=True)
class Plane:
    """Metres east and north of a place; over a town off by less than a metre."""

    lon: float
    lat: float

    def metres(self, lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
        """Return ``x, y``."""
        east = _M_PER_DEG * math.cos(math.radians(self.lat))
        return (lon - self.lon) * east, (lat - self.lat) * _M_PER_DEG


@dataclass(frozen=True, slots=True)
class Track:
    """Believable positions in order of time, ``(n,)`` each.

    Attributes:
        ts: Microseconds.
        x: Metres east.
        y: Metres north.
        working: Brush or spray is on.
        awake: The ignition is on.
    """

    ts: NDArray[np.int64]
    x: Floats
    y: Floats
    working: Bools
    awake: Bools

    def __len__(self) -> int:
        return len(self.ts)


def believable(track: Track) -> Track:
    """Return a track without single positions that nobody can have driven to and from."""
    if len(track) < 3:  # noqa: PLR2004 - a jump lies between two others
        return track
    seconds = np.maximum(np.diff(track.ts) / 1e6, 1e-3)
    fast = np.hypot(np.diff(track.x), np.diff(track.y)) / seconds > _JUMP_M_S
    jumps = np.concatenate(([False], fast)) & np.concatenate((fast, [False]))
    return _take(track, np.flatnonzero(~jumps))


def _take(track: Track, at: NDArray[np.intp]) -> Track:
    return Track(track.ts[at], track.x[at], track.y[at], track.working[at], track.awake[at])


@dataclass(frozen=True, slots=True)
class Way:
    """Places passed, at most ten metres apart where the positions are, ``(n,)`` each."""

    ts: NDArray[np.int64]
    x: Floats
    y: Floats
    working: Bools


def way(track: Track) -> Way:
    """Return the way along a track; nothing is drawn through holes."""
    if not len(track):
        return Way(track.ts, track.x, track.y, track.working)
    dx, dy, dt = np.diff(track.x), np.diff(track.y), np.diff(track.ts)
    parts = np.ceil(np.hypot(dx, dy) / _STEP_M).astype(np.int64).clip(1)
    parts[dt > HOLE_US] = 1
    first = np.repeat(np.arange(len(parts)), parts)
    inside = np.arange(len(first)) - np.repeat(np.cumsum(parts) - parts, parts)
    share = inside / parts[first]
    both = track.working[:-1] & track.working[1:]
    working = np.where(inside > 0, both[first], track.working[first])
    return Way(
        np.append(track.ts[first] + (share * dt[first]).astype(np.int64), track.ts[-1]),
        np.append(track.x[first] + share * dx[first], track.x[-1]),
        np.append(track.y[first] + share * dy[first], track.y[-1]),
        np.append(working, track.working[-1]),
    )


@dataclass(frozen=True, slots=True)
class Holes:
    """Times without a position, ``(n,)`` each; NaN where nothing is known before or after."""

    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    x0: Floats
    y0: Floats
    x1: Floats
    y1: Floats


def holes(track: Track, begin: int, end: int) -> Holes:
    """Return the holes of a track between two times, microseconds.

    A vehicle that is parked with its ignition off reports rarely and hides nothing.
    """
    inside = np.flatnonzero((track.ts >= begin) & (track.ts <= end))
    t = _take(track, inside)
    ts = np.concatenate(([begin], t.ts, [end]))
    x = np.concatenate(([np.nan], t.x, [np.nan]))
    y = np.concatenate(([np.nan], t.y, [np.nan]))
    asleep = np.concatenate(([False], ~t.awake, [False]))
    still = np.hypot(np.diff(x), np.diff(y)) < _PARKED_M
    parked = asleep[:-1] & asleep[1:] & still
    at = np.flatnonzero((np.diff(ts) > HOLE_US) & ~parked)
    return Holes(ts[at], ts[at + 1], x[at], y[at], x[at + 1], y[at + 1])


def reachable(gaps: Holes, x: Floats, y: Floats, speed_m_s: float, slack_m: float) -> Bools:
    """Return ``(n,)`` which places may have been visited in one of the holes."""
    found = np.zeros(len(x), np.bool_)
    for n in range(len(gaps.begin)):
        there = np.nan_to_num(np.hypot(x - gaps.x0[n], y - gaps.y0[n]))
        back = np.nan_to_num(np.hypot(x - gaps.x1[n], y - gaps.y1[n]))
        seconds = (gaps.end[n] - gaps.begin[n]) / 1e6
        found |= there + back <= speed_m_s * seconds + slack_m
    return found
