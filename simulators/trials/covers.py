"""Made manhole covers: a day of rows a minute, harder, noisier and lossier than the given stream.

Each cover has a place of its own (rest up to 4° from level), gain, zero offset, noise of 2 to 9 mg,
a drift with temperature of up to 0.08° per Cel that lags behind by up to an hour and a half, and
traffic: shocks of 0.05 to 0.5 g, in one row of 300 up to one in four, by day more than by night. Up
to an eighth of the rows is lost, hours may be, and now and then a row is rubbish.

What happens to a cover: it is opened (25 to 100°, and some are closed again), shifts at once (2 to
10°), settles over hours (1.5 to 6°), or rocks: shocks grow while it lies where it lay. An opening
wholly inside a gap cannot be found by anybody and is not drawn.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulators.chance import generator

Floats = NDArray[np.float64]

PERIOD_S: Final = 60
ROWS: Final = 1_440
_START: Final = 1_760_000_000
_KINDS: Final = ("none", "open", "shift", "settle", "rock")
_SHARES: Final = (0.55, 0.13, 0.12, 0.12, 0.08)
_TRAFFIC: Final = (1 / 300, 1 / 100, 1 / 40, 1 / 12, 1 / 4)
_RUBBISH: Final = 1 / 4_000
_LOSS: Final = 0.125
_GAPS: Final = 0.3  # share of covers with one
_CLOSED: Final = 0.4  # share of openings that are closed again


@dataclass(frozen=True, slots=True)
class Event:
    """What happens to a cover.

    Attributes:
        kind: ``open``, ``shift``, ``settle`` or ``rock``.
        start: Seconds since 1970.
        end: Likewise.
        degrees: How far it moves in the end.
    """

    kind: str
    start: int
    end: int
    degrees: float = 0.0


@dataclass(frozen=True, slots=True)
class Trial:
    """One cover: its rows, and what happened to it.

    Attributes:
        cover: Its name.
        ts: ``(n,)`` seconds since 1970.
        gravity: ``(n, 3)`` in g.
        heat: ``(n,)`` temperature in Cel.
        events: One or none.
        lorries: It lies under heavy traffic: a shock in a row of twelve or more often.
    """

    cover: str
    ts: NDArray[np.int64]
    gravity: Floats
    heat: Floats
    events: tuple[Event, ...]
    lorries: bool


def make_trials(seed: int, count: int = 40) -> Iterator[Trial]:
    """Yield covers; a third of them is quiet under heavy traffic or rests without any."""
    for number in range(count):
        name = f"C{number:03}"
        yield _make(name, generator(seed, "trial", name, "cover"))


def _make(name: str, chance: np.random.Generator) -> Trial:
    row = np.arange(ROWS)
    ts = _START + PERIOD_S * row + chance.integers(0, 4, ROWS)
    kind = str(chance.choice(_KINDS, p=_SHARES))
    begins = int(ROWS * (0.35 + 0.45 * chance.random()))
    heat, felt = _warmth(chance, row)
    drift = chance.normal(0, 0.03, 2)
    drift *= min(1.0, 0.08 / float(np.hypot(*drift)))
    tilt = chance.normal(0, 1.5, 2) + drift * felt[:, None]
    moved, degrees, ends = _motion(chance, kind, row - begins)
    towards = 2 * math.pi * chance.random()
    tilt = tilt + moved[:, None] * (math.cos(towards), math.sin(towards))
    gravity = _gravity(np.radians(tilt)) * (1 + chance.uniform(-0.03, 0.03))
    gravity += chance.normal(0, 0.008, 3) + chance.uniform(0.002, 0.009) * chance.normal(
        size=(ROWS, 3)
    )
    rate = float(chance.choice(_TRAFFIC))
    rocks = kind == "rock"
    _shake(chance, gravity, row, max(rate, 1 / 40) if rocks else rate, begins if rocks else ROWS)
    kept = _kept(chance, begins, lost_before=kind == "open")
    events: tuple[Event, ...] = ()
    if kind != "none":
        end = int(ts[min(begins + ends, ROWS - 1)])
        events = (Event(kind, int(ts[begins]), end, round(degrees, 2)),)
    return Trial(name, ts[kept], gravity[kept], heat[kept], events, rate >= 1 / 12)


def _warmth(chance: np.random.Generator, row: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return the temperature measured, and the one that the terminal's mount feels, later."""
    swing, phase = chance.uniform(3, 12), 2 * math.pi * chance.random()
    trend = chance.uniform(-4, 4) / ROWS

    def at(minute: Floats) -> Floats:
        turns = 2 * math.pi * minute / ROWS + phase
        return np.asarray(swing * np.sin(turns) + 0.2 * swing * np.sin(3 * turns) + trend * minute)

    mean = chance.uniform(-5, 25)
    heat = mean + at(row.astype(np.float64)) + chance.normal(0, 0.15, len(row))
    felt = at(row.astype(np.float64) - chance.uniform(0, 90))
    return np.round(heat, 1), felt - felt[0]


def _motion(
    chance: np.random.Generator, kind: str, since: NDArray[np.int64]
) -> tuple[Floats, float, int]:
    """Return how far it has moved in each row, in degrees, how far at most, and when that ends."""
    on = since >= 0
    last = int(since[-1])
    if kind == "open":
        degrees = chance.uniform(25, 100)
        takes = chance.uniform(1, 3)
        lasts = int(chance.integers(25, 400)) if chance.random() < _CLOSED else last
        moved = np.where(on & (since <= lasts), np.clip((since + 1) / takes, 0, 1) * degrees, 0)
        return moved, degrees, min(lasts, last)
    if kind == "shift":
        degrees = chance.uniform(2, 10)
        return np.where(on, degrees, 0.0), degrees, last
    if kind == "settle":
        degrees, takes = chance.uniform(1.5, 6), chance.uniform(120, 600)
        takes = min(takes, 0.8 * last)
        return np.where(on, np.clip(since / takes, 0, 1) * degrees, 0), degrees, last
    return np.zeros(len(since)), 0.0, last


def _gravity(tilt: Floats) -> Floats:
    """Return unit vectors of gravity under two angles in radians."""
    a, b = tilt[:, 0], tilt[:, 1]
    return np.stack([np.sin(a) * np.cos(b), np.sin(b), np.cos(a) * np.cos(b)], 1)


def _shake(
    chance: np.random.Generator, gravity: Floats, row: NDArray[np.int64], rate: float, looser: int
) -> None:
    """Let lorries shake it; from ``looser`` on the shocks are three times as strong."""
    day = 1 + 0.8 * np.sin(2 * math.pi * row / ROWS + 2 * math.pi * chance.random())
    passing = chance.random(len(row)) < rate * day
    for n in np.flatnonzero(passing):
        strength = chance.uniform(0.05, 0.5) * (1 if n < looser else chance.uniform(1.5, 3))
        length = int(chance.integers(1, 3))
        some = slice(n, n + length)
        shape = gravity[some].shape
        gravity[some] += chance.normal(0, 1, shape) * strength * (0.5, 0.5, 1)
    rubbish = np.flatnonzero(chance.random(len(row)) < _RUBBISH)
    gravity[rubbish] = chance.choice([0.0, 2.0, -2.0], (len(rubbish), 3))


def _kept(chance: np.random.Generator, begins: int, *, lost_before: bool) -> NDArray[np.bool_]:
    """Return which rows arrive; no gap swallows an opening as a whole."""
    kept: NDArray[np.bool_] = chance.random(ROWS) >= _LOSS * chance.random() ** 2
    if chance.random() < _GAPS:
        length = int(chance.integers(15, 180))
        latest = begins - length if lost_before else ROWS - length
        first = int(chance.integers(60, max(latest, 61)))
        kept[first : first + length] = False
    return kept
