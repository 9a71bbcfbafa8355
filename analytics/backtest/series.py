"""Plain series of one value: CSV with ``timestamp`` and ``value`` in, the same with a score out.

Every row is judged by the stages of service, in the order of the file and once, by what came before
it alone: no minimum, maximum or length of the file, and one set of numbers for every file. Files
are read side by side, each a device of its own, so that many cost hardly more than one.
"""

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.stages.order import Order
from analytics.stages.rarity import FULL, Form, Pace, Rarity
from analytics.stages.rarity.kernel import Scored
from analytics.stages.state import Rows
from core.batch import Batch, Stage
from core.errors import ConfigError
from core.model import Text, to_micros
from devices.kind import DeviceKind, Metric

SERIES: Final = DeviceKind(
    name="series",
    label=Text("数据序列", "Series"),
    id_prefix="TS",
    class_code="",
    interval_s=300,
    metrics=(
        Metric("value", "1", Text("数值", "Value"), low=-3.4e38, high=3.4e38, rest=0.0, decimals=3),
    ),
)
"""What a file holds: one metric of one device, of which nothing is known beforehand."""
ALERT: Final = 0.5
"""From this score on a row is an alert; below, the score only ranks."""
_BELOW: Final = 0.49
_TOGETHER: Final = 256  # files at once
_ROWS: Final = 512  # of each file in a batch
_SCORE: Final = "anomaly_score"


@dataclass(frozen=True, slots=True)
class Series:
    """One file.

    Attributes:
        name: Its path within the folder.
        header: Its columns.
        lines: Its rows as they stand there.
        ts: ``(n,)`` microseconds UTC; 0 where the row cannot be read.
        values: ``(n,)`` as the hub stores them; NaN where nothing was measured.
        bad: Lines that cannot be read; they keep their place and score 0.
    """

    name: Path
    header: list[str]
    lines: list[list[str]]
    ts: NDArray[np.int64]
    values: NDArray[np.float32]
    bad: list[int]


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a series' rows.

    Attributes:
        score: ``(n,)`` from 0 to 1; 0 for a row that did not step: repeated, going back in time,
            empty, or the first.
        alert: ``(n,)`` 0 nothing, 1 a suspicion begins, 2 an alarm candidate begins.
    """

    score: NDArray[np.float32]
    alert: NDArray[np.int8]

    def anomaly(self) -> NDArray[np.float64]:
        """Return one figure a row from 0 to 1: alerts from 0.5 on, all others below."""
        score = np.clip(self.score.astype(np.float64), 0.0, 1.0)
        return np.where(self.alert > 0, ALERT + (1 - ALERT) * score, _BELOW * score)


def score_files(source: Path, target: Path, say: Callable[[str], None]) -> tuple[int, int, int]:
    """Judge a file, or every ``.csv`` of a folder; write the same paths with a score.

    Args:
        source: A CSV file with ``timestamp`` and ``value``, or a folder of them.
        target: Where to write: a file for a file, a folder for a folder.
        say: Takes a word on how far it is.

    Returns:
        How many files, rows, and rows that could not be read.

    Raises:
        ConfigError: There is nothing to read, or a file is no such file.
    """
    paths = find_files(source)
    if source.is_file() and target.is_dir():
        raise ConfigError(f"{target} is a folder: name the file to write for {source}")
    rows = bad = 0
    for first in range(0, len(paths), _TOGETHER):
        part = paths[first : first + _TOGETHER]
        several = [read_series(path, source) for path in part]
        judged = judge_series(several, say=say)
        for series, result in zip(several, judged, strict=True):
            _write(target if source.is_file() else target / series.name, series, result)
            rows, bad = rows + len(series.ts), bad + len(series.bad)
            if series.bad:
                say(
                    f"{series.name}: {len(series.bad)} rows cannot be read, the first in line"
                    f" {series.bad[0]}; each has score 0"
                )
        say(f"{first + len(part)} of {len(paths)} files")
    return len(paths), rows, bad


def find_files(source: Path) -> list[Path]:
    """Return a file, or the CSV files of a folder and those below it.

    Raises:
        ConfigError: There are none.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise ConfigError(f"{source}: there is no such file or folder")
    paths = sorted(path for path in source.rglob("*.csv") if path.is_file())
    if not paths:
        raise ConfigError(f"{source}: there is no .csv file in this folder or below it")
    return paths


def read_series(path: Path, source: Path) -> Series:
    """Read one file.

    Args:
        path: The file.
        source: The folder it was found in, or itself.

    Raises:
        ConfigError: It has no such columns, or is no text.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            lines = [line for line in reader if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: this is no CSV in UTF-8: {error}") from error
    missing = {"timestamp", "value"} - set(header)
    if missing:
        raise ConfigError(
            f"{path}: the first line must name the columns timestamp and value;"
            f" {' and '.join(sorted(missing))} is not in {','.join(header)[:80]!r}"
        )
    at, what = header.index("timestamp"), header.index("value")
    ts, values = np.zeros(len(lines), np.int64), np.full(len(lines), np.nan, np.float64)
    bad = []
    for n, line in enumerate(lines):
        try:
            ts[n] = read_time(line[at])
            values[n] = float(line[what]) if line[what].strip() else np.nan
        except (ValueError, IndexError, OverflowError):
            values[n] = np.nan
            bad.append(n + 2)
    if lines and len(bad) == len(lines):
        raise ConfigError(
            f"{path}: no row can be read; a timestamp is '2014-02-14 14:30:00', ISO 8601 or Unix"
            f" seconds, a value a number; line 2 is {','.join(lines[0])[:80]!r}"
        )
    with np.errstate(over="ignore"):
        name = Path(path.name) if path == source else path.relative_to(source)
        return Series(name, header, lines, ts, values.astype(np.float32), bad)


def read_time(text: str) -> int:
    """Return a time in microseconds UTC; one without a zone is taken as it stands.

    >>> read_time("2014-02-14 14:30:00") == read_time("1392388200")
    True

    Raises:
        ValueError: It is none.
    """
    text = text.strip()
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        seconds = float(text)
        if not math.isfinite(seconds):
            raise
        return round(seconds * 1_000_000)
    return to_micros(at if at.tzinfo else at.replace(tzinfo=UTC))


def judge_series(
    several: Sequence[Series],
    *,
    form: Form = FULL,
    mute_s: float = 0.0,
    say: Callable[[str], None] = lambda _: None,
) -> list[Judged]:
    """Return what the stages of service say of each row of each series.

    Args:
        several: The series; none knows of another.
        form: Full or lite.
        mute_s: A series raises nothing for so long after its first row, in seconds.
        say: Takes a word on how far it is.
    """
    judged = [
        Judged(np.zeros(len(series.ts), np.float32), np.zeros(len(series.ts), np.int8))
        for series in several
    ]

    def watch(batch: Batch, rows: Rows, scored: Scored) -> None:
        for device, place, score, alert in zip(
            batch.device_no[rows].tolist(),
            batch.seq[rows].tolist(),
            scored.score.tolist(),
            scored.alert.tolist(),
            strict=True,
        ):
            judged[device].score[place] = score
            judged[device].alert[place] = alert

    pace = Pace(period_s=None, mute_s=mute_s)
    stages: list[Stage] = [Order(), Rarity(SERIES, ["value"], form, pace, watcher=watch)]
    total = sum(len(series.ts) for series in several)
    done = told = 0
    for batch in _batches(several):
        for stage in stages:
            stage.apply(batch)
        done += len(batch)
        if done - told >= _TOLD_ROWS:
            told = done
            say(f"{done:,} of {total:,} rows")
    return judged


_TOLD_ROWS: Final = 50_000


def _batches(several: Sequence[Series]) -> Iterator[Batch]:
    """Yield the rows of all series, each in the order of its file."""
    longest = max((len(series.ts) for series in several), default=0)
    for start in range(0, longest, _ROWS):
        parts = [
            (number, np.flatnonzero(series.ts[start : start + _ROWS] != 0) + start)
            for number, series in enumerate(several)
        ]
        yield from _rising(several, parts)


def _rising(
    several: Sequence[Series], parts: Sequence[tuple[int, NDArray[np.intp]]]
) -> Iterator[Batch]:
    """Yield batches in which no series goes back in time.

    A batch is sorted by time, and a row that goes back must not get in front of those before it.
    """
    left = [(number, places) for number, places in parts if len(places)]
    while left:
        now, rest = [], []
        for number, places in left:
            back = np.flatnonzero(np.diff(several[number].ts[places]) < 0)
            cut = int(back[0]) + 1 if len(back) else len(places)
            now.append((number, places[:cut]))
            if cut < len(places):
                rest.append((number, places[cut:]))
        yield _batch(several, now)
        left = rest


def _batch(several: Sequence[Series], parts: Sequence[tuple[int, NDArray[np.intp]]]) -> Batch:
    device_no = np.concatenate([np.full(len(at), number, np.int32) for number, at in parts])
    ts = np.concatenate([several[number].ts[at] for number, at in parts])
    values = np.concatenate([several[number].values[at] for number, at in parts])
    return Batch(
        kind=SERIES.name,
        device_no=device_no,
        ts=ts,
        rx=ts,
        seq=np.concatenate([at for _, at in parts]).astype(np.int64),
        values=values[None, :],
        exact=np.empty((0, len(ts))),
        quality=np.zeros(len(ts), np.int16),
        now=int(ts.max()),
    )


def _write(path: Path, series: Series, judged: Judged) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = series.header
    columns = [n for n, name in enumerate(header) if name != _SCORE]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*(header[n] for n in columns), _SCORE])
        for line, score in zip(series.lines, judged.anomaly().tolist(), strict=True):
            fields = [line[n] if n < len(line) else "" for n in columns]
            writer.writerow([*fields, f"{score:.6f}"])
