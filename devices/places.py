"""Places: grid cells (单元网格) by their codes, and coordinates that can be believed.

Coordinates are WGS-84 degrees, longitude first. Those of another datum lie some hundred metres off
and cannot be told from good ones; swapped or projected ones can.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from core.model import Text

GRID_CODE: Final = re.compile(r"[0-9]{14,15}")
"""14 digits (CJ/T 213-2005: 6 + 3 + 3 + 2) or 15 (DB11: 6 + 3 + 3 + 3)."""

Position = tuple[float, float]
"""Longitude and latitude, in degrees."""


@dataclass(frozen=True, slots=True)
class GridCode:
    """What a grid cell's code (单元网格编码) says.

    Attributes:
        district: County or district, 6 digits.
        street: Street or town, 3 digits.
        community: Community, 3 digits.
        serial: Serial number, 2 or 3 digits.
    """

    district: str
    street: str
    community: str
    serial: str


def parse_grid_code(code: str) -> GridCode:
    """Return the parts of a grid cell's code.

    Raises:
        ValueError: It is neither 14 nor 15 digits.

    >>> parse_grid_code("320582110152102")
    GridCode(district='320582', street='110', community='152', serial='102')
    """
    if not GRID_CODE.fullmatch(code):
        raise ValueError(f"{code!r} is no grid code: 14 or 15 digits")
    return GridCode(code[:6], code[6:9], code[9:12], code[12:])


_MOST_LON: Final = 180
_MOST_LAT: Final = 90
_CHINA_LON: Final = (73, 136)
_CHINA_LAT: Final = (3, 54)
_METRES: Final = 1000  # beyond, a figure is no angle at all


def doubt_position(lon: float, lat: float) -> Text | None:
    """Return why a position cannot be right, or None where it can.

    >>> doubt_position(111.78, 37.26) is None
    True
    >>> doubt_position(37.26, 111.78).en
    'longitude and latitude are swapped'
    """
    if abs(lon) <= _MOST_LON and abs(lat) <= _MOST_LAT:
        if lon == lat == 0:
            return Text("坐标为 0,0，设备没有定位", "the position is 0, 0: there was no fix")
        south, north = _CHINA_LAT
        west, _ = _CHINA_LON
        return _SWAPPED if south <= lon <= north and west <= lat else None
    if abs(lon) <= _MOST_LAT and abs(lat) <= _MOST_LON:
        return _SWAPPED
    if max(abs(lon), abs(lat)) > _METRES:
        return Text(
            "坐标不是经纬度，像是投影坐标（米）；请转换为 WGS-84 经纬度",
            "these are no degrees but look like metres of a projection; convert them to WGS-84",
        )
    return Text("经度或纬度超出范围", "longitude or latitude is out of range")


_SWAPPED: Final = Text("经度和纬度写反了", "longitude and latitude are swapped")


def centre_of(ring: Sequence[Position]) -> Position:
    """Return the centre of area of a closed ring; of a ring without area the mean of its corners.

    >>> centre_of([(0, 0), (2, 0), (2, 2), (0, 2), (0, 0)])
    (1.0, 1.0)
    """
    x0, y0 = ring[0]  # near the ring, or the products lose the digits that matter
    area = x = y = 0.0
    for (ax, ay), (bx, by) in pairwise(ring):
        cross = (ax - x0) * (by - y0) - (bx - x0) * (ay - y0)
        area += cross
        x += (ax + bx - 2 * x0) * cross
        y += (ay + by - 2 * y0) * cross
    if math.isclose(area, 0, abs_tol=1e-18):
        corners = ring[:-1] or ring
        return (
            sum(lon for lon, _ in corners) / len(corners),
            sum(lat for _, lat in corners) / len(corners),
        )
    return (x0 + x / (3 * area), y0 + y / (3 * area))
