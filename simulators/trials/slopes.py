"""Made displacement points: nine months of a position every six hours on slopes of six characters.

``stable``; ``creep``, even and slow; ``seasonal``, a wave of a year; ``steps``, jumps after rain
that relax within hours or days; ``glitch``, single positions far off; and ``failure``: creep and
rain steps as well, then an acceleration of one to three months until the slope goes. Noise is 1 to
3 mm, a part of it wanders (flicker), the sun adds a daily wave, up to a seventh of the positions is
missing and now and then days are: noisier and lossier than the given stream.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulators.chance import generator
from simulators.physics.ground import accelerate, relax

Floats = NDArray[np.float64]

PERIOD_S: Final = 21_600
DAYS: Final = 270
_START: Final = 1_760_000_000
_DAY: Final = 86_400
CHARACTERS: Final = ("stable", "creep", "seasonal", "steps", "glitch", "failure")
_SHARES: Final = (0.15, 0.15, 0.1, 0.25, 0.1, 0.25)
_LOSS: Final = 0.14
_GAPS: Final = 0.3  # share of points that are away for some days
_GLITCHES: Final = 1 / 60


@dataclass(frozen=True, slots=True)
class Trial:
    """One point: its rows, and what kind of slope it lies on.

    Attributes:
        point: Its name.
        ts: ``(n,)`` seconds since 1970.
        position: ``(n, 3)`` east, north, up in mm.
        character: One of :data:`CHARACTERS`.
        onset: When the acceleration began, seconds; 0: it never did.
        failure: When the slope failed; 0: it never did.
    """

    point: str
    ts: NDArray[np.int64]
    position: Floats
    character: str
    onset: int = 0
    failure: int = 0


def make_trials(seed: int, count: int = 24) -> Iterator[Trial]:
    """Yield points."""
    for number in range(count):
        name = f"S{number:02}"
        yield _make(name, generator(seed, "trial", name, "slope"))


def _make(name: str, chance: np.random.Generator) -> Trial:
    character = str(chance.choice(CHARACTERS, p=_SHARES))
    day = np.arange(0, DAYS, PERIOD_S / _DAY)
    moved, onset, failure = _motion(chance, character, day)
    towards = 2 * math.pi * chance.random()
    slope = math.tan(math.radians(chance.uniform(10, 40)))
    ways = (math.cos(towards), math.sin(towards), -slope)
    position = moved[:, None] * ways + _noise(chance, day)
    if character == "glitch":
        some = np.flatnonzero(chance.random(len(day)) < _GLITCHES)
        position[some] += chance.choice((-1, 1), (len(some), 3)) * chance.uniform(15, 60)
    kept = chance.random(len(day)) >= _LOSS * chance.random()
    if chance.random() < _GAPS:
        first = int(chance.integers(0, len(day) - 40))
        kept[first : first + int(chance.integers(4, 30))] = False
    if failure:
        kept &= day < failure
    ts = _START + np.round(day * _DAY).astype(np.int64) + chance.integers(0, 120, len(day))
    return Trial(
        name,
        ts[kept],
        np.round(position[kept], 1),
        character,
        _START + round(onset * _DAY) if failure else 0,
        _START + round(failure * _DAY) if failure else 0,
    )


def _motion(
    chance: np.random.Generator, character: str, day: Floats
) -> tuple[Floats, float, float]:
    """Return how far the slope has moved, and when its acceleration began and ended, in days."""
    moved = np.zeros(len(day))
    if character == "seasonal":
        turns = 2 * math.pi * (day / 365 + chance.random())
        moved += chance.uniform(3, 12) * np.sin(turns)
    if character in {"creep", "failure"} or (character == "steps" and chance.random() < 1 / 2):
        moved += chance.uniform(0.1, 1.2) * day
    onset = failure = 0.0
    if character == "failure":
        lasts = chance.uniform(30, 80)
        failure = chance.uniform(max(100, lasts + 45), DAYS - 5)
        onset = failure - lasts
        moved += accelerate(day - onset, chance.uniform(20, 70), lasts)
    if character in {"steps", "failure"}:
        for _ in range(int(chance.integers(2, 9 if character == "steps" else 5))):
            size, tau = chance.uniform(4, 40), math.exp(chance.uniform(math.log(0.2), math.log(6)))
            moved += relax(day - chance.uniform(10, DAYS - 5), size, tau)
    return moved, onset, failure


def _noise(chance: np.random.Generator, day: Floats) -> Floats:
    """Return scatter, wandering and the daily wave of the sun, ``(n, 3)`` in mm."""
    n = len(day)
    scatter = chance.uniform(1, 3) * np.array([1, 1, 3])
    white = chance.normal(size=(n, 3))
    wander = np.zeros((n, 3))
    step = chance.normal(size=(n, 3))
    for k in range(1, n):
        wander[k] = 0.97 * wander[k - 1] + math.sqrt(1 - 0.97**2) * step[k]
    sun = np.sin(2 * math.pi * (day + chance.random()))[:, None] * chance.uniform(0, 1, 3)
    flicker = 0.4 * chance.random()
    return np.asarray(scatter * (white + flicker * wander) + sun)
