"""The city's own data, to read: departments, grid cells, components."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi import Path as InPath
from fastapi.responses import JSONResponse

from api.deps import Looking
from api.paging import After, Limit, Page, read_token
from api.policy import Policy, allow
from api.problems import missing
from api.reads.city import (
    BaseMap,
    Cells,
    Component,
    Department,
    list_cells,
    list_components,
    list_departments,
    list_roads,
    read_component,
)
from api.store import Row
from core.model import Text

router = APIRouter(prefix="/api/v1", tags=["city"])


@router.get("/departments", summary="Departments", response_model=Page[Department])
@allow(Policy.STAFF)
async def departments(look: Looking) -> dict[str, Any]:
    """Return all departments by code."""
    return {"items": await list_departments(look), "next": None}


@router.get(
    "/grid-cells",
    summary="Grid cells, as GeoJSON",
    responses={200: {"model": Cells, "content": {"application/geo+json": {}}}},
)
@allow(Policy.STAFF)
async def cells(
    look: Looking,
    dept: Annotated[str | None, Query(max_length=32, description="Only this street's.")] = None,
) -> JSONResponse:
    """Return the grid cells as a GeoJSON feature collection, WGS-84."""
    features = await list_cells(look, dept)
    return JSONResponse(
        {"type": "FeatureCollection", "features": features}, media_type="application/geo+json"
    )


@router.get(
    "/base-map",
    summary="Streets, as GeoJSON",
    responses={200: {"model": BaseMap, "content": {"application/geo+json": {}}}},
)
@allow(Policy.STAFF)
async def base_map(look: Looking) -> JSONResponse:
    """Return the street segments of the city as a GeoJSON feature collection, WGS-84."""
    return JSONResponse(
        {"type": "FeatureCollection", "features": await list_roads(look)},
        media_type="application/geo+json",
    )


@router.get("/components", summary="Components", response_model=Page[Component])
@allow(Policy.STAFF)
async def components(
    look: Looking,
    *,
    grid: Annotated[str | None, Query(max_length=15)] = None,
    class_code: Annotated[
        str | None, Query(pattern=r"^[0-9]{4}$", description="Class and sub-class, 4 digits.")
    ] = None,
    limit: Limit = 100,
    after: After = None,
) -> dict[str, Any]:
    """Return components by code."""
    key = read_token(after, str)
    items, token = await list_components(
        look, grid=grid, class_code=class_code, after=key[0] if key else "", limit=limit
    )
    return {"items": items, "next": token}


@router.get("/components/{code}", summary="One component", response_model=Component)
@allow(Policy.STAFF)
async def component(look: Looking, code: Annotated[str, InPath(pattern=r"^[0-9]{16}$")]) -> Row:
    """Return a component."""
    row = await read_component(look, code)
    if row is None:
        raise missing(Text("部件", "component"), code)
    return row
