import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.intake.encoding import find_encoding
from devices.intake.fields import WrongError, boolean, code, json_object, number, text
from devices.intake.geojson import read_geojson
from devices.intake.outlines import read_outline, read_point
from devices.intake.problems import Problems
from devices.intake.rows import Row, read_csv
from devices.places import GRID_CODE

SQUARE = [[111.0, 37.0], [111.2, 37.0], [111.2, 37.2], [111.0, 37.2], [111.0, 37.0]]


def csv_rows(body: str) -> tuple[list[Row], Problems]:
    problems = Problems()
    return list(read_csv(io.StringIO(body, newline=""), problems).each), problems


def features(body: str) -> tuple[list[Row], Problems]:
    problems = Problems()
    return list(read_geojson(io.StringIO(body), problems).each), problems


def feature(name: str, geometry: Any = None) -> dict[str, Any]:
    return {"type": "Feature", "properties": {"name": name}, "geometry": geometry}


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("name\n路灯\n".encode(), "utf-8-sig"),
        ("name\n路灯\n".encode("utf-8-sig"), "utf-8-sig"),
        ("name\n路灯\n".encode("gb18030"), "gb18030"),
        (("名称\n" + "单位\n" * 600_000).encode("gb18030"), "gb18030"),
        (("名称\n" + "单位\n" * 600_000).encode(), "utf-8-sig"),
        (b"name\nlamp\n", "utf-8-sig"),
    ],
)
def test_the_encoding_of_a_file_is_found(tmp_path: Path, data: bytes, encoding: str) -> None:
    (tmp_path / "file").write_bytes(data)
    problems = Problems()
    assert find_encoding(tmp_path / "file", problems) == encoding
    assert not problems


@pytest.mark.parametrize(
    ("data", "line", "why"),
    [
        (b"", 0, "empty"),
        ("name\n路灯\n".encode("utf-16"), 0, "UTF-16"),
        ("名称\n路灯\n井盖井盖\n".encode().replace("井".encode(), b"\xe4\xba", 1), 3, "no UTF-8"),
        (b"\xef\xbb\xbfname\n\xc2\xb7\xb5\xc6\n", 2, "no UTF-8"),
        (b"name\n\xff\xff\n", 2, "no UTF-8"),
    ],
)
def test_a_file_in_no_encoding_says_where(tmp_path: Path, data: bytes, line: int, why: str) -> None:
    (tmp_path / "file").write_bytes(data)
    problems = Problems()
    assert find_encoding(tmp_path / "file", problems) is None
    assert problems.kept[0].line == line
    assert why in problems.kept[0].text.en


def test_a_row_knows_the_line_it_begins_at() -> None:
    rows, problems = csv_rows('name,note\na,"two\nlines"\n\n,\nb,x\n')
    assert [(row.line, row.cells) for row in rows] == [
        (2, {"name": "a", "note": "two\nlines"}),
        (6, {"name": "b", "note": "x"}),
    ]
    assert not problems


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_spreadsheet_may_separate_cells_as_it_likes(delimiter: str) -> None:
    rows, _ = csv_rows(f"name{delimiter}note\r\na{delimiter}b\r\n")
    assert rows[0].cells == {"name": "a", "note": "b"}


def test_rows_of_another_width_are_named_and_the_others_read() -> None:
    rows, problems = csv_rows("a,b\n1\n1,2,3\n1,2,\n1,2\n")
    assert [problem.line for problem in problems.kept] == [2, 3]
    assert [row.line for row in rows] == [4, 5]


def test_a_quotation_mark_without_its_pair_is_named_by_the_line_of_its_row() -> None:
    rows, problems = csv_rows('a,b\n1,2\n3,"4\n5,6\n')
    assert [row.line for row in rows] == [2]
    assert [problem.line for problem in problems.kept] == [3]


def test_a_column_that_is_there_twice_is_named() -> None:
    _, problems = csv_rows("a,b,a\n1,2,3\n")
    assert [(problem.line, problem.column) for problem in problems.kept] == [(1, "a")]


def test_features_come_with_their_lines_whatever_stands_around_them() -> None:
    body = (
        '{"type": "FeatureCollection", "name": "x", "crs": {"type": "name", "properties":\n'
        ' {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}},\n"features": [\n'
        f"{json.dumps(feature('a'))},\n{json.dumps(feature('b'), indent=1)}\n,"
        f"{json.dumps(feature('c'))}],\n"
        '"bbox": [1, 2, 3, 4]}'
    )
    rows, problems = features(body)
    assert not problems.kept
    assert [(row.line, row.cells["name"]) for row in rows] == [(4, "a"), (5, "b"), (12, "c")]


@given(st.lists(st.text(max_size=30), max_size=30), st.sampled_from([None, 1]))
def test_any_collection_is_read_whole(names: list[str], indent: int | None) -> None:
    body = json.dumps(
        {"type": "FeatureCollection", "features": [feature(name) for name in names]}, indent=indent
    )
    rows, problems = features(body)
    assert not problems
    assert [row.cells["name"] for row in rows] == [name.strip() for name in names]


def test_a_feature_longer_than_the_window_is_read() -> None:
    ring = [[111 + i / 1e6, 37.0] for i in range(60_000)]
    body = json.dumps({"features": [feature("long", ring), feature("short")]}, indent=0)
    rows, problems = features(body)
    assert not problems
    assert [len(rows[0].geometry), rows[1].cells["name"]] == [60_000, "short"]


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "{}",
        '{"type": "Feature"}',
        '{"features": [',
        '{"features": [{"type": "Feature", "properties": {"name": NaN}}]}',
        '{"features": [{"type": "Feature", "properties": {}} {"type": "Feature"}]}',
        '{"features": [{"type": "Feature", "properties": {"name": "a}]}',
        '{"features": [' + "[" * 100_000,
        '{"crs": {"properties": {"name": "urn:ogc:def:crs:EPSG::3857"}}, "features": []}',
        "name,lon,lat\n",
        '{"features": [3, {"type": "Feature", "properties": null}]}',
    ],
)
def test_what_is_no_geojson_is_a_problem_and_no_crash(body: str) -> None:
    _, problems = features(body)
    assert problems


def test_codes_that_a_spreadsheet_made_numbers_of_are_told_so() -> None:
    parse = code(GRID_CODE, "14 或 15 位数字", "14 or 15 digits")
    with pytest.raises(WrongError, match="spreadsheet"):
        parse("3.20582E+14")
    with pytest.raises(WrongError, match="14 or 15 digits"):
        parse("1234")


@pytest.mark.parametrize(
    "cell", ["", "1,5", "0x10", "1_000", "nan", "inf", "１２", "1e9999", "--1"]
)
def test_only_plain_numbers_are_numbers(cell: str) -> None:
    with pytest.raises(WrongError):
        number()(cell)


@pytest.mark.parametrize(
    ("cell", "value"), [("1", 1), ("-0.5", -0.5), ("+1.5e2", 150), (".5", 0.5)]
)
def test_plain_numbers_are_read(cell: str, value: float) -> None:
    assert number()(cell) == value


def test_yes_and_no_are_read_in_both_languages() -> None:
    assert [boolean(cell) for cell in ("是", "TRUE", "1", "否", "no", "0")] == [True] * 3 + [
        False
    ] * 3
    with pytest.raises(WrongError):
        boolean("vielleicht")


@pytest.mark.parametrize("cell", ["a\x00b", "\ud800", "x" * 501])
def test_text_that_the_database_cannot_keep_is_refused(cell: str) -> None:
    with pytest.raises(WrongError):
        text(cell)


@pytest.mark.parametrize("cell", ["[]", "3", "{", '{"a": NaN}', "[" * 100_000])
def test_only_json_objects_are_objects(cell: str) -> None:
    with pytest.raises(WrongError):
        json_object(cell)


def test_the_centre_of_several_parts_is_that_of_the_largest() -> None:
    small = [[lon / 1000 + 111, lat / 1000 + 37] for lon, lat in SQUARE]
    geometry = {"type": "MultiPolygon", "coordinates": [[small], [SQUARE]], "more": "\x00"}
    centre, kept = read_outline(geometry)
    assert centre == pytest.approx((111.1, 37.1))
    assert kept.keys() == {"type", "coordinates"}, "what nobody checked is not kept"


@pytest.mark.parametrize(
    "geometry",
    [
        3,
        {},
        {"type": "Point", "coordinates": [111, 37]},
        {"type": "Polygon"},
        {"type": "Polygon", "coordinates": []},
        {"type": "Polygon", "coordinates": [[]]},
        {"type": "Polygon", "coordinates": [SQUARE[:3]]},
        {"type": "Polygon", "coordinates": [SQUARE[:4]]},
        {"type": "Polygon", "coordinates": [[["a", "b"]] * 4]},
        {"type": "Polygon", "coordinates": [[[lat, lon] for lon, lat in SQUARE]]},
        {"type": "MultiPolygon", "coordinates": [SQUARE]},
    ],
)
def test_what_is_no_outline_is_refused(geometry: Any) -> None:
    with pytest.raises(WrongError):
        read_outline(geometry)


def test_a_point_may_have_a_height() -> None:
    assert read_point({"type": "Point", "coordinates": [111, 37, 750.0]}) == (111, 37)
    with pytest.raises(WrongError, match="must be a Point"):
        read_point({"type": "LineString", "coordinates": SQUARE})
