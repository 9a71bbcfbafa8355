"""From rain to river: storm cells, catchments as linear reservoirs, a dam with a spillway, reaches.

Plain functions over series of equal steps, each with one formula:

- a storm cell rains ``peak · exp(-d²/2r²) · sin²(π t/T)`` at the distance ``d`` from its centre,
  which moves along a line;
- a catchment, and a reach of a river, is a linear reservoir with a lag: ``S' = I(t - lag) - S/k``,
  ``Q = S/k``, stepped exactly;
- a dam (淤地坝) stores what comes in over its area; its outlet lets ``c √h`` out, its spillway
  ``w (h - crest)^1.5`` above the crest;
- water stands ``depth · (1 + Q/Q₀)^(1/1.6)`` high, the rating curve of the gauges.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Storm:
    """A storm cell.

    Attributes:
        peak: Intensity in its middle at its height, mm/h.
        radius: In metres.
        lasts: How long it rains, in seconds.
        start: Where its centre begins, metres east and north.
        speed: Metres a second, east and north.
    """

    peak: float
    radius: float
    lasts: float
    start: tuple[float, float]
    speed: tuple[float, float]

    def rain(self, seconds: Floats, x: float, y: float) -> Floats:
        """Return the intensity at a place, mm/h, at seconds since it began."""
        east = x - self.start[0] - self.speed[0] * seconds
        north = y - self.start[1] - self.speed[1] * seconds
        near = np.exp(-(east**2 + north**2) / (2 * self.radius**2))
        on = (seconds >= 0) & (seconds <= self.lasts)
        swell = np.where(on, np.sin(np.pi * seconds / self.lasts) ** 2, 0.0)
        intensity: Floats = self.peak * near * swell
        return intensity


def reservoir(inflow: Floats, *, step: float, k: float, lag: float = 0.0) -> Floats:
    """Return what flows out of a linear reservoir.

    Args:
        inflow: What flows in, in any unit; before it nothing did.
        step: Seconds between two values.
        k: Seconds in which it would run empty at the present outflow.
        lag: Seconds until the inflow arrives.

    >>> out = reservoir(np.ones(2000), step=60, k=3600)
    >>> round(float(out[-1]), 3)
    1.0
    """
    late = round(lag / step)
    arrives = np.concatenate([np.zeros(late), inflow])[: len(inflow)]
    keeps = float(np.exp(-step / k))
    out = np.empty(len(inflow))
    flow = 0.0
    for n, entering in enumerate(arrives.tolist()):
        flow = flow * keeps + entering * (1 - keeps)
        out[n] = flow
    return out


@dataclass(frozen=True, slots=True)
class Dam:
    """A check dam.

    Attributes:
        area: Of its water, m².
        crest: Height of the spillway over the outlet, m.
        outlet: m³/s at one metre.
        spillway: m³/s at one metre over the crest.
    """

    area: float
    crest: float
    outlet: float
    spillway: float

    def pass_on(self, inflow: Floats, *, step: float) -> tuple[Floats, Floats]:
        """Return its level over the outlet in metres, and what it lets out, m³/s."""
        level, out = np.empty(len(inflow)), np.empty(len(inflow))
        height = 0.0
        for n, entering in enumerate(inflow.tolist()):
            over = max(height - self.crest, 0.0)
            leaving = self.outlet * max(height, 0.0) ** 0.5 + self.spillway * over**1.5
            leaving = min(leaving, height * self.area / step + entering)  # no more than there is
            height = max(height + (entering - leaving) * step / self.area, 0.0)
            level[n], out[n] = height, leaving
        return level, out


def stage(flow: Floats, *, base: float, depth: float) -> Floats:
    """Return by how many metres a river stands higher.

    Args:
        flow: Discharge above the base flow, m³/s.
        base: Base flow, m³/s.
        depth: Depth at the base flow, m.
    """
    rise: Floats = depth * ((1 + np.maximum(flow, 0) / base) ** (1 / 1.6) - 1)
    return rise
