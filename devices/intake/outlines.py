"""Geometries of GeoJSON features: points of things, outlines of grid cells."""

from collections.abc import Sequence
from typing import Any, Final

from devices.intake.fields import WrongError
from devices.places import Position, centre_of, doubt_position

_SHORTEST_RING: Final = 4


def read_point(geometry: Any) -> Position:
    """Return the position of a ``Point``.

    Raises:
        WrongError: It is none, or nowhere.
    """
    if not isinstance(geometry, dict) or geometry.get("type") != "Point":
        raise WrongError("几何应为 Point", "the geometry must be a Point")
    return _position(geometry.get("coordinates"))


def read_outline(geometry: Any) -> tuple[Position, dict[str, Any]]:
    """Return the centre of a ``Polygon`` or ``MultiPolygon``, and what of it is kept.

    The centre is that of the largest part, which lies in the cell more often than a mean.

    Raises:
        WrongError: It is neither, or a ring is open, too short or nowhere.
    """
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind not in {"Polygon", "MultiPolygon"}:
        raise WrongError(
            "几何应为 Polygon 或 MultiPolygon", "the geometry must be a Polygon or MultiPolygon"
        )
    given = geometry.get("coordinates")
    parts = [_part(part) for part in _list([given] if kind == "Polygon" else given)]
    centre = centre_of(max((part[0] for part in parts), key=_extent))
    return centre, {"type": kind, "coordinates": parts[0] if kind == "Polygon" else parts}


def _part(part: Any) -> list[list[Position]]:
    return [_ring(ring) for ring in _list(part)]


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise WrongError("轮廓没有坐标", "the outline has no coordinates")
    return value


def _ring(ring: Any) -> list[Position]:
    if not isinstance(ring, list) or len(ring) < _SHORTEST_RING:
        raise WrongError("轮廓少于四个点", "a ring has fewer than four positions")
    positions = [_position(each) for each in ring]
    if positions[0] != positions[-1]:
        raise WrongError(
            "轮廓没有闭合", "a ring is not closed: its last position must be its first"
        )
    return positions


def _position(coordinates: Any) -> Position:
    match coordinates:
        case [int() | float() as lon, int() | float() as lat, *_]:
            doubt = doubt_position(lon, lat)
            if doubt is not None:
                raise WrongError(doubt.zh, doubt.en)
            return (float(lon), float(lat))
    raise WrongError("坐标应为 [经度, 纬度]", "a position must be [longitude, latitude]")


def _extent(ring: Sequence[Position]) -> float:
    """Return the area of a ring's box: enough to find the largest part."""
    lons = [lon for lon, _ in ring]
    lats = [lat for _, lat in ring]
    return (max(lons) - min(lons)) * (max(lats) - min(lats))
