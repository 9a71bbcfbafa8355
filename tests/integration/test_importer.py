import json
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from core.errors import ConfigError, ImportRefusedError
from devices.importer import import_file
from devices.intake.report import ImportReport
from devices.intake.sheet import What, template
from devices.intake.sheets import sheets
from devices.registry import find, find_secret, rotate_secret
from devices.secret import device_secret, secret_hash
from simulators import city_files
from simulators.city import build_city
from simulators.city_files import write_city

SQUARE = [[111.7, 37.2], [111.8, 37.2], [111.8, 37.3], [111.7, 37.3], [111.7, 37.2]]
DEPARTMENTS = "dept_code,name_zh,is_street\nJD1,文峰街道,1\nLD,路灯所,0\n"
GRID = "grid_code,name,dept_code\n141182001001001,一,JD1\n14118200100102,二,\n"
COMPONENTS = (
    "component_code,name,grid_code,dept_code,lon,lat\n"
    "1411820118000001,路灯,141182001001001,LD,111.78,37.26\n"
    "1411820102000002,井盖,14118200100102,,111.781,37.261\n"
)
DEVICES = (
    "device_id,kind,component_code,grid_code,gateway,feeder,interval_s,limits\n"
    "GW-1,gateway,,,,,,\n"
    "FD-1,feeder,,,,,,\n"
    "SL-1,street_lamp,1411820118000001,141182001001001,GW-1,FD-1,300,\n"
    'WG-1,water_gauge,,,,,,"{""level"": {""red"": 3.2}}"\n'
)
CITY: tuple[tuple[What, str], ...] = (
    ("departments", DEPARTMENTS),
    ("grid", GRID),
    ("components", COMPONENTS),
    ("devices", DEVICES),
)

Import = Callable[..., ImportReport]


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


@pytest.fixture
def take(conn: psycopg.Connection[Any], tmp_path: Path) -> Import:
    """Import a text as a file."""

    def take(what: What, body: str | bytes, suffix: str = ".csv", **more: Any) -> ImportReport:
        path = tmp_path / f"{what}{suffix}"
        path.write_bytes(body if isinstance(body, bytes) else body.encode())
        return import_file(conn, what, path, **more)

    return take


@pytest.fixture
def city(take: Import) -> Import:
    """A small city is there already."""
    for what, body in CITY:
        take(what, body).raise_for_problems()
    return take


def counts(report: ImportReport) -> tuple[int, int, int]:
    assert report.problems == []
    assert report.rows == report.new + report.changed + report.unchanged
    return report.new, report.changed, report.unchanged


def complaints(report: ImportReport) -> list[tuple[int, str]]:
    assert report.problem_count == len(report.problems)
    assert (report.new, report.changed, report.unchanged) == (0, 0, 0)
    return [(problem.line, problem.column) for problem in report.problems]


def test_a_city_is_imported_and_a_second_time_nothing_changes(take: Import) -> None:
    assert [counts(take(what, body)) for what, body in CITY] == [
        (2, 0, 0),
        (2, 0, 0),
        (2, 0, 0),
        (4, 0, 0),
    ]
    assert [counts(take(what, body)) for what, body in CITY] == [
        (0, 0, 2),
        (0, 0, 2),
        (0, 0, 2),
        (0, 0, 4),
    ]


def test_a_dry_run_counts_the_same_and_changes_nothing(
    take: Import, conn: psycopg.Connection[Any]
) -> None:
    report = take("departments", DEPARTMENTS, dry_run=True)
    assert counts(report) == (2, 0, 0)
    assert conn.execute("SELECT count(*) FROM hub.department").fetchone() == (0,)


def test_what_a_file_changes_is_counted_and_the_rest_is_left(
    city: Import, conn: psycopg.Connection[Any]
) -> None:
    report = city("departments", "dept_code,name_zh\nJD1,文峰街道办\nLD,路灯所\nGS,供水公司\n")
    assert counts(report) == (1, 1, 1)
    rows = conn.execute("SELECT dept_code, name_zh, is_street FROM hub.department ORDER BY 1")
    assert rows.fetchall() == [
        ("GS", "供水公司", False),
        ("JD1", "文峰街道办", True),  # the file has no such column, so the street stays one
        ("LD", "路灯所", False),
    ]


def test_devices_keep_their_numbers_and_importing_again_uses_none_up(
    city: Import, conn: psycopg.Connection[Any]
) -> None:
    before = find(conn, "SL-1")
    changed = DEVICES.replace("300", "600")
    for body in (DEVICES, changed, DEVICES, changed):
        city("devices", body).raise_for_problems()
    after = find(conn, "SL-1")
    assert after.device_no == before.device_no
    assert after.interval_s == 600
    city("devices", "device_id,kind\nMH-1,manhole_cover\n").raise_for_problems()
    numbers = conn.execute("SELECT min(device_no), max(device_no), count(*) FROM hub.device")
    low, high, count = numbers.fetchone() or (0, 0, 0)
    assert high - low + 1 == count == 5
    versions = conn.execute("SELECT version FROM hub.device WHERE device_id = 'SL-1'")
    assert versions.fetchone() == (4,)


def test_imported_devices_may_log_in_where_there_is_a_site_key(
    city: Import, conn: psycopg.Connection[Any]
) -> None:
    key = bytes(range(32))
    assert counts(city("devices", DEVICES, site_key=key)) == (0, 3, 1)
    rows = dict(conn.execute("SELECT device_id, secret_hash FROM hub.device").fetchall())
    assert rows["SL-1"] == secret_hash(device_secret(key, "SL-1"))
    assert rows["GW-1"] == secret_hash(device_secret(key, "GW-1"))
    assert rows["FD-1"] is None, "a feeder is no device that could log in"
    assert counts(city("devices", DEVICES, site_key=key)) == (0, 0, 4)

    rotated = rotate_secret(conn, "SL-1", site_key=key, at=datetime.now(UTC), actor="wang")
    assert counts(city("devices", DEVICES, site_key=key)) == (0, 0, 4)
    row = conn.execute("SELECT secret_hash FROM hub.device WHERE device_id = 'SL-1'").fetchone()
    assert row == (secret_hash(rotated),)
    assert rotated == device_secret(key, "SL-1", 1) == find_secret(conn, "SL-1", site_key=key)


def test_every_problem_is_listed_with_its_line_and_nothing_is_imported(
    city: Import, conn: psycopg.Connection[Any]
) -> None:
    body = (
        "component_code,name,grid_code,dept_code,lon,lat\n"
        "3.20582E+15,表格改坏,,,,\n"
        "12345,太短,,,,\n"
        ",没有编码,,,,\n"
        "1411820118000010,未知网格,141182001001999,,,\n"
        "1411820118000011,坏网格,12,,,\n"
        "1411820118000012,未知单位,,NOBODY,,\n"
        "1411820118000013,经纬颠倒,,,37.26,111.78\n"
        "1411820118000014,缺纬度,,,111.78,\n"
        "1411820118000015,不是数字,,,东经,37.26\n"
        "1411820118000016,投影坐标,,,37512345.6,4123456.7\n"
        "1411820118000017,好的,141182001001001,LD,111.78,37.26\n"
        "1411820118000017,重复,141182001001999,LD,abc,37.26\n"
        "1411820118000018,列数不对\n"
    )
    for dry_run in (True, False):
        report = city("components", body, dry_run=dry_run)
        assert complaints(report) == [
            (2, "component_code"),
            (3, "component_code"),
            (4, "component_code"),
            (5, "grid_code"),
            (6, "grid_code"),
            (7, "dept_code"),
            (8, "lon"),
            (9, "lon"),
            (10, "lon"),
            (11, "lon"),
            (13, "lon"),
            (13, "component_code"),
            (13, "grid_code"),
            (14, ""),
        ]
    assert conn.execute("SELECT count(*) FROM hub.component").fetchone() == (2,)
    assert "spreadsheet" in report.problems[0].text.en
    assert "swapped" in report.problems[6].text.en
    assert "line 12" in report.problems[11].text.en
    with pytest.raises(ImportRefusedError, match=r"14 problem\(s\), nothing was imported"):
        report.raise_for_problems()
    assert json.loads(json.dumps(report.as_json()))["problems"][0]["line"] == 2


def test_devices_name_kinds_gateways_and_limits_that_exist(city: Import) -> None:
    report = city(
        "devices",
        "device_id,kind,component_code,gateway,feeder,interval_s,limits,state\n"
        "MH 1,manhole_cover,,,,,,\n"
        "MH-1,toaster,,,,,,\n"
        "MH-2,manhole_cover,1411820102999999,,,,,\n"
        "MH-3,manhole_cover,,SL-1,,,,\n"
        "MH-4,manhole_cover,,GW-2,GW-1,,,\n"
        "MH-5,manhole_cover,,,,0,,\n"
        'WG-2,water_gauge,,,,,"{""level"": {""red"": 1, ""orange"": 2}}",\n'
        "WG-3,water_gauge,,,,,{,\n"
        "SL-1,water_gauge,,,,,,\n"
        "MH-6,manhole_cover,,GW-3,,1e39,,broken\n"
        "GW-3,gateway,,,,,,\n",
    )
    assert complaints(report) == [
        (2, "device_id"),
        (3, "kind"),
        (4, "component_code"),
        (5, "gateway"),
        (6, "gateway"),
        (6, "feeder"),
        (7, "interval_s"),
        (8, "limits"),
        (9, "limits"),
        (10, "kind"),
        (11, "interval_s"),
        (11, "state"),
    ]


@pytest.mark.parametrize(
    ("header", "line", "column"),
    [
        ("dept_code,nam\n", 1, "nam"),
        ("dept_code\n", 1, "name_zh"),
        ("dept_code,name_zh,name_zh\n", 1, "name_zh"),
    ],
)
def test_a_header_that_is_not_understood_is_refused(
    take: Import, header: str, line: int, column: str
) -> None:
    assert (line, column) in complaints(take("departments", header))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_spreadsheets_of_this_country_are_read_with_chinese_headers(
    take: Import, conn: psycopg.Connection[Any], encoding: str
) -> None:
    body = "单位编码,单位名称,是否街道\r\nJD1,文峰街道办事处,是\r\n"
    assert counts(take("departments", body.encode(encoding))) == (1, 0, 0)
    rows = conn.execute("SELECT name_zh, is_street FROM hub.department").fetchall()
    assert rows == [("文峰街道办事处", True)]


def test_columns_of_components_that_nobody_knows_are_kept(
    city: Import, conn: psycopg.Connection[Any]
) -> None:
    body = 'component_code,材质,备注\n1411820118000001,钢,\n1411820199000001,"铁,旧",x\n'
    report = city("components", body)
    assert counts(report) == (1, 1, 0)
    assert "0199" in report.notes[0].en
    rows = conn.execute("SELECT class_code, attributes, name FROM hub.component ORDER BY 1")
    assert rows.fetchall() == [
        ("0102", {}, "井盖"),
        ("0118", {"材质": "钢"}, "路灯"),
        ("0199", {"材质": "铁,旧", "备注": "x"}, ""),
    ]


def collection(*features: tuple[dict[str, Any], Any]) -> str:
    lines = [
        json.dumps({"type": "Feature", "properties": properties, "geometry": geometry})
        for properties, geometry in features
    ]
    return '{"type": "FeatureCollection", "features": [\n' + ",\n".join(lines) + "\n]}"


def test_grid_cells_come_with_their_outlines(take: Import, conn: psycopg.Connection[Any]) -> None:
    outline = {"type": "Polygon", "coordinates": [SQUARE]}
    body = collection(({"grid_code": "141182001001001", "name": "一", "SHAPE_ID": 7}, outline))
    report = take("grid", body, ".geojson")
    assert counts(report) == (1, 0, 0)
    assert "SHAPE_ID" in report.notes[0].en
    row = conn.execute("SELECT name, lon, lat, outline FROM hub.grid_cell").fetchone()
    assert row == ("一", pytest.approx(111.75), pytest.approx(37.25), outline)
    assert counts(take("grid", body, ".geojson")) == (0, 0, 1)


def test_components_and_devices_come_as_points(city: Import, conn: psycopg.Connection[Any]) -> None:
    point = {"type": "Point", "coordinates": [111.79, 37.27]}
    code = "1411820118000009"
    components = collection(({"component_code": code, "height": 8.5}, point))
    assert counts(city("components", components, ".geojson")) == (1, 0, 0)
    devices = collection(({"device_id": "SL-9", "kind": "street_lamp"}, point))
    assert counts(city("devices", devices, ".json")) == (1, 0, 0)
    row = conn.execute(
        "SELECT lon, attributes FROM hub.component WHERE component_code = %s", [code]
    )
    assert row.fetchone() == (111.79, {"height": "8.5"})
    assert find(conn, "SL-9").lat == 37.27


def test_each_feature_that_is_wrong_is_named_by_its_line(take: Import) -> None:
    swapped = {"type": "Polygon", "coordinates": [[[lat, lon] for lon, lat in SQUARE]]}
    good = {"type": "Polygon", "coordinates": [SQUARE]}
    body = collection(
        ({"grid_code": "141182001001001"}, good),
        ({"grid_code": 1.4118200100100e14}, good),
        ({"grid_code": "141182001001003"}, swapped),
        ({"grid_code": "141182001001001"}, good),
        ({"grid_code": "141182001001005", "dept_code": "JD1"}, good),
        ({"grid_code": 141182001001006}, None),
    )
    assert complaints(take("grid", body, ".geojson")) == [
        (3, "grid_code"),
        (4, "geometry"),
        (5, "grid_code"),
        (6, "dept_code"),
    ]


def test_duties_are_known_by_class_place_and_date(
    city: Import, conn: psycopg.Connection[Any]
) -> None:
    body = (
        "category,class_code,grid_code,dept_code,valid_from,valid_to\n"
        "component,0118,,LD,,\n"
        "component,0118,141182001001001,JD1,2026-01-01,2027-01-01\n"
        "event,01,,JD1,2026-01-01T00:00+00:00,\n"
    )
    assert counts(city("duties", body)) == (3, 0, 0)
    assert counts(city("duties", body.replace("LD,,", "JD1,,"))) == (0, 1, 2)
    rows = conn.execute("SELECT valid_from FROM hub.duty WHERE grid_code IS NOT NULL").fetchall()
    assert rows == [(datetime(2025, 12, 31, 16, tzinfo=UTC),)], "a date is the city's own"
    bad = (
        "category,class_code,grid_code,dept_code,valid_from,valid_to\n"
        "component,118,,LD,,\n"
        "component,0118,,LD,2026-01-01,2025-01-01\n"
        "thing,0118,,LD,yesterday,\n"
        "component,0118,,LD,,\n"
        "component,0118,,JD1,,\n"
    )
    assert complaints(city("duties", bad)) == [
        (2, "class_code"),
        (3, "valid_to"),
        (4, "category"),
        (4, "valid_from"),
        (6, "category"),
    ]


def test_the_simulated_city_is_a_good_city(conn: psycopg.Connection[Any], tmp_path: Path) -> None:
    write_city(build_city(scale=0.1), tmp_path)
    files: tuple[tuple[What, str], ...] = (
        ("departments", city_files.DEPARTMENTS),
        ("grid", city_files.GRID_CELLS),
        ("duties", city_files.DUTIES),
        ("components", city_files.COMPONENTS),
        ("devices", city_files.DEVICES),
    )
    first = [import_file(conn, what, tmp_path / name) for what, name in files]
    again = [import_file(conn, what, tmp_path / name) for what, name in files]
    assert [counts(report)[0] for report in first] == [report.rows for report in first]
    assert [counts(report) for report in again] == [(0, 0, report.rows) for report in first]
    assert all(report.rows > 0 and not report.notes for report in first)


def test_templates_are_good_files(take: Import) -> None:
    city: tuple[What, ...] = ("departments", "grid", "components", "devices", "duties")
    streets = "dept_code,name_zh,is_street\nstreet-wenfeng,文峰街道,1\n"
    take("departments", streets).raise_for_problems()
    for what in city:
        assert counts(take(what, template(sheets(UTC)[what]))) == (1, 0, 0)


@pytest.mark.parametrize(
    ("what", "suffix", "why"),
    [
        ("cats", ".csv", "no import of 'cats'"),
        ("grid", ".xlsx", ".csv or .geojson"),
        ("departments", ".geojson", "imported from a .csv file"),
    ],
)
def test_what_cannot_be_imported_says_what_can(
    take: Import, what: What, suffix: str, why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        take(what, "x", suffix)


def test_a_file_that_is_not_there_is_named(conn: psycopg.Connection[Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        import_file(conn, "grid", tmp_path / "none.csv")


def test_an_empty_file_imports_nothing_and_says_so(take: Import) -> None:
    assert complaints(take("departments", "")) == [(0, "")]


def test_a_hundred_thousand_components_take_bounded_memory_and_tell_how_far_they_are(
    city: Import, conn: psycopg.Connection[Any]
) -> None:
    body = "component_code,name,grid_code,dept_code,lon,lat\n" + "".join(
        f"1411820118{n:06},路灯 {n},141182001001001,LD,{111.7 + n / 1e7:.7f},37.26\n"
        for n in range(100_000, 200_000)
    )
    told: list[tuple[str, int, int]] = []
    report = city(
        "components", body, progress=lambda step, done, total: told.append((step, done, total))
    )
    assert counts(report) == (100_000, 0, 0)
    read = [done for step, done, _ in told if step == "read"]
    assert len(read) >= 50
    assert read == sorted(read)
    assert read[-1] == len(body.encode())
    assert {step for step, _, _ in told} == {"check", "read", "compare", "write"}
    broken = body.replace("111.7", "37.26x")
    tracemalloc.start()
    report = city("components", body, dry_run=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert counts(report) == (0, 0, 100_000)
    assert peak < len(body.encode()) * 2 + 8e6  # the test's own bytes, and a window
    report = city("components", broken, dry_run=True)
    assert report.problem_count > 50_000
