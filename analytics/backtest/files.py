"""Files of readings for back-tests: CSV with an exact header, as columns in the order of time.

A row that cannot be read is named by its line and left out; an empty field is a quantity that was
not measured. Reading never ends at a bad row: real files have some.
"""

import csv
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.batch import Batch
from core.errors import ConfigError
from core.model import Quality
from devices.kind import DeviceKind, Metric

_BATCH: Final = 4_096
_SECOND: Final = 1_000_000
_LATEST_S: Final = 4_102_444_800.0  # 2100: what is later is no Unix second
_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class Form:
    """One form of file.

    Attributes:
        header: Its columns, in this order.
        metrics: Metric and factor by column; a column without is read and left alone.
        device: The column that names the device; empty: the file does.
        time: The column of time.
        daily: Its time is a date, the whole day in UTC, and not Unix seconds.
    """

    header: tuple[str, ...]
    metrics: Mapping[str, tuple[str, float]]
    device: str = ""
    time: str = "ts"
    daily: bool = False


_POSITION: Final = {"east_mm": ("east", 1.0), "north_mm": ("north", 1.0), "up_mm": ("up", 1.0)}
FORMS: Final[Mapping[str, tuple[Form, ...]]] = {
    "manhole_cover": (
        Form(
            ("cover", "ts", "ax", "ay", "az", "temp"),
            {
                "ax": ("ax", 1000.0),  # g to m[g]
                "ay": ("ay", 1000.0),
                "az": ("az", 1000.0),
                "temp": ("temp", 1.0),
            },
            device="cover",
        ),
    ),
    "displacement_point": (
        Form(("point", "ts", "east_mm", "north_mm", "up_mm"), _POSITION, device="point"),
        Form(("date", "east_mm", "north_mm", "up_mm"), _POSITION, time="date", daily=True),
    ),
    "water_gauge": (Form(("gauge", "ts", "level_m"), {"level_m": ("level", 1.0)}, device="gauge"),),
}
"""The forms of each kind; the header decides."""


@dataclass(slots=True)
class Readings:
    """The rows of one or several files.

    Attributes:
        names: Names of the devices; their number is the place plus one.
        device_no: ``(n,) int32``.
        ts: ``(n,) int64`` microseconds UTC.
        values: ``(n,)`` by metric, NaN where not measured.
        bad: ``(file, line, reason)`` of each row that was left out.
    """

    names: list[str]
    device_no: NDArray[np.int32]
    ts: NDArray[np.int64]
    values: dict[str, NDArray[np.float64]]
    bad: list[tuple[Path, int, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ts)

    def numbered(self) -> dict[int, str]:
        """Return the names by number."""
        return dict(enumerate(self.names, start=1))


def forms_of(kind: DeviceKind) -> tuple[Form, ...]:
    """Return the forms of a kind's files.

    Raises:
        ConfigError: There is none.
    """
    if kind.name not in FORMS:
        known = ", ".join(FORMS)
        raise ConfigError(f"there is no form of file for {kind.name}; there are: {known}")
    return FORMS[kind.name]


def form_of(kind: DeviceKind, path: Path) -> Form:
    """Return the form of a file.

    Raises:
        ConfigError: The kind has no such file, or the file cannot be read.
    """
    forms = forms_of(kind)
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
            header = tuple(_plain(name) for name in next(csv.reader(lines), []))
    except (OSError, csv.Error) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    for form in forms:
        if form.header == header:
            return form
    wanted = " or ".join(",".join(form.header) for form in forms)
    raise ConfigError(f"{path} begins with {','.join(header)[:200]!r} instead of {wanted}")


def read(kind: DeviceKind, paths: list[Path]) -> Readings:
    """Read files of one kind together; devices of one name are one device.

    Raises:
        ConfigError: A file has another header, or cannot be read.
    """
    numbers: dict[str, int] = {}
    table: list[tuple[int, int, tuple[float, ...]]] = []
    bad: list[tuple[Path, int, str]] = []
    names = sorted({metric for form in forms_of(kind) for metric, _ in form.metrics.values()})
    for path in paths:
        form = form_of(kind, path)
        take = _reader(form, path.stem, names)
        try:
            for number, row in _rows(path):
                try:
                    device, ts, values = take(row)
                except ValueError as error:
                    bad.append((path, number, str(error)))
                else:
                    place = numbers.setdefault(device, len(numbers) + 1)
                    table.append((place, ts, values))
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error
    table.sort(key=lambda row: row[1])  # stable: of equal times the first line goes first
    columns = np.array([row[2] for row in table], np.float64).reshape(-1, len(names))
    return Readings(
        list(numbers),
        np.array([row[0] for row in table], np.int32),
        np.array([row[1] for row in table], np.int64),
        {name: columns[:, place] for place, name in enumerate(names)},
        bad,
    )


def batches(kind: DeviceKind, readings: Readings, size: int = _BATCH) -> Iterator[Batch]:
    """Yield the readings as batches of service: float32 as the table stores it, bits set.

    Args:
        kind: Their kind.
        readings: In the order of time.
        size: Rows a batch; no result depends on it.
    """
    for start in range(0, len(readings), size):
        part = slice(start, start + size)
        n = len(readings.ts[part])
        columns = {name: column[part] for name, column in readings.values.items()}
        quality = np.zeros(n, np.int16)
        for name, column in columns.items():
            metric = kind.metric(name)
            out = (column < metric.low) | (column > metric.high)
            quality[out] |= int(Quality.OUT_OF_RANGE)
        ts = readings.ts[part]
        yield Batch(
            kind=kind.name,
            device_no=readings.device_no[part],
            ts=ts,
            rx=ts,
            seq=np.full(n, -1, np.int64),
            values=_stack(kind.reals, columns, n).astype(np.float32),
            exact=_stack(kind.exacts, columns, n),
            quality=quality,
            now=int(ts[-1]),
        )


def _stack(
    metrics: tuple[Metric, ...], columns: Mapping[str, NDArray[np.float64]], n: int
) -> NDArray[np.float64]:
    missing = np.full(n, np.nan)
    parts = [columns.get(metric.name, missing) for metric in metrics]
    return np.array(parts, np.float64).reshape(len(metrics), n)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and fields of each row after the header; empty lines are none.

    Quotes are no more than ornament here: one that is never closed must not swallow the file.
    """
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        reader = csv.reader(lines, quoting=csv.QUOTE_NONE)
        next(reader, None)
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:  # such as a field of a million characters
                row = [str(error)]
            if row is None:
                return
            if row:
                yield reader.line_num, [_plain(text) for text in row]


def _plain(text: str) -> str:
    return text.strip().strip('"')


_Take = Callable[[list[str]], tuple[str, int, tuple[float, ...]]]


def _reader(form: Form, stem: str, names: list[str]) -> _Take:
    """Return what reads one row of a form."""
    place = {column: n for n, column in enumerate(form.header)}
    wanted = {metric: (place[column], by) for column, (metric, by) in form.metrics.items()}
    order = [wanted.get(name) for name in names]

    def take(row: list[str]) -> tuple[str, int, tuple[float, ...]]:
        if len(row) != len(form.header):
            raise ValueError(f"{len(row)} fields instead of {len(form.header)}")
        device = row[place[form.device]] if form.device else stem
        if not device:
            raise ValueError(f"the field {form.device} is empty")
        ts = _day(row[place[form.time]]) if form.daily else _moment(row[place[form.time]])
        values = tuple(np.nan if at is None else _number(row[at[0]]) * at[1] for at in order)
        if all(math.isnan(value) for value in values):
            raise ValueError("it measures nothing")
        return device, ts, values

    return take


def _number(text: str) -> float:
    """Return a number, NaN where the field is empty."""
    if not text:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text[:_SHOWN]!r} is no number") from None
    if math.isinf(value):
        raise ValueError(f"{text[:_SHOWN]!r} is no measurement")
    return value


def _moment(text: str) -> int:
    """Return microseconds of Unix seconds."""
    seconds = _number(text)
    if not 0 <= seconds < _LATEST_S:
        raise ValueError(f"{text[:_SHOWN]!r} is no time in Unix seconds")
    return round(seconds * _SECOND)


def _day(text: str) -> int:
    """Return microseconds of the beginning of a day, UTC."""
    try:
        day = date.fromisoformat(text[:10])
    except ValueError:
        raise ValueError(f"{text[:_SHOWN]!r} is no date") from None
    return round(datetime.combine(day, time(), UTC).timestamp()) * _SECOND
