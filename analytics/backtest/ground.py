"""How near back-tests of covers, GNSS stations and slopes came to what really happened.

The rules of scoring are those of the labelled streams: a cover's event is found by the first line
at or after its start, a line before it is early, any line on a cover without an event is false, and
rocking is neither. A slope's failure is found by a red line at least two days ahead. A station's
step is found within three days; a line is false unless it lies within sixty days after a step, or
within twenty of a step without a known cause.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

Line = Mapping[str, Any]
Labels = Mapping[str, Sequence[Mapping[str, Any]]]

_DAY: Final = 86_400
_AHEAD_S: Final = 2 * _DAY
_HIT_D, _AFTER_D, _IGNORED_D = 3, 60, 20
_YEAR_D: Final = 365.25


@dataclass(frozen=True, slots=True)
class _Score:
    """Counts that add up over sets."""

    def __add__(self, other: Self) -> Self:
        sums = (getattr(self, f.name) + getattr(other, f.name) for f in fields(self))
        return type(self)(*sums)


@dataclass(frozen=True, slots=True)
class Covers(_Score):
    """Covers: counts, and after how many rows openings were told."""

    events: int = 0
    found: int = 0
    early: int = 0
    quiet: int = 0
    false: int = 0
    openings: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Slopes(_Score):
    """Slopes: counts, and how many days ahead the first red line was."""

    failures: int = 0
    red: int = 0
    warned: int = 0
    others: int = 0
    false: int = 0
    leads: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Stations(_Score):
    """GNSS stations: counts, station-years, and delays in days."""

    steps: int = 0
    found: int = 0
    false: int = 0
    years: float = 0.0
    delays: tuple[float, ...] = ()


def score_covers(
    lines: Iterable[Line], labels: Labels, times: Mapping[str, NDArray[np.int64]]
) -> Covers:
    """Score covers.

    Args:
        lines: What the back-test told.
        labels: Events by cover: ``kind`` and ``start`` in Unix seconds.
        times: Unix seconds of the rows of each cover.
    """
    score = Covers()
    told = _by_device(lines)
    for name, events in labels.items():
        mine = [line["ts"] for line in told.get(name, ())]
        real = [event for event in events if event["kind"] != "rock"]
        if real:
            start = real[0]["start"]
            after = [ts for ts in mine if ts >= start]
            rows: tuple[int, ...] = ()
            if after and real[0]["kind"] == "open":
                ts = times[name]
                rows = (int(((ts >= start) & (ts <= after[0])).sum()),)
            score += Covers(1, bool(after), any(ts < start for ts in mine), openings=rows)
        elif not events:
            score += Covers(quiet=1, false=bool(mine))
    return score


def score_slopes(lines: Iterable[Line], labels: Labels) -> Slopes:
    """Score slopes; ``failure`` of an event is in Unix seconds."""
    score = Slopes()
    told = _by_device(line for line in lines if line["kind"] == "acceleration")
    for name, events in labels.items():
        mine = told.get(name, ())
        red = [line["ts"] for line in mine if line["severity"] == "red"]
        failures = [event["failure"] for event in events if event["kind"] == "failure"]
        if not failures:
            score += Slopes(others=1, false=bool(red))
            continue
        leads = [(failures[0] - ts) / _DAY for ts in red if ts <= failures[0] - _AHEAD_S]
        warned = any(line["ts"] <= failures[0] - _AHEAD_S for line in mine)
        score += Slopes(1, bool(leads), warned, leads=tuple(leads[:1]))
    return score


def score_stations(
    lines: Iterable[Line], labels: Mapping[str, Mapping[str, Any]], years: Mapping[str, float]
) -> Stations:
    """Score stations of daily positions.

    Args:
        lines: What the back-test told.
        labels: By station ``labels`` and ``unexplained_steps_ignored``, with a ``date`` each.
        years: How many years each station is long.
    """
    score = Stations()
    told = _by_device(lines)
    for name, label in labels.items():
        days = np.array([line["ts"] / _DAY for line in told.get(name, ())])
        known = np.zeros(len(days), np.bool_)
        for event in label["labels"]:
            since = days - _day(event["date"])
            hits = since[(since >= 0) & (since <= _HIT_D)]
            known |= (since >= 0) & (since <= _AFTER_D)
            score += Stations(1, bool(len(hits)), delays=tuple(hits[:1].tolist()))
        for event in label["unexplained_steps_ignored"]:
            known |= np.abs(days - _day(event["date"])) <= _IGNORED_D
        score += Stations(false=int((~known).sum()), years=years[name])
    return score


def years_of(ts: NDArray[np.int64]) -> float:
    """Return how long a series in Unix seconds is, in years."""
    return float(ts[-1] - ts[0]) / _DAY / _YEAR_D


def _by_device(lines: Iterable[Line]) -> dict[str, list[Line]]:
    told: dict[str, list[Line]] = {}
    for line in lines:
        told.setdefault(line["device"], []).append(line)
    return told


def _day(date: str) -> float:
    return datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp() / _DAY
