"""The city itself: departments (单位), grid cells (单元网格) and components (部件)."""

from typing import Any, Final

from api.paging import cut_page
from api.shapes import Shape, Words
from api.store import Look, Row

_DEPARTMENTS: Final = """
SELECT dept_code, name_zh, coalesce(nullif(name_en, ''), name_zh) AS name_en, is_street
  FROM hub.department ORDER BY dept_code
"""
_CELLS: Final = """
SELECT grid_code, name, dept_code, lon, lat, outline FROM hub.grid_cell
 WHERE (%(dept)s::text IS NULL OR dept_code = %(dept)s) ORDER BY grid_code LIMIT 20000
"""
_ROADS: Final = """
SELECT segment_code, name, path FROM hub.road_segment ORDER BY segment_code LIMIT 100000
"""
_COMPONENTS: Final = """
SELECT component_code, class_code, name, grid_code, dept_code, lon, lat, state, attributes
  FROM hub.component
 WHERE (%(grid)s::text IS NULL OR grid_code = %(grid)s)
   AND (%(class_code)s::text IS NULL OR class_code = %(class_code)s)
   AND component_code > %(after)s
 ORDER BY component_code
 LIMIT %(limit)s
"""
_COMPONENT: Final = """
SELECT component_code, class_code, name, grid_code, dept_code, lon, lat, state, attributes
  FROM hub.component WHERE component_code = %s
"""


class Department(Shape):
    """A member of the city-management network."""

    dept_code: str
    name: Words
    is_street: bool
    """A street office: owner by territory."""


class Component(Shape):
    """A thing of the city with its 16-digit code."""

    component_code: str
    class_code: str
    name: str
    grid_code: str | None
    dept_code: str | None
    lon: float | None
    """WGS-84 degrees."""
    lat: float | None
    state: str
    attributes: dict[str, Any]


class Cell(Shape):
    """A grid cell, as a GeoJSON feature."""

    type: str = "Feature"
    id: str
    geometry: dict[str, Any] | None
    """Its outline, else its centre; WGS-84 degrees."""
    properties: dict[str, Any]


class Road(Shape):
    """A street segment, as a GeoJSON feature."""

    type: str = "Feature"
    id: str
    geometry: dict[str, Any]
    """A LineString; WGS-84 degrees."""
    properties: dict[str, Any]


class BaseMap(Shape):
    """What lies under everything else, as a GeoJSON feature collection (RFC 7946)."""

    type: str = "FeatureCollection"
    features: list[Road]


class Cells(Shape):
    """Grid cells, as a GeoJSON feature collection (RFC 7946)."""

    type: str = "FeatureCollection"
    features: list[Cell]


async def list_departments(look: Look) -> list[Row]:
    """Return the departments by code."""
    return [
        {**row, "name": Words(zh=row["name_zh"], en=row["name_en"])}
        for row in await look.rows(_DEPARTMENTS)
    ]


async def list_cells(look: Look, dept: str | None = None) -> list[Row]:
    """Return the grid cells by code, as GeoJSON features."""
    return [_feature(row) for row in await look.rows(_CELLS, {"dept": dept})]


async def list_roads(look: Look) -> list[Row]:
    """Return the planned street segments by code, as GeoJSON features."""
    return [
        {
            "type": "Feature",
            "id": row["segment_code"],
            "geometry": row["path"],
            "properties": {"class": "road2", "name": row["name"]},
        }
        for row in await look.rows(_ROADS)
    ]


async def list_components(
    look: Look, *, grid: str | None, class_code: str | None, after: str, limit: int
) -> tuple[list[Row], str | None]:
    """Return a page of components by code, and the token of the next page."""
    params = {"grid": grid, "class_code": class_code, "after": after, "limit": limit + 1}
    rows, token = cut_page(
        await look.rows(_COMPONENTS, params), limit, lambda row: [row["component_code"]]
    )
    return list(rows), token


async def read_component(look: Look, code: str) -> Row | None:
    """Return one component."""
    return await look.row(_COMPONENT, [code])


def _feature(row: Row) -> Row:
    centre = None if row["lon"] is None else {
        "type": "Point", "coordinates": [row["lon"], row["lat"]]
    }  # fmt: skip
    return {
        "type": "Feature",
        "id": row["grid_code"],
        "geometry": row["outline"] or centre,
        "properties": {
            "grid_code": row["grid_code"],
            "name": row["name"],
            "dept_code": row["dept_code"],
            "centre": None if centre is None else centre["coordinates"],
        },
    }
