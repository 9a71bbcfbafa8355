"""Rows of a CSV file, as text, each with the line it begins at."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TextIO

from core.model import Text
from devices.intake.problems import Problems

_DELIMITERS: Final = (",", ";", "\t")


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that a file tells of.

    Attributes:
        line: Where it begins, from 1.
        cells: By column, as the file names it, without blanks around; empty where there is nothing.
        geometry: Of a GeoJSON feature.
    """

    line: int
    cells: dict[str, str]
    geometry: Any = None


@dataclass(frozen=True, slots=True)
class Rows:
    """An open file of rows.

    Attributes:
        columns: Names of its columns, as the file writes them.
        each: The rows, to be iterated once.
        geographic: It is GeoJSON, so that each row may have a geometry.
    """

    columns: list[str]
    each: Iterator[Row]
    geographic: bool = False


def read_csv(text: TextIO, problems: Problems) -> Rows:
    """Begin to read a CSV file: comma, semicolon or tab, whichever its first line has most of.

    Args:
        text: The file, opened with ``newline=""``.
        problems: Takes what is wrong.
    """
    delimiter = max(_DELIMITERS, key=text.readline().count)
    text.seek(0)
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    columns: list[str] = []
    try:
        columns = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        problems.add(1, "", _unreadable(error))
    for name in sorted({name for name in columns if name and columns.count(name) > 1}):
        problems.add(1, name, Text("此列出现两次", "this column is there twice"))
    return Rows(columns, _rows(reader, columns, problems))


def _rows(reader: Any, columns: list[str], problems: Problems) -> Iterator[Row]:
    width = len(columns)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problems.add(line, "", _unreadable(error))
            return
        cells = [cell.strip() for cell in cells]
        if not any(cells):
            continue  # an empty line, or what a spreadsheet writes for one
        if (len(cells) != width and any(cells[width:])) or len(cells) < width:
            problems.add(
                line,
                "",
                Text(
                    f"此行有 {len(cells)} 列，表头有 {width} 列",
                    f"this row has {len(cells)} cells, the header {width}",
                ),
            )
            continue
        yield Row(line, dict(zip(columns, cells, strict=False)))


def _unreadable(error: csv.Error) -> Text:
    return Text(
        f"从此行起无法读取（引号没有成对？）：{error}",
        f"from this line on it cannot be read (a quotation mark without its pair?): {error}",
    )
