"""Suites of the back-test: labelled or quiet series, the stages of service, and a verdict.

Each suite is one pass at one set of numbers. Its bars stand beside it: ``least`` must hold, ``aim``
is what we are after.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from analytics.backtest.nab import Account, account, read_windows
from analytics.backtest.series import Series, find_files, judge_series, read_series
from analytics.stages.rarity import FULL, LITE
from core.errors import ConfigError

Say = Callable[[str], None]
Report = dict[str, Any]

NAB_LEAST, NAB_AIM = 63.0, 65.0
QUIET_MOST: Final[Mapping[str, float]] = {
    "noisy_sine": 0.5,
    "heavy_tail": 5.0,
    "weekday_weekend": 4.0,
}
"""Alerts in 10,000 rows at the threshold of alarm candidates; 0 for every other series but white
noise, of which nothing is asked. The aim is half."""
_SEEDS: Final = 20
_SEEN: Final = 20
"""The threshold of candidates was picked after seeing so many seeds; later ones judge."""
_GRID: Final = (0.39, 0.41, 0.43, 0.45, 0.47, 0.49, 0.51)


def run_nab(streams: Path, say: Say, *, nested: bool = False) -> Report:
    """Judge the given half of NAB at the one threshold of service.

    Args:
        streams: The folder with ``nab/data`` and ``nab/windows.json``.
        say: Takes a word on how far it is.
        nested: Also choose the threshold on one half of the files and score on the other.

    Raises:
        ConfigError: The streams are not there.
    """
    data = streams / "nab" / "data"
    windows = read_windows(streams / "nab" / "windows.json")
    several = [read_series(path, data) for path in find_files(data)]
    several = [series for series in several if series.name.as_posix() in windows]
    if not several:
        raise ConfigError(f"{data}: none of the labelled files is here")
    whole = _accounts(several, windows, FULL.suspicion, say)
    total = sum(whole.values(), Account())
    report: Report = {
        "suite": "nab",
        "files": len(several),
        "threshold": FULL.suspicion,
        "score": round(total.score, 2),
        "windows": total.windows,
        "windows_hit": total.hit,
        "false_alerts": total.outside,
        "false_per_10000_rows": round(1e4 * total.outside / total.rows, 2),
        "least": total.score >= NAB_LEAST,
        "aim": total.score >= NAB_AIM,
    }
    if nested:
        report["nested"] = _nested(several, windows, say)
    return report


def _accounts(
    several: Sequence[Series], windows: Mapping[str, Any], threshold: float, say: Say
) -> dict[str, Account]:
    judged = judge_series(several, form=replace(FULL, suspicion=threshold), say=say)
    return {
        series.name.as_posix(): account(series, windows[series.name.as_posix()], result.alert > 0)
        for series, result in zip(several, judged, strict=True)
    }


def _nested(several: Sequence[Series], windows: Mapping[str, Any], say: Say) -> Report:
    """Choose on one half by name, score on the other, both ways round."""
    by_threshold = {}
    for threshold in _GRID:
        say(f"threshold {threshold}")
        by_threshold[threshold] = _accounts(several, windows, threshold, lambda _: None)
    names = sorted(series.name.as_posix() for series in several)
    halves = names[0::2], names[1::2]

    def score(threshold: float, half: Sequence[str]) -> float:
        return sum((by_threshold[threshold][name] for name in half), Account()).score

    chosen, total = [], Account()
    for here, there in (halves, halves[::-1]):
        best = max(_GRID, key=lambda threshold: score(threshold, here))
        chosen.append({"threshold": best, "there": round(score(best, there), 2)})
        total += sum((by_threshold[best][name] for name in there), Account())
    return {"score": round(total.score, 2), "halves": chosen}


def run_quiet(say: Say, *, seeds: int = _SEEDS) -> Report:
    """Count what quiet series raise after their third day, in both forms.

    Args:
        say: Takes a word on how far it is.
        seeds: How many of each; the spread over them is told.
    """
    from simulators.quiet import LEARNING_ROWS, PERIOD_S, QUIET, ROWS, START_S, quiet_series

    ts = (START_S + np.arange(ROWS, dtype=np.int64) * PERIOD_S) * 1_000_000
    names = [(name, seed) for name in QUIET for seed in range(_SEEN, _SEEN + seeds)]
    several = [
        Series(Path(f"{name}-{seed}"), [], [], ts, quiet_series(name, seed).astype(np.float32), [])
        for name, seed in names
    ]
    tables = []
    for form in (FULL, LITE):
        mute_s = float(LEARNING_ROWS * PERIOD_S)
        judged = judge_series(several, form=form, mute_s=mute_s, say=say)
        for name in QUIET:
            mine = [result for (own, _), result in zip(names, judged, strict=True) if own == name]
            rows: Report = {"form": form.name, "series": name}
            for rank, word in ((2, "candidates"), (1, "suspicions")):
                counts = [int((result.alert[LEARNING_ROWS:] >= rank).sum()) for result in mine]
                each = np.array(counts) * 1e4 / (ROWS - LEARNING_ROWS)
                rows[word] = round(float(each.mean()), 2)
                rows[f"{word}_worst"] = round(float(each.max()), 1)
            most = QUIET_MOST.get(name, float("inf") if name == "white" else 0.0)
            tables.append(
                rows | {"least": rows["candidates"] <= most, "aim": rows["candidates"] <= most / 2}
            )
    return {
        "suite": "quiet",
        "seeds": f"{_SEEN} to {_SEEN + seeds - 1}",
        "thresholds": f"{FULL.candidate} full, {LITE.candidate} lite",
        "series": tables,
        "least": all(row["least"] for row in tables),
        "aim": all(row["aim"] for row in tables),
    }
