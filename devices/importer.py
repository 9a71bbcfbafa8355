"""Import of city data: departments, grid cells, components, devices, duties; CSV and GeoJSON.

All or nothing: a file with one wrong row changes nothing, and its report names every problem with
its line. Importing the same file again changes nothing. Rows are checked one by one while they
stream into a temporary table; what needs the city (unknown cells, duplicates) is asked there, of
the whole file at once. So 100,000 components take seconds and no more memory than 100.
"""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import tzinfo
from pathlib import Path
from typing import Any, Final, TextIO
from zoneinfo import ZoneInfo

import psycopg

from core.errors import ConfigError
from core.model import Text
from devices.classes import classes
from devices.intake.encoding import find_encoding
from devices.intake.fields import Field, WrongError, storable
from devices.intake.geojson import read_geojson
from devices.intake.outlines import read_outline, read_point
from devices.intake.problems import Problems
from devices.intake.report import ImportReport
from devices.intake.rows import Row, Rows, read_csv
from devices.intake.sheet import Sheet, What
from devices.intake.sheets import sheets
from devices.intake.staging import Staging
from devices.secret import device_secret, secret_hash

Progress = Callable[[str, int, int], None]
"""Told the step (``check``, ``read``, ``compare``, ``write``), how much is done, of how much."""

_TELL_EVERY: Final = 2_000  # rows
_CELL_LIMIT: Final = 1 << 20
"""The most characters of a cell; a quotation mark without its pair swallows the rest of a file."""
_WITHOUT_LOGIN: Final = ("feeder", "network", "cell", "hub")
_CITY: Final = ZoneInfo("Asia/Shanghai")


def import_file(
    conn: psycopg.Connection[Any],
    what: What,
    path: Path,
    *,
    dry_run: bool = False,
    progress: Progress = lambda step, done, total: None,
    site_key: bytes | None = None,
    zone: tzinfo = _CITY,
) -> ImportReport:
    """Import a file, in one transaction.

    Args:
        conn: The database, in no transaction.
        what: Which sheet it is.
        path: The file: ``.csv``, ``.geojson`` or ``.json``.
        dry_run: Only find the problems and count what would change.
        progress: Told how far it is.
        site_key: With it imported devices may log in with the secret that follows from it.
        zone: Where times without a zone are.

    Returns:
        What was done. Problems are in it, not raised: see :meth:`ImportReport.raise_for_problems`.

    Raises:
        ConfigError: There is no such sheet, or no such file, or of no such type.
    """
    sheet = sheets(zone).get(what)
    if sheet is None:
        raise ConfigError(f"there is no import of {what!r}; there are {', '.join(sheets(zone))}")
    report = ImportReport(what, path, dry_run)
    problems = Problems()
    try:
        total = path.stat().st_size
        encoding = find_encoding(path, problems, lambda done: progress("check", done, total))
        if encoding is not None:
            report.encoding = encoding
            with (
                path.open("rb") as stream,
                io.TextIOWrapper(stream, encoding, newline="") as text,
            ):
                rows = _open_rows(sheet, path, text, problems)
                work = _Import(sheet, rows, problems, report, site_key)
                work.run(conn, lambda: progress("read", stream.tell(), total), progress)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    report.problems = sorted(problems.kept, key=lambda problem: problem.line)
    report.problem_count = problems.count
    return report


def _open_rows(sheet: Sheet, path: Path, text: TextIO, problems: Problems) -> Rows:
    """Begin to read the rows of a file, by its name."""
    csv.field_size_limit(_CELL_LIMIT)
    match path.suffix.lower():
        case ".csv" | ".tsv" | ".txt":
            return read_csv(text, problems)
        case ".geojson" | ".json" if sheet.geometry:
            return read_geojson(text, problems)
    forms = ".csv or .geojson" if sheet.geometry else ".csv"
    raise ConfigError(f"{path.name}: {sheet.what} are imported from a {forms} file")


class _Import:
    """One file on its way into the database."""

    def __init__(
        self,
        sheet: Sheet,
        rows: Rows,
        problems: Problems,
        report: ImportReport,
        site_key: bytes | None,
    ) -> None:
        self._sheet = sheet
        self._rows = rows
        self._problems = problems
        self._report = report
        self._site_key = site_key if sheet.what == "devices" else None
        self._unknown_classes: Counter[str] = Counter()
        self._known = {known.name: known for known in sheet.fields}
        self._known |= {known.zh: known for known in sheet.fields}
        self._columns = self._match_columns()

    def _match_columns(self) -> dict[str, Field]:
        """Return the field of each column that the file writes; note the columns that are wrong."""
        by_name = self._known
        found = {name: by_name[name] for name in self._rows.columns if name in by_name}
        there = {known.name for known in found.values()}
        for known in self._sheet.fields:
            if known.required and known.name not in there and self._rows.columns:
                self._problems.add(
                    1, known.name, Text(f"缺少此列（{known.zh}）", "this column is missing")
                )
        for name in self._rows.columns:
            if name not in found and not self._sheet.extras:
                self._unknown_column(name)
        return found

    def _unknown_column(self, name: str) -> None:
        known = ", ".join(each.name for each in self._sheet.fields)
        told = Text(f"没有此列；可用：{known}", f"there is no such column; there are: {known}")
        if self._rows.geographic:  # exports of a map carry whatever the map has
            self._report.notes.append(Text(f"属性 {name} 未读取", f"property {name} is not read"))
        else:
            self._problems.add(1, name, told)

    def run(
        self, conn: psycopg.Connection[Any], tell: Callable[[], None], progress: Progress
    ) -> None:
        """Stage, check, compare and write."""
        with conn.transaction() as transaction:
            staging = Staging(self._sheet, self._staged_types())
            staging.fill(conn, self._staged(tell))
            if self._site_key:
                staging.keep_rotated_secrets(conn)
            progress("compare", 0, 1)
            staging.find_problems(conn, self._problems)
            if not self._problems:
                counts = staging.compare(conn)
                self._report.new, self._report.changed, self._report.unchanged = counts
                progress("compare", 1, 1)
                if not self._report.dry_run:
                    staging.write(conn)
                    progress("write", 1, 1)
            if self._problems or self._report.dry_run:
                raise psycopg.Rollback(transaction)
        for code, times in sorted(self._unknown_classes.items()):
            self._report.notes.append(
                Text(
                    f"小类 {code} 不在编码表中：{times} 个",
                    f"class {code} is not in the table: {times}",
                )
            )

    def _staged_types(self) -> dict[str, str]:
        """Return the SQL type of each column to be written; what the file lacks stays as it is."""
        there = {known.name for known in self._columns.values()} | set(self._sheet.key)
        if self._rows.geographic:
            there |= {"lon", "lat"}
        types = {known.name: known.sql_type for known in self._sheet.fields if known.name in there}
        if self._rows.geographic and self._sheet.geometry == "outline":
            types["outline"] = "jsonb"
        if self._sheet.extras:
            types["attributes"] = "jsonb"
        if self._site_key:
            types |= {"secret_hash": "text"}
        return types

    def _staged(self, tell: Callable[[], None]) -> Iterator[tuple[int, bool, dict[str, Any]]]:
        """Yield line, whether its key is good, and values of each row; note all that is wrong."""
        for row in self._rows.each:
            self._report.rows += 1
            if self._report.rows % _TELL_EVERY == 0:
                tell()
            values, wrong = self._read(row)
            if not wrong:
                self._derive(values)
            yield row.line, wrong.isdisjoint(self._sheet.key), values
        tell()

    def _read(self, row: Row) -> tuple[dict[str, Any], set[str]]:
        """Return the values of a row, and the columns whose cells are wrong."""
        values: dict[str, Any] = {known.name: known.empty for known in self._sheet.fields}
        wrong: set[str] = set()
        for name, known in self._columns.items():
            try:
                values[known.name] = known.read(row.cells.get(name, ""))
            except WrongError as error:
                self._problems.add(row.line, name, error.text)
                values[known.name] = None
                wrong.add(known.name)
        if self._rows.geographic:
            self._read_geometry(row, values, wrong)
            self._find_latecomers(row)
        if self._sheet.extras:
            values["attributes"] = self._attributes(row)
        complaint = None if wrong else self._sheet.check(values)
        if complaint is not None:
            self._problems.add(row.line, *complaint)
        return values, wrong

    def _read_geometry(self, row: Row, values: dict[str, Any], wrong: set[str]) -> None:
        if row.geometry is None:
            return
        try:
            if self._sheet.geometry == "outline":
                centre, values["outline"] = read_outline(row.geometry)
                if values["lon"] is None or values["lat"] is None:
                    values["lon"], values["lat"] = centre
            else:
                values["lon"], values["lat"] = read_point(row.geometry)
        except WrongError as error:
            self._problems.add(row.line, "geometry", error.text)
            wrong.add("geometry")

    def _find_latecomers(self, row: Row) -> None:
        """Note properties we know that the first feature had not: nobody would read them."""
        for name in row.cells.keys() & self._known.keys() - self._columns.keys():
            self._problems.add(
                row.line,
                name,
                Text(
                    "第一个要素没有此属性；每个要素的属性须相同（可为 null）",
                    "the first feature lacks this property; all must have the same, null or not",
                ),
            )

    def _attributes(self, row: Row) -> dict[str, str]:
        extras = {}
        for name, cell in row.cells.items():
            if cell and name and name not in self._known:
                try:
                    extras[storable(name)] = storable(cell)
                except WrongError as error:
                    self._problems.add(row.line, "attributes", error.text)
        return extras

    def _derive(self, values: dict[str, Any]) -> None:
        """Add what follows from a good row."""
        if self._site_key and values["kind"] not in _WITHOUT_LOGIN:
            secret = device_secret(self._site_key, values["device_id"])
            values["secret_hash"] = secret_hash(secret)
        if self._sheet.what == "components" and values["component_code"]:
            class_code = values["component_code"][6:10]
            if class_code not in classes("component"):
                self._unknown_classes[class_code] += 1
