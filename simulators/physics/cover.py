"""A manhole cover in the weather: the chamber warms and cools, and the terminal leans with it.

``temperature = rest + 5 Cel · cos(day) + 9 Cel · cos(year)`` besides the swing of any resting
device, and ``tilt = c · (temperature - rest)`` along a direction of its own, up to 0.04° per Cel.
A detector that takes this for a movement calls covers to the street twice a day.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

from devices.kind import DeviceKind
from simulators.chance import share
from simulators.physics.pace import Pace
from simulators.sun import solar_hour

_DAY_CEL, _YEAR_CEL = 5.0, 9.0
_WARMEST_H, _WARMEST_D = 16.0, 205.0  # late in the afternoon, late in July
_MOST_DEG: Final = 0.04  # a Cel
_GRAVITY: Final = 1000.0
_DAY_US: Final = 86_400_000_000
_YEAR_D: Final = 365.2425


class Cover:
    """One manhole cover."""

    def __init__(
        self,
        kind: DeviceKind,
        device_id: str,
        *,
        seed: int,
        lon: float,
        lat: float,
        limits: Mapping[str, Any],
    ) -> None:
        del lat, limits
        self._lon = lon
        self._rest = kind.metric("temp").rest
        lean = math.radians(_MOST_DEG * share(seed, "rest", device_id, "lean"))
        towards = 2 * math.pi * share(seed, "rest", device_id, "towards")
        self._x, self._y = lean * math.cos(towards), lean * math.sin(towards)

    def pace(self, at: int) -> Pace:
        """See :meth:`simulators.physics.Physics.pace`."""
        del at
        return Pace.BUSY

    def apply(self, at: int, values: dict[str, float]) -> None:
        """See :meth:`simulators.physics.Physics.apply`."""
        hour = solar_hour(at, self._lon) - _WARMEST_H
        day = at / _DAY_US % _YEAR_D - _WARMEST_D
        values["temp"] += _DAY_CEL * math.cos(hour * math.pi / 12)
        values["temp"] += _YEAR_CEL * math.cos(2 * math.pi * day / _YEAR_D)
        warmer = values["temp"] - self._rest
        values["ax"] += _GRAVITY * self._x * warmer
        values["ay"] += _GRAVITY * self._y * warmer
