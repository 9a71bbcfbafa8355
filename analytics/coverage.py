"""Which planned segments are done (作业覆盖), missed, or unknown: a pure judgement over tracks.

A segment is cut into places 20 m apart. A place is done when anybody passed within 20 m of it with
brush or spray on; it is unknown when it is not done and the planned vehicle may have been there in
a hole of its positions. A segment is done from 70 % of its places on, and missed only where even
the unknown ones would not make it: what nobody can know is never held against a driver.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from analytics.track import Bools, Floats, Plane, Track, Way, holes, reachable, way

Verdict = Literal["done", "missed", "unknown"]

DONE_SHARE: Final = 0.7
NEAR_M: Final = 20.0
_PLACE_M: Final = 20.0
_WORKING_M_S: Final = 15 / 3.6  # the upper end of sweeping, and what the receiver adds
_PRESENT_M: Final = 60.0  # a badge's receiver is good to 8 m; the pavement has two sides
_MINUTE_US: Final = 60_000_000


@dataclass(frozen=True, slots=True)
class Places:
    """The places of some segments.

    Attributes:
        codes: The segments.
        of: ``(n,)`` which segment each place is of, by its number in ``codes``.
        x: ``(n,)`` metres east.
        y: ``(n,)`` metres north.
    """

    codes: tuple[str, ...]
    of: NDArray[np.intp]
    x: Floats
    y: Floats


@dataclass(frozen=True, slots=True)
class Segment:
    """What came of one segment.

    Attributes:
        verdict: ``done``, ``missed`` or ``unknown``.
        done: Share of its places done.
        unknown: Share that a hole hides.
        dry: Share passed with brush and spray off, and not done.
        by: Who did most of it, by device; empty: nobody.
    """

    verdict: Verdict
    done: float
    unknown: float
    dry: float
    by: str


def cut(paths: Mapping[str, Sequence[Sequence[float]]], plane: Plane) -> Places:
    """Return the places of segments, whose paths are points of longitude and latitude."""
    of: list[int] = []
    xs: list[Floats] = []
    ys: list[Floats] = []
    for number, path in enumerate(paths.values()):
        points = np.array(path, np.float64)
        x, y = plane.metres(points[:, 0], points[:, 1])
        along = np.concatenate(([0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))))
        count = max(int(along[-1] / _PLACE_M), 1)
        middles = (np.arange(count) + 0.5) * along[-1] / count
        xs.append(np.interp(middles, along, x))
        ys.append(np.interp(middles, along, y))
        of += [number] * count
    return Places(tuple(paths), np.array(of, np.intp), np.concatenate(xs), np.concatenate(ys))


def cover(
    places: Places, tracks: Mapping[str, Track], planned: str, begin: int, end: int
) -> dict[str, Segment]:
    """Judge segments after a shift.

    Args:
        places: Of the planned segments.
        tracks: Believable tracks of all who were near, the planned one's whole.
        planned: Whose plan it is.
        begin: Of the shift, microseconds.
        end: Likewise.
    """
    count = len(places.x)
    by = np.full(count, -1)
    dry = np.zeros(count, np.bool_)
    names = sorted(tracks, key=lambda name: name != planned)  # the planned one first
    for number, name in enumerate(names):
        passed = way(tracks[name])
        inside = (passed.ts >= begin) & (passed.ts <= end)
        near = _near(places, passed, inside & passed.working)
        by[near & (by < 0)] = number
        if name == planned:
            dry = _near(places, passed, inside & ~passed.working)
    mine = tracks.get(planned)
    hidden = np.ones(count, np.bool_)
    if mine is not None:
        gaps = holes(mine, begin, end)
        hidden = reachable(gaps, places.x, places.y, _WORKING_M_S, 2 * NEAR_M)
    done = by >= 0
    return {
        code: _judge(names, by[at], done[at], (hidden & ~done)[at], (dry & ~done)[at])
        for code, at in ((code, places.of == n) for n, code in enumerate(places.codes))
    }


def _judge(
    names: Sequence[str], by: NDArray[np.int64], done: Bools, hidden: Bools, dry: Bools
) -> Segment:
    share, unknown = float(done.mean()), float(hidden.mean())
    verdict: Verdict = "missed"
    if share >= DONE_SHARE:
        verdict = "done"
    elif share + unknown >= DONE_SHARE:
        verdict = "unknown"
    most = ""
    if done.any():
        most = names[int(np.bincount(by[done]).argmax())]
    return Segment(verdict, share, unknown, float(dry.mean()), most)


def _near(places: Places, passed: Way, which: Bools) -> Bools:
    """Return ``(places,)`` which of them a way comes within 20 m of."""
    found = np.zeros(len(places.x), np.bool_)
    x, y = passed.x[which], passed.y[which]
    for start in range(0, len(x), 4096):
        part = slice(start, start + 4096)
        off = np.hypot(places.x[:, None] - x[None, part], places.y[:, None] - y[None, part])
        found |= (off <= NEAR_M).any(axis=1)
    return found


def presence(places: Places, track: Track | None, begin: int, end: int) -> tuple[float, float]:
    """Return the share of known minutes on the section, and the share of unknown ones.

    A minute is known that has a position; it is spent on the section when one of them lies within
    60 m of it. Of a shift nothing is known of, the first share is 0 and the second 1.
    """
    minutes = max((end - begin) // _MINUTE_US, 1)
    known, there = np.zeros(minutes, np.bool_), np.zeros(minutes, np.bool_)
    if track is not None and len(track):
        which = (track.ts - begin) // _MINUTE_US
        inside = np.flatnonzero((which >= 0) & (which < minutes))
        for n in np.array_split(inside, max(len(inside) // 1024, 1)):
            off = np.hypot(
                places.x[:, None] - track.x[None, n], places.y[:, None] - track.y[None, n]
            )
            known[which[n]] = True
            there[which[n[(off <= _PRESENT_M).any(axis=0)]]] = True
    if not known.any():
        return 0.0, 1.0
    return float(there.sum() / known.sum()), float(1 - known.mean())
