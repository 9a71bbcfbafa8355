"""Made water gauges: two weeks at 5 min of level with tide and noise, floods, and sensor faults.

A level is ``base + tide + floods + noise``, rounded to the gauge's resolution. A flood rises along
a line or a sine and falls exponentially. Faults: frozen (the value stays), lost (rows are missing),
drift (a line over 50 h, then cleaned), spike (one row). Rows are lost at random besides.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulators.chance import generator

PERIOD_S: Final = 300
_START: Final = 1_760_000_000
_HOUR: Final = 3600
_SETTLED_S: Final = 36 * _HOUR  # before it no event begins
_REACH_S: Final = 1800  # after its end an event may still be told
_SPIKING: Final = 0.6  # share of gauges
_SMOOTH: Final = 0.35  # share of floods that begin and end gently
_UPWARD: Final = 0.7  # share of drifts
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Event:
    """What happens at a gauge.

    Attributes:
        kind: ``rise``, ``stuck``, ``lost``, ``drift`` or ``spike``.
        start: Seconds since 1970.
        end: Likewise.
        decidable: It can be seen at all: not hidden by a gap or a frozen sensor.
    """

    kind: str
    start: int
    end: int
    decidable: bool = True


@dataclass(frozen=True, slots=True)
class Trial:
    """One gauge: its rows, and what happened.

    Attributes:
        gauge: Its name.
        ts: ``(n,)`` seconds since 1970.
        level: ``(n,)`` metres.
        events: What happened, in order.
    """

    gauge: str
    ts: NDArray[np.int64]
    level: Floats
    events: tuple[Event, ...]

    @property
    def days(self) -> float:
        """How long it is."""
        return float(self.ts[-1] - self.ts[0]) / 86_400


def make_trials(seed: int, count: int = 12, days: float = 14.0) -> Iterator[Trial]:
    """Yield gauges with events; each differs in tide, noise, resolution and loss of rows."""
    for number in range(count):
        name = f"G{number:02}"
        yield _make(name, generator(seed, "trial", name, "gauge"), days)


def make_quiet(seed: int, count: int = 12, days: float = 14.0) -> Iterator[Trial]:
    """Yield gauges to which nothing happens."""
    for number in range(count):
        name = f"Q{number:02}"
        chance = generator(seed, "quiet", name, "gauge")
        ts = _START + PERIOD_S * np.arange(int(days * 86_400 / PERIOD_S))
        level, resolution = _calm(chance, ts)
        kept = _kept(chance, len(ts))
        yield Trial(name, ts[kept], _rounded(level, resolution)[kept], ())


def _make(name: str, chance: np.random.Generator, days: float) -> Trial:
    ts = _START + PERIOD_S * np.arange(int(days * 86_400 / PERIOD_S))
    level, resolution = _calm(chance, ts)
    floods = []
    for _ in range(int(chance.integers(1, 4))):
        flood, added = _flood(chance, ts)
        level += added
        floods.append(flood)
    level = _rounded(level, resolution)
    kept = _kept(chance, len(ts))
    drawn = chance.permutation(list(_FAULTS))[: int(chance.integers(1, 3))]
    faults = [_FAULTS[str(kind)](chance, ts, level, kept) for kind in drawn]
    if chance.random() < _SPIKING:
        faults.append(_spike(chance, ts, level, kept))
    level = _rounded(level, resolution)
    events = sorted(_decide([*floods, *faults]), key=lambda event: event.start)
    return Trial(name, ts[kept], level[kept], tuple(events))


def _calm(chance: np.random.Generator, ts: NDArray[np.int64]) -> tuple[Floats, float]:
    """Return a level that rests, and the gauge's resolution."""
    hours = ts / _HOUR
    level = np.full(len(ts), 0.6 + 2.2 * chance.random())
    for height, period in ((0.04, 16 + 12 * chance.random()), (0.012, 3 + 5 * chance.random())):
        phase = 2 * np.pi * chance.random()
        level += height * chance.random() * np.sin(2 * np.pi * hours / period + phase)
    noise = 0.003 + 0.009 * chance.random()
    level += noise * chance.standard_normal(len(ts))
    return level, float(chance.choice([0.001, 0.001, 0.001, 0.01]))


def _kept(chance: np.random.Generator, rows: int) -> NDArray[np.bool_]:
    """Return which rows arrive; never are three lost in a row, which would be a silence."""
    kept: NDArray[np.bool_] = chance.random(rows) >= 0.04 * chance.random() ** 2
    kept[2:] |= ~kept[1:-1] & ~kept[:-2]
    return kept


def _rounded(level: Floats, resolution: float) -> Floats:
    return np.round(np.round(level / resolution) * resolution, 3)


def _when(chance: np.random.Generator, ts: NDArray[np.int64], lasts_s: float) -> int:
    """Return when something of this length begins."""
    room = float(ts[-1] - ts[0]) - lasts_s - _SETTLED_S - 2 * _HOUR
    at = _SETTLED_S + room * chance.random()
    return int(ts[0]) + int(at // PERIOD_S) * PERIOD_S


def _flood(chance: np.random.Generator, ts: NDArray[np.int64]) -> tuple[Event, Floats]:
    lasts = _HOUR * (0.5 + 4.5 * chance.random())
    top = min(0.35 + 2.1 * chance.random(), 3.3 * lasts / _HOUR)
    start = _when(chance, ts, lasts)
    part = np.clip((ts - start) / lasts, 0, 1)
    if chance.random() < _SMOOTH:
        part = np.sin(np.pi / 2 * part) ** 2
    falls = _HOUR * (15 + 25 * chance.random())
    after = np.maximum(ts - start - lasts, 0)
    return Event("rise", start, int(start + lasts)), top * part * np.exp(-after / falls)


def _stuck(
    chance: np.random.Generator, ts: NDArray[np.int64], level: Floats, kept: NDArray[np.bool_]
) -> Event:
    del kept
    lasts = _HOUR * (6 + 18 * chance.random())
    start = _when(chance, ts, lasts)
    there = (ts >= start) & (ts <= start + lasts)
    level[there] = level[np.searchsorted(ts, start) - 1]
    return Event("stuck", start, int(start + lasts))


def _lost(
    chance: np.random.Generator, ts: NDArray[np.int64], level: Floats, kept: NDArray[np.bool_]
) -> Event:
    del level
    lasts = _HOUR * (1 + 15 * chance.random() ** 2)
    start = _when(chance, ts, lasts)
    kept &= ~((ts >= start) & (ts < start + lasts))
    return Event("lost", start, int(start + lasts))


def _drift(
    chance: np.random.Generator, ts: NDArray[np.int64], level: Floats, kept: NDArray[np.bool_]
) -> Event:
    del kept
    lasts = 50.0 * _HOUR
    start = _when(chance, ts, lasts)
    there = (ts >= start) & (ts <= start + lasts)
    size = (0.2 + 0.2 * chance.random()) * (1 if chance.random() < _UPWARD else -1)
    level[there] += size * (ts[there] - start) / lasts
    return Event("drift", start, int(start + lasts))


def _spike(
    chance: np.random.Generator, ts: NDArray[np.int64], level: Floats, kept: NDArray[np.bool_]
) -> Event:
    start = _when(chance, ts, 0)
    there = int(np.searchsorted(ts, start))
    kept[there - 1 : there + 2] = True
    level[there] += (0.5 + 2 * chance.random()) * float(chance.choice([-1, 1]))
    return Event("spike", start, start)


_FAULTS: Final = {"stuck": _stuck, "lost": _lost, "drift": _drift}


def _decide(events: list[Event]) -> list[Event]:
    """Say which events nothing hides: no gap, no frozen sensor, no flood that still rises."""
    hidden = [(event.start, event.end) for event in events if event.kind in {"stuck", "lost"}]
    gaps = [(event.start, event.end) for event in events if event.kind == "lost"]
    found = []
    for event in events:
        reach = event.end + (_REACH_S if event.kind != "spike" else 0)
        covers = hidden if event.kind in {"rise", "drift", "spike"} else gaps
        within = any(
            other is not event
            and other.kind == event.kind == "rise"
            and other.start <= event.start <= other.end + _REACH_S
            for other in events
        )
        veiled = within or [
            (start, end)
            for start, end in covers
            if (start, end) != (event.start, event.end)
            and start <= reach
            and end + _HOUR >= event.start
        ]
        found.append(Event(event.kind, event.start, event.end, not veiled or event.kind == "lost"))
    return found


@dataclass(frozen=True, slots=True)
class Reach:
    """Hourly means of two gauges of one reach, of which the second may drift.

    Attributes:
        above: ``(n,)`` metres, NaN where the gauge said nothing.
        below: Likewise.
        drifts_at: Hour at which the drift of the second begins; -1: never.
    """

    above: Floats
    below: Floats
    drifts_at: int


def make_reach(seed: int, *, drifts: bool, days: int = 40) -> Reach:
    """Return two gauges under the same floods, the second later and with water of its own."""
    chance = generator(seed, "trial", "reach", "pair")
    hours = days * 24
    ts = _START + _HOUR * np.arange(hours)
    above = np.full(hours, 0.6 + 2 * chance.random())
    for _ in range(int(chance.integers(3, 9))):
        above += _flood(chance, ts)[1]
    lag, gain = 0.3 + 2.2 * chance.random(), 0.5 + 0.8 * chance.random()
    late = np.interp(np.arange(hours) - lag, np.arange(hours), above)
    below = 0.4 + gain * (late - above[0]) + 2 * chance.random()
    own = np.zeros(hours)
    for hour in range(1, hours):  # water of the land between, which comes and goes for days
        own[hour] = 0.98 * own[hour - 1] + 0.004 * chance.standard_normal()
    below += own + 0.02 * np.sin(2 * np.pi * np.arange(hours) / 24 + 6 * chance.random())
    above += 0.002 * chance.standard_normal(hours)
    below += 0.002 * chance.standard_normal(hours)
    begins = -1
    if drifts:
        begins = int(24 * 15 + chance.random() * (hours - 24 * 15 - 100))
        size = (0.22 + 0.2 * chance.random()) * float(chance.choice([-1, 1]))
        below += size * np.clip((np.arange(hours) - begins) / 50, 0, 1)
    for level in (above, below):
        level[chance.random(hours) < 0.02 * chance.random()] = np.nan
    return Reach(above, below, begins)
