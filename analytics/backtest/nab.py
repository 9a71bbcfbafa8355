"""The Numenta Anomaly Benchmark's score at one fixed threshold, standard profile.

Own code after the published formula (Lavin and Ahmad 2015, as fixed by NAB v1.1): of each labelled
window only the earliest alert counts, the earlier the more; a missed window costs 1; an alert
outside costs up to 0.11, less just behind a window; the first 15 % of a file, at most 750 rows, are
not judged. 100 is perfect, 0 is to say nothing.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analytics.backtest.series import Series, read_time
from core.errors import ConfigError

_FALSE: Final = 0.11
_PROBATION: Final = 0.15
_LONGEST: Final = 5_000
_WIDTHS: Final = 3.0

Windows = Mapping[str, Sequence[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Account:
    """How alerts stand to the windows of one or more files.

    Attributes:
        raw: The sum of weights.
        windows: Windows that count.
        hit: Windows with an alert.
        outside: Alerts outside of windows.
        rows: Rows that count.
    """

    raw: float = 0.0
    windows: int = 0
    hit: int = 0
    outside: int = 0
    rows: int = 0

    def __add__(self, other: "Account") -> "Account":
        return Account(
            self.raw + other.raw,
            self.windows + other.windows,
            self.hit + other.hit,
            self.outside + other.outside,
            self.rows + other.rows,
        )

    @property
    def score(self) -> float:
        """From 0, for saying nothing, to 100."""
        return 50.0 * (self.raw + self.windows) / self.windows if self.windows else 0.0


def read_windows(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Read labels: a JSON object of file name to pairs of timestamps.

    Raises:
        ConfigError: There are none.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
        return {name: [(str(a), str(b)) for a, b in pairs] for name, pairs in found.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"{path}: these are no labelled windows: {error}") from error


def account(
    series: Series, windows: Sequence[tuple[str, str]], alert: NDArray[np.bool_]
) -> Account:
    """Return how the alerts of one file stand to its windows."""
    n = len(series.ts)
    first = int(min(np.floor(_PROBATION * n), _PROBATION * _LONGEST))
    spans = [_rows(series, window) for window in windows]
    weight = np.full(n, -_FALSE)
    raw, hit, counted = 0.0, 0, 0
    inside = np.zeros(n, np.bool_)
    before: tuple[int, float] | None = None
    for begin, end in [*spans, (n, n)]:
        if before is not None:
            last, width = before
            rows = np.arange(last + 1, begin)
            away = (rows - last) / (width - 1.0)
            weight[rows] = _FALSE * np.where(away > _WIDTHS, -1.0, _sigmoid(away))
        if begin == n:
            break
        width = float(end - begin + 1)
        rows = np.arange(begin, end + 1)
        value = _sigmoid(-(end - rows + 1) / width) / _sigmoid(np.float64(-1.0))
        inside[begin : end + 1] = True
        judged = rows >= first
        if judged.any():
            counted += 1
            told = alert[rows] & judged
            hit += bool(told.any())
            raw += max(-1.0, float(value[told].max())) if told.any() else -1.0
        before = (end, width)
    wrong = alert & ~inside
    wrong[:first] = False
    raw += float(weight[wrong].sum())
    return Account(raw, counted, hit, int(wrong.sum()), n - first)


def _rows(series: Series, window: tuple[str, str]) -> tuple[int, int]:
    found = []
    for text in window:
        at = np.flatnonzero(series.ts // 1_000_000 == read_time(_whole(text)) // 1_000_000)
        if not len(at):
            raise ConfigError(f"{series.name}: the labelled time {text} is in no row")
        found.append(int(at[0]))
    return found[0], found[1]


def _whole(text: str) -> str:
    return datetime.fromisoformat(text).replace(microsecond=0, tzinfo=None).isoformat(sep=" ")


def _sigmoid(y: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    return np.asarray(2.0 / (1.0 + np.exp(5.0 * y)) - 1.0)
