"""Links between devices: imported whole or not at all, and the river of the schematic city."""

from pathlib import Path

import psycopg
import pytest

from cityhub.demo import bring_city
from core.errors import ImportRefusedError
from devices.importer import import_file
from devices.registry import register
from simulators.city import build_city
from simulators.hydrology import waters


def _import(url: str, folder: Path, text: str) -> int:
    path = folder / "links.csv"
    path.write_text(text, "utf-8")
    with psycopg.connect(url, autocommit=True) as conn:
        report = import_file(conn, "links", path)
        report.raise_for_problems()
        return report.new


def test_links_are_imported_once_and_name_devices_that_exist(database: str, tmp_path: Path) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        for device_id in ("WG-1", "WG-2"):
            register(conn, device_id, "water_gauge")
    good = "child,parent,kind\nWG-2,WG-1,hydrology\n"
    assert _import(database, tmp_path, good) == 1
    assert _import(database, tmp_path, good) == 0
    with psycopg.connect(database, autocommit=True) as conn:
        rows = conn.execute("SELECT child, parent, kind, effect FROM hub.topology_edge").fetchall()
    assert rows == [("WG-2", "WG-1", "hydrology", "link")]


@pytest.mark.parametrize(
    "line", ["WG-1,WG-1,hydrology,link", "WG-1,WG-9,hydrology,link", "WG-2,WG-1,hydrology,inhibit"]
)
def test_a_link_that_cannot_be_is_refused(database: str, tmp_path: Path, line: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        for device_id in ("WG-1", "WG-2"):
            register(conn, device_id, "water_gauge")
    with pytest.raises(ImportRefusedError):
        _import(database, tmp_path, f"child,parent,kind,effect\n{line}\n")


def test_the_generated_city_brings_its_river_along(database: str, tmp_path: Path) -> None:
    bring_city(database, tmp_path, b"k" * 32, lambda _: None, scale=0.1)
    links = waters(build_city(scale=0.1).devices).links()
    with psycopg.connect(database, autocommit=True) as conn:
        stored = conn.execute("SELECT child, parent FROM hub.topology_edge").fetchall()
    assert {(link.child, link.parent) for link in links} == set(stored)
    assert stored
