"""Where things are in the schematic city (示意城市): its cells, its streets, its river.

Only the figures are the real city's: 43.87 km² around 111.78° E 37.26° N, 945 grid cells (汾阳).
The map is a lattice of 35 by 27 blocks of about 211 m by 220 m; each block is a grid cell, each
line between two blocks a street. Metres lie on a plane that touches the Earth at the centre, which
over 4 km is off by less than a metre.
"""

import math
from dataclasses import dataclass
from typing import Final

DISTRICT: Final = "141182"
"""County code of Fenyang 汾阳 (GB/T 2260): how its components and grid cells begin."""
LON: Final = 111.78
LAT: Final = 37.26
COLUMNS: Final = 35
ROWS: Final = 27
WIDTH_M: Final = 7_400.0
HEIGHT_M: Final = 43.87e6 / WIDTH_M
BLOCK_X_M: Final = WIDTH_M / COLUMNS
BLOCK_Y_M: Final = HEIGHT_M / ROWS
_M_PER_LAT: Final = 110_980.0
_M_PER_LON: Final = 111_320.0 * math.cos(math.radians(LAT))


def to_place(x: float, y: float) -> tuple[float, float]:
    """Return longitude and latitude of metres east and north of the south-west corner.

    >>> to_place(WIDTH_M / 2, HEIGHT_M / 2)
    (111.78, 37.26)
    """
    return (
        round(LON + (x - WIDTH_M / 2) / _M_PER_LON, 6),
        round(LAT + (y - HEIGHT_M / 2) / _M_PER_LAT, 6),
    )


def to_metres(lon: float, lat: float) -> tuple[float, float]:
    """Return metres east and north of the south-west corner; the inverse of :func:`to_place`."""
    return (
        (lon - LON) * _M_PER_LON + WIDTH_M / 2,
        (lat - LAT) * _M_PER_LAT + HEIGHT_M / 2,
    )


def block_at(lon: float, lat: float) -> tuple[int, int]:
    """Return column and row of the block that a place lies in, the nearest one if outside."""
    x, y = to_metres(lon, lat)
    column = min(max(int(x // BLOCK_X_M), 0), COLUMNS - 1)
    return column, min(max(int(y // BLOCK_Y_M), 0), ROWS - 1)


def outline(column: int, row: int) -> list[list[float]]:
    """Return the closed ring of a block, counter-clockwise, ``[lon, lat]`` each."""
    corners = ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0))
    return [list(to_place((column + i) * BLOCK_X_M, (row + j) * BLOCK_Y_M)) for i, j in corners]


def river(along: float) -> tuple[float, float]:
    """Return a place on the river 文峪河, from west (0) to east (1).

    >>> river(0.0) == to_place(0.0, 1600.0)
    True
    """
    x = along * WIDTH_M
    return to_place(x, 1600 + 450 * math.sin(x / 1250) + 150 * math.sin(x / 476))


@dataclass(frozen=True, slots=True)
class Loop:
    """A closed way along streets around a rectangle of blocks, counter-clockwise.

    Attributes:
        west: First street, counted in blocks from the west.
        south: Likewise from the south.
        wide: Blocks from west to east.
        high: Blocks from south to north.
    """

    west: int
    south: int
    wide: int
    high: int

    @property
    def length(self) -> float:
        """Its length in metres."""
        return 2 * (self.wide * BLOCK_X_M + self.high * BLOCK_Y_M)

    def at(self, way: float) -> tuple[float, float, float]:
        """Return longitude, latitude and course after some metres of the way.

        Courses are degrees from north, clockwise.

        >>> Loop(0, 0, 2, 2).at(0.0)[2], Loop(0, 0, 2, 2).at(2.5 * BLOCK_X_M)[2]
        (90.0, 0.0)
        """
        width, height = self.wide * BLOCK_X_M, self.high * BLOCK_Y_M
        x, y = self.west * BLOCK_X_M, self.south * BLOCK_Y_M
        way %= self.length
        if way < width:
            return *to_place(x + way, y), 90.0
        if way < width + height:
            return *to_place(x + width, y + way - width), 0.0
        if way < 2 * width + height:
            return *to_place(x + 2 * width + height - way, y + height), 270.0
        return *to_place(x, y + self.length - way), 180.0


def loop_around(lon: float, lat: float, wide: int, high: int) -> Loop:
    """Return the loop of this size around a place that lies wholly in the city."""
    column, row = block_at(lon, lat)
    west = min(max(column - wide // 2, 0), COLUMNS - wide)
    return Loop(west, min(max(row - high // 2, 0), ROWS - high), wide, high)
