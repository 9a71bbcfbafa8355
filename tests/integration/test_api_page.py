"""The built page and what its map is drawn from."""

import struct
from pathlib import Path

import psycopg
import pytest

from api.routers import page
from core.db import Pool
from tests.serving import serving, settle


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page that was built, in short."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>cityhub</title>", "utf-8")
    (tmp_path / "assets" / "index-Ab1.js").write_text("0", "utf-8")
    monkeypatch.setattr(page, "DIST", tmp_path)
    return tmp_path


@pytest.mark.parametrize("path", ["/", "/cases", "/devices", "/handover", "/reports", "/wall"])
async def test_every_address_of_the_page_gives_the_page(
    built: Path, pool: Pool, database: str, path: str
) -> None:
    async with serving(pool, database) as client:
        answer = await client.get(path)
    assert (answer.status_code, answer.text) == (200, (built / "index.html").read_text("utf-8"))
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-cache"


async def test_built_files_are_kept_by_browsers_and_nothing_else_is_given_out(
    built: Path, pool: Pool, database: str
) -> None:
    (built / "secret.txt").write_text("no", "utf-8")
    async with serving(pool, database) as client:
        script = await client.get("/assets/index-Ab1.js")
        assert "immutable" in script.headers["cache-control"]
        for path in ("/assets/none.js", "/assets/..%2Findex.html", "/assets/../secret.txt"):
            assert (await client.get(path)).status_code in {404, 422}, path


async def test_where_the_page_is_not_built_lite_serves_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: Pool, database: str
) -> None:
    monkeypatch.setattr(page, "DIST", tmp_path)
    async with serving(pool, database) as client:
        answer = await client.get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/lite")
    assert "npm ci && npm run build" in answer.text


async def test_components_come_packed_with_their_place_and_class(pool: Pool, database: str) -> None:
    settle(database)
    with psycopg.connect(database) as conn:
        conn.execute(
            "INSERT INTO hub.component (component_code, name, lon, lat) VALUES"
            " ('1411820203999998', '灯', 111.70, 37.20),"
            " ('1411820203999999', '灯', 111.80, 37.30)"
        )
        rows = conn.execute(
            "SELECT lon, lat, class_code FROM hub.component WHERE lon IS NOT NULL"
            " ORDER BY class_code, component_code"
        ).fetchall()
    async with serving(pool, database) as client:
        packed = (await client.get("/api/v1/components.bin")).content
    magic, count, west, south, east, north = struct.unpack_from("<4sI4d", packed)
    assert (magic, count) == (b"CHC1", len(rows))
    xs = struct.unpack_from(f"<{count}H", packed, 40)
    ys = struct.unpack_from(f"<{count}H", packed, 40 + 2 * count)
    classes = packed[40 + 4 * count : 40 + 5 * count]
    for (lon, lat, code), x, y, major in zip(rows, xs, ys, classes, strict=True):
        assert west + (east - west) * x / 65535 == pytest.approx(lon, abs=2e-6)
        assert south + (north - south) * y / 65535 == pytest.approx(lat, abs=2e-6)
        assert major == int(code[:2])


async def test_a_city_without_components_has_an_empty_map(pool: Pool, database: str) -> None:
    async with serving(pool, database) as client:
        packed = (await client.get("/api/v1/components.bin")).content
    assert packed == b"CHC1" + struct.pack("<I4d", 0, 0, 0, 0, 0)
