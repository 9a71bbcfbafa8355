"""Who cleans which street when, in the schematic city: road segments and the plans of the fleet.

A segment is one side of a block. Every vehicle has two shifts of four hours on its own loop, enough
for three rounds, and every badge its section for eight hours: the loop that its wearer walks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from simulators import places
from simulators.city_devices import CityDevice
from simulators.physics.movers import beat_of
from simulators.places import Loop

_QUARTER_H: Final = 0.25
_CITY_H: Final = 8  # the city's clock is ahead of UTC
_SHIFTS: Final = {"sanitation_vehicle": ((0.5, 4), (8, 4)), "sanitation_worker": ((0.5, 8),)}
"""Begin, in hours since its wearer begins to work, and hours of each shift."""
_WORK: Final = {"sanitation_vehicle": "sweep", "sanitation_worker": "presence"}


@dataclass(frozen=True, slots=True)
class Segment:
    """One side of a block (路段): its ends in degrees."""

    segment_code: str
    name: str
    path: tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Plan:
    """Who works on which segments when; times are the city's."""

    plan_code: str
    device_id: str
    work: str
    segments: tuple[str, ...]
    begins: str
    ends: str


def segment_code(column: int, row: int, *, eastward: bool) -> str:
    """Return the code of the segment that begins at a crossing, counted from the south-west.

    >>> segment_code(3, 11, eastward=True)
    'E-11-03'
    """
    return f"E-{row:02}-{column:02}" if eastward else f"N-{column:02}-{row:02}"


def segment_at(lon: float, lat: float) -> str:
    """Return the code of the segment nearest to a place.

    >>> lon, lat = places.to_place(3.4 * places.BLOCK_X_M, 11.1 * places.BLOCK_Y_M)
    >>> segment_at(lon, lat)
    'E-11-03'
    """
    x, y = places.to_metres(lon, lat)
    across, along = x / places.BLOCK_X_M, y / places.BLOCK_Y_M
    from_column = abs(across - round(across)) * places.BLOCK_X_M
    from_row = abs(along - round(along)) * places.BLOCK_Y_M
    if from_row <= from_column:
        return segment_code(int(across), round(along), eastward=True)
    return segment_code(round(across), int(along), eastward=False)


def build_segments() -> list[Segment]:
    """Return all segments of the lattice of streets."""
    found = []
    for row in range(places.ROWS + 1):
        for column in range(places.COLUMNS + 1):
            for eastward in (True, False):
                east, north = column + eastward, row + (not eastward)
                if east > places.COLUMNS or north > places.ROWS:
                    continue
                ends = [(column, row), (east, north)]
                here, there = (
                    places.to_place(x * places.BLOCK_X_M, y * places.BLOCK_Y_M) for x, y in ends
                )
                way, number = ("横", row) if eastward else ("纵", column)
                found.append(
                    Segment(
                        segment_code(column, row, eastward=eastward),
                        f"{way}{number:02}路第 {(column if eastward else row) + 1} 段",
                        (here, there),
                    )
                )
    return found


def segments_of(loop: Loop) -> tuple[str, ...]:
    """Return the segments of a loop, in the order in which they are passed."""
    east, north = loop.west + loop.wide, loop.south + loop.high
    wide, high = range(loop.west, east), range(loop.south, north)
    return (
        *(segment_code(column, loop.south, eastward=True) for column in wide),
        *(segment_code(east, row, eastward=False) for row in high),
        *(segment_code(column, north, eastward=True) for column in reversed(wide)),
        *(segment_code(loop.west, row, eastward=False) for row in reversed(high)),
    )


def build_plans(devices: Sequence[CityDevice], seed: int) -> list[Plan]:
    """Return the plans of all vehicles and badges."""
    found = []
    for device in devices:
        if device.kind not in _SHIFTS:
            continue
        beat = beat_of(device.kind, device.device_id, seed=seed, lon=device.lon, lat=device.lat)
        for number, (after_h, hours) in enumerate(_SHIFTS[device.kind], start=1):
            begin = _CITY_H + beat.begins / 3600 + after_h
            begin = -(-begin // _QUARTER_H) * _QUARTER_H
            found.append(
                Plan(
                    f"{device.device_id}-{number}",
                    device.device_id,
                    _WORK[device.kind],
                    segments_of(beat.loop),
                    _time(begin),
                    _time(begin + hours),
                )
            )
    return found


def _time(hour: float) -> str:
    """Return an hour of any day as a time of day.

    >>> _time(30.25)
    '06:15'
    """
    return f"{int(hour) % 24:02}:{round(hour % 1 * 60):02}"
