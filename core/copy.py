"""Rows packed for COPY BINARY straight from columns, without a Python object a value.

A numpy structured array holds each row as the wire wants it: a field count, then each value behind
its length, big-endian. A null has the length -1 and no bytes, so where a batch has nulls their
bytes are cut out with one mask; a batch without any is a plain ``tobytes``. Measured against
``executemany``: 6 to 8 times less of the server's CPU.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from core.model import EPOCH, to_micros
from core.tables import ReadingTable

HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"
_POSTGRES_EPOCH: Final = to_micros(EPOCH.replace(year=2000))
_NULL: Final = -1
_JSONB_VERSION: Final = b"\x01"


class RowPacker:
    """Packs rows of one reading table.

    Args:
        table: Whose columns are packed: ``ts, seq, device_no, metrics…, quality, extra``.
    """

    def __init__(self, table: ReadingTable) -> None:
        self._columns = table.columns
        names = ["ts", "seq", "device_no", *(c.name for c in table.columns), "quality", "extra"]
        self.columns = sql.SQL(", ").join(map(sql.Identifier, names))
        """The columns in packed order, for COPY and INSERT: a column that was added to an older
        table stands behind ``extra`` there."""
        formats = [">i8", ">i8", ">i4", *(">f8" if c.exact else ">f4" for c in table.columns)]
        formats.append(">i2")
        fields: list[tuple[str, str]] = [("count", ">i2")]
        for i, form in enumerate(formats):
            fields += [(f"n{i}", ">i4"), (f"v{i}", form)]
        fields.append(("extra", ">i4"))
        self._row = np.dtype(fields)
        self._template = np.zeros(1, self._row)
        self._template["count"] = len(names)
        for i, form in enumerate(formats):
            self._template[f"n{i}"] = np.dtype(form).itemsize
        self._template["extra"] = _NULL

    def pack(
        self,
        *,
        ts: NDArray[np.int64],
        seq: NDArray[np.int64],
        device_no: NDArray[np.int32],
        values: NDArray[np.float32],
        exact: NDArray[np.float64],
        quality: NDArray[np.int16],
        extra: Mapping[int, bytes],
    ) -> bytes:
        """Return a whole COPY BINARY stream.

        Args:
            ts: ``(n,)`` microseconds since 1970 UTC.
            seq: ``(n,)``; -1 becomes null.
            device_no: ``(n,)``.
            values: ``(m, n)``, the ``real`` columns in their order; NaN becomes null.
            exact: ``(k, n)``, the ``float8`` columns, likewise.
            quality: ``(n,)``.
            extra: JSON text by row; null elsewhere.
        """
        rows = np.repeat(self._template, len(ts))
        rows["v0"] = ts - _POSTGRES_EPOCH
        rows["v1"] = seq
        rows["v2"] = device_no
        nulls: list[tuple[int, NDArray[np.bool_]]] = []
        _note(nulls, 1, seq < 0)
        unmeasured = np.isnan(values).any(), np.isnan(exact).any()
        reals, exacts = iter(values), iter(exact)
        for i, column in enumerate(self._columns, start=3):
            measured: NDArray[Any] = next(exacts) if column.exact else next(reals)
            rows[f"v{i}"] = measured
            if unmeasured[column.exact]:
                _note(nulls, i, np.isnan(measured))
        rows[f"v{len(self._columns) + 3}"] = quality
        return b"".join((HEADER, self._join(rows, nulls, extra), TRAILER))

    def _join(
        self,
        rows: NDArray[Any],
        nulls: list[tuple[int, NDArray[np.bool_]]],
        extra: Mapping[int, bytes],
    ) -> bytes:
        """Cut out the bytes of the nulls, and put each row's ``extra`` behind it."""
        size = self._row.itemsize
        ends = np.arange(1, len(rows) + 1) * size
        if nulls:
            keep = np.ones((len(rows), size), np.bool_)
            for i, null in nulls:
                rows[f"n{i}"][null] = _NULL
                form, start = self._field(f"v{i}")
                keep[null, start : start + form.itemsize] = False
            packed = rows.view(np.uint8).reshape(len(rows), size)[keep].tobytes()
            ends = np.cumsum(keep.sum(axis=1))
        else:
            packed = rows.tobytes()
        if not extra:
            return packed
        parts, start = [], 0
        for row in sorted(extra):
            end = int(ends[row])
            text = _JSONB_VERSION + extra[row]
            parts += [packed[start : end - 4], len(text).to_bytes(4, "big"), text]
            start = end
        return b"".join([*parts, packed[start:]])

    def _field(self, name: str) -> tuple[np.dtype[Any], int]:
        assert self._row.fields is not None  # noqa: S101 - it is a structured type
        form, start, *_ = self._row.fields[name]
        return form, start


def _note(nulls: list[tuple[int, NDArray[np.bool_]]], i: int, null: NDArray[np.bool_]) -> None:
    if null.any():
        nulls.append((i, null))
