"""The command centre's page: what ``npm run build`` made of ``api/web``, and its map.

Where it was not built the address of the page says so and ``/lite`` serves. A built file has its
hash in its name, so a browser keeps it; the page itself is asked for each time.
"""

from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter
from fastapi import Path as InPath
from fastapi.responses import FileResponse, PlainTextResponse, Response

from api.deps import Looking
from api.guard import PAGE_POLICY
from api.policy import Policy, allow
from api.problems import missing
from api.reads.components import pack_components
from core.model import Text

router = APIRouter(include_in_schema=False)
api = APIRouter(prefix="/api/v1", tags=["city"])

DIST: Final = Path(__file__).parent.parent / "web" / "dist"
_PAGES: Final = ("/", "/cases", "/devices", "/handover", "/reports", "/wall")
_NOT_BUILT: Final = """\
指挥页面尚未构建（需要 Node ≥ 20.19）：cd api/web && npm ci && npm run build；此前请用 /lite。
The command centre's page is not built; with Node >= 20.19: cd api/web && npm ci && npm run build
Until then use /lite, which needs no scripts.
"""
_TYPES: Final = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}


def is_built() -> bool:
    """Tell whether the page was built."""
    return (DIST / "index.html").is_file()


async def page() -> Response:
    """Return the page, or show the way to the one that needs no building."""
    if not is_built():
        return PlainTextResponse(_NOT_BUILT, 307, headers={"Location": "/lite"})
    return FileResponse(
        DIST / "index.html",
        media_type="text/html",
        headers={"Cache-Control": "no-cache", "Content-Security-Policy": PAGE_POLICY},
    )


for _path in _PAGES:
    router.get(_path)(allow(Policy.PUBLIC)(page))


@router.get("/manifest.webmanifest")
@allow(Policy.PUBLIC)
async def manifest() -> Response:
    """Return what a phone needs to install the page."""
    return _file(DIST / "manifest.webmanifest", "no-cache")


@router.get("/assets/{name}")
@allow(Policy.PUBLIC)
async def asset(
    name: Annotated[str, InPath(pattern=r"^[A-Za-z0-9_.-]{1,100}$")],
) -> Response:
    """Return a built file."""
    return _file(DIST / "assets" / name, "public, max-age=31536000, immutable")


def _file(path: Path, cache: str) -> Response:
    kind = _TYPES.get(path.suffix)
    if kind is None or not path.is_file():
        raise missing(Text("文件", "file"), path.name)
    headers = {"Cache-Control": cache}
    if path.suffix == ".js":  # a worker has a policy of its own: that of the file it came from
        headers["Content-Security-Policy"] = PAGE_POLICY
    return FileResponse(path, media_type=kind, headers=headers)


@api.get(
    "/components.bin",
    summary="All components, as columns for the map",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
@allow(Policy.STAFF)
async def components(look: Looking) -> Response:
    """Return place and class of every component, packed: 6 bytes each.

    Little endian: ``CHC1``, count (uint32), west, south, east, north (float64, degrees), then
    columns x, y (uint16, shares of the box), class and sub-class (uint8).
    """
    return Response(
        await pack_components(look),
        media_type="application/octet-stream",
        headers={"Cache-Control": "private, max-age=300"},
    )
