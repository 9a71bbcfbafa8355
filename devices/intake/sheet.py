"""What a file of city data may say: its columns, its key, and what its rows name."""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from core.model import Text
from devices.intake.fields import Field

What = Literal[
    "departments", "grid", "components", "devices", "duties", "segments", "plans", "links"
]
Values = Mapping[str, Any]
Complaint = tuple[str, Text]
"""A column, empty for the row, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A column that names a row of another table, or of this one.

    Attributes:
        column: The column.
        table: The table within ``hub``.
        key: The column there.
        label: What is named.
        kind: Where it names a device: of which kind; such a device may stand in the same file.
    """

    column: str
    table: str
    key: str
    label: Text
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """One kind of file.

    Attributes:
        what: Its name on the command line.
        table: The table within ``hub`` that it fills.
        label: What its rows are.
        key: The columns that tell a row from all others.
        fields: Its columns.
        references: What its rows name.
        check: Finds what is wrong between the columns of a row.
        geometry: What a GeoJSON feature of it has; empty: it is CSV only.
        extras: Columns nobody knows are kept in ``attributes``; else they are refused.
    """

    what: What
    table: str
    label: Text
    key: tuple[str, ...]
    fields: tuple[Field, ...]
    references: tuple[Reference, ...] = ()
    check: Callable[[Values], Complaint | None] = lambda values: None
    geometry: Literal["", "point", "outline"] = ""
    extras: bool = False


def template(sheet: Sheet) -> str:
    """Return a CSV file to start from: the header and one example row."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([field.name for field in sheet.fields])
    writer.writerow([field.example for field in sheet.fields])
    return out.getvalue()
