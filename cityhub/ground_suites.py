"""Suites of covers, GNSS stations and slopes: the given streams, or sets drawn afresh.

Fresh sets (:mod:`simulators.trials`) are harder, noisier and lossier than the given ones. Their
detectors were tuned with the seeds below 2000; what is reported is drawn from 2000 on.
"""

import json
from collections.abc import Iterator, Mapping
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analytics.backtest.files import Readings, read
from analytics.backtest.ground import (
    Covers,
    Labels,
    Slopes,
    Stations,
    score_covers,
    score_slopes,
    score_stations,
    years_of,
)
from analytics.backtest.kinds import episodes
from cityhub.suites import Report, Say
from core.errors import ConfigError
from devices import KINDS
from simulators.trials import covers, slopes

FIRST_SEED: Final = 2000
_SECOND: Final = 1_000_000
_ROWS: Final = 3  # within which an opening should be told

# What must hold, and what we are after: at least so large a share found, at most so large false.
_COVERS_FOUND, _COVERS_FOUND_AIM, _COVERS_FALSE = 0.98, 0.995, 0.01
_RED, _RED_AIM, _WARNED_AIM, _FALSE_RED, _FALSE_RED_AIM = 0.90, 0.95, 0.98, 0.03, 0.01
_FALSE_A_YEAR, _FALSE_A_YEAR_AIM, _DELAY_AIM = 0.08, 0.05, 1.0


def run_covers(say: Say, *, streams: Path | None, seeds: int) -> Report:
    """Judge covers: the given stream, or sets of forty drawn afresh.

    Raises:
        ConfigError: The streams are not there.
    """
    drawn = _fresh_covers(seeds) if streams is None else _given(streams, "covers.csv", "cover")
    kind, scores = KINDS["manhole_cover"], []
    for name, readings, labels in drawn:
        scores.append(score_covers(episodes(kind, readings), labels, _times(readings)))
        say(f"{name}: {scores[-1].found} of {scores[-1].events}, {scores[-1].false} false")
    total = reduce(add, scores, Covers())
    found, false = total.found / max(total.events, 1), total.false / max(total.quiet, 1)
    within = np.array(total.openings) <= _ROWS
    least = found >= _COVERS_FOUND and false <= _COVERS_FALSE and total.early == 0
    return {
        "suite": "covers",
        "sets": len(scores),
        "events": total.events,
        "found": round(found, 4),
        "found_worst_set": round(min(s.found / max(s.events, 1) for s in scores), 4),
        "early": total.early,
        "quiet_covers": total.quiet,
        "false": round(false, 4),
        "sets_with_false": sum(s.false > 0 for s in scores),
        "openings": len(within),
        "openings_within_3_rows": round(float(within.mean()), 3) if len(within) else None,
        "least": least,
        "aim": least and found >= _COVERS_FOUND_AIM and total.false == 0 and bool(within.all()),
    }


def run_slopes(say: Say, *, streams: Path | None, seeds: int) -> Report:
    """Judge slopes: the given stream, or sets of twenty-four drawn afresh.

    Raises:
        ConfigError: The streams are not there.
    """
    drawn = _fresh_slopes(seeds) if streams is None else _given(streams, "slopes.csv", "point")
    kind, scores = KINDS["displacement_point"], []
    for name, readings, labels in drawn:
        scores.append(score_slopes(episodes(kind, readings), labels))
        say(f"{name}: {scores[-1].red} of {scores[-1].failures}, {scores[-1].false} false")
    total = reduce(add, scores, Slopes())
    red, warned = total.red / max(total.failures, 1), total.warned / max(total.failures, 1)
    false = total.false / max(total.others, 1)
    shares = [s.red / s.failures for s in scores if s.failures]
    return {
        "suite": "slopes",
        "sets": len(scores),
        "failures": total.failures,
        "red_2_days_ahead": round(red, 4),
        "red_spread_of_sets": round(float(np.std(shares)), 3) if shares else None,
        "red_or_orange": round(warned, 4),
        "median_lead_days": round(float(np.median(total.leads)), 1) if total.leads else None,
        "others": total.others,
        "false_red": round(false, 4),
        "sets_with_false": sum(s.false > 0 for s in scores),
        "least": red >= _RED and false <= _FALSE_RED,
        "aim": red >= _RED_AIM and warned >= _WARNED_AIM and false <= _FALSE_RED_AIM,
    }


def run_gnss(say: Say, *, streams: Path | None) -> Report:
    """Judge the given GNSS stations.

    Raises:
        ConfigError: The streams are not there.
    """
    folder = _folder(streams) / "gnss"
    labels = _labels(folder / "labels.json")
    kind = KINDS["displacement_point"]
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise ConfigError(f"{folder}: there is no station")
    readings = read(kind, files)
    years = {name: years_of(ts) for name, ts in _times(readings).items()}
    total = score_stations(episodes(kind, readings), labels, years)
    say(f"{len(files)} stations")
    return _stations(total)


def _stations(total: Stations) -> Report:
    false = total.false / total.years
    delay = float(np.median(total.delays)) if total.delays else float("inf")
    whole = total.found == total.steps
    return {
        "suite": "gnss",
        "steps": total.steps,
        "found": total.found,
        "station_years": round(total.years, 1),
        "false": total.false,
        "false_per_station_year": round(false, 3),
        "median_delay_days": delay,
        "least": whole and false <= _FALSE_A_YEAR,
        "aim": whole and false <= _FALSE_A_YEAR_AIM and delay <= _DELAY_AIM,
    }


Drawn = Iterator[tuple[str, Readings, Labels]]


def _fresh_covers(seeds: int) -> Drawn:
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        trials = list(covers.make_trials(seed))
        gravity = np.round(np.concatenate([t.gravity for t in trials]), 4) * 1000
        columns = {name: gravity[:, n] for n, name in enumerate(("ax", "ay", "az"))}
        columns["temp"] = np.concatenate([t.heat for t in trials])
        readings = _readings({t.cover: t.ts for t in trials}, columns)
        labels = {
            t.cover: [{"kind": event.kind, "start": event.start} for event in t.events]
            for t in trials
        }
        yield f"seed {seed}", readings, labels


def _fresh_slopes(seeds: int) -> Drawn:
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        trials = list(slopes.make_trials(seed))
        position = np.concatenate([t.position for t in trials])
        columns = {name: position[:, n] for n, name in enumerate(("east", "north", "up"))}
        readings = _readings({t.point: t.ts for t in trials}, columns)
        labels = {
            t.point: [{"kind": "failure", "failure": t.failure}] if t.failure else []
            for t in trials
        }
        yield f"seed {seed}", readings, labels


def _readings(
    times: Mapping[str, NDArray[np.int64]], columns: Mapping[str, NDArray[np.float64]]
) -> Readings:
    """Return made rows as if they had been read, in the order of time."""
    names = list(times)
    device_no = np.repeat(
        np.arange(1, len(names) + 1, dtype=np.int32), [len(times[name]) for name in names]
    )
    ts = np.concatenate([times[name] for name in names]) * _SECOND
    order = np.argsort(ts, kind="stable")
    sorted_columns = {name: column[order] for name, column in columns.items()}
    return Readings(names, device_no[order], ts[order], sorted_columns)


def _given(streams: Path, name: str, what: str) -> Drawn:
    folder = _folder(streams) / "synthetic"
    labels = _labels(folder / "labels.json")
    kind = KINDS["manhole_cover" if what == "cover" else "displacement_point"]
    yield name, read(kind, [folder / name]), labels[name]


def _times(readings: Readings) -> dict[str, NDArray[np.int64]]:
    seconds = readings.ts // _SECOND
    return {name: seconds[readings.device_no == no] for no, name in readings.numbered().items()}


def _folder(streams: Path | None) -> Path:
    if streams is None:
        raise ConfigError("name the folder of the labelled streams with --streams")
    return streams


def _labels(path: Path) -> dict[str, Any]:
    try:
        labels: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return labels
