"""The generated city is what the importer takes: no problem, no change the second time."""

from pathlib import Path

import psycopg
import pytest

from devices.importer import import_file
from devices.intake.sheet import What
from devices.registry import Registry
from simulators.city import build_city
from simulators.city_files import (
    COMPONENTS,
    DEPARTMENTS,
    DEVICES,
    DUTIES,
    GRID_CELLS,
    PLANS,
    SEGMENTS,
    write_city,
)

SHEETS: tuple[tuple[What, str], ...] = (
    ("departments", DEPARTMENTS),
    ("grid", GRID_CELLS),
    ("components", COMPONENTS),
    ("duties", DUTIES),
    ("devices", DEVICES),
    ("segments", SEGMENTS),
    ("plans", PLANS),
)


def test_the_generated_city_is_imported_whole(
    database: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    city = build_city(7)
    write_city(city, tmp_path)
    sizes = (
        len(city.departments),
        len(city.cells),
        len(city.components),
        len(city.duties),
        len(city.devices),
        len(city.segments),
        len(city.plans),
    )
    with psycopg.connect(database, autocommit=True) as conn:
        for (what, name), size in zip(SHEETS, sizes, strict=True):
            report = import_file(conn, what, tmp_path / name, site_key=bytes(32))
            assert report.problems == []
            assert (report.new, report.changed, report.unchanged) == (size, 0, 0)
        for what, name in SHEETS:
            report = import_file(conn, what, tmp_path / name, site_key=bytes(32))
            assert (report.new, report.changed) == (0, 0)
        registry = Registry()
        registry.load(conn)
    for device in city.devices:
        known = registry.by_id[device.device_id]
        assert (known.kind, known.gateway or "", known.feeder or "") == (
            device.kind,
            device.gateway,
            device.feeder,
        )
        assert known.interval_s == device.interval_s
        assert registry.limits.get(known.device_no, {}) == device.limits
